//! `cargo xtask demo --k8s`: the whole product on a real Kubernetes: cluster, Jaeger, agent, application, a label, and what
//! Jaeger finds by it.
//!
//! In: options, the manifests in `deploy`. Out: one checkout's spans and a table on standard output; the cluster stays up,
//! with words on how to go on by hand.

use std::{
    fs,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::{Options, SETTLE_LIMIT, jaeger, report::Report};
use crate::{
    agent::{self, Cost},
    http, k8s,
    load::{self, Answers},
    process,
    trace::{self, Trace},
    ui::{self, Step},
    workspace,
};

/// The namespace of the sample application, in its manifest.
const SHOP: &str = "e-commerce";
/// The label that the demo gives it, and searches by.
const LABEL: (&str, &str) = ("team", "shop");
/// As many as deploy/jaeger keeps.
const MOST_TRACES: u32 = 20_000;
const ROLLOUT: &str = "--timeout=180s";

/// What was applied, and where it answers.
struct Stage {
    jaeger: String,
    frontend: String,
    agent: String,
    started: Instant,
}

/// The verb.
pub fn run(options: &Options) -> Result<()> {
    k8s::up(false)?;
    let stage = Stage::apply()?;
    let report = stage.perform(options)?;
    report.print();
    stage.go_on();
    report.verdict()
}

impl Stage {
    /// Does what the README says, and waits for each.
    fn apply() -> Result<Self> {
        Step::run("kubectl apply -f deploy/jaeger/jaeger.yaml", |_| {
            apply("deploy/jaeger/jaeger.yaml")?;
            rolled_out("observability", "deployment/jaeger")
        })?;
        let started = Instant::now();
        Step::run("kubectl apply -f deploy/sockspan.yaml", |_| {
            apply("deploy/sockspan.yaml")?;
            rolled_out("sockspan", "daemonset/sockspan")
        })?;
        Step::run("kubectl apply -f deploy/e-commerce/e-commerce.yaml", |_| {
            apply("deploy/e-commerce/e-commerce.yaml")?;
            let services = ["frontend", "product", "order"];
            services.iter().try_for_each(|service| rolled_out(SHOP, &format!("deployment/{service}")))
        })?;
        let label = format!("{}={}", LABEL.0, LABEL.1);
        Step::run(format!("kubectl label namespace {SHOP} {label}"), |_| {
            k8s::kubectl::run(&["label", "namespace", SHOP, &label, "--overwrite"]).map(drop)
        })?;
        Ok(Self {
            jaeger: service("observability", "jaeger", "query")?,
            frontend: service(SHOP, "frontend", "8080")?,
            agent: agent()?,
            started,
        })
    }

    fn perform(&self, options: &Options) -> Result<Report> {
        let start = self.cost()?;
        let since = jaeger::now_us()?;
        let text =
            format!("sending {} requests a second for {}", options.rate, ui::seconds(options.duration));
        let answers = Step::run(text, |_| {
            let answers = load::run(&self.frontend, options.rate, options.duration);
            process::check_interrupted().map(|()| answers)
        })?;
        let cost = self.cost()?;
        let question = format!("asking Jaeger for k8s.namespace.label.{}={}", LABEL.0, LABEL.1);
        let traces = Step::run(question, |_| self.settle(&answers, since))?;
        Ok(Report {
            complete: trace::complete(&traces, &answers),
            traces,
            spans: self.metric("sockspan_spans_total")?,
            lost: agent::lost(&http::get_from(&self.agent, "/metrics")?),
            start,
            cost,
            answers,
        })
    }

    /// Waits until every request has its complete trace, found by the label, or nothing more can be expected.
    fn settle(&self, answers: &Answers, since: u128) -> Result<Vec<Trace>> {
        // {"k8s.namespace.label.team":"shop"}, as a query has it.
        let filter = format!("&tags=%7B%22k8s.namespace.label.{}%22%3A%22{}%22%7D", LABEL.0, LABEL.1);
        let started = Instant::now();
        loop {
            let traces = jaeger::traces(&self.jaeger, since, MOST_TRACES, &filter)?;
            if trace::complete(&traces, answers) == answers.sent() || started.elapsed() > SETTLE_LIMIT {
                return Ok(traces);
            }
            process::check_interrupted()?;
            process::sleep(Duration::from_millis(500));
        }
    }

    fn metric(&self, name: &str) -> Result<f64> {
        Ok(agent::sum(&http::get_from(&self.agent, "/metrics")?, name))
    }

    fn cost(&self) -> Result<Cost> {
        Ok(Cost {
            cpu_s: self.metric("process_cpu_seconds_total")?,
            elapsed_s: self.started.elapsed().as_secs_f64(),
            peak_mib: self.metric("process_resident_memory_bytes")? / f64::from(1 << 20),
        })
    }

    fn go_on(&self) {
        let Self { jaeger, frontend, agent, .. } = self;
        ui::heading("the cluster stays up; go on by hand:");
        ui::say(format!("export KUBECONFIG={}", k8s::layout::admin_kubeconfig().display()));
        ui::say(format!("curl -X POST {frontend}/checkout"));
        ui::say(format!(
            "curl '{jaeger}/api/traces?service=frontend'   # Jaeger, built here without its pages"
        ));
        ui::say(format!(
            "curl {agent}/status                            # each process, and the rule that decided"
        ));
        ui::say(format!(
            "cargo xtask k8s kubectl -- label namespace {SHOP} sockspan.io/trace=disabled   # ends its tracing"
        ));
        ui::say("cargo xtask k8s down                                   # removes all of it");
    }
}

fn apply(file: &str) -> Result<()> {
    let path = workspace::root().join(file);
    fs::metadata(&path).with_context(|| format!("cannot read {file}"))?;
    k8s::kubectl::run(&["apply", "-f", &path.display().to_string()]).map(drop)
}

fn rolled_out(namespace: &str, what: &str) -> Result<()> {
    k8s::kubectl::run(&["-n", namespace, "rollout", "status", what, ROLLOUT])
        .map(drop)
        .with_context(|| format!("look at it by `cargo xtask k8s kubectl -- -n {namespace} describe pods`"))
}

/// The root of a Service's port, by its name or number; this machine reaches its address.
fn service(namespace: &str, name: &str, port: &str) -> Result<String> {
    let object = get(&["-n", namespace, "get", "service", name])?;
    let ports = object["spec"]["ports"].as_array().map_or(&[][..], Vec::as_slice);
    let found = ports.iter().find(|each| each["name"] == port || each["port"].to_string().as_str() == port);
    match (object["spec"]["clusterIP"].as_str(), found.and_then(|each| each["port"].as_u64())) {
        (Some(ip), Some(port)) => Ok(format!("http://{ip}:{port}")),
        _ => bail!("the Service {namespace}/{name} has no port {port}"),
    }
}

/// The root of the agent's admin port.
fn agent() -> Result<String> {
    let pods = get(&["-n", "sockspan", "get", "pods", "-l", "app.kubernetes.io/name=sockspan"])?;
    let items = pods["items"].as_array().map_or(&[][..], Vec::as_slice);
    let running = items.iter().filter(|pod| pod["metadata"]["deletionTimestamp"].is_null());
    let ip = running.filter_map(|pod| pod["status"]["podIP"].as_str()).next();
    Ok(format!("http://{}:7625", ip.context("the agent's pod has no address")?))
}

fn get(arguments: &[&str]) -> Result<Value> {
    let text = k8s::kubectl::run(&[arguments, &["-o", "json"]].concat())?;
    serde_json::from_str(&text).context("kubectl's answer is not JSON")
}
