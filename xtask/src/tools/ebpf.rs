//! The toolchain of the eBPF programs: a rustc with its library's source, and bpf-linker.
//!
//! In: rustup's toolchains, Debian's packages, PATH, the cache. Out: a [`Toolchain`] that can start cargo. First
//! what is there is used; only what is missing is installed.

use std::{
    env,
    ffi::OsString,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};

use super::{INSTALL_LIMIT, apt, cargo};
use crate::{cache, process, ui::Step, workspace};

/// The LLVM whose libraries Debian offers and that our own bpf-linker is built with.
const LLVM: u32 = 22;
const LLVM_ROOT: &str = "/usr/lib/llvm-22";
const LINKER_VERSION: &str = "0.13.0";
const DEBIAN_RUST: [&str; 3] = ["rustc-web", "cargo-web", "rust-web-src"];
const DEBIAN_LLVM: [&str; 3] = ["llvm-22-dev", "libpolly-22-dev", "libzstd-dev"];

/// A compiler that can build `core` for the BPF target.
#[derive(Clone, Debug)]
enum Compiler {
    /// A toolchain of rustup, by its name.
    Rustup { name: String, nightly: bool },
    /// The distribution's own, in /usr/bin.
    System,
}

/// Everything it takes to build the eBPF programs.
pub struct Toolchain {
    compiler: Compiler,
    linker: PathBuf,
}

impl Toolchain {
    /// Finds the toolchain, installing what is missing.
    pub fn ensure() -> Result<Self> {
        let compiler = match find_compiler() {
            Some(compiler) => compiler,
            None => install_compiler()?,
        };
        let linker = find_linker().map_or_else(|| install_linker(&compiler), Ok)?;
        Ok(Self { compiler, linker })
    }

    /// One line that says what will be used.
    pub fn describe(&self) -> String {
        let compiler = match &self.compiler {
            Compiler::Rustup { name, .. } => format!("rustup's {name}"),
            Compiler::System => "/usr/bin/rustc".to_owned(),
        };
        format!("{compiler}, {}", self.linker.display())
    }

    /// A cargo that compiles for the BPF target: only the verb and its arguments are missing.
    pub fn cargo(&self) -> Command {
        let (mut command, stable) = match &self.compiler {
            Compiler::Rustup { name, nightly } => {
                let mut command = cargo("rustup");
                command.args(["run", name, "cargo"]);
                (command, !nightly)
            }
            Compiler::System => {
                let mut command = cargo("/usr/bin/cargo");
                command.env("RUSTC", "/usr/bin/rustc");
                (command, true)
            }
        };
        if stable {
            command.env("RUSTC_BOOTSTRAP", "1");
        }
        // The workspace's profile is the agent's; the programs want all debug information (for BTF) and no LTO:
        // bpf-linker sees the whole program anyway.
        command
            .env("RUSTFLAGS", "-C debuginfo=2 -C link-arg=--btf")
            .env("CARGO_PROFILE_RELEASE_DEBUG", "2")
            .env("CARGO_PROFILE_RELEASE_LTO", "off")
            .env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "1")
            .env("CARGO_TARGET_BPFEL_UNKNOWN_NONE_LINKER", &self.linker)
            .env("PATH", path_with(&self.linker));
        if Path::new(LLVM_ROOT).is_dir() {
            command.env("LD_LIBRARY_PATH", format!("{LLVM_ROOT}/lib"));
        }
        command
    }
}

fn path_with(linker: &Path) -> OsString {
    let path = env::var_os("PATH").unwrap_or_default();
    let folders = linker.parent().map(Path::to_path_buf).into_iter().chain(env::split_paths(&path));
    env::join_paths(folders).unwrap_or(path)
}

/// rustup's nightly, then rustup's others, then the system's; each only with the library's source.
fn find_compiler() -> Option<Compiler> {
    let mut names: Vec<String> = process::output(Command::new("rustup").args(["toolchain", "list"]))
        .unwrap_or_default()
        .lines()
        .filter_map(|line| line.split_whitespace().next().map(str::to_owned))
        .collect();
    names.sort_by_key(|name| !name.starts_with("nightly"));
    let rustup = names.into_iter().find_map(|name| {
        let mut rustc = Command::new("rustup");
        rustc.args(["run", &name, "rustc"]);
        usable(&mut rustc).then(|| Compiler::Rustup { nightly: name.starts_with("nightly"), name })
    });
    rustup.or_else(|| usable(&mut Command::new("/usr/bin/rustc")).then_some(Compiler::System))
}

/// Whether this rustc has its library's source and is not newer than the LLVM that our own linker reads.
fn usable(rustc: &mut Command) -> bool {
    let Some(sysroot) = process::output(rustc.args(["--print", "sysroot"])) else { return false };
    if !Path::new(&sysroot).join("lib/rustlib/src/rust/library/core").is_dir() {
        return false;
    }
    // A bpf-linker on PATH is the user's own choice and matches their rustc.
    process::which("bpf-linker").is_some() || llvm_version(&sysroot).is_none_or(|version| version <= LLVM)
}

fn llvm_version(sysroot: &str) -> Option<u32> {
    let version = process::output(Command::new(Path::new(sysroot).join("bin/rustc")).arg("-vV"))?;
    let line = version.lines().find_map(|l| l.strip_prefix("LLVM version: "))?;
    line.split('.').next()?.parse().ok()
}

fn install_compiler() -> Result<Compiler> {
    if apt::available() {
        let known = DEBIAN_RUST.iter().all(|p| apt::known(p)) || {
            apt::refresh()?;
            DEBIAN_RUST.iter().all(|p| apt::known(p))
        };
        if known {
            let packages = [DEBIAN_RUST, DEBIAN_LLVM].concat();
            apt::ensure(&packages, "a Rust toolchain for the eBPF programs")?;
            return Ok(Compiler::System);
        }
    }
    if process::which("rustup").is_some() {
        let log = workspace::log("rustup");
        process::start_log(&log)?;
        Step::run("adding the standard library's source (rustup component add rust-src)", |step| {
            step.watch(&log);
            process::run(cargo("rustup").args(["component", "add", "rust-src"]), &log, INSTALL_LIMIT)
        })?;
        return find_compiler().context("rustup has rust-src now, but no toolchain of it can be used");
    }
    bail!(
        "the eBPF programs need a Rust toolchain with the standard library's source: install rustup \
         (https://rustup.rs) and run `rustup component add rust-src`"
    )
}

/// What [`Toolchain::ensure`] would install.
pub fn missing() -> Option<String> {
    let (compiler, linker) = (find_compiler(), find_linker());
    let packages =
        [if compiler.is_none() { &DEBIAN_RUST[..] } else { &[] }, &DEBIAN_LLVM[..]].concat().join(" ");
    match (compiler, linker) {
        (Some(_), Some(_)) => None,
        _ if apt::available() => {
            Some(format!("eBPF toolchain: Debian's {packages}; bpf-linker {LINKER_VERSION}"))
        }
        _ => Some("eBPF toolchain: rust-src by rustup; bpf-linker".to_owned()),
    }
}

fn cache_key() -> String {
    format!("{LINKER_VERSION}-llvm{LLVM}")
}

fn find_linker() -> Option<PathBuf> {
    let cached = || cache::find("bpf-linker", &cache_key()).map(|dir| dir.join("bin/bpf-linker"));
    process::which("bpf-linker").or_else(cached)
}

/// Builds bpf-linker into the cache: its releases name the LLVM they hold, a build takes the one that is here.
fn install_linker(compiler: &Compiler) -> Result<PathBuf> {
    if !Path::new(LLVM_ROOT).join("bin/llvm-config").is_file() && !apt::available() {
        bail!(
            "bpf-linker is missing: take one that matches your rustc's LLVM from \
             https://github.com/aya-rs/bpf-linker/releases and put it on PATH"
        );
    }
    apt::ensure(&DEBIAN_LLVM, "LLVM's libraries for bpf-linker")?;
    let log = workspace::log("bpf-linker");
    process::start_log(&log)?;
    let dir = cache::get("bpf-linker", &cache_key(), |dir| {
        Step::run(format!("building bpf-linker {LINKER_VERSION} (cargo install, a minute or two)"), |step| {
            step.watch(&log);
            let mut command = match compiler {
                Compiler::System => {
                    let mut command = cargo("/usr/bin/cargo");
                    command.env("RUSTC", "/usr/bin/rustc");
                    command
                }
                Compiler::Rustup { .. } => cargo("cargo"),
            };
            command
                .args(["install", "bpf-linker", "--version", LINKER_VERSION, "--locked"])
                .args(["--no-default-features", "--features", &format!("llvm-{LLVM}"), "--root"])
                .arg(dir)
                .env_remove("CARGO_TARGET_DIR")
                .env("LLVM_PREFIX", LLVM_ROOT)
                .env("RUSTFLAGS", format!("-L {LLVM_ROOT}/lib"))
                .env("PATH", path_with(&Path::new(LLVM_ROOT).join("bin/llvm-config")));
            process::run(&mut command, &log, INSTALL_LIMIT)
        })
    })?;
    Ok(dir.join("bin/bpf-linker"))
}
