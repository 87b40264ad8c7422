//! Go: which goroutine runs on a thread, and for which exchange. Goroutines move between threads; the register that
//! holds the running one is part of Go's calling convention, and their ids are never used again.
//!
//! net/http's client writes a request on another goroutine than the one that makes it. What both have in hand is the
//! connection (`persistConn`), which serves one request at a time.
//!
//! What a goroutine inherits is believed when it ends; see [`heir`].

use aya_ebpf::{macros::uprobe, programs::ProbeContext};
use sockspan_ebpf::{GoLayout, HEIR, Policy, Process};

use crate::kernel::{
    arch, aside,
    connection::Connection,
    context::{Handle, Work},
    heir,
    probe::register,
    read, task, traced,
};

/// The exchange in whose name a goroutine does something now, or what stands for it; 0 for none.
#[inline(always)]
fn exchange_of(goroutine: Handle) -> u64 {
    let exchange = task::exchange_of(goroutine);
    heir::acts(goroutine, exchange);
    exchange
}

/// The goroutine that `g`, a `runtime.g`, stands for.
#[inline(always)]
fn named(layout: &GoLayout, tgid: u32, g: u64) -> Option<Handle> {
    let id = read::user::<u64>(g + u64::from(layout.goid)).filter(|id| *id != 0)?;
    Some(Handle::new(tgid, id))
}

/// The goroutine that a thread executes, by any goroutine `g` of that thread.
#[inline(always)]
fn executed(layout: &GoLayout, g: u64) -> Option<u64> {
    let machine = read::user::<u64>(g + u64::from(layout.g_m)).filter(|m| *m != 0)?;
    read::user::<u64>(machine + u64::from(layout.m_curg)).filter(|g| *g != 0)
}

/// The id of the goroutine that makes the current system call; 0 for none. In C code the register holds anything, and on
/// the runtime's own stacks a goroutine without work of its own: only one that its thread says it executes is believed.
#[inline(always)]
pub fn running(process: *mut Process, tgid: u32) -> u64 {
    // SAFETY: a map value stays valid while the program runs; copied out at once.
    let layout = unsafe { (*process).layout.go };
    let executes = arch::saved_goroutine().filter(|g| executed(&layout, *g) == Some(*g));
    executes.and_then(|g| named(&layout, tgid, g)).map_or(0, |goroutine| goroutine.address)
}

/// The exchange in whose name the goroutine of this id does something now, or what stands for it; 0 for none.
#[inline(always)]
pub fn current(process: *mut Process, tgid: u32, id: u64) -> u64 {
    if id == 0 || traced::is_multiplexed(process) { 0 } else { exchange_of(Handle::new(tgid, id)) }
}

/// Whether the goroutine that answers works for another exchange: then they take up work that is not their maker's.
#[inline(always)]
pub fn has_moved_on(process: *mut Process, tgid: u32, connection: &Connection) -> bool {
    let goroutine = Handle::new(tgid, running(process, tgid));
    let works_for = heir::stands_for(goroutine, task::exchange_of(goroutine));
    // What an heir's maker inherited cannot be told here.
    works_for != 0 && works_for & HEIR == 0 && works_for != connection.exchange
}

/// The goroutine of this id, which runs, has read (more of) a request.
#[inline(always)]
pub fn serve(tgid: u32, id: u64, connection: &Connection) {
    if id != 0 {
        task::set(Handle::new(tgid, id), connection.exchange);
    }
}

/// A probe's process, if it goes by goroutines.
#[inline(always)]
fn layout() -> Option<(GoLayout, u32)> {
    let (tgid, _) = read::ids();
    let process = traced::process(tgid)?;
    // SAFETY: as above.
    unsafe { ((*process).policy == Policy::Goroutine as u32).then_some(((*process).layout.go, tgid)) }
}

/// `runqput(p, newg, …)`, called on the scheduler's stack for a goroutine that a `go` statement has just made: it works
/// for what the one that made it works for.
#[uprobe]
pub fn go_start(ctx: ProbeContext) -> u32 {
    start(&ctx);
    0
}

#[inline(always)]
fn start(ctx: &ProbeContext) -> Option<()> {
    let (layout, tgid) = layout()?;
    let maker = executed(&layout, register(ctx, arch::GOROUTINE))?;
    let of = exchange_of(named(&layout, tgid, maker)?);
    if of != 0 {
        let goroutine = named(&layout, tgid, register(ctx, arch::GO_FUNCTION[1]))?;
        task::set(goroutine, heir::begin(goroutine, of));
    }
    Some(())
}

/// `goexit1()`: the goroutine that runs ends.
#[uprobe]
pub fn go_end(ctx: ProbeContext) -> u32 {
    end(&ctx);
    0
}

#[inline(always)]
fn end(ctx: &ProbeContext) -> Option<()> {
    let (layout, tgid) = layout()?;
    let goroutine = named(&layout, tgid, register(ctx, arch::GOROUTINE))?;
    let exchange = task::exchange_of(goroutine);
    task::set(goroutine, 0);
    heir::end(goroutine, exchange);
    Some(())
}

/// `(*persistConn).roundTrip(…)`: the goroutine that runs makes a request on this connection.
#[uprobe]
pub fn go_send(ctx: ProbeContext) -> u32 {
    send(&ctx);
    0
}

#[inline(always)]
fn send(ctx: &ProbeContext) -> Option<()> {
    let (layout, tgid) = layout()?;
    let exchange = named(&layout, tgid, register(ctx, arch::GOROUTINE)).map_or(0, exchange_of);
    aside::put(tgid, register(ctx, arch::GO_FUNCTION[0]), Work { exchange, via: 0 });
    Some(())
}

/// `persistConnWriter.Write(…)`: the goroutine that runs writes the request that is made on this connection.
#[uprobe]
pub fn go_write(ctx: ProbeContext) -> u32 {
    write(&ctx);
    0
}

#[inline(always)]
fn write(ctx: &ProbeContext) -> Option<()> {
    let (layout, tgid) = layout()?;
    let writer = named(&layout, tgid, register(ctx, arch::GOROUTINE))?;
    task::set(writer, aside::under(tgid, register(ctx, arch::GO_FUNCTION[0])).exchange);
    Some(())
}
