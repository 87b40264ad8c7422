//! The agent's pipeline on its own: the benchmark `agent/benches/pipeline`, which replays recorded streams.
//!
//! In: nothing. Out: the built program.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::{build, process, tools::INSTALL_LIMIT, ui::Step, workspace};

/// Builds it as the agent is released; returns its path.
pub fn ensure() -> Result<PathBuf> {
    let object = build::ebpf()?;
    let log = workspace::log("build-pipeline");
    process::start_log(&log)?;
    Step::run("building the pipeline's benchmark (release)", |step| {
        step.watch(&log);
        let mut cargo = build::with_object(&object);
        cargo.args(["build", "--release", "--package", "sockspan", "--bench", "pipeline"]);
        cargo.arg("--message-format=json-render-diagnostics");
        process::run(&mut cargo, &log, INSTALL_LIMIT)
    })?;
    executable(&process::read_log(&log)?).context("cargo named no executable of the benchmark")
}

/// The program that cargo says it has built.
fn executable(said: &str) -> Option<PathBuf> {
    let messages = said.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let mut ours = messages.filter(|message| message["target"]["name"] == "pipeline");
    ours.find_map(|message| Some(message["executable"].as_str()?.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cargo_says_where_the_program_is() {
        let said = "   Compiling x\n{\"target\":{\"name\":\"sockspan\"},\"executable\":null}\n\
                    {\"target\":{\"name\":\"pipeline\"},\"executable\":\"/t/pipeline-1\"}\n";
        assert_eq!(executable(said), Some(PathBuf::from("/t/pipeline-1")));
        assert_eq!(executable("{}"), None);
    }
}
