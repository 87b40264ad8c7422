//! What every benchmark tells: of the machine it ran on, and where its results are kept.
//!
//! In: figures and a picture. Out: files in `target/xtask`.

use std::{fs, process::Command};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::{process, ui, workspace};

/// Refuses where eBPF programs can't be loaded.
pub fn privileges() -> Result<()> {
    if nix::unistd::geteuid().is_root() {
        return Ok(());
    }
    bail!("the benchmark loads eBPF programs into the kernel, which takes root: run it from a root shell")
}

/// The machine, from before the measurement on.
pub struct Machine {
    load_before: Option<f64>,
}

impl Machine {
    /// Looks at it before anything is measured.
    pub fn new() -> Self {
        Self { load_before: load() }
    }

    /// Adds what it is, and how busy it was before and after, to a report.
    pub fn add_to(&self, report: &mut Value) {
        report["kernel"] = json!(process::output(Command::new("uname").arg("-r")));
        report["processor"] = json!(processor());
        report["cores"] = json!(std::thread::available_parallelism().map_or(0, usize::from));
        report["load_average"] = json!({ "before": self.load_before, "after": load() });
    }
}

/// Keeps a report and its picture as `NAME.json` and `NAME.svg`.
pub fn save(name: &str, report: &Value, picture: &str) -> Result<()> {
    for (extension, text) in [("json", format!("{report:#}\n").as_str()), ("svg", picture)] {
        let path = workspace::output().join(format!("{name}.{extension}"));
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        ui::say(workspace::display(&path));
    }
    Ok(())
}

/// How many tasks wanted to run in the last minute, as the kernel tells it.
fn load() -> Option<f64> {
    fs::read_to_string("/proc/loadavg").ok()?.split_whitespace().next()?.parse().ok()
}

fn processor() -> Option<String> {
    let text = fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}
