//! A container engine that works, if there is one.
//!
//! In: docker and podman on PATH. Out: the name of the first whose daemon answers.

use std::process::Command;

use crate::process;

/// The engine's command, or `None`; an installed engine whose daemon is away counts as none.
pub fn engine() -> Option<&'static str> {
    ["docker", "podman"].into_iter().find(|engine| {
        process::which(engine).is_some()
            && process::output(Command::new("timeout").args(["10", engine, "info"])).is_some()
    })
}
