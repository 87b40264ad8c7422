//! Way in `sock`: the socket layer's own tracepoints. They fire after the fact, for socket I/O only, with the
//! socket and the result; the user memory is found from the registers the task saved on its way in, once
//! those are proven to belong to this very call.

use aya_ebpf::{
    macros::{map, raw_tracepoint},
    maps::LruHashMap,
    programs::RawTracePointContext,
};
use sockspan_ebpf::{Counter, Direction};

use crate::kernel::{
    arch::{self, Registers, Shape},
    call::{self, Call},
    count, observe, read, traced,
};

/// Receives of something else than the next bytes of the stream: urgent ones, a look that consumes nothing (PEEK), or
/// the socket's own reports (ERRQUEUE).
pub const BESIDE_THE_STREAM: u32 = 1 | 2 | 0x2000;
/// On a stream: the bytes are discarded instead of written to the buffer.
pub const MSG_TRUNC: u32 = 0x20;
/// User space's struct msghdr: iovec pointer and count.
const MSGHDR_IOV: u64 = 16;
/// User space's struct mmsghdr, and where the kernel puts the bytes moved.
const MMSGHDR: u64 = 64;
const MMSGHDR_LENGTH: u64 = 56;

/// How far a sendmmsg or recvmmsg has come: it fires once a message on one set of registers.
#[repr(C)]
#[derive(Clone, Copy)]
struct Batch {
    vector: u64,
    index: u32,
    /// Bytes of the message at `index`, to recognise it as done.
    length: u32,
}

#[map]
static BATCHES: LruHashMap<u32, Batch> = LruHashMap::with_max_entries(1024, 0);

#[raw_tracepoint(tracepoint = "sock_send_length")]
pub fn sock_send_length(ctx: RawTracePointContext) -> i32 {
    enter(&ctx, Direction::Send)
}

#[raw_tracepoint(tracepoint = "sock_recv_length")]
pub fn sock_recv_length(ctx: RawTracePointContext) -> i32 {
    enter(&ctx, Direction::Receive)
}

#[inline(always)]
fn enter(ctx: &RawTracePointContext, direction: Direction) -> i32 {
    let (tgid, tid) = read::ids();
    let Some(process) = traced::process(tgid) else { return 0 };
    let result: i32 = ctx.arg::<u64>(1) as i32;
    let flags: u32 = ctx.arg::<u64>(2) as u32;
    let receives = direction == Direction::Receive;
    if (result == 0 && !receives) || (receives && flags & BESIDE_THE_STREAM != 0) {
        return 0;
    }
    if result < 0 {
        if receives {
            observe::fail(ctx.arg::<u64>(0), result, process);
        }
        return 0;
    }
    let Some(call) = call::call(direction as u32) else { return 0 };
    call.sock = ctx.arg::<u64>(0);
    call.address = 0;
    call.at = read::now();
    call.began = 0;
    call.shape = Shape::Unknown;
    call.count = 0;
    call.direction = direction as u32;
    call.length = result as u32;
    call.after = 0;
    call.tgid = tgid;
    call.tid = tid;
    locate(call, tid, receives && flags & MSG_TRUNC != 0);
    observe::observe(call, process);
    0
}

/// Finds the call's memory, if the saved registers are those of this call: a system call of this direction on
/// a descriptor that is this socket.
#[inline(always)]
fn locate(call: &mut Call, tid: u32, truncated: bool) {
    if call.length == 0 {
        return;
    }
    let Some(registers) = arch::saved_registers() else { return };
    let form = arch::form_of(registers.number);
    let sends = call.direction == Direction::Send as u32;
    if form.shape == Shape::Unknown || (sends && !form.sends) || (!sends && !form.receives) {
        count::one(Counter::ForeignRegisters);
        return;
    }
    let index = if sends { arch::sending_descriptor(registers.number) } else { 0 };
    let fd = if index == 2 { registers.arguments[2] } else { registers.arguments[0] };
    if read::descriptor(fd).is_none_or(|sock| sock != call.sock) {
        count::one(Counter::ForeignRegisters);
        return;
    }
    if form.shape == Shape::Opaque || truncated {
        // MSG_TRUNC on a stream discards: the result counts bytes that were never written to the buffer.
        call.shape = Shape::Opaque;
        return;
    }
    memory(call, &registers, form.shape, tid);
}

/// Turns a system call's arguments into a buffer or an array of them.
#[inline(always)]
fn memory(call: &mut Call, registers: &Registers, shape: Shape, tid: u32) {
    let argument = registers.arguments[1];
    match shape {
        Shape::Flat if u64::from(call.length) > registers.arguments[2] => {
            // More than this call asked for: other work of the task's, on the same socket.
            count::one(Counter::ForeignRegisters);
        }
        Shape::Flat => (call.shape, call.address) = (Shape::Flat, argument),
        Shape::Vector => {
            (call.shape, call.address, call.count) = (Shape::Vector, argument, registers.arguments[2] as u32);
        }
        Shape::Message => message(call, argument),
        Shape::Messages => {
            let index = batch(tid, argument, registers.arguments[2] as u32, call.length);
            message(call, argument + u64::from(index) * MMSGHDR);
        }
        _ => {}
    }
}

/// The memory of one struct msghdr.
#[inline(always)]
pub fn message(call: &mut Call, header: u64) {
    if let Some([vector, count]) = read::user::<[u64; 2]>(header + MSGHDR_IOV) {
        (call.shape, call.address, call.count) = (Shape::Vector, vector, count as u32);
    }
}

/// Bytes that message `index` of a finished sendmmsg or recvmmsg moved.
#[inline(always)]
pub fn message_length(vector: u64, index: u32) -> Option<u32> {
    read::user::<u32>(vector + u64::from(index) * MMSGHDR + MMSGHDR_LENGTH)
}

/// Where message `index` of a sendmmsg or recvmmsg has its header.
#[inline(always)]
pub fn message_at(vector: u64, index: u32) -> u64 {
    vector + u64::from(index) * MMSGHDR
}

/// Which message of a batch this firing is for. It follows the one before only if the kernel has meanwhile
/// written that one's length into the caller's array, as it does inside one call.
#[inline(always)]
fn batch(tid: u32, vector: u64, count: u32, length: u32) -> u32 {
    let mut index = 0;
    // SAFETY: copied out at once.
    if let Some(before) = unsafe { BATCHES.get(tid) }.copied() {
        let follows = before.vector == vector && before.index + 1 < count;
        if follows && message_length(vector, before.index) == Some(before.length) {
            index = before.index + 1;
        }
    }
    if index + 1 >= count {
        let _ = BATCHES.remove(tid);
    } else {
        let _ = BATCHES.insert(tid, Batch { vector, index, length }, 0);
    }
    index
}
