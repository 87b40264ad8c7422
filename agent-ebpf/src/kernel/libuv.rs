//! Node's event loop: which exchange a callback works for, from libuv's own requests. Breakpoints in the
//! traced process alone; attached where the first instruction can be emulated. A context ends with the callback
//! that it was taken up for: whatever runs next without one of its own (a timer, a message from another thread, a
//! signal) inherits nothing.

use aya_ebpf::{
    macros::{map, uprobe},
    maps::LruHashMap,
    programs::ProbeContext,
};
use sockspan_ebpf::{Role, via};

use crate::kernel::{
    aside,
    connection::{self, known},
    context::{self, Work},
    probe::{argument, traced_ids},
    read,
};

/// The callback that runs on a thread. One read can call JavaScript several times, each with its end: the body of
/// a request, then that it is complete. The calls of one read are told by the object they are made on.
#[repr(C)]
#[derive(Clone, Copy)]
struct Callback {
    /// Node's object (an `AsyncWrap`) that a read called JavaScript on; 0 if it was no read.
    wrap: u64,
    work: Work,
    /// Thread ids are reused.
    tgid: u32,
    /// Not over yet.
    runs: u32,
}

#[map]
static CALLBACKS: LruHashMap<u32, Callback> = LruHashMap::with_max_entries(4096, 0);

/// Forgets the thread.
#[inline(always)]
pub fn forget(tid: u32) {
    let _ = CALLBACKS.remove(tid);
}

#[inline(always)]
fn callback(tid: u32, tgid: u32) -> Option<*mut Callback> {
    let callback = CALLBACKS.get_ptr_mut(tid)?;
    // SAFETY: a map value stays valid while the program runs.
    unsafe { ((*callback).tgid == tgid).then_some(callback) }
}

/// `uv_tcp_connect(req, …)`, `uv_write2`, `uv_shutdown`: the request is the first argument.
#[uprobe]
pub fn uv_save_first(ctx: ProbeContext) -> u32 {
    if let Some((tgid, tid)) = traced_ids() {
        aside::save(tid, tgid, argument(&ctx, 0), 0);
    }
    0
}

/// `uv_getaddrinfo(loop, req, …)`: the second.
#[uprobe]
pub fn uv_save_second(ctx: ProbeContext) -> u32 {
    if let Some((tgid, tid)) = traced_ids() {
        aside::save(tid, tgid, argument(&ctx, 1), 0);
    }
    0
}

/// `uv_queue_work(loop, req, …)`, `uv_fs_*`: likewise. Several exchanges can wait for the end of one such work.
#[uprobe]
pub fn uv_save_work(ctx: ProbeContext) -> u32 {
    if let Some((tgid, tid)) = traced_ids() {
        aside::save(tid, tgid, argument(&ctx, 1), via::WORK);
    }
    0
}

/// The callback of such a request, which is its first argument. One whose request put nothing aside works for
/// nobody.
#[uprobe]
pub fn uv_resume(ctx: ProbeContext) -> u32 {
    if let Some((tgid, tid)) = traced_ids() {
        aside::resume(tid, tgid, argument(&ctx, 0));
        let work = context::current(tid, tgid);
        if work.exchange == 0 {
            let _ = CALLBACKS.remove(tid);
        } else {
            let _ = CALLBACKS.insert(tid, Callback { wrap: 0, work, tgid, runs: 1 }, 0);
        }
    }
    0
}

/// Timers, immediates, closing handles, tasks of other threads: nobody's work.
#[uprobe]
pub fn uv_clear(_ctx: ProbeContext) -> u32 {
    if let Some((tgid, tid)) = traced_ids() {
        context::enter(tid, tgid, Work::NONE);
        let _ = CALLBACKS.remove(tid);
    }
    0
}

/// `uv_ref(handle)`, by JavaScript: a connection that was idle is taken for a request. undici sends that one turn of the
/// loop later, in a context that is nobody's.
#[uprobe]
pub fn uv_take(ctx: ProbeContext) -> u32 {
    if let Some((tgid, tid)) = traced_ids() {
        take(argument(&ctx, 0), tgid, tid);
    }
    0
}

#[inline(always)]
fn take(handle: u64, tgid: u32, tid: u32) -> Option<()> {
    // Of a `uv_tcp_t`: its type, and what it has there; its descriptor. The same since libuv 1.0.
    const TYPE: u64 = 16;
    const TCP: u32 = 12;
    const DESCRIPTOR: u64 = 184;
    read::user::<u32>(handle + TYPE).filter(|kind| *kind == TCP)?;
    let sock = read::descriptor(u64::from(read::user::<u32>(handle + DESCRIPTOR)?))?;
    // SAFETY: a map value stays valid while the program runs.
    let c = unsafe { &mut *connection::at(sock)? };
    if c.role != Role::Client as u8 || c.generation != read::generation(sock) {
        return None;
    }
    let work = context::current(tid, tgid);
    (c.context, c.via) = (work.exchange, work.via);
    c.flags |= known::CONNECT;
    Some(())
}

/// `AsyncWrap::MakeCallback(…)`: JavaScript is called on the object that is the first argument.
#[uprobe]
pub fn uv_call_first(ctx: ProbeContext) -> u32 {
    call(argument(&ctx, 0));
    0
}

/// `InternalCallbackScope(AsyncWrap*, …)`: on the second.
#[uprobe]
pub fn uv_call_second(ctx: ProbeContext) -> u32 {
    call(argument(&ctx, 1));
    0
}

/// The first object called since a read is the read's own; later calls on it, of the same read, go on in its
/// context.
#[inline(always)]
fn call(wrap: u64) {
    let Some((tgid, tid)) = traced_ids() else { return };
    let work = context::current(tid, tgid);
    let Some(known) = callback(tid, tgid) else {
        if work.exchange != 0 {
            let _ = CALLBACKS.insert(tid, Callback { wrap, work, tgid, runs: 1 }, 0);
        }
        return;
    };
    // SAFETY: as above.
    let known = unsafe { &mut *known };
    if work.exchange == 0 {
        if known.wrap == wrap && known.runs == 0 {
            known.runs = 1;
            context::enter(tid, tgid, known.work);
        }
    } else if known.runs == 0 || known.work != work {
        *known = Callback { wrap, work, tgid, runs: 1 };
    }
}

/// JavaScript called from the event loop has returned, its promises and ticks have run: what it worked for is no
/// longer worked for here.
#[uprobe]
pub fn uv_end(_ctx: ProbeContext) -> u32 {
    let Some((tgid, tid)) = traced_ids() else { return 0 };
    let work = context::current(tid, tgid);
    context::enter(tid, tgid, Work::NONE);
    let Some(known) = callback(tid, tgid) else { return 0 };
    // SAFETY: as above.
    unsafe {
        if work.exchange != 0 && (*known).work == work && (*known).wrap != 0 {
            (*known).runs = 0;
        } else {
            let _ = CALLBACKS.remove(tid);
        }
    }
    0
}
