//! What a thread's name says of how it serves. Pools name their threads before they run, so that a name can be trusted
//! from a thread's first call on.
//!
//! In: a name as the kernel keeps it, sixteen bytes with a zero at the end. Out: a finding. Without branches, because the
//! verifier would follow both ways of each.

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
const ACTORS: [Part; 5] = [part("-akk"), part("akka."), part("-pek"), part("pekko."), part("..cher-")];

/// How the names of others of them begin: pools of Java's that steal work, among them what carries virtual threads;
/// coroutines, fibers, Netty on io_uring.
const TASKS: [Part; 6] =
    [part("forkjoi"), part("virtual"), part("defaultd"), part("io-comp"), part("zschedu"), part("iouring")];
/// And one whose beginning is others' too: `DefaultDispatcher-worker-1`, shortened.
const COROUTINES: [[Part; 1]; 2] = [[part("default.")], [part(".rker-")]];

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

/// In lower case, as far as letters go.
#[inline(always)]
fn lower(name: [u64; 2]) -> [u64; 2] {
    [name[0] | LOWER, name[1] | LOWER]
}

/// 1 if a thread of this name, which waits for many sockets, serves several requests by turns; else 0.
#[inline(always)]
pub fn is_loop(name: [u64; 2]) -> u32 {
    (lacks(lower(name), &LOOPS) ^ 1) as u32
}

/// 1 if a thread of this name takes up tasks that others left; else 0.
#[inline(always)]
pub fn changes_tasks(name: [u64; 2]) -> u32 {
    let name = lower(name);
    let coroutines = differs(name[0], &COROUTINES[0]) | differs(name[1], &COROUTINES[1]);
    (differs(name[0], &TASKS) & lacks(name, &ACTORS) & coroutines ^ 1) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(name: &str) -> [u64; 2] {
        let mut bytes = [0; 16];
        let length = name.len().min(15);
        bytes[..length].copy_from_slice(&name.as_bytes()[..length]);
        let (low, high) = bytes.split_at(8);
        [low, high].map(|half| u64::from_le_bytes(half.try_into().unwrap()))
    }

    #[test]
    fn threads_that_wait_for_many_sockets() {
        let loops = [
            "nioEventLoopGroup-3-1",
            "epollEv..up-2-4",
            "default-nioEventLoopGroup-1",
            "default..up-1-3",
            "multiThreadIoEventLoopGroup-2-1",
            "eventLo..xy-4-1",
            "reactor-http-nio-2",
            "vert.x-eventloop-thread-0",
            "XNIO-1 I/O-1",
            "default I/O-1",
            "armeria-common-worker-epoll-2-1",
            "my-netty-1",
            "Master-Poller",
        ];
        for name in loops {
            assert_eq!(is_loop(kept(name)), 1, "{name}");
        }
        // Jetty's and Tomcat's wait for many sockets too, and the JDK's own server.
        for name in
            ["qtp1562398427-35", "qtp1562..427-35", "http-nio-8080-Poller", "HTTP-Dispatcher", "Thread-0", ""]
        {
            assert_eq!(is_loop(kept(name)), 0, "{name}");
        }
    }

    #[test]
    fn threads_that_take_up_what_others_left() {
        let tasks = [
            "ForkJoinPool-1-worker-1",
            "ForkJoinPool.commonPool-worker-3",
            "ForkJoi..rker-1",
            "VirtualThread-unparker",
            "DefaultDispatcher-worker-1",
            "io-compute-3",
            "ZScheduler-Worker-0",
            "ioUringEventLoopGroup-1",
            "application-akka.actor.default-dispatcher-4",
            "shop-pekko.actor",
            "akka.io",
            "Default..rker-1",
            "io-comp..cker-1",
            "ZSchedu..rker-0",
            "shop-ak..cher-5",
        ];
        for name in tasks {
            assert_eq!(changes_tasks(kept(name)), 1, "{name}");
        }
        for name in [
            "http-nio-8080-exec-1",
            "http-ni..exec-1",
            "pool-1-thread-1",
            "XNIO-1 task-1",
            "default task-7",
            "default..task-7",
            "tomcat-..rker-7",
            "task-1",
        ] {
            assert_eq!(changes_tasks(kept(name)), 0, "{name}");
        }
    }
}
