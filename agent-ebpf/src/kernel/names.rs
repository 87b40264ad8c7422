//! What a thread's name says of how it serves. Pools name their threads before they run, so that a name can be trusted
//! from a thread's first call on.

use aya_ebpf::helpers::generated as helper;

/// Names are compared in lower case: the bit that makes it so is set in all the other characters that matter too.
const LOWER: u64 = 0x2020_2020_2020_2020;

/// A part of a name, of at most eight bytes.
struct Part {
    text: u64,
    mask: u64,
}

const fn part(text: &str) -> Part {
    let bytes = text.as_bytes();
    let (mut value, mut mask, mut i) = (0, 0, 0);
    while i < bytes.len() {
        value |= (bytes[i] as u64) << (8 * i);
        mask |= 0xff << (8 * i);
        i += 1;
    }
    Part { text: value, mask }
}

/// In the names of threads that wait for many sockets and serve those that are ready by turns: Netty, Reactor, Vert.x, XNIO,
/// Armeria, Ktor. The kernel keeps 15 bytes of a name, of which newer JVMs use seven for the beginning and six for the
/// end, with two dots between them.
const LOOPS: [Part; 15] = [
    part("nioeven"),
    part("epollev"),
    part("kqueue"),
    part("iouring"),
    part("ventloop"),
    part("eventlo"),
    part("multithr"),
    part("..up-"),
    part("..p-"),
    part("netty"),
    part(" i/o"),
    part("reactor"),
    part("vert.x"),
    part("armeria"),
    part("-poller"),
];

/// In the names of those that take up tasks which others left: actors of Akka and Pekko.
const ACTORS: [Part; 4] = [part("-akk"), part("akka."), part("-pek"), part("pekko.")];

/// How the names of others of them begin: pools of Java's that steal work, among them what carries virtual threads;
/// coroutines, fibers, Netty on io_uring.
const TASKS: [Part; 6] =
    [part("forkjoi"), part("virtual"), part("defaultd"), part("io-compu"), part("zschedul"), part("iouring")];

/// The current thread's name, in lower case.
#[inline(always)]
fn name() -> [u64; 2] {
    let mut name = [0u64; 2];
    // SAFETY: sixteen bytes are written.
    unsafe { helper::bpf_get_current_comm((&raw mut name).cast(), 16) };
    [name[0] | LOWER, name[1] | LOWER]
}

/// 0 if one of the parts is what eight bytes begin with, else 1.
///
/// Without a branch: the verifier would follow both ways of each.
#[inline(always)]
fn differs(window: u64, parts: &[Part]) -> u64 {
    // The highest bit of a number or of its negative is set unless it is 0.
    let one = |all: u64, part: &Part| {
        let difference = (window ^ part.text) & part.mask;
        all & (difference | difference.wrapping_neg()) >> 63
    };
    parts.iter().fold(1, one)
}

/// 0 if one of the parts is in the name, else 1.
#[inline(always)]
fn lacks(name: [u64; 2], parts: &[Part]) -> u64 {
    let [mut low, mut high] = name;
    let mut lacks = 1;
    let mut i = 0;
    while i < 15 {
        lacks &= differs(low, parts);
        low = low >> 8 | high << 56;
        high >>= 8;
        i += 1;
    }
    lacks
}

/// 1 if the current thread, which waits for many sockets, serves several requests by turns as its name says; else 0.
#[inline(never)]
pub fn is_loop() -> u32 {
    (lacks(name(), &LOOPS) ^ 1) as u32
}

/// 1 if the current thread takes up tasks that others left, as its name says; else 0.
#[inline(never)]
pub fn changes_tasks() -> u32 {
    let name = name();
    (differs(name[0], &TASKS) & lacks(name, &ACTORS) ^ 1) as u32
}
