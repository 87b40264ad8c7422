//! What the current thread's name says of how it serves.

use aya_ebpf::helpers::generated as helper;
use sockspan_ebpf::name;

#[inline(always)]
fn current() -> [u64; 2] {
    let mut name = [0u64; 2];
    // SAFETY: sixteen bytes are written.
    unsafe { helper::bpf_get_current_comm((&raw mut name).cast(), 16) };
    name
}

/// As [`name::is_loop`] has it. A function of its own: the verifier follows it once.
#[inline(never)]
pub fn is_loop() -> u32 {
    name::is_loop(current())
}

/// As [`name::changes_tasks`] has it; likewise.
#[inline(never)]
pub fn changes_tasks() -> u32 {
    name::changes_tasks(current())
}
