//! `cargo xtask k8s down`: nothing of the cluster stays, however far its start came and whatever has crashed.
//!
//! In: what is in the cluster's cgroup, its link, its folder. Out: this machine as it was before.

use std::{
    fs::{self, File},
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

use super::{
    cgroup::Group,
    daemon::Daemon,
    layout::{self, LINK, STATE},
    node, sysctl,
};
use crate::ui::{self, Step};

/// Outside of the state: it must live on when that is removed.
const LOCK: &str = "/run/lock/sockspan-k8s.lock";

/// Nobody else starts or ends a cluster while this value lives.
pub fn lock() -> Result<File> {
    let folder = Path::new(LOCK).parent().unwrap_or(Path::new("/run"));
    fs::create_dir_all(folder)?;
    let lock = File::create(LOCK).with_context(|| format!("cannot write {LOCK} (is this root?)"))?;
    lock.lock().context("cannot lock the cluster")?;
    Ok(lock)
}

/// Whether any part of a cluster is here.
pub fn anything_left() -> bool {
    Path::new(STATE).exists()
        || Path::new("/sys/class/net").join(LINK).exists()
        || Group::cluster().folders().iter().any(|folder| folder.exists())
}

/// Takes it down.
pub fn run() -> Result<()> {
    let _lock = lock()?;
    if !anything_left() {
        ui::heading("no cluster is here");
        return Ok(());
    }
    let started = Instant::now();
    run_locked()?;
    ui::heading(format!("the cluster is gone ({})", ui::seconds(started.elapsed())));
    Ok(())
}

/// [`run`] for who holds the lock.
pub fn run_locked() -> Result<()> {
    Step::run("ending the cluster's processes", |_| {
        // First those who would start things anew.
        for daemon in Daemon::ALL {
            Group::daemon(daemon.name()).kill(Duration::from_secs(20))?;
        }
        Group::cluster().kill(Duration::from_secs(20))
    })?;
    Step::run("removing its link, cgroups and files", |_| {
        node::unlink()?;
        Group::cluster().remove()?;
        sysctl::restore()?;
        node::remove_folders();
        remove_state()
    })
}

/// The mounts were in the node's namespace and are gone with it. One that is left here would lead out of the folder.
fn remove_state() -> Result<()> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").context("cannot read /proc/self/mountinfo")?;
    let inside = |line: &&str| line.split(' ').nth(4).is_some_and(|at| Path::new(at).starts_with(STATE));
    if let Some(line) = mounts.lines().find(inside) {
        let at = line.split(' ').nth(4).unwrap_or_default();
        bail!("{at} is mounted: `umount {at}`, and once more");
    }
    match fs::remove_dir_all(STATE) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", layout::STATE))
        }
        _ => Ok(()),
    }
}
