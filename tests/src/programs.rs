//! The C programs: every way to use a socket, secrets beside them, and a relay that knows nothing of its bytes.
//!
//! In: a program's name and arguments. Out: a process that waits for the word to begin, and the line of JSON that it
//! writes at its end.

use std::{process::Command, time::Duration};

use serde_json::Value;

use crate::{child::Running, given, wait_until};

/// The exit code of a program that this kernel can't run.
const SKIP: i32 = 77;

/// A program that has said who it is; killed when dropped.
#[derive(Debug)]
pub struct Program {
    process: Running,
    /// The port it announced; 0 if it has none.
    pub port: u16,
}

impl Program {
    /// Starts `name`, which waits for [`Program::go`].
    pub fn waiting(name: &str, arguments: &[&str]) -> Self {
        let mut command = command(name);
        command.arg("--wait").args(arguments);
        Self::start(name, &mut command)
    }

    /// A relay to a port of loopback.
    pub fn relay(target: u16) -> Self {
        Self::start("relay", command("relay").args(["0", "127.0.0.1", &target.to_string()]))
    }

    fn start(name: &str, command: &mut Command) -> Self {
        let process = Running::spawn(name, command);
        let mut port = None;
        wait_until(given::limit(Duration::from_secs(10)), || {
            port = process.output().lines().next().and_then(announced);
            port.is_some()
        });
        match port {
            Some(port) => Self { process, port },
            None => panic!("{name} did not say who it is"),
        }
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// The word to begin.
    pub fn go(&mut self) {
        self.process.say("go");
    }

    /// Waits for its end; what it counted, or `None` if this kernel can't run it.
    ///
    /// # Panics
    /// If it fails, or goes on for too long.
    pub fn finish(&mut self, limit: Duration) -> Option<Value> {
        let status = self.process.wait(given::limit(limit));
        if status.code() == Some(SKIP) {
            return None;
        }
        assert!(status.success(), "it failed ({status})\n{}", self.process.show());
        let output = self.process.output();
        let last = output.lines().last().and_then(|line| serde_json::from_str(line).ok());
        Some(last.expect("it ends with a line of JSON"))
    }
}

/// A program's command, without arguments.
pub fn command(name: &str) -> Command {
    Command::new(given::programs().join(name))
}

fn announced(line: &str) -> Option<u16> {
    serde_json::from_str::<Value>(line).ok()?.get("port")?.as_u64()?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_names_the_port() {
        assert_eq!(announced(r#"{"pid":7,"port":4711}"#), Some(4711));
        assert_eq!(announced(r#"{"pid":7"#), None);
    }
}
