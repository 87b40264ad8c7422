//! What programs are attached to, and how it is let go.
//!
//! In: links, as they are made. Out: nothing; dropping the value detaches them, several at a time: for each the kernel
//! waits until nobody runs it any more, some 40 ms, and those waits can pass together.

use std::thread;

use aya::programs::{raw_trace_point::RawTracePointLink, trace_point::TracePointLink, uprobe::UProbeLink};

use super::multi;

/// So many are detached at a time.
const TOGETHER: usize = 8;

/// A place that runs a program.
#[derive(Debug)]
#[allow(dead_code, reason = "held, not read")]
pub enum Attachment {
    /// A tracepoint that sees the kernel's own values.
    Raw(RawTracePointLink),
    /// A system call's tracepoint.
    Call(TracePointLink),
    /// A breakpoint.
    Breakpoint(UProbeLink),
    /// All breakpoints of a program in a file.
    Breakpoints(multi::Link),
}

/// Some that belong together.
#[derive(Debug, Default)]
pub struct Attached(Vec<Attachment>);

impl FromIterator<Attachment> for Attached {
    fn from_iter<T: IntoIterator<Item = Attachment>>(attachments: T) -> Self {
        Self(attachments.into_iter().collect())
    }
}

impl Attached {
    /// Holds one more.
    pub fn add(&mut self, attachment: Attachment) {
        self.0.push(attachment);
    }

    /// Holds those of another, too.
    pub fn merge(&mut self, mut other: Self) {
        self.0.append(&mut other.0);
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        let mut left = std::mem::take(&mut self.0);
        let share = left.len().div_ceil(TOGETHER).max(1);
        thread::scope(|scope| {
            while !left.is_empty() {
                let some = left.split_off(left.len().saturating_sub(share));
                // What no thread can be had for is detached here, as the closure is dropped.
                let _ = thread::Builder::new().spawn_scoped(scope, move || drop(some));
            }
        });
    }
}
