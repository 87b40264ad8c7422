//! Python services: a virtual environment with what requirements.txt names.
//!
//! In: a folder with requirements.txt. Out: the environment's interpreter, in the cache.

use std::{
    fs,
    hash::Hash,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};

use super::{INSTALL_LIMIT, apt};
use crate::{cache, process, ui::Step, workspace};

/// The real path of `python`, if it can make virtual environments.
fn works(python: &Path) -> Option<PathBuf> {
    let probe = "import ensurepip, venv, sys; assert sys.version_info >= (3, 10); print(sys.executable)";
    process::output(Command::new(python).args(["-c", probe])).map(PathBuf::from)
}

/// What [`prepare`] would install of Python itself.
pub fn missing() -> Option<String> {
    let here = process::which("python3").and_then(|p| works(&p)).is_some();
    (!here).then(|| "Python: Debian's python3 python3-venv".to_owned())
}

/// A Python that can make virtual environments: the one on PATH, else Debian's.
fn interpreter() -> Result<PathBuf> {
    if let Some(python) = process::which("python3").and_then(|p| works(&p)) {
        return Ok(python);
    }
    apt::ensure(&["python3", "python3-venv"], "Python with venv")?;
    works(Path::new("/usr/bin/python3"))
        .context("no Python of 3.10 or newer that can make virtual environments")
}

/// The interpreter of a virtual environment with the requirements of the service `source`.
pub fn prepare(source: &Path) -> Result<PathBuf> {
    prepare_with(source, &[], |_, _| Ok(()))
}

/// Likewise with `more` packages, which `finish` installs by the new interpreter, logging there: they may want other
/// versions of what the service requires.
pub fn prepare_with(
    source: &Path,
    more: &[&str],
    finish: impl FnOnce(&Path, &Path) -> Result<()>,
) -> Result<PathBuf> {
    let python = interpreter()?;
    let version = process::output(Command::new(&python).arg("--version"));
    let requirements = source.join("requirements.txt");
    let wanted =
        fs::read(&requirements).with_context(|| format!("cannot read {}", requirements.display()))?;
    let name = [&[workspace::display(&requirements).as_str()], more].concat().join(" ");
    let dir = cache::get("python", &key((&python, version, wanted), more), |dir| {
        let log = workspace::log("pip");
        process::start_log(&log)?;
        Step::run(format!("making a virtual environment for {name} (pip install)"), |step| {
            step.watch(&log);
            process::run(Command::new(&python).args(["-m", "venv"]).arg(dir), &log, INSTALL_LIMIT)?;
            let mut pip = Command::new(dir.join("bin/python"));
            pip.args(["-m", "pip", "install", "--disable-pip-version-check", "-r"]).arg(&requirements);
            process::run(&mut pip, &log, INSTALL_LIMIT)?;
            finish(&dir.join("bin/python"), &log)
        })
    })?;
    Ok(dir.join("bin/python"))
}

/// The key of an environment; without more packages, that of the service's own.
fn key(own: impl Hash, more: &[&str]) -> String {
    if more.is_empty() { cache::key(own) } else { cache::key((own, more)) }
}

/// What a virtual environment is made of, where it is to run elsewhere.
#[derive(Clone, Debug)]
pub struct Parts {
    /// The real interpreter.
    pub program: PathBuf,
    /// The standard library's folder.
    pub library: PathBuf,
    /// What of it services import.
    pub library_parts: Vec<PathBuf>,
    /// The folder of the installed packages.
    pub packages: PathBuf,
}

/// The parts of the virtual environment whose interpreter is `python`.
pub fn parts(python: &Path) -> Result<Parts> {
    /// Parts of the standard library that no service imports.
    const LEFT_OUT: [&str; 8] = [
        "test",
        "idlelib",
        "tkinter",
        "ensurepip",
        "lib2to3",
        "site-packages",
        "dist-packages",
        "__pycache__",
    ];
    let query = "import sys, sysconfig, os; print(os.path.realpath(sys.executable)); \
                 print(sysconfig.get_path('stdlib')); print(sysconfig.get_path('purelib'))";
    let answer =
        process::output(Command::new(python).args(["-c", query])).context("the environment is broken")?;
    let mut lines = answer.lines().map(PathBuf::from);
    let (Some(program), Some(library), Some(packages)) = (lines.next(), lines.next(), lines.next()) else {
        bail!("the environment of {} does not say where it is", python.display());
    };
    let mut library_parts = Vec::new();
    for entry in fs::read_dir(&library)? {
        let path = entry?.path();
        if !path.file_name().is_some_and(|name| LEFT_OUT.iter().any(|l| name == *l)) {
            library_parts.push(path);
        }
    }
    Ok(Parts { program, library, library_parts, packages })
}

/// What a guest needs to run the virtual environment whose interpreter is `python`: each at its own path there.
pub fn guest_files(python: &Path) -> Result<Vec<PathBuf>> {
    let parts = parts(python)?;
    let mut files = vec![parts.program];
    files.extend(python.ancestors().nth(2).map(Path::to_path_buf));
    files.extend(parts.library_parts);
    Ok(files)
}
