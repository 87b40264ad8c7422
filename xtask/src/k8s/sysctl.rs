//! The kernel's settings that the kubelet changes for the whole machine.
//!
//! In: their values before the start, kept in the state. Out: the same values after the end.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

use super::layout::state;

const NAMES: [&str; 6] = [
    "vm.overcommit_memory",
    "vm.panic_on_oom",
    "kernel.panic",
    "kernel.panic_on_oops",
    "kernel.keys.root_maxkeys",
    "kernel.keys.root_maxbytes",
];

fn file(name: &str) -> PathBuf {
    Path::new("/proc/sys").join(name.replace('.', "/"))
}

/// Notes the values, once: a second start after a crash must not take the kubelet's for this machine's.
pub fn save() -> Result<()> {
    let kept = state("sysctls");
    if kept.exists() {
        return Ok(());
    }
    let read = |name: &str| Some(format!("{name}={}\n", fs::read_to_string(file(name)).ok()?.trim()));
    let text: String = NAMES.iter().filter_map(|name| read(name)).collect();
    fs::write(&kept, text).with_context(|| format!("cannot write {}", kept.display()))
}

/// Sets them back.
pub fn restore() -> Result<()> {
    let Ok(text) = fs::read_to_string(state("sysctls")) else { return Ok(()) };
    for (name, value) in text.lines().filter_map(|line| line.split_once('=')) {
        let file = file(name);
        let same = fs::read_to_string(&file).is_ok_and(|now| now.trim() == value);
        if !same && NAMES.contains(&name) {
            fs::write(&file, value).with_context(|| format!("cannot write {}", file.display()))?;
        }
    }
    Ok(())
}
