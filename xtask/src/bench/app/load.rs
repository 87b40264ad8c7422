//! The load: wrk, which keeps so many connections busy for so long.
//!
//! In: a port, a request, a number of connections and a duration. Out: requests, and how long their answers took.

use std::{fs, path::PathBuf, process::Command, time::Duration};

use anyhow::{Context, Result};
use serde_json::Value;

use crate::{process, ui, workspace};

/// Beside the duration of the load itself.
const PATIENCE: Duration = Duration::from_secs(30);

/// What is asked, over and over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked {
    /// The method.
    pub method: &'static str,
    /// The target.
    pub path: &'static str,
    /// Connections, each with one request at a time.
    pub connections: u32,
}

/// What came of a load.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Answered {
    /// Answers, of whatever status.
    pub requests: f64,
    /// Answers a second.
    pub rate: f64,
    /// The time that half of the answers took at most, in milliseconds.
    pub p50_ms: f64,
    /// The same of 99 in a hundred.
    pub p99_ms: f64,
    /// Requests without an answer.
    pub errors: f64,
}

/// wrk's own words are for people: it is told to say the same as JSON.
fn script(asked: Asked) -> Result<PathBuf> {
    let path = workspace::output().join("wrk.lua");
    let text = format!(
        r#"wrk.method = "{}"
function done(summary, latency, requests)
  local e = summary.errors
  io.write(string.format(
    '\n{{"requests":%d,"us":%d,"p50_us":%d,"p99_us":%d,"errors":%d}}\n', summary.requests, summary.duration,
    latency:percentile(50), latency:percentile(99), e.connect + e.read + e.write + e.timeout))
end
"#,
        asked.method
    );
    fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(path)
}

/// Loads what listens on `port` of loopback.
pub fn run(port: u16, asked: Asked, duration: Duration) -> Result<Answered> {
    let log = workspace::log("wrk");
    process::start_log(&log)?;
    let mut wrk = Command::new("wrk");
    wrk.args(["--threads", "1", "--timeout", "10s"]);
    wrk.args(["--connections", &asked.connections.to_string()]);
    wrk.args(["--duration", &format!("{}s", duration.as_secs().max(1))]).arg("--script").arg(script(asked)?);
    wrk.arg(format!("http://127.0.0.1:{port}{}", asked.path));
    process::run(&mut wrk, &log, duration + PATIENCE)?;
    let said = process::read_log(&log)?;
    read(&said).with_context(|| format!("wrk said nothing of its work; {}", ui::excerpt(&log)))
}

fn read(said: &str) -> Option<Answered> {
    let line = said.lines().rfind(|line| line.starts_with('{'))?;
    let json: Value = serde_json::from_str(line).ok()?;
    let number = |key: &str| json[key].as_f64();
    let requests = number("requests")?;
    Some(Answered {
        requests,
        rate: requests / number("us")? * 1e6,
        p50_ms: number("p50_us")? / 1000.0,
        p99_ms: number("p99_us")? / 1000.0,
        errors: number("errors")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_wrk_says_is_read() {
        let said = "$ wrk x\nRunning 2s test\n\n{\"requests\":10,\"us\":2000000,\"p50_us\":1500,\"p99_us\":9000,\"errors\":1}\n";
        let answered = Answered { requests: 10.0, rate: 5.0, p50_ms: 1.5, p99_ms: 9.0, errors: 1.0 };
        assert_eq!(read(said), Some(answered));
        assert_eq!(read("Running"), None);
    }
}
