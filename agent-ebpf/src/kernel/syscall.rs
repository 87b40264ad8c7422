//! Way in `syscalls`: enter and exit of the system calls that move bytes on sockets. For kernels without the
//! socket layer's tracepoints; it knows when a call began, and costs every task of the node a little.

use aya_ebpf::{
    EbpfContext as _,
    macros::{map, tracepoint},
    maps::LruHashMap,
    programs::TracePointContext,
};
use sockspan_ebpf::{Counter, Direction, Process};

use crate::kernel::{
    arch::{self, Shape},
    call::{self, Call},
    count,
    emit::{load, store},
    observe, read,
    socket::{self, BESIDE_THE_STREAM, MSG_TRUNC},
    traced,
};

/// Messages of one sendmmsg or recvmmsg that are looked at.
const MESSAGES: u32 = 3;
/// Messages whose lengths are added up, so that positions stay right.
const SUMMED: u32 = 16;

// The tracepoints' fields, the same for every system call: number, then arguments or result.
const NUMBER: usize = 8;
const RESULT: usize = 16;
const ARGUMENTS: [usize; 4] = [16, 24, 32, 40];

/// A system call under way.
#[repr(C)]
#[derive(Clone, Copy)]
struct Pending {
    sock: u64,
    generation: u64,
    argument: u64,
    began: u64,
    count: u32,
    shape: Shape,
    direction: u32,
    truncated: u32,
}

/// Calls under way, by thread.
#[map]
static PENDING: LruHashMap<u32, Pending> = LruHashMap::with_max_entries(16384, 0);

/// Forgets the call a thread is in.
#[inline(always)]
pub fn forget(tid: u32) {
    let _ = PENDING.remove(tid);
}

#[inline(always)]
fn field(ctx: &TracePointContext, offset: usize) -> u64 {
    // SAFETY: a load from the context, which the verifier checks.
    unsafe { core::ptr::read_volatile(ctx.as_ptr().cast::<u8>().add(offset).cast::<u64>()) }
}

#[tracepoint]
pub fn syscall_enter(ctx: TracePointContext) -> u32 {
    enter(&ctx, false)
}

/// recvfrom alone has its flags in a fourth argument. A program that reads four may not be attached to a call
/// that has three.
#[tracepoint]
pub fn syscall_enter_recvfrom(ctx: TracePointContext) -> u32 {
    enter(&ctx, true)
}

#[inline(always)]
fn enter(ctx: &TracePointContext, recvfrom: bool) -> u32 {
    let (tgid, tid) = read::ids();
    if traced::process(tgid).is_none() {
        return 0;
    }
    // What an earlier call of this thread left behind (it was killed in it) is not this call's.
    forget(tid);
    // SAFETY: as in `field`.
    let number =
        u64::from(unsafe { core::ptr::read_volatile(ctx.as_ptr().cast::<u8>().add(NUMBER).cast::<u32>()) });
    let form = arch::form_of(number);
    let arguments = [field(ctx, ARGUMENTS[0]), field(ctx, ARGUMENTS[1]), field(ctx, ARGUMENTS[2])];
    let flags = if recvfrom {
        field(ctx, ARGUMENTS[3])
    } else if arch::is_recvmsg(number) {
        arguments[2]
    } else {
        0
    };
    if form.shape == Shape::Unknown || flags as u32 & BESIDE_THE_STREAM != 0 {
        return 0;
    }
    let splice = arch::sending_descriptor(number) == 2;
    let fd = if splice { arguments[2] } else { arguments[0] };
    let mut direction = if form.sends { Direction::Send } else { Direction::Receive };
    let mut found = read::descriptor(fd);
    if found.is_none() && splice {
        found = read::descriptor(arguments[0]);
        direction = Direction::Receive;
    }
    let Some(sock) = found else { return 0 };
    let pending = Pending {
        sock,
        generation: read::generation(sock),
        argument: arguments[1],
        began: read::now(),
        count: arguments[2] as u32,
        shape: form.shape,
        direction: direction as u32,
        truncated: u32::from(flags as u32 & MSG_TRUNC != 0),
    };
    if PENDING.insert(tid, pending, 0).is_err() {
        count::one(Counter::CallsFull);
    }
    0
}

#[tracepoint]
pub fn syscall_exit(ctx: TracePointContext) -> u32 {
    let (tgid, tid) = read::ids();
    let Some(process) = traced::process(tgid) else { return 0 };
    // SAFETY: copied out at once.
    let Some(pending) = (unsafe { PENDING.get(tid) }).copied() else { return 0 };
    let _ = PENDING.remove(tid);
    let result = field(&ctx, RESULT) as i64;
    let receives = pending.direction == Direction::Receive as u32;
    // The descriptor may have been closed and the socket's memory be another's by now.
    let same = read::generation(pending.sock) == pending.generation;
    if (result == 0 && !receives) || !same {
        return 0;
    }
    if result < 0 {
        if receives {
            observe::fail(pending.sock, result as i32, process);
        }
        return 0;
    }
    finish(&pending, process, result as u32, tgid, tid);
    0
}

#[inline(always)]
fn finish(pending: &Pending, process: *mut Process, result: u32, tgid: u32, tid: u32) {
    let Some(call) = call::call(pending.direction) else { return };
    call.sock = pending.sock;
    call.address = pending.argument;
    call.at = read::now();
    call.began = pending.began;
    call.shape = pending.shape;
    call.count = pending.count;
    call.direction = pending.direction;
    call.length = result;
    call.after = 0;
    call.tgid = tgid;
    call.tid = tid;
    if pending.truncated != 0 {
        call.shape = Shape::Opaque;
    }
    match call.shape {
        Shape::Message => {
            call.shape = Shape::Unknown;
            socket::message(call, pending.argument);
        }
        Shape::Messages => {
            batch(call, pending.argument, process, result);
            return;
        }
        _ => {}
    }
    observe::observe(call, process);
}

/// The messages of a finished sendmmsg or recvmmsg, each as a call of its own.
#[inline(always)]
fn batch(call: &mut Call, vector: u64, process: *mut Process, messages: u32) {
    store(&mut call.after, 0);
    let mut i = 0u32;
    while i < SUMMED {
        if i >= messages {
            break;
        }
        let sum = load(&call.after) + socket::message_length(vector, i).unwrap_or(0);
        store(&mut call.after, sum);
        i += 1;
    }
    i = 0;
    while i < MESSAGES {
        if i >= messages {
            break;
        }
        store(&mut call.length, socket::message_length(vector, i).unwrap_or(0));
        let rest = load(&call.after).wrapping_sub(load(&call.length));
        store(&mut call.after, rest);
        store(&mut call.shape, Shape::Unknown);
        socket::message(call, socket::message_at(vector, i));
        if load(&call.length) > 0 {
            observe::observe(call, process);
        }
        i += 1;
    }
}
