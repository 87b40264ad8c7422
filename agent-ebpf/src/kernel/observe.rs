//! What a socket call of a traced process means: which message it begins or continues, and which exchange it
//! belongs to.

use sockspan_ebpf::{Counter, Direction, EventKind, Evidence, Policy, Process, Role, flag};

use crate::kernel::{
    call::Call,
    connection::{self, Connection, REQUEST, RESPONSE, known},
    context::{self, Work},
    count,
    emit::{self, Piece, load},
    message::Token,
    read,
    recognise::{accept, give_up, recognise},
    report::{head_limit, report},
    task,
};

const EAGAIN: i32 = -11;

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
        // Who asks for nothing gets nothing: that is no end.
        if connection::is_ended(call.sock) {
            end_of_stream(call, c, process);
        }
        return 0;
    }
    if c.role == Role::NotHttp as u8 {
        resume(call, c, process);
        return 0;
    }
    call.task = 0;
    // Also of who begins to answer.
    if c.role == Role::Unknown as u8 || asks(call, c) || (c.role == Role::Server as u8 && c.phase == REQUEST)
    {
        call.task = task::running(process, call.tid, call.tgid);
    }
    connection::find_bases(call.sock, c);
    let (position, missed) = connection::advance(call.sock, c, call.direction, call.length, call.after);
    recognise(call, c);
    if c.role == Role::Unknown as u8 && !accept(call, c, load(&call.token), position) {
        resume(call, c, process);
        return 0;
    }
    call.piece = Piece { position, missed, length: call.length, ..NOTHING };
    let followed = if asks(call, c) { request(call, c, process) } else { response(call, c, process) };
    resume(call, c, process);
    if followed {
        report(call, c);
    }
    0
}

/// Whether requests go this way on the connection.
#[inline(always)]
fn asks(call: &Call, c: &Connection) -> bool {
    (c.role == Role::Server as u8) == (call.direction == Direction::Receive as u32)
}

/// A receive failed, with this negative errno. An event loop hands that to whoever waits on the socket, as it does
/// with bytes; that there is nothing yet it keeps to itself.
#[inline(never)]
pub fn fail(sock: u64, error: i32, process: *mut Process) -> u32 {
    // SAFETY: a map value stays valid while the program runs.
    if unsafe { (*process).policy } != Policy::Loop as u32 || error == EAGAIN {
        return 0;
    }
    let (tgid, tid) = read::ids();
    // SAFETY: as above.
    let found = connection::at(sock).map(|c| unsafe { &*c });
    let work = found.filter(|c| c.generation == read::generation(sock)).map_or(Work::NONE, worked_for);
    context::enter(tid, tgid, work);
    0
}

/// A request begins on this connection: a new exchange, and for a client the evidence of its parent.
///
/// A function of its own, as [`request`] and [`response`] are, that leaves what it found in memory alone: the verifier
/// then goes on with one state, not with one for every kind of evidence.
#[inline(never)]
fn begin(call: &mut Call, c: &mut Connection, process: *mut Process) -> u32 {
    if c.role == Role::Server as u8 {
        if c.exchange != 0 && c.phase == REQUEST {
            c.flags |= known::PIPELINED;
        }
        connection::note_accepted(call.sock, c);
    }
    c.exchange = count::new_id();
    c.phase = REQUEST;
    call.piece.flags |= u32::from(flag::STARTS_MESSAGE | flag::STARTS_EXCHANGE);
    if c.role != Role::Client as u8 {
        return 0;
    }
    let (mut work, mut evidence) = context::evidence(process, call.tid, call.tgid, call.task);
    // SAFETY: a map value stays valid while the program runs.
    let in_loop = unsafe { (*process).policy } == Policy::Loop as u32;
    // Where threads serve, a pool may hand a new connection to another than the one it was opened for.
    if in_loop && c.flags & known::CONNECT != 0 && c.context != 0 {
        if work.exchange == 0 {
            (work, evidence) = (Work { exchange: c.context, via: c.via }, Evidence::Connect);
        } else if work.exchange != c.context {
            // Opened for one exchange, used by another: neither is certain.
            count::one(Counter::Contradicted);
            (work, evidence) = (Work::NONE, Evidence::None);
        }
    }
    if c.flags & known::WRITTEN != 0 {
        (work, evidence) = written(work.exchange, c.context);
    }
    c.flags &= !(known::CONNECT | known::WRITTEN);
    c.context = work.exchange;
    call.piece.parent = work.exchange;
    call.piece.via = work.via;
    call.piece.evidence = evidence as u8;
    0
}

/// What a task wrote its event loop may send later: it was written for `writer`, and is sent in the context of `sender`.
#[inline(always)]
fn written(sender: u64, writer: u64) -> (Work, Evidence) {
    if writer == 0 || (sender != 0 && sender != writer) {
        return (Work::NONE, Evidence::None);
    }
    (Work { exchange: writer, via: 0 }, Evidence::Task)
}

/// The call carries request bytes. `false`: it belongs to nothing that is followed.
#[inline(never)]
fn request(call: &mut Call, c: &mut Connection, process: *mut Process) -> bool {
    let (token, resumed) = (load(&call.token), load(&call.resumed) != 0);
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
            give_up(call, c);
        }
    }
    if c.exchange == 0 {
        return false;
    }
    if c.role == Role::Server as u8 {
        context::serve(process, call, c, c.phase == REQUEST);
    }
    true
}

/// The call carries response bytes. `false`: as above.
#[inline(never)]
fn response(call: &mut Call, c: &mut Connection, process: *mut Process) -> bool {
    let token = load(&call.token);
    if c.exchange == 0 {
        return false;
    }
    let side = (call.direction & 1) as usize;
    if c.role == Role::Server as u8 {
        sent_by(call, c, process);
    }
    if c.phase == REQUEST {
        c.phase = RESPONSE;
        if c.role == Role::Server as u8 {
            context::answer(process, call.tid, call.tgid, c);
            task::answer(process, call.tgid, load(&call.task), c);
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

/// Event loops: in whose context a response is sent. Whose it is, is not certain where requests did not wait for the
/// responses before them.
#[inline(always)]
fn sent_by(call: &mut Call, c: &Connection, process: *mut Process) {
    // SAFETY: a map value stays valid while the program runs.
    let in_loop = unsafe { (*process).policy } == Policy::Loop as u32;
    if in_loop && c.flags & known::PIPELINED == 0 {
        let work = context::current(call.tid, call.tgid);
        (call.piece.parent, call.piece.via) = (work.exchange, work.via);
    }
}

/// Event loops: what was just read decides whose work comes next on this thread.
#[inline(always)]
fn resume(call: &Call, c: &Connection, process: *mut Process) {
    // SAFETY: a map value stays valid while the program runs.
    if unsafe { (*process).policy } != Policy::Loop as u32 || call.direction != Direction::Receive as u32 {
        return;
    }
    context::enter(call.tid, call.tgid, worked_for(c));
}

/// The exchange for which something is done about this connection.
#[inline(always)]
fn worked_for(c: &Connection) -> Work {
    match c.role {
        r if r == Role::Server as u8 => Work { exchange: c.exchange, via: 0 },
        r if r == Role::Client as u8 && c.context != 0 => Work { exchange: c.context, via: c.exchange },
        _ => Work::NONE,
    }
}

/// A socket that is no stream: an event loop that read from it works for nobody now.
#[inline(always)]
fn leave(call: &Call, process: *mut Process) {
    // SAFETY: as in `resume`.
    let policy = unsafe { (*process).policy };
    if policy == Policy::Loop as u32 && call.direction == Direction::Receive as u32 {
        context::enter(call.tid, call.tgid, Work::NONE);
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
    let position = connection::next(c, Direction::Receive);
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
    via: 0,
};
