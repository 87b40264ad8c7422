//! What a socket call of a traced process means: which message it begins or continues, which exchange it
//! belongs to, and how much of it the agent needs to see.

use aya_ebpf::{macros::map, maps::PerCpuArray};
use sockspan_ebpf::{
    Counter, Direction, EventKind, Evidence, HEAD_BYTES, Policy, Process, Role, SMALL_BYTES, TAIL_BYTES, flag,
};

use crate::kernel::{
    arch::Shape,
    connection::{self, Connection, REQUEST, RESPONSE, known},
    context, count,
    emit::{self, Piece, load, store},
    message::{self, Token},
    read,
};

/// How many bytes of a message are copied at most; the agent sets it.
#[unsafe(no_mangle)]
pub static HEAD_LIMIT: u32 = HEAD_BYTES as u32;

/// Events one call can take: its head in pieces of HEAD_BYTES.
const PIECES: u32 = 4;

/// Buffers of a call over which its first eight bytes can be spread.
const LEAD_BUFFERS: u32 = 4;

/// A socket call that is over.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Call {
    pub sock: u64,
    /// The user memory, as `shape` says: a buffer or an array of iovec.
    pub address: u64,
    pub at: u64,
    pub began: u64,
    pub shape: Shape,
    pub count: u32,
    pub direction: u32,
    /// Bytes it moved.
    pub length: u32,
    /// Bytes the same system call moved after these.
    pub after: u32,
    pub tgid: u32,
    pub tid: u32,
    /// Its first bytes, those of the pieces before included, and what they begin.
    lead: u64,
    lead_count: u32,
    resumed: u32,
    token: Token,
    /// Position of its first byte.
    start: u32,
    /// How the telling of it goes on: bytes told, bytes that may still be copied, the part to tell next.
    done: u32,
    budget: u32,
    pub piece: Piece,
}

/// The call under way, by direction: programs call each other, and share one small stack.
#[map]
static CALLS: PerCpuArray<Call> = PerCpuArray::with_max_entries(2, 0);

/// Room for a call of this direction.
#[inline(always)]
pub fn call(direction: u32) -> Option<&'static mut Call> {
    // SAFETY: this CPU's, of this direction, used by one program at a time.
    CALLS.get_ptr_mut(direction & 1).map(|call| unsafe { &mut *call })
}

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

/// Finds what the call's bytes begin, the pieces of a token that came before them included.
#[inline(never)]
fn recognise(call: &mut Call, c: &mut Connection) -> u32 {
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
    let token = message::classify(load(&call.lead), load(&call.lead_count));
    store(&mut call.token, token);
    if load(&call.token) == Token::Partial {
        c.lead[side] = load(&call.lead);
        c.lead_count[side] = load(&call.lead_count);
    }
    0
}

/// Whether the call's user memory was found.
#[inline(always)]
fn readable(call: &Call) -> bool {
    call.shape == Shape::Flat || call.shape == Shape::Vector
}

/// Decides the role of a connection by its first bytes. `false`: nothing to do with it (for now).
#[inline(always)]
fn accept(call: &Call, c: &mut Connection, token: Token, position: u32) -> bool {
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
    if token == Token::None && connection::is_start(c, call.direction, position) {
        c.role = Role::NotHttp as u8;
        count::one(Counter::NotHttp);
        let (bytes, count) = (call.lead, call.lead_count);
        if message::is_tls(bytes, count) {
            count::one(Counter::Tls);
        } else if message::is_http2(bytes, count) {
            count::one(Counter::Http2);
        }
    }
    false
}

/// A request begins on this connection: a new exchange, and for a client the evidence of its parent.
#[inline(always)]
fn begin(call: &mut Call, c: &mut Connection, process: *mut Process) {
    c.exchange = count::new_id();
    c.phase = REQUEST;
    call.piece.flags |= u32::from(flag::STARTS_MESSAGE | flag::STARTS_EXCHANGE);
    if c.role != Role::Client as u8 {
        return;
    }
    let (mut parent, mut evidence) = context::evidence(process, call.tid, call.tgid);
    // SAFETY: a map value stays valid while the program runs.
    let in_loop = unsafe { (*process).policy } == Policy::Loop as u32;
    // Where threads serve, a pool may hand a new connection to another than the one it was opened for.
    if in_loop && c.flags & known::CONNECT != 0 && c.context != 0 {
        if parent == 0 {
            (parent, evidence) = (c.context, Evidence::Connect);
        } else if parent != c.context {
            // Opened for one exchange, used by another: neither is certain.
            count::one(Counter::Contradicted);
            (parent, evidence) = (0, Evidence::None);
        }
    }
    c.flags &= !known::CONNECT;
    c.context = parent;
    call.piece.parent = parent;
    call.piece.evidence = evidence as u8;
}

/// The call carries request bytes. `false`: it belongs to nothing that is followed.
#[inline(always)]
fn request(call: &mut Call, c: &mut Connection, process: *mut Process, token: Token, resumed: bool) -> bool {
    let turn = c.phase == RESPONSE || c.exchange == 0;
    if (token == Token::Request && !resumed) || (token == Token::Partial && turn) {
        // The token's first pieces began the exchange already when more of them come in.
        begin(call, c, process);
        c.budget[(call.direction & 1) as usize] = head_limit();
    } else {
        if token == Token::Partial && !resumed {
            c.lead_count[(call.direction & 1) as usize] = 0;
        }
        if token == Token::None && resumed && c.phase == REQUEST {
            // It only looked like the beginning of a method.
            c.role = Role::Unknown as u8;
            c.exchange = 0;
        }
    }
    if c.exchange == 0 {
        return false;
    }
    if c.role == Role::Server as u8 {
        // SAFETY: a map value stays valid while the program runs.
        let policy = unsafe { (*process).policy };
        context::serve(policy, call.tid, call.tgid, c, c.phase == REQUEST);
    }
    true
}

/// The call carries response bytes. `false`: as above.
#[inline(always)]
fn response(call: &mut Call, c: &mut Connection, process: *mut Process, token: Token) -> bool {
    if c.exchange == 0 {
        return false;
    }
    let side = (call.direction & 1) as usize;
    if c.phase == REQUEST {
        c.phase = RESPONSE;
        if c.role == Role::Server as u8 {
            context::answer(process, call.tid, call.tgid, c);
        }
        if token != Token::None {
            c.budget[side] = head_limit();
            call.piece.flags |= u32::from(flag::STARTS_MESSAGE);
        }
        return true;
    }
    if c.role == Role::Server as u8 {
        context::go_on(process, call.tid, call.tgid, c);
    }
    if token == Token::Response {
        c.budget[side] = head_limit();
        call.piece.flags |= u32::from(flag::STARTS_MESSAGE);
    }
    true
}

#[inline(always)]
fn head_limit() -> u32 {
    // SAFETY: a static of this program, patched before it is loaded, never written by it.
    unsafe { core::ptr::read_volatile(&raw const HEAD_LIMIT) }
}

/// Event loops: what was just read decides whose work comes next on this thread.
#[inline(always)]
fn resume(call: &Call, c: &Connection, process: *mut Process) {
    // SAFETY: a map value stays valid while the program runs.
    if unsafe { (*process).policy } != Policy::Loop as u32 || call.direction != Direction::Receive as u32 {
        return;
    }
    let exchange = match c.role {
        r if r == Role::Server as u8 => c.exchange,
        r if r == Role::Client as u8 => c.context,
        _ => 0,
    };
    context::enter(call.tid, call.tgid, exchange);
}

/// Takes in a socket call of a traced process. The agent hears of it if it belongs to an HTTP exchange.
#[inline(never)]
pub fn observe(call: &mut Call, process: *mut Process) -> u32 {
    count::one(Counter::Calls);
    let generation = read::generation(call.sock);
    let Some(c) = connection::of(call.sock, generation) else {
        leave(call, process);
        return 0;
    };
    // SAFETY: a map value stays valid while the program runs; concurrent calls on one socket can disturb each
    // other's view of it, never memory.
    let c = unsafe { &mut *c };
    if call.length == 0 {
        end_of_stream(call, c, process);
        return 0;
    }
    if c.role == Role::NotHttp as u8 {
        resume(call, c, process);
        return 0;
    }
    connection::find_bases(call.sock, c);
    let (position, missed) = connection::advance(call.sock, c, call.direction, call.length, call.after);
    recognise(call, c);
    let (token, resumed) = (load(&call.token), load(&call.resumed) != 0);
    if c.role == Role::Unknown as u8 && !accept(call, c, token, position) {
        resume(call, c, process);
        return 0;
    }
    call.piece = Piece { position, missed, length: call.length, ..NOTHING };
    let asks = (c.role == Role::Server as u8) == (call.direction == Direction::Receive as u32);
    let followed =
        if asks { request(call, c, process, token, resumed) } else { response(call, c, process, token) };
    resume(call, c, process);
    if followed {
        report(call, c);
    }
    0
}

/// A socket that is no stream: an event loop that read from it works for nobody now.
#[inline(always)]
fn leave(call: &Call, process: *mut Process) {
    // SAFETY: as in `resume`.
    let policy = unsafe { (*process).policy };
    if policy == Policy::Loop as u32 && call.direction == Direction::Receive as u32 {
        context::enter(call.tid, call.tgid, 0);
    }
}

#[inline(always)]
fn end_of_stream(call: &mut Call, c: &mut Connection, process: *mut Process) {
    resume(call, c, process);
    if c.role == Role::Server as u8 {
        // Nobody asks any more; Unix sockets have no other end.
        context::release(c);
    }
    let http = c.role == Role::Server as u8 || c.role == Role::Client as u8;
    if call.direction != Direction::Receive as u32 || !http || c.exchange == 0 {
        return;
    }
    let position = c.next[Direction::Receive as usize];
    call.piece = Piece { kind: EventKind::EndOfStream as u8, position, ..NOTHING };
    emit::data(call, c);
}

/// A piece of data that tells nothing yet.
const NOTHING: Piece = Piece {
    kind: EventKind::Data as u8,
    evidence: 0,
    state: 0,
    reserved: 0,
    flags: 0,
    position: 0,
    missed: 0,
    length: 0,
    skip: 0,
    head: 0,
    tail: 0,
    parent: 0,
};

/// Tells the agent of the call, in as many pieces as its head needs, unless it said it knows enough.
///
/// A function of its own, whose arguments are all in memory: the verifier then follows it once, not once for
/// every way that leads here.
#[inline(never)]
fn report(call: &mut Call, c: &mut Connection) -> u32 {
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
    let (head, length) = (load(&call.piece.head), load(&call.piece.length));
    let (done, budget) = (load(&call.done), load(&call.budget));
    store(&mut call.budget, budget - if head < budget { head } else { budget });
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
