//! The tests' harness: the agent as a child process, real services to trace, a real OTLP receiver, and judges that
//! compare what arrived with what is known to have happened.
//!
//! In: the environment that `cargo xtask test` sets ([`given`]). Out: values to assert on. Whatever a test starts ends
//! with the value that stands for it, also when the test panics; logs are shown then.

pub mod actor;
pub mod agent;
pub mod bpf;
pub mod child;
pub mod cluster;
pub mod forwarding;
pub mod ftrace;
pub mod given;
pub mod http;
pub mod instrumented;
pub mod jaeger;
pub mod judge;
pub mod load;
pub mod netns;
pub mod otlp;
pub mod pair;
pub mod programs;
pub mod raw;
pub mod reset;
pub mod runtimes;
pub mod secret;
pub mod services;
pub mod shop;
pub mod span;
pub mod stage;
pub mod usage;

use std::time::{Duration, Instant};

/// Asks `condition` every few milliseconds until it holds, at most for `limit`; returns whether it did.
pub fn wait_until(limit: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + limit;
    loop {
        if condition() {
            return true;
        }
        if Instant::now() >= end {
            return false;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}
