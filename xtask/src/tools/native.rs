//! The small C programs that the tests trace, relay through or measure with.
//!
//! In: a folder of C sources and their headers. Out: a folder of static programs, in the cache.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Result;

use super::{INSTALL_LIMIT, apt};
use crate::{cache, process, ui::Step, workspace};

/// Builds every `*.c` of `source` into a program of its own; static, so that it runs in any guest.
pub fn prepare(source: &Path) -> Result<PathBuf> {
    if process::which("cc").is_none() {
        apt::ensure(&["gcc", "libc6-dev", "linux-libc-dev"], "a C compiler")?;
    }
    let key = cache::content_key(&[source], "static")?;
    cache::get("native", &key, |dir| {
        let log = workspace::log("cc");
        process::start_log(&log)?;
        Step::run(format!("compiling {}", workspace::display(source)), |_| {
            for file in cache::files(source)? {
                let (Some(stem), true) = (file.file_stem(), file.extension().is_some_and(|e| e == "c"))
                else {
                    continue;
                };
                let mut compiler = Command::new("cc");
                compiler.args(["-O2", "-Wall", "-static", "-pthread", "-o"]).arg(dir.join(stem)).arg(&file);
                process::run(&mut compiler, &log, INSTALL_LIMIT)?;
            }
            Ok(())
        })
    })
}
