//! Debian's packages unpacked, not installed: for servers that would start beside whatever runs here.
//!
//! In: package names. Out: a folder in the cache with their files; the libraries that they need must be here.

use std::{fs, path::PathBuf, process::Command};

use anyhow::{Context, Result, bail};

use super::{INSTALL_LIMIT, apt};
use crate::{cache, process, ui::Step, workspace};

/// The folder with the files of `packages`.
pub fn unpacked(packages: &[&str]) -> Result<PathBuf> {
    let list = packages.join(" ");
    cache::get("debian", &cache::key(packages), |dir| {
        if !apt::available() {
            bail!("this system has no apt-get to fetch what Debian calls `{list}`");
        }
        let log = workspace::log("debian");
        process::start_log(&log)?;
        Step::run(format!("unpacking {list} (apt-get download, not installed)"), |step| {
            step.watch(&log);
            apt::refresh()?;
            for package in packages {
                let mut fetch = Command::new("apt-get");
                process::run(fetch.args(["download", package]).current_dir(dir), &log, INSTALL_LIMIT)?;
            }
            for entry in fs::read_dir(dir).context("the cache can be read")?.flatten() {
                if entry.path().extension().is_some_and(|extension| extension == "deb") {
                    let mut unpack = Command::new("dpkg-deb");
                    process::run(unpack.arg("-x").arg(entry.path()).arg(dir), &log, INSTALL_LIMIT)?;
                    fs::remove_file(entry.path())?;
                }
            }
            Ok(())
        })
    })
}
