//! cargo-deny: the judge of the dependencies' licences, sources and known flaws.
//!
//! In: PATH, the cache. Out: the program.

use std::path::PathBuf;

use anyhow::Result;

use super::{INSTALL_LIMIT, cargo};
use crate::{cache, process, ui::Step, workspace};

/// Finds cargo-deny or builds it into the cache.
pub fn ensure() -> Result<PathBuf> {
    if let Some(path) = process::which("cargo-deny") {
        return Ok(path);
    }
    let dir = cache::get("cargo-deny", "latest", |dir| {
        let log = workspace::log("cargo-deny-install");
        process::start_log(&log)?;
        Step::run("building cargo-deny (cargo install, some minutes)", |step| {
            step.watch(&log);
            let mut command = cargo("cargo");
            // No link-time optimisation: it is built on every fresh machine, and runs for a second.
            command
                .args(["install", "cargo-deny", "--locked", "--root"])
                .arg(dir)
                .env_remove("CARGO_TARGET_DIR")
                .env("CARGO_PROFILE_RELEASE_LTO", "off")
                .env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16")
                .env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "1");
            process::run(&mut command, &log, INSTALL_LIMIT)
        })
    })?;
    Ok(dir.join("bin/cargo-deny"))
}
