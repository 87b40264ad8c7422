//! What all breakpoints in traced processes begin with.

use aya_ebpf::{EbpfContext as _, helpers::generated as helper, programs::ProbeContext};

use crate::kernel::{arch, read, traced};

/// A register at the probed place, by its index in `struct pt_regs`.
#[inline(always)]
pub fn register(ctx: &ProbeContext, index: usize) -> u64 {
    // SAFETY: the context is a pt_regs; the load is checked by the verifier.
    unsafe { core::ptr::read_volatile(ctx.as_ptr().cast::<u64>().add(index)) }
}

/// The register that a breakpoint was set for, by its place in `pt_regs`.
#[inline(always)]
pub fn placed(ctx: &ProbeContext) -> u64 {
    // SAFETY: the helper takes the context of the program.
    let index = unsafe { helper::bpf_get_attach_cookie(ctx.as_ptr()) };
    read::kernel(ctx.as_ptr() as u64 + (index & 15) * 8)
}

/// An argument of the probed function.
#[inline(always)]
pub fn argument(ctx: &ProbeContext, index: usize) -> u64 {
    register(ctx, arch::FUNCTION[index & 1])
}

/// `(tgid, tid)` of the current task, if its process is traced.
#[inline(always)]
pub fn traced_ids() -> Option<(u32, u32)> {
    let (tgid, tid) = read::ids();
    traced::process(tgid).map(|_| (tgid, tid))
}
