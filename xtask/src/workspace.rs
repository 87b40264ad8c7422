//! Where things are: the repository, its target folder, the logs, and the user's cache.
//!
//! In: the environment (`CARGO_MANIFEST_DIR`, `CARGO_TARGET_DIR`, `XDG_CACHE_HOME`). Out: absolute paths.

use std::{
    env,
    path::{Path, PathBuf},
    sync::OnceLock,
};

/// The repository's top folder.
pub fn root() -> &'static Path {
    static ROOT: OnceLock<PathBuf> = OnceLock::new();
    ROOT.get_or_init(|| {
        let manifest = env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
        let start = manifest.or_else(|| env::current_dir().ok()).unwrap_or_else(|| PathBuf::from("."));
        // The top is the folder that has both crates; a checkout may itself stand inside another workspace.
        start
            .ancestors()
            .find(|p| p.join("agent/Cargo.toml").is_file() && p.join("xtask/Cargo.toml").is_file())
            .map_or_else(|| start.clone(), Path::to_path_buf)
    })
}

/// Cargo's target folder for the host's own crates.
pub fn target() -> PathBuf {
    env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), |dir| root().join(dir))
}

/// The target folder of the eBPF programs: apart from the host's, so that neither build makes the other stale.
pub fn ebpf_target() -> PathBuf {
    target().join("ebpf")
}

/// The folder of this tool's logs and other leavings.
pub fn output() -> PathBuf {
    target().join("xtask")
}

/// What the names of a child's logs begin with, where it does the same as its parent might.
pub const LOG_PREFIX: &str = "SOCKSPAN_XTASK_LOG_PREFIX";

/// The full log of the step `name`.
pub fn log(name: &str) -> PathBuf {
    let prefix = env::var(LOG_PREFIX).unwrap_or_default();
    output().join(format!("{prefix}{name}.log"))
}

/// The cache shared by all checkouts of this user.
pub fn cache() -> PathBuf {
    let base = env::var_os("XDG_CACHE_HOME").map(PathBuf::from).filter(|p| p.is_absolute());
    let home = || env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache"));
    base.or_else(home).unwrap_or_else(|| PathBuf::from("/var/cache")).join("sockspan")
}

/// `path` as a person likes to read it: relative to where they stand, if it is below that.
pub fn display(path: &Path) -> String {
    let here = env::current_dir().unwrap_or_default();
    path.strip_prefix(&here).unwrap_or(path).display().to_string()
}
