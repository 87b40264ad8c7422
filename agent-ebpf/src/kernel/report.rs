//! Telling the agent of a call: how much of it, and in how many events.

use sockspan_ebpf::{Counter, HEAD_BYTES, Role, SMALL_BYTES, TAIL_BYTES, flag};

use crate::kernel::{
    call::{Call, readable},
    connection::{self, Connection},
    count,
    emit::{self, load, store},
};

/// How many bytes of a message are copied at most; the agent sets it.
#[unsafe(no_mangle)]
pub static HEAD_LIMIT: u32 = HEAD_BYTES as u32;

/// Events one call can take: its head in pieces of HEAD_BYTES.
const PIECES: u32 = 4;

#[inline(always)]
pub fn head_limit() -> u32 {
    // SAFETY: a static of this program, patched before it is loaded, never written by it.
    unsafe { core::ptr::read_volatile(&raw const HEAD_LIMIT) }
}

/// Tells the agent of the call, in as many pieces as its head needs, unless it said it knows enough.
///
/// A function of its own, whose arguments are all in memory: the verifier then follows it once, not once for
/// every way that leads here.
#[inline(never)]
pub fn report(call: &mut Call, c: &mut Connection) -> u32 {
    let side = (call.direction & 1) as usize;
    if !readable(call) {
        count::one(Counter::Unreadable);
        call.piece.flags |= u32::from(flag::UNREADABLE);
    }
    store(&mut call.done, 0);
    store(&mut call.budget, c.budget[side]);
    let starts = call.piece.flags & u32::from(flag::STARTS_MESSAGE) != 0;
    if c.budget[side] == 0 && !starts && skipped(call, c) {
        return 0;
    }
    store(&mut call.start, call.piece.position);
    let mut i = 0u32;
    while i < PIECES {
        i += 1;
        if !tell(call, c, i == PIECES) {
            break;
        }
    }
    c.budget[side] = load(&call.budget);
    0
}

/// Whether the agent knows enough of these bytes: they lie inside a body. What follows the body in the same
/// call is the next message's, and is told.
#[inline(always)]
fn skipped(call: &mut Call, c: &mut Connection) -> bool {
    let side = (call.direction & 1) as usize;
    let Some(skip) = connection::skip(call.sock, c.generation) else { return false };
    // SAFETY: a map value stays valid while the program runs.
    let skip = unsafe { &mut *skip };
    if skip.ignore != 0 {
        c.role = Role::NotHttp as u8;
        return true;
    }
    let ahead = skip.until[side].wrapping_sub(call.piece.position) as i32;
    if skip.valid[side] == 0 || ahead <= 0 {
        // Passed: 2 GiB on it would seem to lie ahead again.
        skip.valid[side] = 0;
        return false;
    }
    if ahead as u32 > call.length {
        count::one(Counter::Skipped);
        return true;
    }
    if (ahead as u32) < call.length {
        store(&mut call.done, ahead as u32);
        store(&mut call.budget, head_limit());
    }
    false
}

/// Tells the next piece of a call. `false`: it was the last. What has to outlive the telling is kept in
/// memory, for the same reason.
#[inline(always)]
fn tell(call: &mut Call, c: &Connection, last: bool) -> bool {
    plan(call, last);
    emit::data(call, c);
    let length = load(&call.piece.length);
    let (done, budget) = (load(&call.done), load(&call.budget));
    // The budget is for the message's first bytes, whether they could be copied or not.
    store(&mut call.budget, budget - if length < budget { length } else { budget });
    store(&mut call.done, done.wrapping_add(length));
    store(&mut call.piece.missed, 0);
    let flags = load(&call.piece.flags) & !u32::from(flag::STARTS_MESSAGE | flag::STARTS_EXCHANGE);
    store(&mut call.piece.flags, flags);
    load(&call.done) < load(&call.length)
}

/// Decides the next piece: all the rest, unless its head is too long for one event.
#[inline(never)]
fn plan(call: &mut Call, last: bool) -> u32 {
    let (done, budget) = (load(&call.done), load(&call.budget));
    let readable = readable(call);
    let rest = call.length.wrapping_sub(done);
    let last = last || rest <= HEAD_BYTES as u32 || budget <= HEAD_BYTES as u32 || !readable;
    let length = if last { rest } else { HEAD_BYTES as u32 };
    let (head, tail) = if readable { wanted(length, budget) } else { (0, 0) };
    store(&mut call.piece.position, call.start.wrapping_add(done));
    store(&mut call.piece.length, length);
    store(&mut call.piece.skip, done);
    store(&mut call.piece.head, head);
    store(&mut call.piece.tail, tail);
    0
}

/// How much of `length` bytes to copy: the head while its budget lasts, then only what frames a body.
#[inline(always)]
fn wanted(length: u32, budget: u32) -> (u32, u32) {
    let limit = if budget > HEAD_BYTES as u32 { HEAD_BYTES as u32 } else { budget };
    let limit = if limit < SMALL_BYTES { SMALL_BYTES } else { limit };
    if length <= limit {
        (length, 0)
    } else {
        let head = if budget == 0 { 0 } else { limit };
        let rest = length - head;
        (head, if rest < TAIL_BYTES as u32 { rest } else { TAIL_BYTES as u32 })
    }
}
