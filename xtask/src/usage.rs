//! What processes have taken of the processors and of memory.
//!
//! In: /proc. Out: CPU time in seconds, of a process group or thread by thread, and bytes.

use std::{collections::BTreeMap, fs};

use anyhow::{Context, Result};

/// The kernel's clock ticks a second in /proc, a constant of its interface to programs.
const TICKS: f64 = 100.0;

/// A line of `/proc/PID/stat`, as far as it matters.
#[derive(Clone, Debug, PartialEq)]
struct Stat {
    name: String,
    group: u32,
    ticks: u64,
}

impl Stat {
    /// The second field, the name, may hold anything: the others count from its end.
    fn parse(line: &str) -> Option<Self> {
        const GROUP: usize = 2;
        const USER: usize = 11;
        let (before, fields) = line.rsplit_once(") ")?;
        let fields: Vec<_> = fields.split_whitespace().collect();
        let number = |place: usize| fields.get(place)?.parse::<u64>().ok();
        let name = before.split_once('(')?.1.to_owned();
        let ticks = number(USER)? + number(USER + 1)?;
        Some(Self { name, group: u32::try_from(number(GROUP)?).ok()?, ticks })
    }

    fn seconds(&self) -> f64 {
        self.ticks as f64 / TICKS
    }
}

/// The CPU time of the process `pid`, its ended threads included.
pub fn of(pid: u32) -> Result<f64> {
    let path = format!("/proc/{pid}/stat");
    let line = fs::read_to_string(&path).with_context(|| format!("cannot read {path}: has it ended?"))?;
    Ok(Stat::parse(&line).with_context(|| format!("{path} is not as expected"))?.seconds())
}

/// What `file` says in each folder of `folder`; what is gone by the time it is read says nothing.
fn each(folder: &str, file: &'static str) -> impl Iterator<Item = String> + use<> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(move |entry| fs::read_to_string(entry.path().join(file)).ok())
}

/// The CPU time of the threads of `pid` that live, to the nanosecond: where so little is taken that ticks do not show it.
pub fn precisely(pid: u32) -> f64 {
    let lines = each(&format!("/proc/{pid}/task"), "schedstat");
    lines.filter_map(|line| line.split_whitespace().next()?.parse::<f64>().ok()).sum::<f64>() / 1e9
}

/// The CPU time of all processes that live and belong to the process group `group`.
pub fn of_group(group: u32) -> f64 {
    let stats = each("/proc", "stat").filter_map(|line| Stat::parse(&line));
    stats.filter(|stat| stat.group == group).map(|stat| stat.seconds()).sum()
}

/// The CPU time of the threads of `pid` that live, by name.
pub fn by_thread(pid: u32) -> BTreeMap<String, f64> {
    let stats = each(&format!("/proc/{pid}/task"), "stat").filter_map(|line| Stat::parse(&line));
    stats.fold(BTreeMap::new(), |mut sums, stat| {
        let seconds = stat.seconds();
        *sums.entry(stat.name).or_default() += seconds;
        sums
    })
}

/// What the kernel tells of each descriptor that `pid` has open: of BPF's too, what they are and take.
pub fn descriptors(pid: u32) -> impl Iterator<Item = String> {
    let entries = fs::read_dir(format!("/proc/{pid}/fdinfo")).into_iter().flatten().flatten();
    entries.filter_map(|entry| fs::read_to_string(entry.path()).ok())
}

/// A figure of `/proc/PID/status` that is told in kB, in MiB.
pub fn memory_mib(pid: u32, key: &str) -> Result<f64> {
    let path = format!("/proc/{pid}/status");
    let status = fs::read_to_string(&path).with_context(|| format!("cannot read {path}: has it ended?"))?;
    let kib = kib(&status, key).with_context(|| format!("{path} has no {key}"))?;
    Ok(kib as f64 / 1024.0)
}

fn kib(status: &str, key: &str) -> Option<u64> {
    let rest = status.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
    rest.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proc_files_are_read_past_odd_names() {
        let line = "7 (a) b) S 1 5 7 0 -1 4194560 1 0 0 0 250 50 0 0 20 0 1 0 100";
        assert_eq!(Stat::parse(line), Some(Stat { name: "a) b".to_owned(), group: 5, ticks: 300 }));
        assert_eq!(Stat::parse("nonsense"), None);
        let status = "Name:\tx\nVmHWM:\t   2048 kB\nVmRSS:\t 1024 kB\n";
        assert_eq!(
            (kib(status, "VmHWM"), kib(status, "VmRSS"), kib(status, "Vm")),
            (Some(2048), Some(1024), None)
        );
    }

    #[test]
    fn work_takes_time_of_its_thread_and_group() {
        let pid = std::process::id();
        let threads = || by_thread(pid).values().sum::<f64>();
        while threads() == 0.0 {
            std::hint::spin_loop();
        }
        // Others of the group may have ended since; this process has not.
        let group = nix::unistd::getpgrp().as_raw().unsigned_abs();
        assert!(of(pid).unwrap() > 0.0 && of_group(group) > 0.0 && precisely(pid) > 0.0);
    }
}
