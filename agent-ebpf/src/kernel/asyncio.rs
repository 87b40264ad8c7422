//! CPython's asyncio: tasks by the `contextvars.Context` that they run in. Whatever asyncio calls, it calls in a
//! context; a task has its own, and what is made in a context (a task, a timer, a call in a worker thread) begins
//! with a copy of it. So a copy works for whom its original worked for when it was made, which is believed when the copy
//! is gone: see [`heir`]. A task that answers a request has shown before that it works for that.
//!
//! In: the births and deaths of contexts, told by breakpoints in CPython; what is read and sent. Out: the exchange of the
//! context that a thread runs in. A context of which nothing is known works for nobody.

use aya_ebpf::{
    helpers::generated as helper,
    macros::{map, uprobe},
    maps::LruHashMap,
    programs::ProbeContext,
};
use sockspan_ebpf::{HEIR, Policy, Process, Role};

use crate::kernel::{
    call::Call,
    connection::{self, Connection, REQUEST, known},
    context::Handle,
    count,
    emit::load,
    heir, interpreter,
    interpreter::layout,
    probe::placed,
    read,
    read::pointer,
    task, traced,
};

/// A context, its parent, its parent's parent, and that one's.
const GENERATIONS: usize = 4;
/// The one of them that asyncio makes for each connection that it accepts: its reader is two copies away.
const ACCEPTED: usize = 2;
/// The kernel notes when it accepted a connection this coarsely, in jiffies.
const COARSE: u32 = 2;

/// What is known of a context, by its address. One that is dead is all zero.
#[repr(C)]
#[derive(Clone, Copy)]
struct Context {
    /// The exchange it works for, or what stands for that; 0: whatever its line says.
    exchange: u64,
    /// Numbers of its own and of those it descends from; 0 where that is not known.
    line: [u64; GENERATIONS],
    /// When each of them was born, in jiffies.
    born: [u32; GENERATIONS],
    /// The thread on which it was born.
    tid: u64,
    /// The exchange that it has inherited, from whomever; 0 for none.
    inherited: u64,
}

const UNKNOWN: Context =
    Context { exchange: 0, line: [0; GENERATIONS], born: [0; GENERATIONS], tid: 0, inherited: 0 };

static BLANK: Context = UNKNOWN;

/// An heir that acted on another thread than it was born on: a loop hands work to threads in a copy of its context.
#[repr(C)]
#[derive(Clone, Copy)]
struct Guest {
    /// What it has inherited goes by this.
    id: u64,
    address: u64,
    tgid: u64,
}

/// What the descendants of a context work for, by its number: servers that make one task for a connection make it
/// before the request comes.
#[repr(C)]
#[derive(Clone, Copy)]
struct Cell {
    exchange: u64,
    /// The socket whose requests it is told of.
    generation: u64,
    /// Told of by several sockets: it says nothing.
    shared: u64,
}

/// A request that uvloop has read on a thread, outside of any context.
#[repr(C)]
#[derive(Clone, Copy)]
struct Reader {
    exchange: u64,
    /// The context in which it is handed on; 0 before that.
    context: u64,
    tgid: u64,
}

#[map]
static CONTEXTS: LruHashMap<Handle, Context> = LruHashMap::with_max_entries(32768, 0);

#[map]
static CELLS: LruHashMap<u64, Cell> = LruHashMap::with_max_entries(16384, 0);

/// The last of a thread.
#[map]
static GUESTS: LruHashMap<u32, Guest> = LruHashMap::with_max_entries(4096, 0);

#[map]
static READERS: LruHashMap<u32, Reader> = LruHashMap::with_max_entries(4096, 0);

/// Forgets the thread.
#[inline(always)]
pub fn forget(tid: u32) {
    interpreter::forget(tid);
    let _ = READERS.remove(tid);
    let _ = GUESTS.remove(tid);
}

/// Jiffies, as TCP writes them down.
#[inline(always)]
fn jiffies() -> u32 {
    // SAFETY: takes nothing.
    unsafe { helper::bpf_jiffies64() as u32 }
}

/// The exchange that a context works for; 0 for none.
#[inline(never)]
fn exchange_of(context: &Context) -> u64 {
    if context.exchange != 0 {
        return context.exchange;
    }
    let mut i = 0;
    while i < GENERATIONS {
        // SAFETY: copied out at once.
        if let Some(cell) = unsafe { CELLS.get(context.line[i]) }
            && context.line[i] != 0
            && cell.shared == 0
            && cell.exchange != 0
        {
            return cell.exchange;
        }
        i += 1;
    }
    0
}

/// The exchange of the request that uvloop hands on in this context right now; 0 for none.
#[inline(always)]
fn handed_on(process: *mut Process, tid: u32, tgid: u32, address: u64) -> u64 {
    if load(&layout(process).stream_handle) == 0 {
        return 0;
    }
    // SAFETY: as above.
    let Some(reader) = (unsafe { READERS.get(tid) }) else { return 0 };
    let this = reader.tgid == u64::from(tgid) && reader.context == address;
    if this { reader.exchange } else { 0 }
}

/// The exchange of this context, which the thread runs in; 0 for none.
#[inline(never)]
pub fn current(process: *mut Process, tid: u32, tgid: u32, address: u64) -> u64 {
    if address == 0 {
        return 0;
    }
    let exchange = handed_on(process, tid, tgid, address);
    if exchange != 0 {
        return exchange;
    }
    let key = Handle::new(tgid, address);
    // SAFETY: a map value stays valid while the program runs.
    let Some(context) = (unsafe { CONTEXTS.get(key) }) else { return 0 };
    let exchange = exchange_of(context);
    if exchange & HEIR != 0 {
        heir::acts(key, exchange);
        if context.tid != u64::from(tid) {
            let _ = GUESTS.insert(tid, Guest { id: exchange, address, tgid: u64::from(tgid) }, 0);
        }
    }
    exchange
}

/// The thread is in no context: what it did in another thread's is done. It may be long until that dies, if the thread's
/// stack or a traceback refers to it.
#[inline(always)]
fn leave(tid: u32, tgid: u32) {
    // SAFETY: copied out at once.
    let Some(guest) = unsafe { GUESTS.get(tid) }.copied() else { return };
    let _ = GUESTS.remove(tid);
    let key = Handle::new(tgid, guest.address);
    let Some(context) = CONTEXTS.get_ptr_mut(key) else { return };
    // SAFETY: as above.
    let context = unsafe { &mut *context };
    if guest.tgid == u64::from(tgid) && context.exchange == guest.id {
        *context = UNKNOWN;
        heir::end(key, guest.id);
    }
}

/// The context of this address, which the thread runs in, answers the connection's request: so it works for that.
#[inline(never)]
pub fn answer(tgid: u32, address: u64, connection: &Connection) -> u32 {
    let key = Handle::new(tgid, address);
    let Some(context) = CONTEXTS.get_ptr_mut(key) else { return 0 };
    // SAFETY: as above; a context is entered by one thread at a time.
    let context = unsafe { &mut *context };
    if context.exchange & HEIR != 0 && context.inherited == connection.exchange {
        heir::prove(key, context.exchange, connection.exchange);
        context.exchange = connection.exchange;
    }
    0
}

/// The running thread has read (more of) a request of this connection: the context it runs in works for it, and so does
/// the task that was made for the connection. A read outside of any context is uvloop's, which enters one next.
#[inline(never)]
pub fn serve(process: *mut Process, call: &Call, connection: &mut Connection) -> u32 {
    let exchange = if connection.flags & known::PIPELINED == 0 { connection.exchange } else { 0 };
    let (tid, tgid, address) = (load(&call.tid), load(&call.tgid), load(&call.task));
    if address == 0 {
        if load(&layout(process).stream_handle) != 0 {
            let _ = READERS.insert(tid, Reader { exchange, context: 0, tgid: u64::from(tgid) }, 0);
        }
        return 0;
    }
    let key = Handle::new(tgid, address);
    if CONTEXTS.get_ptr_mut(key).is_none() {
        // Not by way of the stack, where there is no room.
        let _ = CONTEXTS.insert(key, &BLANK, 0);
    }
    let Some(context) = CONTEXTS.get_ptr_mut(key) else { return 0 };
    // SAFETY: as above; a context is entered by one thread at a time.
    let context = unsafe { &mut *context };
    context.exchange = exchange;
    mark(context.line[0], exchange, connection.generation);
    if is_own_line(context, connection) {
        mark(context.line[ACCEPTED], exchange, connection.generation);
    }
    0
}

/// The descendants of the context with this number work for the exchange.
#[inline(always)]
fn mark(number: u64, exchange: u64, generation: u64) {
    if number == 0 {
        return;
    }
    let Some(cell) = CELLS.get_ptr_mut(number) else {
        let _ = CELLS.insert(number, Cell { exchange, generation, shared: 0 }, 0);
        return;
    };
    // SAFETY: as above.
    let cell = unsafe { &mut *cell };
    if cell.generation == generation {
        cell.exchange = exchange;
    } else {
        cell.shared = 1;
    }
}

/// Whether the context two copies before this one, which reads, was made for this connection alone. One that is older
/// than the connection was not.
#[inline(always)]
fn is_own_line(context: &Context, connection: &Connection) -> bool {
    let younger = context.born[ACCEPTED].wrapping_sub(connection.accepted).wrapping_add(COARSE) as i32 >= 0;
    connection.flags & known::ACCEPTED != 0 && younger
}

/// The running process, if it goes by contexts.
#[inline(always)]
fn process(tgid: u32) -> Option<*mut Process> {
    let process = traced::process(tgid)?;
    // SAFETY: as above.
    (unsafe { (*process).policy } == Policy::Asyncio as u32).then_some(process)
}

/// A copy of the running context is there, in the register: `PyContext_CopyCurrent`.
#[uprobe]
pub fn py_birth(ctx: ProbeContext) -> u32 {
    let (tgid, tid) = read::ids();
    let Some(process) = process(tgid) else { return 0 };
    let (address, class) = (placed(&ctx), load(&layout(process).context_type));
    if address == 0 || pointer(address + 8) != class {
        return 0;
    }
    let mut born = UNKNOWN;
    let parent = task::running(process, tid, tgid);
    if parent == 0 {
        leave(tid, tgid);
    }
    let key = Handle::new(tgid, address);
    let of = current(process, tid, tgid, parent);
    born.inherited = of;
    // SAFETY: as above.
    if let Some(parent) = unsafe { CONTEXTS.get(Handle::new(tgid, parent)) } {
        (born.line, born.born) = (parent.line, parent.born);
        if of & HEIR != 0 {
            born.inherited = parent.inherited;
        }
    }
    if of != 0 {
        born.exchange = heir::begin(key, of);
    }
    let mut i = GENERATIONS - 1;
    while i > 0 {
        (born.line[i], born.born[i]) = (born.line[i - 1], born.born[i - 1]);
        i -= 1;
    }
    (born.line[0], born.born[0], born.tid) = (count::new_id(), jiffies(), u64::from(tid));
    match CONTEXTS.get_ptr_mut(key) {
        // SAFETY: as above; nobody else knows the context yet.
        Some(context) => unsafe { *context = born },
        None => {
            let _ = CONTEXTS.insert(key, born, 0);
        }
    }
    0
}

/// The context in the register dies: its address is used again, perhaps by one that is born unseen.
#[uprobe]
pub fn py_death(ctx: ProbeContext) -> u32 {
    let (tgid, _) = read::ids();
    let key = Handle::new(tgid, placed(&ctx));
    if process(tgid).is_some()
        && let Some(context) = CONTEXTS.get_ptr_mut(key)
    {
        // SAFETY: as above.
        let context = unsafe { &mut *context };
        let exchange = context.exchange;
        *context = UNKNOWN;
        if exchange & HEIR != 0 {
            heir::end(key, exchange);
        }
    }
    0
}

/// `PyContext_Enter`, where uvloop runs: the context in the register is entered. The first one after a request was read
/// is that of its connection's protocol, which all connections of a server can share; it is left at the latest when the
/// next is entered.
#[uprobe]
pub fn py_enter(ctx: ProbeContext) -> u32 {
    let (tgid, tid) = read::ids();
    let Some(reader) = READERS.get_ptr_mut(tid) else { return 0 };
    // SAFETY: as above.
    let reader = unsafe { &mut *reader };
    if reader.context == 0 && reader.tgid == u64::from(tgid) {
        reader.context = placed(&ctx);
    } else {
        let _ = READERS.remove(tid);
    }
    0
}

/// uvloop's `UVStream.write(self, …)`: the running context writes to the stream in the register. It is sent later, outside
/// of any context.
#[uprobe]
pub fn py_write(ctx: ProbeContext) -> u32 {
    let (tgid, tid) = read::ids();
    let Some(process) = process(tgid) else { return 0 };
    let python = layout(process);
    if load(&python.stream_handle) == 0 {
        return 0;
    }
    let handle = pointer(placed(&ctx) + u64::from(load(&python.stream_handle)));
    let Some(descriptor) = read::user::<u32>(handle + u64::from(load(&python.handle_descriptor))) else {
        return 0;
    };
    let Some(sock) = read::descriptor(u64::from(descriptor)) else { return 0 };
    let Some(c) = connection::of(sock, read::generation(sock)) else { return 0 };
    // SAFETY: as above.
    let c = unsafe { &mut *c };
    let running = task::running(process, tid, tgid);
    if c.role == Role::Server as u8 {
        if c.phase == REQUEST {
            answer(tgid, running, c);
        }
    } else {
        c.context = current(process, tid, tgid, running);
        c.flags |= known::WRITTEN;
    }
    0
}
