//! A network of its own for services, with settings that the machine's network should not have.
//!
//! In: closures. Out: their results; the processes, sockets and threads that they start live in the namespace.

use std::{
    fs::{self, File},
    process::Command,
    thread,
};

use nix::sched::{CloneFlags, setns, unshare};

/// A network namespace with nothing but loopback; gone with the last of its users.
#[derive(Debug)]
pub struct Netns {
    handle: File,
}

impl Netns {
    /// A new one, its loopback up.
    ///
    /// # Panics
    /// Without the right to make one, or without `ip`.
    pub fn new() -> Self {
        let made = thread::spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET).expect("root may make network namespaces");
            let up = Command::new("ip").args(["link", "set", "lo", "up"]).status();
            assert!(up.is_ok_and(|status| status.success()), "`ip link set lo up` (package iproute2) failed");
            File::open("/proc/thread-self/ns/net").expect("a namespace has a name")
        });
        Self { handle: made.join().expect("the namespace was made") }
    }

    /// With so many ephemeral ports, each free again as soon as its connection is closed at both ends.
    ///
    /// # Panics
    /// Without the right to set that.
    #[must_use]
    pub fn with_ports(self, first: u16, count: u16) -> Self {
        let range = format!("{first} {}", first + count - 1);
        self.enter(|| {
            fs::write("/proc/sys/net/ipv4/ip_local_port_range", range)?;
            // Otherwise 200 ports are used up within a second, and wait for a minute.
            fs::write("/proc/sys/net/ipv4/tcp_max_tw_buckets", "0")
        })
        .expect("root may set what a network namespace does");
        self
    }

    /// Runs `f` inside, on a thread of its own.
    pub fn enter<T: Send>(&self, f: impl FnOnce() -> T + Send) -> T {
        thread::scope(|scope| {
            let inside = scope.spawn(|| {
                setns(&self.handle, CloneFlags::CLONE_NEWNET).expect("root may enter network namespaces");
                f()
            });
            inside.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }
}

impl Default for Netns {
    fn default() -> Self {
        Self::new()
    }
}
