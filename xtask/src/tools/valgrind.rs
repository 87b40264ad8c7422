//! Valgrind, whose callgrind counts the instructions of a program: the same number on a busy machine as on an idle one.
//!
//! In: what the machine has. Out: `valgrind` on the PATH.

use anyhow::Result;

use super::apt;
use crate::process;

/// Installs Valgrind if it is missing.
pub fn ensure() -> Result<()> {
    if process::which("valgrind").is_some() && process::which("callgrind_annotate").is_some() {
        return Ok(());
    }
    apt::ensure(&["valgrind"], "Valgrind, which counts instructions")
}
