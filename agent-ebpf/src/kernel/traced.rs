//! The set of traced processes. The agent writes it; children are added here, in the kernel, so that
//! none of their calls is missed.

use aya_ebpf::{macros::map, maps::HashMap};
use sockspan_ebpf::{Counter, Policy, Process, process_flag};

use crate::kernel::count;

/// Set to 1 by the agent to be told of every process's exec and listen, not of traced ones only.
#[unsafe(no_mangle)]
pub static WATCH_ALL: u32 = 0;

#[map]
static PROCESSES: HashMap<u32, Process> = HashMap::with_max_entries(4096, 0);

/// The traced process `tgid`; `None` where it is not traced: the way out for everyone else.
#[inline(always)]
pub fn process(tgid: u32) -> Option<*mut Process> {
    PROCESSES.get_ptr_mut(tgid)
}

/// A process of whose threads and tasks nothing is known.
#[inline(always)]
pub fn unproven(flags: u32) -> Process {
    Process { policy: Policy::None as u32, flags, layout: bytemuck::Zeroable::zeroed() }
}

/// Adds `tgid` to the set.
#[inline(always)]
pub fn add(tgid: u32, process: &Process) {
    if PROCESSES.insert(tgid, process, 0).is_err() {
        count::one(Counter::ProcessesFull);
    }
}

/// Adds a process that nobody has judged, so that none of its first calls is missed if it is selected. The agent takes it
/// out again if not; where there is no room it comes in when it is judged.
#[inline(always)]
pub fn add_unjudged(tgid: u32) {
    let process = unproven(process_flag::UNJUDGED);
    let _ = PROCESSES.insert(tgid, &process, 0);
}

/// Whether the agent wants to hear of processes that are not traced.
#[inline(always)]
pub fn watch_all() -> bool {
    // SAFETY: a static of this program, patched before it is loaded, never written by it.
    unsafe { core::ptr::read_volatile(&raw const WATCH_ALL) != 0 }
}

/// Whether the process was found to serve several requests by turns: its threads and tasks are no evidence.
#[inline(always)]
pub fn is_multiplexed(process: *mut Process) -> bool {
    // SAFETY: a map value stays valid while the program runs.
    (unsafe { (*process).flags }) & process_flag::MULTIPLEXED != 0
}
