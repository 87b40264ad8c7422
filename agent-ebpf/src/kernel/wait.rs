//! Threads that wait for whichever of many sockets is ready: a breakpoint in libc's `epoll_wait` and its kin, in
//! processes whose threads are evidence.

use aya_ebpf::{macros::uprobe, programs::ProbeContext};

use crate::kernel::{context, read, traced};

/// `epoll_wait(…)`: whatever comes of it, the thread has done with what it did.
#[uprobe]
pub fn thread_waits(_ctx: ProbeContext) -> u32 {
    let (tgid, tid) = read::ids();
    if let Some(process) = traced::process(tgid) {
        context::wait(process, tid, tgid);
    }
    0
}
