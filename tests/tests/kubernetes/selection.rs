//! Whom the agent traces: by labels, live, and the pod's own word above all.

use std::{
    collections::BTreeSet,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use sockspan_tests::{
    cluster::Namespace,
    given,
    jaeger::Query,
    load::{self, Answer, Load},
    wait_until,
};

use crate::stage::{ARRIVAL, LIVE, Stage, stage};

/// A Deployment of the sample's product service alone, and its Service.
pub fn product(extra: &str) -> String {
    format!(
        "apiVersion: apps/v1
kind: Deployment
metadata: {{name: product}}
spec:
  selector: {{matchLabels: {{app: product}}}}
  template:
    metadata: {{labels: {{app: product}}{extra}}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - name: product
        image: sockspan-product:0.1.0
        imagePullPolicy: IfNotPresent
        readinessProbe: {{httpGet: {{path: /, port: 8080}}, periodSeconds: 1}}
---
apiVersion: v1
kind: Service
metadata: {{name: product}}
spec:
  selector: {{app: product}}
  ports: [{{port: 8080}}]
"
    )
}

/// The product service, traced by whatever rules hold, and asked for things that nobody else asks for.
struct Product {
    namespace: Namespace,
}

impl Product {
    fn deploy(stage: &Stage, name: &str, labels: &str, extra: &str) -> Self {
        let namespace = Namespace::new(&stage.cluster, name, labels);
        namespace.apply(&product(extra));
        namespace.rolled_out("deployment/product");
        Self { namespace }
    }

    fn load(&self) -> Load {
        Load::get(0, "/products/{}").to(self.namespace.service("product")).connecting()
    }

    /// The paths of all requests of which Jaeger has a SERVER span from this namespace.
    fn told(&self, stage: &Stage, since: u64) -> BTreeSet<String> {
        let spans = stage.spans(&self.namespace.name, "product", since);
        spans.iter().map(|span| span.path().to_owned()).collect()
    }

    /// Every one of `answers` must be told of, or none.
    fn assert_told(&self, stage: &Stage, since: u64, answers: &[Answer], all: bool) {
        let paths: Vec<_> = answers.iter().map(|answer| format!("/products/{}", answer.id)).collect();
        let count = || {
            let told = self.told(stage, since);
            paths.iter().filter(|path| told.contains(*path)).count()
        };
        let wanted = if all { paths.len() } else { 0 };
        // What must not come gets the time to come.
        let found = match all {
            true => {
                wait_until(ARRIVAL, || count() == wanted);
                count()
            }
            false => {
                thread::sleep(Duration::from_secs(8));
                count()
            }
        };
        assert_eq!(found, wanted, "of {} requests in {}", paths.len(), self.namespace.name);
    }
}

/// A label stops the tracing of running pods within two seconds, and its end starts it again; under load, without a
/// restart of anything.
#[test]
fn a_label_on_the_namespace_takes_effect_while_pods_run() {
    let stage = stage();
    let product = Product::deploy(stage, "live", "", "");
    let label = |value: &str| {
        let before = load::now();
        stage.cluster.kubectl(&["label", "namespace", "live", value, "--overwrite"]);
        (before, load::now())
    };
    let since = load::now();
    let stop = AtomicBool::new(false);
    let (answers, turns) = thread::scope(|scope| {
        let load = product.load().at(2);
        let stop = &stop;
        let running = scope.spawn(move || load.run_until(stop));
        let mut turns = Vec::new();
        for value in ["sockspan.io/trace=disabled", "sockspan.io/trace-"] {
            thread::sleep(Duration::from_secs(4));
            turns.push(label(value));
            let took = stage.await_traced("live", value.ends_with('-'), LIVE);
            println!("{value}: in effect after {took:?}");
        }
        thread::sleep(Duration::from_secs(4));
        stop.store(true, Ordering::Relaxed);
        (running.join().expect("the load does not panic"), turns)
    });
    let [(off, is_off), (on, is_on)] = turns[..] else { unreachable!("two turns") };
    let live = u64::try_from(LIVE.as_nanos()).unwrap_or(u64::MAX);
    let during = |from: u64, to: u64| -> Vec<Answer> {
        answers.iter().filter(|a| a.status.is_some() && a.start > from && a.end < to).cloned().collect()
    };
    let phases = [(since, off, true), (is_off + live, on, false), (is_on + live, u64::MAX, true)];
    for (from, to, traced) in phases {
        let answers = during(from, to);
        println!("{} requests while traced is {traced}", answers.len());
        assert!(answers.len() > 10);
        product.assert_told(stage, since, &answers, traced);
    }
}

/// With the opt-in overlay, a namespace without the label gives nothing, though the same application runs in it; the
/// label then starts it.
#[test]
fn opting_in_is_one_overlay_and_one_label() {
    let stage = stage();
    let overlay = given::repository("deploy/kustomize/overlays/opt-in");
    let opted_in = Product::deploy(stage, "opted-in", "sockspan.io/trace: enabled", "");
    let unlabelled = Product::deploy(stage, "unlabelled", "", "");
    stage.reloaded("applied", || {
        stage.cluster.kubectl(&["apply", "--kustomize", &overlay.display().to_string()])
    });
    let since = load::now();
    let (one, other) = (opted_in.load().run(20), unlabelled.load().run(20));
    opted_in.assert_told(stage, since, &one, true);
    unlabelled.assert_told(stage, since, &other, false);
    let all = stage.jaeger.spans(&Query::service("product").since(since));
    assert!(all.iter().all(|span| span.resource["k8s.namespace.name"] == "opted-in"));
    let reasons = stage.processes("unlabelled");
    assert!(reasons.iter().all(|p| p["reason"].to_string().contains("sockspan.io/trace")), "{reasons:#?}");

    stage.cluster.kubectl(&["label", "namespace", "unlabelled", "sockspan.io/trace=enabled"]);
    stage.await_traced("unlabelled", true, LIVE);
    unlabelled.assert_told(stage, since, &unlabelled.load().run(20), true);
    stage.reloaded("applied", || stage.cluster.apply_file("deploy/sockspan.yaml"));
}

/// A pod's own annotation decides, either way, whatever its namespace says; and it can be changed while it runs.
#[test]
fn a_pod_decides_for_itself() {
    let stage = stage();
    let annotated = |value: &str| format!(", annotations: {{sockspan.io/trace: {value}}}");
    let inside = Product::deploy(stage, "left-alone", "sockspan.io/trace: disabled", &annotated("enabled"));
    let outside = Product::deploy(stage, "taken", "", &annotated("disabled"));
    let since = load::now();
    let (one, other) = (inside.load().run(10), outside.load().run(10));
    inside.assert_told(stage, since, &one, true);
    outside.assert_told(stage, since, &other, false);
    outside.namespace.kubectl(&["annotate", "pods", "--all", "sockspan.io/trace-"]);
    stage.await_traced("taken", true, LIVE);
    outside.assert_told(stage, since, &outside.load().run(10), true);
}

/// The whole syntax of selectors, as text and as a map, from the ConfigMap while the agent runs.
#[test]
fn selectors_speak_the_whole_syntax() {
    let stage = stage();
    let shop = Product::deploy(stage, "selected", "tier: gold, team: a", "");
    let table = [
        ("namespace-selector", "tier in (gold, silver), team!=b, !retired", true),
        ("namespace-selector", "tier notin (gold)", false),
        (
            "namespace-selector",
            "{matchLabels: {tier: gold}, matchExpressions: [{key: team, operator: In, values: [a, b]}]}",
            true,
        ),
        ("namespaceSelector", "{matchExpressions: [{key: tier, operator: DoesNotExist}]}", false),
        ("pod-selector", "app=product", true),
        ("pod-selector", "{matchLabels: {app: other}}", false),
        ("exclude-namespace", "[kube-*, selec*]", false),
    ];
    for (key, selector, traced) in table {
        let _settings = stage.configure(&[(key, &yaml(selector))]);
        let started = Instant::now();
        stage.await_traced("selected", traced, LIVE);
        println!("{key}: {selector}: {traced} after {:?}", started.elapsed());
        let since = load::now();
        let answers = shop.load().run(3);
        if traced {
            shop.assert_told(stage, since, &answers, true);
        }
    }
}

fn yaml(selector: &str) -> String {
    if selector.starts_with(['{', '[']) { selector.to_owned() } else { format!("\"{selector}\"") }
}
