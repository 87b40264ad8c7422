//! What a process holds of BPF, and what of it the kernel still has when the process is gone.
//!
//! In: `/proc/PID/fdinfo` and the kernel's own lists. Out: ids of programs, links and maps.

use std::{collections::BTreeSet, fs, time::Duration};

use crate::wait_until;

/// Programs, links and maps by id.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// Programs.
    pub programs: BTreeSet<u32>,
    /// Links: what attaches programs.
    pub links: BTreeSet<u32>,
    /// Maps.
    pub maps: BTreeSet<u32>,
}

impl Held {
    /// What the process `pid` holds.
    pub fn by(pid: u32) -> Self {
        let mut held = Self::default();
        for entry in fs::read_dir(format!("/proc/{pid}/fdinfo")).into_iter().flatten().flatten() {
            let info = fs::read_to_string(entry.path()).unwrap_or_default();
            held.programs.extend(number(&info, "prog_id:"));
            held.links.extend(number(&info, "link_id:"));
            held.maps.extend(number(&info, "map_id:"));
        }
        held
    }

    /// What of it the kernel has now.
    pub fn left(&self) -> Self {
        // One that goes while a list is walked is an error of no interest.
        let programs = aya::programs::loaded_programs().flatten().map(|program| program.id());
        let links = aya::programs::loaded_links().flatten().map(|link| link.id());
        let maps = aya::maps::loaded_maps().flatten().map(|map| map.id());
        Self {
            programs: programs.filter(|id| self.programs.contains(id)).collect(),
            links: links.filter(|id| self.links.contains(id)).collect(),
            maps: maps.filter(|id| self.maps.contains(id)).collect(),
        }
    }

    /// What of it the kernel still has after `limit`, which it uses to free things in its own time.
    pub fn left_after(&self, limit: Duration) -> Self {
        wait_until(limit, || self.left() == Self::default());
        self.left()
    }
}

/// The number after `key` at the beginning of a line.
fn number(info: &str, key: &str) -> Option<u32> {
    info.lines().find_map(|line| line.strip_prefix(key)?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_read() {
        let info = "pos:\t0\nflags:\t02000002\nlink_type:\ttracing\nlink_id:\t17\nprog_id:\t42\n";
        assert_eq!(
            (number(info, "prog_id:"), number(info, "link_id:"), number(info, "map_id:")),
            (Some(42), Some(17), None)
        );
    }
}
