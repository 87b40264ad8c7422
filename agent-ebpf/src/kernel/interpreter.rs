//! CPython's interpreter: the state of a thread, and in it the `contextvars.Context` that the thread runs in. Found from
//! a system call by reading alone: a thread that waits in one has let go of the interpreter, which then knows it only by its
//! list of threads.
//!
//! In: where the process's Python keeps what. Out: an address.

use aya_ebpf::{helpers::generated as helper, macros::map, maps::LruHashMap};
use sockspan_ebpf::{Process, PythonLayout};

use crate::kernel::{
    emit::load,
    read,
    read::{offset, pointer},
};

/// Threads of an interpreter that are looked at to find one.
const THREADS: u32 = 128;
/// Where a thread's state is.
#[repr(C)]
#[derive(Clone, Copy)]
struct State {
    address: u64,
    interpreter: u64,
    /// Thread ids are reused.
    tgid: u64,
}

#[map]
static STATES: LruHashMap<u32, State> = LruHashMap::with_max_entries(4096, 0);

/// Forgets the thread.
#[inline(always)]
pub fn forget(tid: u32) {
    let _ = STATES.remove(tid);
}

/// Where the process's Python keeps what.
#[inline(always)]
pub fn layout<'a>(process: *mut Process) -> &'a PythonLayout {
    // SAFETY: a map value stays valid while the program runs.
    unsafe { &(*process).layout.python }
}

/// The running thread's own name: `pthread_self`.
#[inline(always)]
fn own_id() -> u64 {
    // SAFETY: takes nothing, gives the current task.
    let task = unsafe { helper::bpf_get_current_task() };
    read::kernel(task + offset!(task_fsbase))
}

/// The first state of this thread in an interpreter's list that begins here; 0 if there is none.
///
/// A function of its own that gives back one number: so the verifier goes on once, and not once for each way out.
#[inline(never)]
fn state_among(process: *mut Process, first: u64, own: u64) -> u64 {
    let python = layout(process);
    let mut address = first;
    let mut i = 0u32;
    while i < THREADS {
        if address == 0 || pointer(address + u64::from(load(&python.thread_id))) == own {
            return address;
        }
        address = pointer(address + u64::from(load(&python.thread_next)));
        i += 1;
    }
    0
}

/// Where the thread's state was in this interpreter when it was last looked for; 0 if that is not known.
#[inline(never)]
fn known_state(tid: u32, tgid: u32, interpreter: u64) -> u64 {
    // SAFETY: copied out at once.
    let known = unsafe { STATES.get(tid) }.copied();
    known.filter(|k| k.tgid == u64::from(tgid) && k.interpreter == interpreter).map_or(0, |k| k.address)
}

/// The address of the running thread's `PyThreadState`; 0 if it cannot be told. Threads that wait in a system call have let
/// go of the interpreter, which then knows them only by its list.
#[inline(always)]
fn state(process: *mut Process, tid: u32, tgid: u32) -> u64 {
    let python = layout(process);
    let interpreter = pointer(load(&python.runtime) + u64::from(load(&python.interpreters_head)));
    let own = own_id();
    let known = known_state(tid, tgid, interpreter);
    if known != 0 && pointer(known + u64::from(load(&python.thread_id))) == own {
        return known;
    }
    // Of several interpreters, which one a thread runs in is not known.
    if interpreter == 0 || pointer(interpreter + u64::from(load(&python.interpreter_next))) != 0 {
        return 0;
    }
    let address = state_among(process, pointer(interpreter + u64::from(load(&python.threads_head))), own);
    if address != 0 {
        let _ = STATES.insert(tid, State { address, interpreter, tgid: u64::from(tgid) }, 0);
    }
    address
}

/// The address of the context that the thread runs in; 0 if it is in none, or that cannot be told.
#[inline(always)]
pub fn running(process: *mut Process, tid: u32, tgid: u32) -> u64 {
    // Of a `PyContext`, in words; the same from Python 3.7 on.
    const SIZE: usize = 6;
    const TYPE: usize = 1;
    const ENTERED: usize = 5;
    let state = state(process, tid, tgid);
    if state == 0 {
        return 0;
    }
    let python = layout(process);
    let address = pointer(state + u64::from(load(&python.thread_context)));
    let Some(context) = read::user::<[u64; SIZE]>(address) else { return 0 };
    // A thread's first context is never entered: what runs in it is nobody's callback.
    let entered = context[ENTERED] as u32 == 1;
    if context[TYPE] == load(&python.context_type) && entered { address } else { 0 }
}
