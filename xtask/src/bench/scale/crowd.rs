//! The load: `tests/programs/crowd`, many processes, connections or bytes.
//!
//! In: how many. Out: what its exchanges took.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::{ChildStdin, ChildStdout, Command, Stdio},
};

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::{
    process::{self, Group},
    ui, workspace,
};

/// What an exchange took, in microseconds.
#[derive(Clone, Copy, Debug)]
pub struct Took {
    /// By the clock.
    pub wall_us: f64,
    /// Of the processors, both ends.
    pub cpu_us: f64,
}

/// A crowd, ready; ended when dropped.
pub struct Crowd {
    /// The process that all others descend from.
    pub pid: u32,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    // Last, so that it is ended after its pipes are closed.
    _group: Group,
}

impl Crowd {
    /// Starts it with these arguments, and waits until all are ready.
    pub fn start(program: &Path, arguments: &[String]) -> Result<Self> {
        let log = workspace::log("crowd");
        process::start_log(&log)?;
        let mut command = Command::new(program);
        command.args(arguments);
        process::log_to(&mut command, &log)?;
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut group = Group::spawn(&mut command)?;
        let (input, output) = group.pipes().context("the crowd has no pipes")?;
        let mut crowd = Self { pid: group.pid(), input, output: BufReader::new(output), _group: group };
        crowd.line()?;
        Ok(crowd)
    }

    /// Has all exchanges made.
    pub fn run(&mut self) -> Result<Took> {
        writeln!(self.input, "go").context("the crowd takes no input")?;
        let said = self.line()?;
        let number = |key: &str| said[key].as_f64().with_context(|| format!("the crowd says no {key}"));
        let of_each = |key: &str| anyhow::Ok(number(key)? / number("exchanges")? / 1e3);
        Ok(Took { wall_us: of_each("ns")?, cpu_us: of_each("cpu_ns")? })
    }

    fn line(&mut self) -> Result<Value> {
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        let excerpt = || format!("the crowd said {line:?}; {}", ui::excerpt(&workspace::log("crowd")));
        serde_json::from_str(&line).with_context(excerpt)
    }
}
