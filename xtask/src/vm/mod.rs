//! A virtual machine with a kernel other than the one that runs here: Debian's, under QEMU without hardware help.
//!
//! In: a kernel version, files, a shell command. Out: the command's exit code and output. The kernel, its initial
//! RAM disk and the root image are cached; a boot takes some ten seconds, and everything in the guest
//! is about ten times slower than here.

mod boot;
mod cpio;
mod image;
mod kernel;

use std::{path::Path, time::Duration};

use anyhow::{Result, bail};

use crate::tools::apt;

/// What came of a command in the guest.
#[derive(Debug)]
pub struct Outcome {
    /// Its exit code.
    pub status: i32,
    /// Its standard output and standard error, as they came.
    pub output: String,
}

/// A file or folder here, and where the guest sees it.
pub type Mapping<'a> = (&'a Path, &'a Path);

/// Sees to it that a guest can be run here, installing what is missing.
pub fn ensure() -> Result<()> {
    if std::env::consts::ARCH != "x86_64" {
        bail!("the virtual machine is for x86-64 hosts");
    }
    apt::ensure(&["qemu-system-x86", "busybox-static", "kmod", "e2fsprogs"], "QEMU and the guest's tools")
}

/// Boots `kernel` (`6.1`), runs `command` in its shell and powers off.
///
/// `files` are copied into the root image with the libraries that their programs need. With `show` the output also goes
/// to standard output as it comes. Errors: no QEMU, no such kernel, the guest not done within `limit`.
pub fn run(
    kernel: &str,
    files: &[Mapping<'_>],
    command: &str,
    limit: Duration,
    show: bool,
) -> Result<Outcome> {
    ensure()?;
    let kernel = kernel::prepare(kernel)?;
    let image = image::prepare(files)?;
    boot::boot(&kernel, &image, command, limit, show)
}
