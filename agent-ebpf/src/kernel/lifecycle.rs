//! Beginnings and ends: processes (fork, exec, exit) and connections (connect, listen, close).

use aya_ebpf::{macros::raw_tracepoint, programs::RawTracePointContext};
use aya_log_ebpf::debug;
use sockspan_ebpf::{Direction, EventKind, LEFT, Policy, Role, process_flag};

use crate::kernel::{
    asyncio,
    connection::{self, Connection, known},
    context::{self, Work},
    emit::{self, Piece},
    greenlet, libuv, read,
    read::offset,
    syscall, traced,
};

/// The whole process ends.
const SIGNAL_GROUP_EXIT: u32 = 4;
const TCP_SYN_SENT: u64 = 2;
const TCP_FIN_WAIT1: u64 = 4;
const TCP_CLOSE: u64 = 7;
const TCP_LAST_ACK: u64 = 9;
const TCP_LISTEN: u64 = 10;

#[raw_tracepoint(tracepoint = "sched_process_fork")]
pub fn sched_process_fork(ctx: RawTracePointContext) -> i32 {
    let (tgid, tid) = read::ids();
    let Some(parent) = traced::process(tgid) else { return 0 };
    let child: u32 = read::kernel(ctx.arg::<u64>(1) + offset!(task_tgid));
    if child == tgid {
        context::inherit(parent, tid, tgid, read::kernel(ctx.arg::<u64>(1) + offset!(task_pid)));
        return 0;
    }
    // SAFETY: a map value stays valid while the program runs.
    let mut process = unsafe { *parent };
    if process.policy > Policy::Thread as u32 {
        // The hooks that make its parent's calls evidence are not in the child.
        process = traced::unproven(process.flags);
    }
    traced::add(child, &process);
    emit::lifecycle(EventKind::Fork, child, tgid, process.flags);
    debug!(&ctx, "process {} of {} is traced from its first moment", child, tgid);
    0
}

#[raw_tracepoint(tracepoint = "sched_process_exec")]
pub fn sched_process_exec(ctx: RawTracePointContext) -> i32 {
    let (tgid, tid) = read::ids();
    let mut flags = process_flag::UNJUDGED;
    if let Some(process) = traced::process(tgid) {
        context::forget(tid);
        asyncio::forget(tid);
        greenlet::forget(tid);
        libuv::forget(tid);
        // Another program, another runtime: until the agent has looked, its threads prove nothing.
        // SAFETY: as above.
        unsafe {
            flags &= (*process).flags;
            *process = traced::unproven(flags);
        }
    } else if traced::watch_all() {
        traced::add_unjudged(tgid);
    } else {
        return 0;
    }
    emit::lifecycle(EventKind::Exec, tgid, 0, flags);
    debug!(&ctx, "process {} executes a new program", tgid);
    0
}

#[raw_tracepoint(tracepoint = "sched_process_exit")]
pub fn sched_process_exit(ctx: RawTracePointContext) -> i32 {
    let (tgid, tid) = read::ids();
    if traced::process(tgid).is_none() {
        return 0;
    }
    let signal: u64 = read::kernel(ctx.arg::<u64>(0) + offset!(task_signal));
    if read::kernel::<u32>(signal + offset!(signal_flags)) & SIGNAL_GROUP_EXIT == 0 {
        context::end(tid, tgid);
    } else {
        // All threads end at once, a pool's workers too: that says nothing of what they worked for.
        context::forget(tid);
    }
    asyncio::forget(tid);
    greenlet::forget(tid);
    libuv::forget(tid);
    syscall::forget(tid);
    // The first thread may end before the others, and the last is counted out by now.
    if read::kernel::<u32>(signal + offset!(signal_live)) == 0 {
        emit::lifecycle(EventKind::Exit, tgid, 0, 0);
        debug!(&ctx, "process {} ends", tgid);
    }
    0
}

#[raw_tracepoint(tracepoint = "inet_sock_set_state")]
pub fn inet_sock_set_state(ctx: RawTracePointContext) -> i32 {
    let sock: u64 = ctx.arg::<u64>(0);
    match ctx.arg::<u64>(2) & 0xff {
        TCP_SYN_SENT => connecting(sock),
        TCP_LISTEN => listening(sock),
        state @ (TCP_FIN_WAIT1 | TCP_LAST_ACK | TCP_CLOSE) => {
            if let Some(connection) = connection::at(sock) {
                closing(sock, connection, state as u8);
                forget_orphan(sock, state);
            }
        }
        _ => {}
    }
    0
}

/// connect() is under way. In an event loop it is so in the context of its caller: the first request belongs to that.
#[inline(always)]
fn connecting(sock: u64) {
    let (tgid, tid) = read::ids();
    let Some(process) = traced::process(tgid) else { return };
    // SAFETY: as above.
    let in_loop = unsafe { (*process).policy } == Policy::Loop as u32;
    let work = if in_loop { context::current(tid, tgid) } else { Work::NONE };
    if let Some(old) = connection::at(sock) {
        // SAFETY: as above.
        context::release(unsafe { &mut *old });
    }
    let Some(c) = connection::create(sock, read::generation(sock), true) else { return };
    // SAFETY: as above.
    unsafe {
        (*c).context = work.exchange;
        (*c).via = work.via;
        (*c).flags |= known::CONNECT;
    }
}

#[inline(always)]
fn listening(sock: u64) {
    let (tgid, _) = read::ids();
    if traced::watch_all() || traced::process(tgid).is_some() {
        let port: u16 = read::kernel(sock + offset!(sock_num));
        emit::lifecycle(EventKind::Listen, tgid, u32::from(port), 0);
    }
}

/// This end is done sending, or the connection is over; often in the context of the peer's packet.
#[inline(always)]
fn closing(sock: u64, c: *mut Connection, state: u8) {
    // SAFETY: as above.
    let c = unsafe { &mut *c };
    // What is remembered may be of an earlier socket at this address: one that was closed, or had another inode.
    let generation = read::generation(sock);
    if c.flags & known::CLOSED != 0 || (generation != 0 && generation != c.generation) {
        return;
    }
    let left = connection::is_left(sock);
    if u64::from(state) == TCP_CLOSE || left {
        context::release(c);
        c.flags |= known::CLOSED;
    }
    let http = c.role == Role::Server as u8 || c.role == Role::Client as u8;
    if !http || c.exchange == 0 {
        return;
    }
    let piece = Piece {
        kind: EventKind::Closed as u8,
        evidence: 0,
        state: state | if left { LEFT } else { 0 },
        reserved: 0,
        flags: 0,
        position: connection::next(c, Direction::Send),
        // To this state leads a connection whose other end goes on.
        missed: connection::read_up_to(sock, c, u64::from(state) != TCP_FIN_WAIT1),
        length: 0,
        skip: 0,
        head: 0,
        tail: 0,
        parent: 0,
        via: 0,
    };
    emit::turn(sock, c, &piece);
}

/// A socket that no descriptor holds any more is never read again: it makes room at once.
#[inline(always)]
fn forget_orphan(sock: u64, state: u64) {
    if state == TCP_CLOSE && read::generation(sock) == 0 {
        connection::remove(sock);
    }
}
