//! Other tools' eBPF programs: while any is attached, "nothing attached" is not true.
//!
//! In: /proc. Out: who holds programs of the kinds that run at system calls, sockets or functions.

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};

use crate::{process, ui};

/// Program types, by the kernel's numbers: kprobe, tracepoint, perf event, raw tracepoint (also writable), tracing.
const KINDS: [&str; 6] = ["2", "5", "7", "17", "24", "26"];
/// Short waits are not worth a word.
const PATIENCE: Duration = Duration::from_secs(5);
const LIMIT: Duration = Duration::from_secs(1800);

/// Waits until nobody holds such programs.
pub fn wait() -> Result<()> {
    let started = Instant::now();
    let mut said = false;
    loop {
        let others = others()?;
        if others.is_empty() {
            return Ok(());
        }
        if !said && started.elapsed() > PATIENCE {
            said = true;
            ui::warn(format!("waiting for the end of others that have eBPF programs: {}", others.join(", ")));
        }
        process::check_interrupted()?;
        if started.elapsed() > LIMIT {
            bail!("other eBPF programs are attached, so nothing can be compared: end {}", others.join(", "));
        }
        process::sleep(Duration::from_millis(500));
    }
}

/// The processes that hold such programs, by name and id.
pub fn others() -> Result<Vec<String>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")?.flatten() {
        let path = entry.path();
        // Processes end while they are looked at.
        if holds(&path).unwrap_or(false) {
            let name = fs::read_to_string(path.join("comm")).unwrap_or_default();
            found.push(format!("{} (pid {})", name.trim(), entry.file_name().to_string_lossy()));
        }
    }
    Ok(found)
}

fn holds(process: &Path) -> Option<bool> {
    let open = fs::read_dir(process.join("fd")).ok()?.flatten();
    let programs =
        open.filter(|fd| fs::read_link(fd.path()).is_ok_and(|to| to.ends_with("anon_inode:bpf-prog")));
    let mut infos =
        programs.filter_map(|fd| fs::read_to_string(process.join("fdinfo").join(fd.file_name())).ok());
    Some(infos.any(|info| runs_at_calls(&info)))
}

fn runs_at_calls(info: &str) -> bool {
    let kind = info.lines().find_map(|line| line.strip_prefix("prog_type:"));
    kind.is_some_and(|kind| KINDS.contains(&kind.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_told_apart() {
        assert!(runs_at_calls("pos:\t0\nprog_type:\t17\nprog_jited:\t1\n"));
        assert!(!runs_at_calls("prog_type:\t8\n"), "a cgroup's device program is no concern");
        assert!(!runs_at_calls(""));
    }
}
