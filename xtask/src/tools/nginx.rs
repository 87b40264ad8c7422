//! nginx: a proxy that hands on what it is asked for, for the tests.
//!
//! In: what the machine has. Out: `nginx` on the PATH; the tests start it with a configuration of their own.

use anyhow::Result;

use super::apt;
use crate::process;

/// Installs nginx if it is missing.
pub fn ensure() -> Result<()> {
    if process::which("nginx").is_some() {
        return Ok(());
    }
    apt::ensure(&["nginx-light"], "nginx")
}
