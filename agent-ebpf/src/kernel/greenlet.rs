//! Greenlets (gevent, eventlet): which one runs on a thread, and for which exchange. Breakpoints in the greenlet module
//! and one in CPython, in the traced process alone.
//!
//! The greenlet that reads a request works for it. One that is made while another works for an exchange works for that
//! too: it is lent, and believed when the greenlet ends; see [`heir`]. But not on another thread, where gevent's pool has
//! its workers. A thread that changes no greenlets is left to [`context`].

use aya_ebpf::{
    macros::{map, uprobe},
    maps::LruHashMap,
    programs::ProbeContext,
};
use sockspan_ebpf::Process;

use crate::kernel::{
    arch,
    connection::Connection,
    context::{self, Handle, Work},
    heir,
    probe::{argument, traced_ids},
    task, traced,
};

/// The greenlet that runs on a thread.
#[repr(C)]
#[derive(Clone, Copy)]
struct Running {
    /// greenlet's object of C++; it is not moved while it lives.
    greenlet: u64,
    /// Thread ids are reused.
    tgid: u64,
}

/// What a greenlet works for that has read no request itself.
#[repr(C)]
#[derive(Clone, Copy)]
struct Lent {
    /// What stands for its maker's exchange until it ends.
    exchange: u64,
    /// The thread that it was made on.
    tid: u64,
}

/// No entry for a thread that has not changed greenlets since the hooks are there: which one it runs is not known.
#[map]
static RUNNING: LruHashMap<u32, Running> = LruHashMap::with_max_entries(16384, 0);

#[map]
static LENT: LruHashMap<Handle, Lent> = LruHashMap::with_max_entries(16384, 0);

/// The greenlet that runs on the thread; 0 if that is not known.
#[inline(always)]
pub fn running(tid: u32, tgid: u32) -> u64 {
    // SAFETY: copied out at once.
    unsafe { RUNNING.get(tid) }.filter(|r| r.tgid == u64::from(tgid)).map_or(0, |r| r.greenlet)
}

/// Whether the thread has not changed greenlets, in a process in which such threads serve one request at a time.
#[inline(always)]
pub fn is_plain(process: *mut Process, tid: u32, tgid: u32) -> bool {
    // SAFETY: a map value stays valid while the program runs.
    (unsafe { (*process).layout.greenlet.threads }) != 0 && running(tid, tgid) == 0
}

/// Forgets the thread.
#[inline(always)]
pub fn forget(tid: u32) {
    let _ = RUNNING.remove(tid);
}

/// The exchange that the greenlet running on the thread works for; 0 for none.
#[inline(always)]
pub fn current(process: *mut Process, tid: u32, tgid: u32) -> u64 {
    if traced::is_multiplexed(process) {
        return 0;
    }
    acts(tid, tgid)
}

/// The exchange in whose name the greenlet that runs on the thread does something now, or what stands for it; 0 for none.
#[inline(always)]
fn acts(tid: u32, tgid: u32) -> u64 {
    let exchange = works_for(tid, tgid);
    heir::acts(Handle::new(tgid, running(tid, tgid)), exchange);
    exchange
}

#[inline(always)]
fn works_for(tid: u32, tgid: u32) -> u64 {
    let greenlet = Handle::new(tgid, running(tid, tgid));
    if greenlet.address == 0 {
        return 0;
    }
    let own = task::exchange_of(greenlet);
    if own != 0 {
        return own;
    }
    // SAFETY: copied out at once.
    unsafe { LENT.get(greenlet) }.filter(|lent| lent.tid == u64::from(tid)).map_or(0, |lent| lent.exchange)
}

/// The greenlet, which runs, has read (more of) a request.
#[inline(always)]
pub fn serve(tgid: u32, greenlet: u64, connection: &Connection) {
    if greenlet != 0 {
        task::set(Handle::new(tgid, greenlet), connection.exchange);
    }
}

/// Whether the greenlet that answers has read another request since: it is an event loop of its own, and proves nothing.
#[inline(always)]
pub fn has_moved_on(tid: u32, tgid: u32, connection: &Connection) -> bool {
    let own = task::exchange_of(Handle::new(tgid, running(tid, tgid)));
    own != 0 && own != connection.exchange
}

/// `Greenlet::g_switchstack_success()`: the thread has changed to the greenlet that it is called on.
#[uprobe]
pub fn greenlet_switch(ctx: ProbeContext) -> u32 {
    let Some((tgid, tid)) = traced_ids() else { return 0 };
    let running = Running { greenlet: argument(&ctx, arch::BEHIND_RESULT), tgid: u64::from(tgid) };
    match RUNNING.get_ptr_mut(tid) {
        // SAFETY: a map value stays valid while the program runs, and only this thread writes this one.
        Some(known) => unsafe { *known = running },
        None => {
            // What it served until now is of a greenlet whose name was not known.
            context::enter(tid, tgid, Work::NONE);
            let _ = RUNNING.insert(tid, running, 0);
        }
    }
    0
}

/// `UserGreenlet(…)`: a greenlet is made by the one that runs, whose exchange it is lent. The address was another's.
#[uprobe]
pub fn greenlet_lend(ctx: ProbeContext) -> u32 {
    let Some((tgid, tid)) = traced_ids() else { return 0 };
    let made = Handle::new(tgid, argument(&ctx, 0));
    let of = acts(tid, tgid);
    task::set(made, 0);
    if of == 0 {
        let _ = LENT.remove(made);
    } else {
        let _ = LENT.insert(made, Lent { exchange: heir::begin(made, of), tid: u64::from(tid) }, 0);
    }
    0
}

/// `PythonState::did_finish(tstate)`: the greenlet that runs has done what it was made for. Where one that never did is torn
/// down, no thread's state is given, and another may run.
#[uprobe]
pub fn greenlet_end(ctx: ProbeContext) -> u32 {
    let Some((tgid, tid)) = traced_ids() else { return 0 };
    let ended = Handle::new(tgid, running(tid, tgid));
    if argument(&ctx, 1) == 0 {
        return 0;
    }
    // SAFETY: copied out at once.
    if let Some(lent) = unsafe { LENT.get(ended) }.copied() {
        let _ = LENT.remove(ended);
        // One that has read a request since worked for that.
        let own = task::exchange_of(ended);
        heir::end(ended, if own == 0 { lent.exchange } else { own });
    }
    0
}

/// `MainGreenlet(…)`: it works for nobody.
#[uprobe]
pub fn greenlet_make(ctx: ProbeContext) -> u32 {
    let Some((tgid, _)) = traced_ids() else { return 0 };
    let made = Handle::new(tgid, argument(&ctx, 0));
    task::set(made, 0);
    let _ = LENT.remove(made);
    0
}
