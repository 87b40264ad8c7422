//! What a call's first bytes begin, and what that makes of its connection.

use sockspan_ebpf::{Counter, Direction, Role};

use crate::kernel::{
    arch::Shape,
    call::{Call, readable},
    connection::{self, Connection},
    count,
    emit::{load, store},
    message::{self, Token},
    read,
};

/// Buffers of a call over which its first eight bytes can be spread.
const LEAD_BUFFERS: u32 = 4;

/// Empty lines before a message that are passed over in its first call.
const BLANK_LINES: u32 = 2;
const LINE_END: u64 = 0x0a0d;

/// Reads the first bytes of the call's memory, at most eight, into its `lead`: they can lie in several buffers.
/// `false`: they cannot be read.
#[inline(always)]
fn read_lead(call: &mut Call) -> bool {
    store(&mut call.lead, 0);
    store(&mut call.lead_count, 0);
    if call.shape == Shape::Flat {
        let count = if call.length >= 8 { 8 } else { call.length };
        let Some(bytes) = read::user_bytes(call.address, count) else { return false };
        store(&mut call.lead, bytes);
        store(&mut call.lead_count, count);
        return true;
    }
    let mut i = 0u32;
    while i < LEAD_BUFFERS {
        if call.shape != Shape::Vector || i >= load(&call.count) || load(&call.lead_count) >= 8 {
            break;
        }
        let Some(entry) = read::user::<[u64; 2]>(load(&call.address) + u64::from(i) * 16) else {
            return false;
        };
        let have = load(&call.lead_count) & 7;
        // No further than what the call moved: the rest of a receiver's buffer is old.
        let room = u64::from(if call.length < 8 { call.length } else { 8 }.wrapping_sub(have) & 15);
        let count = if entry[1] < room { entry[1] as u32 } else { room as u32 };
        let Some(bytes) = read::user_bytes(entry[0], count) else { return false };
        let sum = load(&call.lead) | bytes << (8 * have);
        store(&mut call.lead, sum);
        store(&mut call.lead_count, have + count);
        i += 1;
    }
    load(&call.lead_count) > 0
}

/// Passes over empty lines before a message, as servers do.
#[inline(always)]
fn pass_blank(call: &mut Call) {
    let mut i = 0u32;
    while i < BLANK_LINES {
        let (bytes, count) = (load(&call.lead), load(&call.lead_count));
        if message::is_proxy(bytes, count) || count <= 2 || bytes & 0xffff != LINE_END {
            break;
        }
        store(&mut call.lead, bytes >> 16);
        store(&mut call.lead_count, count - 2);
        i += 1;
    }
}

/// Finds what the call's bytes begin, the pieces of a token that came before them included.
#[inline(never)]
pub fn recognise(call: &mut Call, c: &mut Connection) -> u32 {
    let side = (call.direction & 1) as usize;
    let before = c.lead_count[side];
    c.lead_count[side] = 0;
    store(&mut call.resumed, u32::from(before > 0));
    store(&mut call.token, Token::None);
    if !read_lead(call) {
        return 0;
    }
    let (bytes, count) = (load(&call.lead), load(&call.lead_count));
    let (bytes, count) = if before > 0 && before < 8 {
        let sum = before + count;
        (c.lead[side] | bytes << (8 * (before & 7)), if sum > 8 { 8 } else { sum })
    } else {
        (bytes, count)
    };
    store(&mut call.lead, bytes);
    store(&mut call.lead_count, count);
    if count == 0 {
        return 0;
    }
    pass_blank(call);
    let token = message::classify(load(&call.lead), load(&call.lead_count));
    store(&mut call.token, token);
    // Behind line ends fewer than eight bytes were looked at, though the call may go on.
    if load(&call.token) == Token::Partial && load(&call.length) <= 8 {
        c.lead[side] = load(&call.lead);
        c.lead_count[side] = load(&call.lead_count);
    }
    0
}

/// Decides the role of a connection by its first bytes. `false`: nothing to do with it (for now).
#[inline(always)]
pub fn accept(call: &Call, c: &mut Connection, token: Token, position: u32) -> bool {
    if token == Token::Request || token == Token::Partial {
        if call.direction == Direction::Receive as u32 {
            c.role = Role::Server as u8;
        } else {
            c.role = Role::Client as u8;
            connection::adopt_client(c);
        }
        connection::identify(call.sock, c);
        return true;
    }
    if !readable(call) {
        count::one(Counter::Unreadable);
        return false;
    }
    // What a proxy says of the connection before the first request is no verdict on it, nor are empty lines.
    if message::is_proxy(call.lead, call.lead_count) || message::is_blank(call.lead) {
        return false;
    }
    if token == Token::None && connection::is_start(c, call.direction, position) {
        refuse(c);
        let (bytes, count) = (call.lead, call.lead_count);
        if message::is_tls(bytes, count) {
            count::one(Counter::Tls);
        } else if message::is_http2(bytes, count) {
            count::one(Counter::Http2);
        }
    }
    false
}

/// What looked like the beginning of a method is none: whose the connection is, is open again, unless the bytes say that
/// it is HTTP/2, whose preface begins as some methods do.
#[inline(always)]
pub fn give_up(call: &Call, c: &mut Connection) {
    c.role = Role::Unknown as u8;
    c.exchange = 0;
    if message::is_http2(load(&call.lead), load(&call.lead_count)) {
        refuse(c);
        count::one(Counter::Http2);
    }
}

/// The connection is left alone for good.
#[inline(always)]
fn refuse(c: &mut Connection) {
    c.role = Role::NotHttp as u8;
    count::one(Counter::NotHttp);
}
