//! Go: programs of modules from the proxy, and of services here.
//!
//! In: a module with its version, as `k8s.io/kubernetes@v1.34.4`, or a folder with a service. Out: the module's folder
//! in Go's own cache, and a `go` that builds static programs. Who builds keeps what comes of it in our cache, by version.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result, bail};

use super::INSTALL_LIMIT;
use crate::{cache, process, ui::Step, workspace};

/// How long one build may take: Kubernetes takes ten minutes on two idle processors.
pub const BUILD_LIMIT: Duration = Duration::from_secs(90 * 60);

/// The `go` on PATH, if it is 1.`minor` or newer; else an error that says what `purpose` needs.
pub fn ensure(minor: u32, purpose: &str) -> Result<()> {
    match version() {
        Some(found) if found >= minor => Ok(()),
        Some(found) => {
            bail!("{purpose} needs Go 1.{minor} or newer, and this is 1.{found} (https://go.dev/dl)")
        }
        None => bail!("{purpose} needs Go 1.{minor} or newer on PATH (https://go.dev/dl)"),
    }
}

/// The minor version of the `go` on PATH.
fn version() -> Option<u32> {
    minor(&process::output(Command::new("go").args(["env", "GOVERSION"]).current_dir("/"))?)
}

/// `go1.25.3` and `go1.26rc1` are 25 and 26.
fn minor(version: &str) -> Option<u32> {
    let rest = version.strip_prefix("go1.")?;
    rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

/// A `go` in `folder` whose programs need no library.
pub fn command(folder: &Path) -> Command {
    let mut go = Command::new("go");
    go.current_dir(folder).env("CGO_ENABLED", "0").env("GO111MODULE", "on").env("GOWORK", "off");
    go
}

/// Builds `package` of the module in `folder` into the program `output`; `ldflags` are added for the linker.
pub fn build(folder: &Path, package: &str, output: &Path, ldflags: &str, log: &Path) -> Result<()> {
    let mut go = command(folder);
    go.args(["build", "-v", "-mod=mod", "-trimpath", "-buildvcs=false", "-ldflags"]);
    go.arg(format!("-s -w {ldflags}")).arg("-o").arg(output).arg(package);
    process::run(&mut go, log, BUILD_LIMIT)
}

/// The program of the service `source`, built as its author would: with symbols, from a copy.
pub fn prepare(source: &Path) -> Result<PathBuf> {
    let name = workspace::display(source);
    ensure(25, &format!("the service {name}"))?;
    let dir = cache::get("go", &cache::content_key(&[source], version())?, |dir| {
        cache::copy_sources(source, dir)?;
        let log = workspace::log("go");
        process::start_log(&log)?;
        Step::run(format!("building {name} (go build)"), |step| {
            step.watch(&log);
            process::run(command(dir).args(["build", "-o", "service", "."]), &log, INSTALL_LIMIT)
        })
    })?;
    Ok(dir.join("service"))
}

/// Downloads `module` and returns its folder, which is read-only.
pub fn download(module: &str, log: &Path) -> Result<PathBuf> {
    // Outside any module, so that no go.mod here is read or written.
    let mut go = command(Path::new("/"));
    let output = go.args(["mod", "download", "-json", module]).output().context("cannot start go")?;
    fs::write(log, [&output.stdout[..], &output.stderr].concat())?;
    let answer: serde_json::Value = serde_json::from_slice(&output.stdout)
        .with_context(|| format!("go mod download {module} failed; {}", crate::ui::excerpt(log)))?;
    match (answer["Dir"].as_str(), answer["Error"].as_str()) {
        (Some(dir), _) => Ok(dir.into()),
        (None, error) => bail!("go mod download {module} failed: {}", error.unwrap_or("no folder named")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read() {
        assert_eq!(minor("go1.25.3"), Some(25));
        assert_eq!(minor("go1.26rc1"), Some(26));
        assert_eq!(minor("go1.24"), Some(24));
        assert_eq!(minor("devel go1.27-abc"), None);
    }
}
