//! CPython's pools of threads (`concurrent.futures.ThreadPoolExecutor`): whose work a thread of a pool does. Work is an object
//! that one thread puts into the pool's queue and another takes out of it, which has then no other until it asks for more.
//!
//! In: breakpoints in the `_queue` module, in processes that go by threads, or by asyncio's tasks. Work that never ends may be a worker's
//! that serves others, too: it is an heir until then; see [`heir`].

use aya_ebpf::{macros::uprobe, programs::ProbeContext};
use sockspan_ebpf::{Policy, Process};

use crate::kernel::{
    aside,
    context::{self, Work},
    probe::{argument, placed},
    read,
    read::pointer,
    task, traced,
};

/// The running process and thread, if it is one that takes work by turns.
#[inline(always)]
fn ids() -> Option<(*mut Process, u32, u32)> {
    let (tgid, tid) = read::ids();
    let process = traced::process(tgid)?;
    // SAFETY: a map value stays valid while the program runs.
    let policy = unsafe { (*process).policy };
    (policy == Policy::Thread as u32 || policy == Policy::Asyncio as u32).then_some((process, tid, tgid))
}

/// Whether the object is of the class `_WorkItem`: what else goes through a queue says not for whom it is used.
#[inline(always)]
fn is_work(object: u64) -> bool {
    // Of a `PyObject` its type, of a `PyTypeObject` its name.
    const TYPE: u64 = 8;
    const NAME: u64 = 24;
    const CLASS: [u64; 2] = [u64::from_le_bytes(*b"_WorkIte"), b'm' as u64];
    let name = pointer(pointer(object + TYPE) + NAME);
    pointer(name) == CLASS[0] && read::user_bytes(name + 8, 2) == Some(CLASS[1])
}

/// The exchange in whose name the running thread, or the task that it runs, does something now, or what stands for it.
#[inline(always)]
fn works_for(process: *mut Process, tid: u32, tgid: u32) -> u64 {
    if task::policy(process).is_none() {
        return context::acts(process, tid, tgid);
    }
    context::evidence(process, tid, tgid, task::running(process, tid, tgid)).0.exchange
}

/// `SimpleQueue.put(self, args, …)`: the thread puts the first of `args` into the queue.
#[uprobe]
pub fn pool_put(ctx: ProbeContext) -> u32 {
    let Some((process, tid, tgid)) = ids() else { return 0 };
    let object = pointer(argument(&ctx, 1));
    if is_work(object) {
        // Also of nobody: the address was another's.
        aside::put(tgid, object, Work { exchange: works_for(process, tid, tgid), via: 0 });
    }
    0
}

/// `SimpleQueue.get(self, …)`: the thread asks for what is next in the queue.
#[uprobe]
pub fn pool_ask(ctx: ProbeContext) -> u32 {
    if let Some((_, tid, tgid)) = ids() {
        context::ask_for_work(tid, tgid, argument(&ctx, 0));
    }
    0
}

/// The same is about to return, and what it returns is in the register. It may be told of twice.
#[uprobe]
pub fn pool_take(ctx: ProbeContext) -> u32 {
    let Some((_, tid, tgid)) = ids() else { return 0 };
    let object = placed(&ctx);
    if is_work(object) {
        context::take_work(tid, tgid, aside::under(tgid, object).exchange);
    }
    0
}
