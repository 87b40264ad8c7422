//! A running Jaeger, and what its query API knows.
//!
//! In: a Jaeger from `tools::jaeger`. Out: where to send spans, and the traces that arrived, read back from it.

use std::{
    fs,
    process::Command,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::{
    http,
    process::{self, Group},
    services,
    tools::jaeger::Jaeger,
    trace::{Span, Trace},
    ui, workspace,
};

const START_LIMIT: Duration = Duration::from_secs(60);
/// More traces than a demo makes.
const MOST_TRACES: u32 = 100_000;

/// A Jaeger that keeps traces in memory; ended when dropped.
pub struct Running {
    group: Group,
    /// The container to remove, where it is one.
    container: Option<(&'static str, String)>,
    /// The port of its OTLP/gRPC receiver.
    pub otlp_port: u16,
    /// The port of its pages and its query API.
    pub query_port: u16,
}

impl Running {
    /// Starts it on free ports and waits until it answers.
    pub fn start(jaeger: &Jaeger) -> Result<Self> {
        let ports: [u16; 4] = services::free_ports()?;
        let [otlp_port, otlp_http, query_port, query_grpc] = ports;
        let config = workspace::output().join("jaeger.yaml");
        fs::create_dir_all(workspace::output())?;
        fs::write(&config, configuration(otlp_port, otlp_http, query_port, query_grpc))?;
        let log = workspace::log("jaeger");
        process::start_log(&log)?;
        let name = format!("sockspan-jaeger-{}", std::process::id());
        let mut command = jaeger.command(&config, &name);
        process::log_to(&mut command, &log)?;
        let group = Group::spawn(&mut command)?.grace(Duration::from_secs(10));
        let container = match jaeger {
            Jaeger::Container { engine } => Some((*engine, name)),
            Jaeger::Binary(_) => None,
        };
        let mut running = Self { group, container, otlp_port, query_port };
        let started = std::time::Instant::now();
        while http::get(query_port, "/api/services").is_err() {
            process::check_interrupted()?;
            if let Some(status) = running.group.poll()? {
                bail!("Jaeger ended at its start ({status}); {}", ui::excerpt(&log));
            }
            if started.elapsed() > START_LIMIT {
                bail!("Jaeger does not answer after {}; {}", ui::seconds(START_LIMIT), ui::excerpt(&log));
            }
            process::sleep(Duration::from_millis(100));
        }
        Ok(running)
    }

    /// All traces of the frontend that it has, of the last hour.
    pub fn traces(&self) -> Result<Vec<Trace>> {
        traces(&http::loopback(self.query_port), now_us()?.saturating_sub(3_600_000_000), MOST_TRACES, "")
    }
}

/// Microseconds since the Unix epoch.
pub fn now_us() -> Result<u128> {
    Ok(SystemTime::now().duration_since(UNIX_EPOCH).context("the clock is before 1970")?.as_micros())
}

/// The frontend's traces since `start` that the Jaeger at `root` has, `most` of them, which may not be more than it keeps;
/// `filter` is more of the query, with its `&`.
pub fn traces(root: &str, start: u128, most: u32, filter: &str) -> Result<Vec<Trace>> {
    let end = now_us()? + 60_000_000;
    let query = format!("service=frontend&start={start}&end={end}&limit={most}{filter}");
    read(&http::get_from(root, &format!("/api/traces?{query}"))?)
}

impl Drop for Running {
    fn drop(&mut self) {
        self.group.stop();
        if let Some((engine, name)) = &self.container {
            // It is gone already when its client ended in good order.
            let _ = process::output(Command::new(engine).args(["rm", "--force", name]));
        }
    }
}

fn configuration(otlp_grpc: u16, otlp_http: u16, query: u16, query_grpc: u16) -> String {
    format!(
        "service:
  extensions: [jaeger_storage, jaeger_query]
  pipelines:
    traces: {{receivers: [otlp], exporters: [jaeger_storage_exporter]}}
  telemetry:
    metrics: {{level: none}}
extensions:
  jaeger_storage:
    backends:
      memory: {{memory: {{max_traces: {MOST_TRACES}}}}}
  jaeger_query:
    storage: {{traces: memory}}
    # Its own requests are nobody's business, and their export would keep it from ending at once.
    enable_tracing: false
    http: {{endpoint: '127.0.0.1:{query}'}}
    grpc: {{endpoint: '127.0.0.1:{query_grpc}'}}
receivers:
  otlp:
    protocols:
      grpc: {{endpoint: '127.0.0.1:{otlp_grpc}'}}
      http: {{endpoint: '127.0.0.1:{otlp_http}'}}
exporters:
  jaeger_storage_exporter: {{trace_storage: memory}}
"
    )
}

/// The traces in an answer of `/api/traces`.
fn read(answer: &str) -> Result<Vec<Trace>> {
    let answer: Value = serde_json::from_str(answer).context("Jaeger's answer is not JSON")?;
    let traces = answer["data"].as_array().context("Jaeger's answer has no data")?;
    Ok(traces.iter().map(trace).collect())
}

fn trace(value: &Value) -> Trace {
    let spans = value["spans"].as_array().map_or(&[][..], Vec::as_slice);
    let id_of = |span: &Value| span["spanID"].as_str().unwrap_or_default().to_owned();
    let ids: Vec<_> = spans.iter().map(id_of).collect();
    let read = |span: &Value| {
        let parent =
            span["references"].as_array().and_then(|r| r.iter().find(|r| r["refType"] == "CHILD_OF"));
        let parent = parent.and_then(|r| r["spanID"].as_str());
        let process = span["processID"].as_str().unwrap_or_default();
        let service = value["processes"][process]["serviceName"].as_str().unwrap_or_default();
        let tag = |key: &str| {
            let tags = span["tags"].as_array().map_or(&[][..], Vec::as_slice);
            tags.iter().find(|tag| tag["key"] == key).map(|tag| &tag["value"])
        };
        let number = |key: &str| span[key].as_u64();
        Span {
            // On Kubernetes the sample's manifest calls its services by longer names.
            service: service.trim_end_matches("-service").to_owned(),
            name: span["operationName"].as_str().unwrap_or_default().to_owned(),
            kind: tag("span.kind").and_then(Value::as_str).unwrap_or_default().to_owned(),
            status: tag("http.response.status_code").and_then(Value::as_u64).unwrap_or(0) as u16,
            // A parent that is not in the trace makes the trace wrong: point outside of it.
            parent: parent.map(|p| ids.iter().position(|id| id == p).unwrap_or(ids.len())),
            time_us: number("startTime").zip(number("duration")),
        }
    };
    let id = value["traceID"].as_str().unwrap_or_default().to_owned();
    Trace { id, spans: spans.iter().map(read).collect(), picture: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_becomes_traces() {
        let answer = r#"{"data":[{"traceID":"ab","processes":{"p1":{"serviceName":"frontend"}},"spans":[
            {"spanID":"01","processID":"p1","operationName":"GET /products","startTime":5,"duration":9,
             "references":[],"tags":[{"key":"span.kind","value":"server"},{"key":"http.response.status_code","value":200}]},
            {"spanID":"02","processID":"p1","operationName":"GET","references":[{"refType":"CHILD_OF","spanID":"01"}],"tags":[]},
            {"spanID":"03","processID":"p1","operationName":"GET","references":[{"refType":"CHILD_OF","spanID":"99"}],"tags":[]}
        ]}],"errors":null}"#;
        let traces = read(answer).expect("valid JSON");
        let spans = &traces[0].spans;
        assert_eq!(
            (spans[0].kind.as_str(), spans[0].status, spans[0].time_us),
            ("server", 200, Some((5, 9)))
        );
        let parents: Vec<_> = spans.iter().map(|s| s.parent).collect();
        assert_eq!(parents, [None, Some(0), Some(3)], "a parent elsewhere is no root");
        assert!(read("{}").is_err());
    }
}
