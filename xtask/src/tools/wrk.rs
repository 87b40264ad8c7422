//! wrk, which asks a server as much as it can answer.
//!
//! In: what the machine has. Out: `wrk` on the PATH.

use anyhow::Result;

use super::apt;
use crate::process;

/// Installs wrk if it is missing.
pub fn ensure() -> Result<()> {
    if process::which("wrk").is_some() {
        return Ok(());
    }
    apt::ensure(&["wrk"], "wrk, the load")
}
