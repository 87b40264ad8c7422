//! The kernel's own account of system calls, to compare clocks with: ftrace, in an instance of our own.
//!
//! In: threads. Out: their calls on descriptors, with entry and exit by the kernel's monotonic clock. The instance goes
//! with the value that stands for it, also when a test panics; other users of ftrace notice nothing.

use std::{collections::HashMap, fs, io, path::PathBuf};

use nix::mount::{MsFlags, mount};

const ROOT: &str = "/sys/kernel/tracing";
/// Calls that read from a descriptor.
const READS: [&str; 4] = ["read", "readv", "recvfrom", "recvmsg"];
/// Calls that write to one.
const WRITES: [&str; 4] = ["write", "writev", "sendto", "sendmsg"];

/// Which way a call moves bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// From a descriptor.
    Read,
    /// To a descriptor.
    Write,
}

/// A call that was entered and left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// The thread.
    pub thread: u32,
    /// Which way.
    pub way: Way,
    /// The descriptor.
    pub descriptor: u64,
    /// Nanoseconds of the monotonic clock.
    pub enter: u64,
    /// Likewise.
    pub exit: u64,
    /// What it returned.
    pub result: i64,
}

/// An instance that records.
#[derive(Debug)]
pub struct Ftrace {
    folder: PathBuf,
}

impl Ftrace {
    /// Records the calls of these threads from now on.
    ///
    /// # Panics
    /// Without the right to, or on a kernel without the tracepoints of system calls.
    pub fn start(threads: &[u32]) -> Self {
        if !fs::exists(format!("{ROOT}/instances")).unwrap_or(false) {
            mount(Some("tracefs"), ROOT, Some("tracefs"), MsFlags::empty(), None::<&str>)
                .expect("root may mount tracefs");
        }
        let name = format!("{ROOT}/instances/sockspan-tests-{}", std::process::id());
        fs::create_dir(&name).expect("root may make an instance of ftrace");
        let ftrace = Self { folder: name.into() };
        ftrace.set_up(threads).expect("the kernel has the tracepoints of system calls");
        ftrace
    }

    fn set_up(&self, threads: &[u32]) -> io::Result<()> {
        let threads: Vec<_> = threads.iter().map(u32::to_string).collect();
        self.write("trace_clock", "mono")?;
        self.write("buffer_size_kb", "8192")?;
        self.write("set_event_pid", &threads.join(" "))?;
        for call in READS.iter().chain(&WRITES) {
            for end in ["enter", "exit"] {
                self.write(&format!("events/syscalls/sys_{end}_{call}/enable"), "1")?;
            }
        }
        self.write("tracing_on", "1")
    }

    fn write(&self, file: &str, text: &str) -> io::Result<()> {
        fs::write(self.folder.join(file), text)
    }

    /// All calls so far, in the order of their exits.
    ///
    /// # Panics
    /// If what was recorded can't be read.
    pub fn calls(&self) -> Vec<Call> {
        self.write("tracing_on", "0").expect("the instance is ours");
        let text = fs::read_to_string(self.folder.join("trace")).expect("the instance is ours");
        self.write("tracing_on", "1").expect("the instance is ours");
        parse(&text)
    }
}

impl Drop for Ftrace {
    fn drop(&mut self) {
        // Events first: an instance that is in use can't be removed.
        let _ = self.write("tracing_on", "0");
        let _ = self.write("events/enable", "0");
        if let Err(error) = fs::remove_dir(&self.folder) {
            println!("{} stays: {error}", self.folder.display());
        }
    }
}

/// Pairs the lines of entries and exits.
fn parse(text: &str) -> Vec<Call> {
    let mut open: HashMap<u32, (String, u64, u64)> = HashMap::new();
    let mut calls = Vec::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let Some((thread, at, what)) = split(line) else { continue };
        if let Some((name, result)) = what.split_once(" -> ") {
            let entered = open.remove(&thread).filter(|(entered, ..)| *entered == name);
            let (Some((_, descriptor, enter)), Some(way)) = (entered, way(name)) else { continue };
            calls.push(Call { thread, way, descriptor, enter, exit: at, result: number(result) });
        } else if let Some((name, arguments)) = what.split_once('(') {
            let first = arguments.split(&[',', ')']).next().and_then(|word| word.split_once(": "));
            if let Some((_, descriptor)) = first {
                open.insert(thread, (name.to_owned(), number(descriptor).unsigned_abs(), at));
            }
        }
    }
    calls
}

/// `node-17 [001] ..... 12.345678: sys_read(fd: 5, …` in its thread, nanoseconds and what happened.
fn split(line: &str) -> Option<(u32, u64, &str)> {
    // A thread's name may hold anything, but not the bracket of the processor after its id.
    let (task, rest) = line.split_once(" [")?;
    let thread = task.trim().rsplit_once('-')?.1.parse().ok()?;
    let (head, what) = rest.split_once(": ")?;
    let (seconds, micros) = head.split_whitespace().last()?.split_once('.')?;
    let at = seconds.parse::<u64>().ok()? * 1_000_000_000 + micros.parse::<u64>().ok()? * 1_000;
    Some((thread, at, what))
}

fn way(name: &str) -> Option<Way> {
    let name = name.strip_prefix("sys_")?;
    let reads = READS.contains(&name).then_some(Way::Read);
    reads.or_else(|| WRITES.contains(&name).then_some(Way::Write))
}

/// `0x1f`, or decimal; negative results are written as the kernel's `unsigned long`.
fn number(text: &str) -> i64 {
    let text = text.trim();
    let value = match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => return text.parse().unwrap_or(0),
    };
    value.unwrap_or(0).cast_signed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_and_exits_are_paired() {
        let text = "# tracer: nop\n\
            a b-17 [0]-7      [001] .....   12.000001: sys_read(fd: 5, buf: 7f00, count: 10)\n\
            \x20          node-7       [001] .....   12.000001: sys_read(fd: 0x14, buf: 7f00, count: 10000)\n\
            \x20          node-8       [000] .....   12.000002: sys_sendto(fd: 9, buff: 7f00, len: 5, flags: 0)\n\
            \x20          node-7       [001] .....   12.000009: sys_read -> 0x2a\n\
            \x20          node-8       [000] .....   12.000010: sys_sendto -> 0xfffffffffffffff5\n\
            \x20          node-9       [000] .....   12.000011: sys_write -> 0x1\n";
        let calls = parse(text);
        assert_eq!(calls.len(), 2, "{calls:?}");
        let read = Call {
            thread: 7,
            way: Way::Read,
            descriptor: 20,
            enter: 12_000_001_000,
            exit: 12_000_009_000,
            result: 42,
        };
        assert_eq!(calls[0], read);
        assert_eq!((calls[1].way, calls[1].descriptor, calls[1].result), (Way::Write, 9, -11));
    }
}
