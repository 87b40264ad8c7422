//! What all tests share: the cluster with Jaeger and the agent in it, installed once as the README says.
//!
//! In: `deploy/`. Out: [`Stage`], which asks the agent and Jaeger.

use std::{
    net::{IpAddr, SocketAddr},
    sync::{Arc, OnceLock},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;
use sockspan_tests::{
    agent,
    cluster::{Cluster, Namespace},
    http,
    jaeger::{Jaeger, Query},
    judge::shape::{Shapes, shapes},
    load::{self, Answer, Load},
    span::{Attributes, Span},
    wait_until,
};

/// The agent's namespace, and the name of all its objects.
pub const AGENT: &str = "sockspan";
/// Where Jaeger and the Collector live.
pub const OBSERVABILITY: &str = "observability";
/// A change of labels must have shown by then.
pub const LIVE: Duration = Duration::from_secs(2);
/// Spans are in Jaeger by then: exchanges settle for 5 s at most, batches wait 5 s.
pub const ARRIVAL: Duration = Duration::from_secs(25);

/// The cluster, with everything in it.
pub struct Stage {
    pub cluster: Cluster,
    pub jaeger: Jaeger,
}

/// The one stage of this run.
pub fn stage() -> &'static Stage {
    static STAGE: OnceLock<Stage> = OnceLock::new();
    STAGE.get_or_init(|| {
        let cluster = Cluster::given();
        cluster.apply_file("deploy/jaeger/jaeger.yaml");
        cluster.apply_file("deploy/sockspan.yaml");
        cluster.rolled_out(OBSERVABILITY, "deployment/jaeger");
        cluster.rolled_out(AGENT, "daemonset/sockspan");
        let address = cluster.service(OBSERVABILITY, "jaeger", "16686");
        Stage { cluster, jaeger: Jaeger { address } }
    })
}

impl Stage {
    /// Where the agent's running pod answers.
    pub fn agent(&self) -> Option<SocketAddr> {
        let pods = self.cluster.pods(AGENT, "app.kubernetes.io/name=sockspan");
        let ip = pods.iter().find_map(|pod| pod["status"]["podIP"].as_str()?.parse::<IpAddr>().ok())?;
        Some(SocketAddr::new(ip, 7625))
    }

    /// A page of the agent's admin port.
    pub fn page(&self, path: &str) -> Option<String> {
        let answer = http::get_at(self.agent()?, path).ok()?;
        Some(String::from_utf8_lossy(&answer.body).into_owned())
    }

    /// The agent's `/status`.
    pub fn status(&self) -> Value {
        let page = self.page("/status").expect("the agent answers");
        serde_json::from_str(&page).expect("/status is JSON")
    }

    /// The agent's log of its running pod.
    pub fn agent_log(&self) -> String {
        self.cluster.kubectl(&["logs", "daemonset/sockspan", "--namespace", AGENT])
    }

    /// The processes of a namespace in `/status`.
    pub fn processes(&self, namespace: &str) -> Vec<Value> {
        let status = self.status();
        let all = status["processes"].as_array().cloned().unwrap_or_default();
        let prefix = format!("{namespace}/");
        let inside = |process: &Value| process["pod"].as_str().is_some_and(|pod| pod.starts_with(&prefix));
        all.into_iter().filter(inside).collect()
    }

    /// Waits until all processes of a namespace, at least one, are traced or not; returns how long that took.
    pub fn await_traced(&self, namespace: &str, traced: bool, limit: Duration) -> Duration {
        let started = Instant::now();
        let so = || {
            let processes = self.processes(namespace);
            !processes.is_empty() && processes.iter().all(|process| process["traced"] == traced)
        };
        assert!(wait_until(limit, so), "traced is not {traced}: {:#?}", self.processes(namespace));
        started.elapsed()
    }

    /// The spans of all traces with one of this service and namespace that began at `since` or later.
    pub fn spans(&self, namespace: &str, service: &str, since: u64) -> Vec<Span> {
        let query = Query::service(service).tag("k8s.namespace.name", namespace).since(since);
        self.jaeger.spans(&query)
    }

    /// Waits until Jaeger has the five or three spans of every checkout, and no other.
    pub fn assert_checkouts(&self, namespace: &str, since: u64, answers: &[Answer]) -> Vec<Span> {
        let wanted = (load::count(answers, 200), load::count(answers, 500));
        assert_eq!(wanted.0 + wanted.1, answers.len(), "requests that were not answered");
        let mut spans = Vec::new();
        let mut told = Shapes::default();
        wait_until(ARRIVAL, || {
            spans = self.spans(namespace, "frontend", since);
            told = shapes(&short_names(&spans));
            (told.five, told.three) == wanted
        });
        println!("{namespace}: {} checkouts, {told}", answers.len());
        assert_eq!((told.five, told.three, told.other.len()), (wanted.0, wanted.1, 0), "{told}");
        spans
    }

    /// Checks out at a namespace's frontend, each with a connection of its own; all traces must be complete.
    pub fn checkouts(&self, shop: &Namespace, total: usize, concurrency: usize) -> Vec<Span> {
        let since = load::now();
        let load = Load::post(0, "/checkout").to(shop.service("frontend")).at(concurrency).connecting();
        let answers = load.run(total);
        self.assert_checkouts(&shop.name, since, &answers)
    }

    /// The sum of a metric's samples with all these labels; 0 if the agent does not answer.
    pub fn metric(&self, name: &str, labels: &[&str]) -> f64 {
        self.page("/metrics").map_or(0.0, |page| agent::sum(&page, name, labels))
    }

    /// Sets keys of the agent's settings file, for as long as the value lives; returns once they are in effect.
    pub fn configure(&self, keys: &[(&str, &str)]) -> Configured<'_> {
        let before = self.settings_file();
        let mut text = before.clone();
        for (key, value) in keys {
            text = without_key(&text, &kebab(key)) + &format!("{key}: {value}\n");
        }
        let configured = Configured { stage: self, before };
        self.write_settings(&text, "applied");
        configured
    }

    /// The settings file, as the ConfigMap has it.
    pub fn settings_file(&self) -> String {
        let map = self.cluster.get(&["configmap", AGENT, "--namespace", AGENT]);
        map["data"]["sockspan.yaml"].as_str().expect("the ConfigMap has sockspan.yaml").to_owned()
    }

    /// Writes it to the ConfigMap, and waits until the agent has taken it with this result.
    pub fn write_settings(&self, text: &str, result: &str) {
        if self.settings_file() != text {
            self.reloaded(result, || self.put_settings(text));
        }
    }

    fn put_settings(&self, text: &str) {
        let patch = serde_json::json!({"data": {"sockspan.yaml": text}}).to_string();
        self.cluster.kubectl(&["patch", "configmap", AGENT, "--namespace", AGENT, "--patch", &patch]);
    }

    /// Sets keys that only a new start takes, for as long as the value lives; the agent has been replaced when it returns.
    pub fn restart_with(&self, keys: &[(&str, &str)]) -> Restarted<'_> {
        let configured = self.configure(keys);
        self.restart_agent();
        Restarted { configured: Some(configured) }
    }

    /// Replaces the agent's pod, and waits for the new one.
    pub fn restart_agent(&self) {
        self.cluster.kubectl(&["rollout", "restart", "daemonset/sockspan", "--namespace", AGENT]);
        self.cluster.rolled_out(AGENT, "daemonset/sockspan");
    }

    /// Waits until the agent has taken its settings anew, with this result, after `change`.
    pub fn reloaded<T>(&self, result: &str, change: impl FnOnce() -> T) {
        let label = format!("result=\"{result}\"");
        let count = || self.metric("sockspan_settings_reloads_total", &[&label]);
        let before = count();
        change();
        // The kubelet brings a ConfigMap to a running pod in its own time.
        let taken = wait_until(Duration::from_secs(120), || count() > before);
        assert!(
            taken,
            "the agent has not {result} its new settings:\n{}\n{}",
            self.settings_file(),
            self.agent_log()
        );
    }
}

/// Settings that hold for a while.
pub struct Configured<'a> {
    stage: &'a Stage,
    before: String,
}

impl Drop for Configured<'_> {
    fn drop(&mut self) {
        // The other tests need them; whether the agent has them is no matter of a test that has failed.
        match thread::panicking() {
            true => self.stage.put_settings(&self.before),
            false => self.stage.write_settings(&self.before, "applied"),
        }
    }
}

/// Settings that hold for a while, each end with a new start of the agent.
pub struct Restarted<'a> {
    configured: Option<Configured<'a>>,
}

impl Drop for Restarted<'_> {
    fn drop(&mut self) {
        let Some(configured) = self.configured.take() else { return };
        let stage = configured.stage;
        drop(configured);
        stage.restart_agent();
    }
}

/// A setting's own name for one in Kubernetes' spelling.
fn kebab(key: &str) -> String {
    let letter = |c: char| match c.is_ascii_uppercase() {
        true => format!("-{}", c.to_ascii_lowercase()),
        false => c.to_string(),
    };
    key.chars().map(letter).collect()
}

/// A YAML file of simple keys, without this one and the lines that belong to it.
fn without_key(text: &str, key: &str) -> String {
    let mut inside = false;
    let kept = text.lines().filter(|line| {
        inside = line.starts_with(&format!("{key}:")) || (inside && line.starts_with([' ', '-']));
        !inside
    });
    kept.map(|line| format!("{line}\n")).collect()
}

/// The same spans, with the names of services as the demo has them: `product` for `product-service`.
pub fn short_names(spans: &[Span]) -> Vec<Span> {
    let short = |span: &Span| {
        let mut resource = (*span.resource).clone();
        let name = span.service().trim_end_matches("-service").to_owned();
        resource.insert("service.name".to_owned(), name);
        Span { resource: Arc::new(resource), ..span.clone() }
    };
    spans.iter().map(short).collect()
}

/// The resources of spans, each once.
pub fn resources(spans: &[Span]) -> Vec<Arc<Attributes>> {
    let mut all: Vec<_> = spans.iter().map(|span| span.resource.clone()).collect();
    all.sort_unstable();
    all.dedup();
    all
}
