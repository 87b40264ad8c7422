//! The cgroups that hold everything of the cluster, so that it can be counted, entered and ended as a whole.
//!
//! In: a path below the hierarchies' roots. Out: the process ids in it; nothing of it after [`Group::remove`].
//! Version 1 has one hierarchy a controller, and each gets the group; version 2 has one for all.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use super::layout;
use crate::process;

const ROOT: &str = "/sys/fs/cgroup";
/// What the kubelet needs of version 2.
const CONTROLLERS: [&str; 4] = ["cpu", "cpuset", "memory", "pids"];

/// A cgroup by its path below the root, in all hierarchies.
#[derive(Clone, Debug)]
pub struct Group(PathBuf);

/// The folders under which cgroups are made: one a controller (version 1), or one for all (version 2).
pub fn hierarchies() -> Vec<PathBuf> {
    let root = PathBuf::from(ROOT);
    if is_v2() {
        return vec![root];
    }
    let entries = fs::read_dir(&root).into_iter().flatten().flatten().map(|entry| entry.path());
    // `cpu` is often a link to `cpu,cpuacct`: one of both is enough.
    let mut found: Vec<_> = entries.filter(|p| !p.is_symlink() && p.join("cgroup.procs").is_file()).collect();
    found.sort();
    found
}

/// Whether the machine has the unified hierarchy alone.
pub fn is_v2() -> bool {
    Path::new(ROOT).join("cgroup.controllers").is_file()
}

/// The controllers that the kubelet needs and this machine lacks.
pub fn missing_controllers() -> Vec<&'static str> {
    let here: BTreeSet<String> = if is_v2() {
        let text = fs::read_to_string(Path::new(ROOT).join("cgroup.controllers")).unwrap_or_default();
        text.split_whitespace().map(str::to_owned).collect()
    } else {
        let names = hierarchies().into_iter().filter_map(|p| Some(p.file_name()?.to_str()?.to_owned()));
        names.flat_map(|name| name.split(',').map(str::to_owned).collect::<Vec<_>>()).collect()
    };
    CONTROLLERS.into_iter().filter(|name| !here.contains(*name)).collect()
}

impl Group {
    /// The cluster's own, which holds all others.
    pub fn cluster() -> Self {
        Self(layout::CGROUP.into())
    }

    /// That of the daemon `name`.
    pub fn daemon(name: &str) -> Self {
        Self(Path::new(layout::CGROUP).join("daemons").join(name))
    }

    /// Its folder in each hierarchy, there or not.
    pub fn folders(&self) -> Vec<PathBuf> {
        hierarchies().into_iter().map(|root| root.join(&self.0)).collect()
    }

    /// Makes it and those above it.
    pub fn create(&self) -> Result<()> {
        for root in hierarchies() {
            let mut folder = root;
            for part in &self.0 {
                let parent = folder.clone();
                folder.push(part);
                make(&parent, &folder).with_context(|| format!("cannot make {}", folder.display()))?;
            }
        }
        Ok(())
    }

    /// The processes in it and below it.
    pub fn processes(&self) -> BTreeSet<i32> {
        let mut found = BTreeSet::new();
        for folder in self.folders() {
            walk(&folder, &mut |folder| {
                let text = fs::read_to_string(folder.join("cgroup.procs")).unwrap_or_default();
                found.extend(text.lines().filter_map(|line| line.parse::<i32>().ok()));
            });
        }
        // Zero stands for a process of a PID namespace that we can't see, and would mean our own group to kill(2).
        found.retain(|pid| *pid > 1);
        found
    }

    /// Kills all processes in it, those that are born meanwhile too.
    pub fn kill(&self, limit: Duration) -> Result<()> {
        let started = Instant::now();
        loop {
            let left = self.processes();
            if left.is_empty() {
                return Ok(());
            }
            if started.elapsed() > limit {
                bail!("these processes of {} did not end: {left:?}", self.0.display());
            }
            for pid in left {
                let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Removes it and those below it; they must be empty, which the kernel takes a moment to believe.
    pub fn remove(&self) -> Result<()> {
        let started = Instant::now();
        loop {
            for folder in self.folders() {
                // From below to above: a folder is visited after those in it.
                walk(&folder, &mut |folder| drop(fs::remove_dir(folder)));
            }
            let left: Vec<_> = self.folders().into_iter().filter(|folder| folder.exists()).collect();
            if left.is_empty() {
                return Ok(());
            }
            if started.elapsed() > Duration::from_secs(10) {
                bail!("these cgroups cannot be removed: {left:?}");
            }
            process::sleep(Duration::from_millis(50));
        }
    }
}

fn make(parent: &Path, folder: &Path) -> io::Result<()> {
    if is_v2() {
        // Only what its parent passes on exists in a group.
        let wish = CONTROLLERS.map(|name| format!("+{name}")).join(" ");
        fs::write(parent.join("cgroup.subtree_control"), wish)?;
    }
    match fs::create_dir(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    // A cpuset of version 1 is born without processors and memory, and no process may enter it.
    for file in ["cpuset.cpus", "cpuset.mems"] {
        let file = Path::new(file);
        let unset = fs::read_to_string(folder.join(file)).is_ok_and(|text| text.trim().is_empty());
        if !is_v2() && unset {
            fs::write(folder.join(file), fs::read(parent.join(file))?)?;
        }
    }
    Ok(())
}

/// Calls `visit` for every group below `folder`, and then for itself.
fn walk(folder: &Path, visit: &mut impl FnMut(&Path)) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            walk(&entry.path(), visit);
        }
    }
    visit(folder);
}
