//! Find or install every prerequisite. Each module answers one question ("where is X?"), says what it is about to
//! install before it does so, and shows progress meanwhile.
//!
//! In: what the machine has. Out: paths, or an error with the command that cures it.

pub mod apt;
pub mod container;
pub mod debian;
pub mod deny;
pub mod ebpf;
pub mod go;
pub mod helm;
pub mod jaeger;
pub mod java;
pub mod native;
pub mod nginx;
pub mod node;
pub mod python;
pub mod valgrind;
pub mod wrk;

use std::{process::Command, time::Duration};

/// How long one download or build of a prerequisite may take.
pub const INSTALL_LIMIT: Duration = Duration::from_secs(30 * 60);

/// A `cargo` without what `cargo run` and rustup put into our own environment: it must choose its toolchain anew.
pub fn cargo(program: &str) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        let Some(name) = name.to_str() else { continue };
        let ours = name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_");
        if ours || matches!(name, "CARGO" | "RUSTUP_TOOLCHAIN" | "RUSTC" | "RUSTDOC" | "LD_LIBRARY_PATH") {
            command.env_remove(name);
        }
    }
    command
}

/// What an installation for the demo would add to this machine, a line each; empty if all is here.
pub fn missing(jaeger: bool) -> Vec<String> {
    let needs = [ebpf::missing(), node::missing(), python::missing(), java::missing()];
    let jaeger = if jaeger { jaeger::missing() } else { None };
    needs.into_iter().chain([jaeger]).flatten().collect()
}
