//! Which exchange a task works for, where the runtime has tasks of its own: the key is the task and not the thread
//! that runs it, so links stay exact however many requests share a thread.
//!
//! What names a task is the runtime's matter, a module each. An entry is made or removed at a task's birth, because
//! the names of those that are gone are used again.

use aya_ebpf::{macros::map, maps::LruHashMap};
use sockspan_ebpf::{Policy, Process};

use crate::kernel::{
    asyncio, call::Call, connection::Connection, context::Handle, goroutine, greenlet, interpreter,
};

/// The exchange each task works for; none for those that work for nobody.
#[map]
static TASKS: LruHashMap<Handle, u64> = LruHashMap::with_max_entries(32768, 0);

/// The policy of a process, if it goes by tasks.
#[inline(always)]
pub fn policy(process: *mut Process) -> Option<Policy> {
    // SAFETY: a map value stays valid while the program runs.
    Policy::from_number(unsafe { (*process).policy }).filter(|policy| policy.has_tasks())
}

/// Whether a process of this policy goes by tasks.
#[inline(always)]
pub fn goes_by_tasks(policy: u32) -> bool {
    Policy::from_number(policy).is_some_and(Policy::has_tasks)
}

/// The exchange of a task; 0 for none.
#[inline(always)]
pub fn exchange_of(task: Handle) -> u64 {
    // SAFETY: copied out at once.
    unsafe { TASKS.get(task) }.map_or(0, |exchange| *exchange)
}

/// The task works for this exchange from now on; 0: for nobody.
#[inline(always)]
pub fn set(task: Handle, exchange: u64) {
    if exchange == 0 {
        let _ = TASKS.remove(task);
    } else {
        let _ = TASKS.insert(task, exchange, 0);
    }
}

/// What names the task that runs now, in its process; 0 for none, and where it cannot be told.
///
/// A function of its own, which is asked once for a call: to find a task takes the verifier long.
#[inline(never)]
pub fn running(process: *mut Process, tid: u32, tgid: u32) -> u64 {
    match policy(process) {
        Some(Policy::Asyncio) => interpreter::running(process, tid, tgid),
        Some(Policy::Greenlet) => greenlet::running(tid, tgid),
        Some(Policy::Goroutine) => goroutine::running(process, tgid),
        _ => 0,
    }
}

/// The exchange that this task, which runs now, works for; 0 for none, and where the task cannot be told.
#[inline(always)]
pub fn current(process: *mut Process, tid: u32, tgid: u32, task: u64) -> u64 {
    match policy(process) {
        Some(Policy::Asyncio) => asyncio::current(process, tid, tgid, task),
        Some(Policy::Greenlet) => greenlet::current(process, tid, tgid),
        Some(Policy::Goroutine) => goroutine::current(process, tgid, task),
        _ => 0,
    }
}

/// The task which makes this call has read (more of) a request: it works for that exchange.
#[inline(always)]
pub fn serve(process: *mut Process, call: &Call, connection: &mut Connection) {
    match policy(process) {
        Some(Policy::Asyncio) => {
            asyncio::serve(process, call, connection);
        }
        Some(Policy::Greenlet) => greenlet::serve(call.tgid, call.task, connection),
        Some(Policy::Goroutine) => goroutine::serve(call.tgid, call.task, connection),
        _ => {}
    }
}

/// This task answers the connection's request.
#[inline(always)]
pub fn answer(process: *mut Process, tgid: u32, task: u64, connection: &Connection) {
    if task != 0 && policy(process) == Some(Policy::Asyncio) {
        asyncio::answer(tgid, task, connection);
    }
}

/// Whether the task that begins to answer has taken up another request since: then tasks are no evidence either.
#[inline(always)]
pub fn has_moved_on(process: *mut Process, tid: u32, tgid: u32, connection: &Connection) -> bool {
    match policy(process) {
        Some(Policy::Greenlet) => greenlet::has_moved_on(tid, tgid, connection),
        Some(Policy::Goroutine) => goroutine::has_moved_on(process, tgid, connection),
        _ => false,
    }
}
