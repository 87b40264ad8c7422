//! What a process and those that it started have taken of the processors.

use std::{collections::HashMap, fs, time::Duration};

/// The kernel counts in hundredths of a second, whatever its own clock is.
const TICK: Duration = Duration::from_millis(10);

/// A line of `/proc/PID/stat`, as far as it matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stat {
    parent: u32,
    ticks: u64,
}

impl Stat {
    /// A process may have any name, with blanks and parentheses.
    fn parse(line: &str) -> Option<Self> {
        const PARENT: usize = 1;
        const USER: usize = 11;
        let fields: Vec<_> = line.get(line.rfind(')')? + 1..)?.split_whitespace().collect();
        let number = |place: usize| fields.get(place)?.parse::<u64>().ok();
        let parent = u32::try_from(number(PARENT)?).ok()?;
        Some(Self { parent, ticks: number(USER)? + number(USER + 1)? })
    }
}

/// The time that process `pid` and its descendants, those that live, have taken in user and kernel mode.
pub fn of(pid: u32) -> Duration {
    let processes = fs::read_dir("/proc").into_iter().flatten().filter_map(|entry| {
        let pid: u32 = entry.ok()?.file_name().to_str()?.parse().ok()?;
        Some((pid, Stat::parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)?))
    });
    TICK.saturating_mul(u32::try_from(sum(pid, &processes.collect())).unwrap_or(u32::MAX))
}

fn sum(pid: u32, processes: &HashMap<u32, Stat>) -> u64 {
    let own = processes.get(&pid).map_or(0, |stat| stat.ticks);
    let children = processes.iter().filter(|(child, stat)| stat.parent == pid && **child != pid);
    own + children.map(|(child, _)| sum(*child, processes)).sum::<u64>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_be_anything() {
        let line = "7 (a) b) S 3 7 7 0 -1 4194304 100 0 0 0 20 5 9 9 20 0 1 0 300 0";
        assert_eq!(Stat::parse(line), Some(Stat { parent: 3, ticks: 25 }));
        assert_eq!(Stat::parse("7 (a"), None);
    }

    #[test]
    fn descendants_count() {
        let stat = |parent, ticks| Stat { parent, ticks };
        let processes = [(1, stat(0, 1)), (2, stat(1, 10)), (3, stat(2, 100)), (4, stat(1, 1000))].into();
        assert_eq!((sum(2, &processes), sum(1, &processes)), (110, 1111));
    }

    #[test]
    fn work_takes_time() {
        let before = of(std::process::id());
        while of(std::process::id()) == before {
            std::hint::spin_loop();
        }
    }
}
