//! Debian's packages.
//!
//! In: package names. Out: installed packages, or the command that an administrator would type.

use std::{process::Command, sync::OnceLock};

use anyhow::{Result, bail};

use super::INSTALL_LIMIT;
use crate::{process, ui::Step, workspace};

/// Whether this system installs its software by apt-get.
pub fn available() -> bool {
    process::which("apt-get").is_some() && process::which("dpkg-query").is_some()
}

/// Whether `package` is installed.
pub fn installed(package: &str) -> bool {
    let query = process::output(Command::new("dpkg-query").args(["-W", "-f=${Status}", package]));
    query.is_some_and(|status| status == "install ok installed")
}

/// Whether apt knows a version of `package` that could be installed.
pub fn known(package: &str) -> bool {
    let policy = process::output(Command::new("apt-cache").args(["policy", package]));
    policy.is_some_and(|p| p.lines().any(|l| l.contains("Candidate:") && !l.contains("(none)")))
}

/// Installs those of `packages` that are missing; `purpose` says what for.
pub fn ensure(packages: &[&str], purpose: &str) -> Result<()> {
    let missing: Vec<&str> = packages.iter().copied().filter(|p| !installed(p)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let list = missing.join(" ");
    if !available() {
        bail!("{purpose} is missing, and this system has no apt-get: install what Debian calls `{list}`");
    }
    let Some(prefix) = administrator() else {
        bail!("{purpose} is missing; as an administrator run: apt-get install {list}");
    };
    let log = workspace::log("apt");
    process::start_log(&log)?;
    Step::run(format!("installing {purpose} (apt-get install {list})"), |step| {
        step.watch(&log);
        refresh()?;
        let mut command = command(prefix);
        command.args(["install", "-y", "--no-install-recommends"]).args(&missing);
        process::run(&mut command, &log, INSTALL_LIMIT)
    })
}

/// Brings the package lists up to date, once in a run.
pub fn refresh() -> Result<()> {
    static DONE: OnceLock<()> = OnceLock::new();
    if DONE.get().is_some() {
        return Ok(());
    }
    if let Some(prefix) = administrator() {
        process::run(command(prefix).arg("update"), &workspace::log("apt"), INSTALL_LIMIT)?;
    }
    let _ = DONE.set(());
    Ok(())
}

/// The words that make a command an administrator's: none for root, sudo where it asks nothing.
fn administrator() -> Option<&'static [&'static str]> {
    if nix::unistd::geteuid().is_root() {
        return Some(&[]);
    }
    process::output(Command::new("sudo").args(["-n", "true"])).map(|_| &["sudo", "-n"][..])
}

fn command(prefix: &[&str]) -> Command {
    // `env` passes the variable through sudo, which drops the environment.
    let words =
        [prefix, &["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-o", "DPkg::Lock::Timeout=600"]];
    let words = words.concat();
    let mut command = Command::new(words[0]);
    command.args(&words[1..]);
    command
}
