//! Events into the ring buffer: a head from the connection and the call, then the message's own bytes.

use aya_ebpf::{
    helpers::generated as helper,
    macros::map,
    maps::{Array, PerCpuArray, RingBuf},
};
use sockspan_ebpf::{
    Counter, DATA_BYTES, Data, EVENT_BYTES, EventKind, HEAD_BYTES, Inheritance, Lifecycle, TAIL_BYTES, flag,
};

use crate::kernel::{arch::Shape, call::Call, connection::Connection, count, read};

/// The agent sets its size.
#[map]
static EVENTS: RingBuf = RingBuf::with_byte_size(8 * 1024 * 1024, 0);

/// Where an event is put together: twice the room, so that `offset + length` needs no proof beyond their
/// own bounds.
#[repr(C)]
pub struct Scratch {
    data: Data,
    bytes: [u8; 2 * HEAD_BYTES + TAIL_BYTES],
    /// Bytes gathered, and bytes of the call's memory still to pass over. They are here and not in registers
    /// so that the verifier, which knows nothing of what is in memory, sees one state where it would follow
    /// every way the loop can go.
    gathered: u32,
    pass: u32,
    /// Where the bytes go, and how many are wanted.
    at: u32,
    want: u32,
}

/// Reads a value that the verifier shall know nothing of.
#[inline(always)]
pub fn load<T: Copy>(place: &T) -> T {
    // SAFETY: a reference is valid to read.
    unsafe { core::ptr::read_volatile(place) }
}

/// Writes such a value.
#[inline(always)]
pub fn store<T: Copy>(place: &mut T, value: T) {
    // SAFETY: a reference is valid to write.
    unsafe { core::ptr::write_volatile(place, value) }
}

/// One for each direction: a sending program can be interrupted by nothing that sends, and so on.
#[map]
static SCRATCH: PerCpuArray<Scratch> = PerCpuArray::with_max_entries(2, 0);

/// Buffers of one call that are looked at; what lies in later ones is not read.
const BUFFERS: u32 = 24;

/// While events come, the agent drains on a timer; it is woken sooner when this much waits. The agent sets it with the ring's
/// size.
#[unsafe(no_mangle)]
static WAKE_BYTES: u32 = 256 * 1024;
/// A body of which so much is not copied is likely to go on: the agent is woken, once for a message, for it may know how
/// far the rest need not be told.
const LARGE_BYTES: u32 = 16 * 1024;
const NO_WAKEUP: u64 = 1;
const FORCE_WAKEUP: u64 = 2;

/// A part of a call, as one event tells it.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Piece {
    pub kind: u8,
    pub evidence: u8,
    pub state: u8,
    pub reserved: u8,
    pub flags: u32,
    pub position: u32,
    pub missed: u32,
    /// Bytes of the stream it covers.
    pub length: u32,
    /// Where in the call's memory it begins.
    pub skip: u32,
    /// Bytes to copy from there.
    pub head: u32,
    /// Bytes to copy of its end.
    pub tail: u32,
    pub parent: u64,
    pub via: u64,
}

/// A value the compiler knows nothing of, so that the bounds check after it stays in the program.
#[inline(always)]
fn opaque(value: u32) -> u32 {
    // SAFETY: a read of a local.
    unsafe { core::ptr::read_volatile(&value) }
}

/// Copies user memory; what lies on a page that is not there is left out. Returns the bytes copied.
#[inline(always)]
unsafe fn copy(to: *mut u8, from: u64, length: u32) -> u32 {
    // SAFETY: the caller gives room for HEAD_BYTES.
    unsafe {
        if helper::bpf_probe_read_user(to.cast(), length, from as *const _) == 0 {
            return length;
        }
        count::one(Counter::ShortRead);
        let to_page_end = opaque(4096 - (from & 4095) as u32);
        if to_page_end < length
            && to_page_end <= 4096
            && helper::bpf_probe_read_user(to.cast(), to_page_end, from as *const _) == 0
        {
            return to_page_end;
        }
    }
    0
}

/// Copies bytes of the call's memory into the scratch, as its fields say; `gathered` says how many.
#[inline(never)]
fn gather(scratch: &mut Scratch, call: &Call) -> u32 {
    store(&mut scratch.gathered, 0);
    if call.shape == Shape::Flat {
        buffer(scratch, call.address, u64::from(call.length));
        return 0;
    }
    let mut i = 0u32;
    while i < BUFFERS {
        if i >= load(&call.count) {
            break;
        }
        let Some(entry) = read::user::<[u64; 2]>(load(&call.address) + u64::from(i) * 16) else { break };
        if !buffer(scratch, entry[0], entry[1]) {
            break;
        }
        i += 1;
    }
    0
}

/// Copies what is wanted of one buffer. `false`: no more is.
#[inline(always)]
fn buffer(scratch: &mut Scratch, mut base: u64, mut length: u64) -> bool {
    let pass = u64::from(load(&scratch.pass));
    if pass >= length {
        store(&mut scratch.pass, (pass - length) as u32);
        return true;
    }
    base += pass;
    length -= pass;
    store(&mut scratch.pass, 0);
    let done = load(&scratch.gathered);
    let want = load(&scratch.want);
    let rest = u64::from(want.wrapping_sub(done));
    let take = opaque(if length < rest { length as u32 } else { rest as u32 });
    let to = opaque(load(&scratch.at) + done);
    if take > HEAD_BYTES as u32 || to >= HEAD_BYTES as u32 + TAIL_BYTES as u32 {
        return false;
    }
    let bytes = (&raw mut scratch.bytes).cast::<u8>();
    // SAFETY: to + take < 2 * HEAD_BYTES + TAIL_BYTES, by the line above.
    let got = unsafe { copy(bytes.add(to as usize), base, take) };
    store(&mut scratch.gathered, done + got);
    got == take && load(&scratch.gathered) < load(&scratch.want)
}

/// When the last event was told, to some milliseconds.
#[map]
static LAST: Array<u64> = Array::with_max_entries(1, 0);
/// So old that time may be before it is written anew: all processors share it.
const FRESH_NS: u64 = 5_000_000;
/// An event after so long a silence wakes the agent: it looks by itself for as long as that after each, and then sleeps.
const SILENCE_NS: u64 = 10_000_000;

#[inline(always)]
fn wakeup(at: u64) -> u64 {
    const AVAILABLE: u64 = 0;
    let enough = u64::from(load(&WAKE_BYTES));
    if breaks_silence(at) || EVENTS.query(AVAILABLE) > enough { FORCE_WAKEUP } else { NO_WAKEUP }
}

#[inline(always)]
fn breaks_silence(at: u64) -> bool {
    let Some(last) = LAST.get_ptr_mut(0) else { return false };
    // SAFETY: a map value stays valid while the program runs. Where two write at once, both wake the agent.
    unsafe {
        // One that was told meanwhile may be later than this one.
        let silence = at.wrapping_sub(*last) as i64;
        if silence > FRESH_NS as i64 {
            *last = at;
        }
        silence > SILENCE_NS as i64
    }
}

#[inline(always)]
fn output(bytes: &[u8], wakeup: u64) {
    match EVENTS.output::<[u8]>(bytes, wakeup) {
        Ok(()) => count::one(Counter::Events),
        Err(_) => count::one(Counter::RingFull),
    }
}

#[inline(always)]
fn fill(data: &mut Data, sock: u64, c: &Connection, piece: &Piece) {
    let (tgid, tid) = read::ids();
    *data = Data {
        kind: piece.kind,
        direction: 0,
        role: c.role,
        evidence: piece.evidence,
        flags: (c.flags & 0xffff) as u16 | piece.flags as u16,
        family: c.family,
        state: piece.state,
        head: 0,
        tail: 0,
        length: piece.length,
        at: read::now(),
        began: 0,
        socket: sock,
        generation: c.generation,
        exchange: c.exchange,
        parent: piece.parent,
        via: piece.via,
        tgid,
        tid,
        position: piece.position,
        missed: piece.missed,
        local_base: c.local_base,
        peer_base: c.peer_base,
        netns: c.netns,
        local_port: c.local_port,
        peer_port: c.peer_port,
        local: c.local,
        peer: c.peer,
    };
}

#[inline(always)]
fn prepare(scratch: &mut Scratch, at: u32, skip: u32, want: u32) {
    store(&mut scratch.at, at);
    store(&mut scratch.pass, skip);
    store(&mut scratch.want, want);
}

/// Tells of a piece of a call.
#[inline(never)]
pub fn data(call: &Call, c: &Connection) -> u32 {
    let piece = &call.piece;
    let Some(scratch) = SCRATCH.get_ptr_mut(call.direction & 1) else { return 0 };
    // SAFETY: this CPU's scratch of this direction, used by one program at a time.
    let scratch = unsafe { &mut *scratch };
    fill(&mut scratch.data, call.sock, c, piece);
    scratch.data.direction = call.direction as u8;
    scratch.data.at = call.at;
    scratch.data.began = call.began;
    store(&mut scratch.data.head, 0);
    store(&mut scratch.data.tail, 0);
    if load(&piece.head) > 0 {
        prepare(scratch, 0, piece.skip, piece.head);
        gather(scratch, call);
        let head = load(&scratch.gathered);
        store(&mut scratch.data.head, head as u16);
        if head < load(&piece.head) {
            scratch.data.flags |= flag::SHORT_READ;
        }
    }
    let head = u32::from(load(&scratch.data.head));
    if load(&piece.tail) > 0 && head == load(&piece.head) {
        prepare(scratch, head, piece.skip + piece.length - piece.tail, piece.tail);
        gather(scratch, call);
        if load(&scratch.gathered) == load(&piece.tail) {
            store(&mut scratch.data.tail, piece.tail as u16);
        }
    }
    let tail = u32::from(load(&scratch.data.tail));
    let size = opaque(DATA_BYTES as u32 + head + tail);
    if size < DATA_BYTES as u32 || size > EVENT_BYTES as u32 {
        return 0;
    }
    let start = (&raw const *scratch).cast::<u8>();
    // What the budget for a head ends in is told but once.
    let large = head > 0 && load(&piece.length) - head >= LARGE_BYTES;
    // SAFETY: size is within the scratch, by the line above.
    let bytes = unsafe { core::slice::from_raw_parts(start, size as usize) };
    output(bytes, if large { FORCE_WAKEUP } else { wakeup(call.at) });
    0
}

/// Tells of a connection, without bytes: its peer's end of stream, or a new state.
#[inline(always)]
pub fn turn(sock: u64, c: &Connection, piece: &Piece) {
    let mut data = core::mem::MaybeUninit::<Data>::uninit();
    // SAFETY: fill writes the whole of it, and Data has no padding.
    let bytes = unsafe {
        fill(data.assume_init_mut(), sock, c, piece);
        core::slice::from_raw_parts(data.as_ptr().cast::<u8>(), DATA_BYTES)
    };
    output(bytes, wakeup(read::now()));
}

/// Tells of a process.
#[inline(always)]
pub fn lifecycle(kind: EventKind, tgid: u32, other: u32, flags: u32) {
    let event = Lifecycle { kind: kind as u8, reserved: [0; 3], tgid, other, flags, at: read::now() };
    // SAFETY: Lifecycle has no padding.
    let bytes =
        unsafe { core::slice::from_raw_parts((&raw const event).cast::<u8>(), size_of::<Lifecycle>()) };
    // Whether to trace a new program must be decided before its first request.
    output(bytes, FORCE_WAKEUP);
}

/// Tells what a task that ends had inherited.
#[inline(always)]
pub fn inheritance(tgid: u32, heir: u64, of: u64) {
    let kind = EventKind::Inherited as u8;
    let event = Inheritance { kind, reserved: [0; 3], tgid, heir, of, at: read::now() };
    // SAFETY: Inheritance has no padding.
    let bytes =
        unsafe { core::slice::from_raw_parts((&raw const event).cast::<u8>(), size_of::<Inheritance>()) };
    output(bytes, wakeup(event.at));
}
