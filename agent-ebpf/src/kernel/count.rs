//! Counters and ids, one set a CPU.

use aya_ebpf::{helpers::generated as helper, macros::map, maps::PerCpuArray};
use sockspan_ebpf::Counter;

#[map]
static COUNTERS: PerCpuArray<u64> = PerCpuArray::with_max_entries(Counter::COUNT, 0);

/// Adds to a counter.
#[inline(always)]
pub fn add(counter: Counter, amount: u64) {
    if let Some(slot) = COUNTERS.get_ptr_mut(counter as u32) {
        // SAFETY: the slot belongs to this CPU; a map value stays valid while the program runs.
        unsafe { *slot += amount };
    }
}

/// Counts one.
#[inline(always)]
pub fn one(counter: Counter) {
    add(counter, 1);
}

/// A number not given out before since the programs were loaded: the CPU, a part of the thread's id and the CPU's own
/// count. Never 0. A program that a breakpoint runs can be preempted between reading the count and writing it; then the
/// threads tell the numbers apart.
#[inline(always)]
pub fn new_id() -> u64 {
    let Some(slot) = COUNTERS.get_ptr_mut(Counter::NextId as u32) else { return 0 };
    // SAFETY: as in `add`; the helper takes nothing.
    unsafe {
        const COUNT: u64 = (1 << 40) - 1;
        *slot += 1;
        let thread = helper::bpf_get_current_pid_tgid() & 0xff;
        *slot & COUNT | thread << 40 | (u64::from(helper::bpf_get_smp_processor_id()) + 1) << 48
    }
}
