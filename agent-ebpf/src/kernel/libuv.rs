//! Node's event loop: which exchange a callback works for, from libuv's own requests. Breakpoints in the
//! traced process alone; attached where the first instruction can be emulated. What runs on a timer or an
//! immediate inherits nothing.

use aya_ebpf::{EbpfContext as _, macros::uprobe, programs::ProbeContext};

use crate::kernel::{arch, context, read, traced};

/// An argument of the probed function.
#[inline(always)]
fn argument(ctx: &ProbeContext, index: usize) -> u64 {
    // SAFETY: the context is a pt_regs; the load is checked by the verifier.
    unsafe { core::ptr::read_volatile(ctx.as_ptr().cast::<u64>().add(arch::FUNCTION[index & 1])) }
}

#[inline(always)]
fn traced_ids() -> Option<(u32, u32)> {
    let (tgid, tid) = read::ids();
    traced::process(tgid).map(|_| (tgid, tid))
}

/// `uv_tcp_connect(req, …)`: the request is the first argument.
#[uprobe]
pub fn uv_save_first(ctx: ProbeContext) -> u32 {
    if let Some((tgid, tid)) = traced_ids() {
        context::save(tid, tgid, argument(&ctx, 0));
    }
    0
}

/// `uv_getaddrinfo(loop, req, …)`, `uv_queue_work`, `uv_fs_*`: the request is the second.
#[uprobe]
pub fn uv_save_second(ctx: ProbeContext) -> u32 {
    if let Some((tgid, tid)) = traced_ids() {
        context::save(tid, tgid, argument(&ctx, 1));
    }
    0
}

/// The callback of such a request, which is its first argument.
#[uprobe]
pub fn uv_resume(ctx: ProbeContext) -> u32 {
    if let Some((tgid, tid)) = traced_ids() {
        context::resume(tid, tgid, argument(&ctx, 0));
    }
    0
}

/// Timers, immediates, closing handles, tasks of other threads: nobody's work.
#[uprobe]
pub fn uv_clear(_ctx: ProbeContext) -> u32 {
    if let Some((tgid, tid)) = traced_ids() {
        context::enter(tid, tgid, 0);
    }
    0
}
