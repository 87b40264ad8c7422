//! Pods of every kind: what their spans say is theirs, never another's.

use std::{fs, thread, time::Duration};

use serde_json::Value;
use sockspan_tests::{
    cluster::Namespace,
    given, http,
    load::{self, Load},
    span::{Kind, Span},
    wait_until,
};

use crate::{
    checkout::assert_is_pod,
    selection::product,
    stage::{ARRIVAL, Stage, resources, stage},
};

/// Waits for at least `count` spans of a service for which `wanted` holds.
fn await_spans(
    stage: &Stage,
    namespace: &str,
    service: &str,
    since: u64,
    count: usize,
    wanted: impl Fn(&Span) -> bool,
) -> Vec<Span> {
    let mut spans = Vec::new();
    wait_until(ARRIVAL, || {
        spans = stage.spans(namespace, service, since);
        spans.retain(&wanted);
        spans.len() >= count
    });
    assert!(spans.len() >= count, "{} of {count} spans of {namespace}/{service}: {spans:#?}", spans.len());
    spans
}

/// Two containers of one pod, which talk over the pod's own loopback, are two processes of one pod in one trace.
#[test]
fn two_containers_of_a_pod_are_told_apart() {
    let stage = stage();
    let namespace = Namespace::new(&stage.cluster, "pair", "");
    namespace.apply(
        "apiVersion: v1
kind: Pod
metadata: {name: pair, labels: {app: pair}}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - name: shop
    image: sockspan-frontend:0.1.0
    imagePullPolicy: IfNotPresent
    env: [{name: PRODUCT_SERVICE_URL, value: 'http://localhost:8081'}, {name: OTEL_SERVICE_NAME, value: frontend}]
    readinessProbe: {httpGet: {path: /, port: 8080}, periodSeconds: 1}
  - name: catalogue
    image: sockspan-product:0.1.0
    imagePullPolicy: IfNotPresent
    env: [{name: PORT, value: '8081'}, {name: OTEL_SERVICE_NAME, value: product}]
    readinessProbe: {httpGet: {path: /, port: 8081}, periodSeconds: 1}
",
    );
    namespace.kubectl(&["wait", "pod/pair", "--for=condition=Ready", "--timeout=120s"]);
    let ip = pod_ip(&namespace.pods("app=pair")[0]);
    let since = load::now();
    let answers = Load::get(0, "/products").to((ip, 8080).into()).connecting().run(10);
    assert!(answers.iter().all(|answer| answer.status.is_some()));
    let servers = await_spans(stage, "pair", "product", since, 30, |_| true);
    let containers = resources(&servers);
    let names: Vec<_> = containers.iter().map(|resource| resource["k8s.container.name"].as_str()).collect();
    assert_eq!(names.len(), 2, "{names:?}");
    for resource in &containers {
        assert_is_pod(&stage.cluster, resource);
        let own = if resource["service.name"] == "frontend" { "shop" } else { "catalogue" };
        assert_eq!(resource["k8s.container.name"], own);
    }
}

/// A pod in the node's own network is its own pod all the same.
#[test]
fn a_pod_in_the_nodes_network_is_itself() {
    let stage = stage();
    let namespace = Namespace::new(&stage.cluster, "on-the-node", "");
    namespace.apply(
        "apiVersion: v1
kind: Pod
metadata: {name: hosted, labels: {app: hosted}}
spec:
  hostNetwork: true
  terminationGracePeriodSeconds: 1
  containers:
  - name: product
    image: sockspan-product:0.1.0
    imagePullPolicy: IfNotPresent
    env: [{name: PORT, value: '18080'}]
    readinessProbe: {httpGet: {path: /, port: 18080}, periodSeconds: 1}
",
    );
    namespace.kubectl(&["wait", "pod/hosted", "--for=condition=Ready", "--timeout=120s"]);
    let ip = pod_ip(&namespace.pods("app=hosted")[0]);
    let since = load::now();
    let answers = Load::get(0, "/products/{}").to((ip, 18080).into()).connecting().run(10);
    let spans =
        await_spans(stage, "on-the-node", "hosted", since, answers.len(), |span| span.kind == Kind::Server);
    assert_eq!((spans.len(), resources(&spans).len()), (answers.len(), 1));
    assert_is_pod(&stage.cluster, &spans[0].resource);
}

/// A CronJob's pod, whose one program asks at once and ends: its request is told, and says which job it was.
#[test]
fn a_cron_jobs_first_and_only_request_is_told() {
    let stage = stage();
    let namespace = Namespace::new(&stage.cluster, "nightly", "");
    namespace.apply(&product(""));
    namespace.rolled_out("deployment/product");
    let since = load::now();
    namespace.apply(
        "apiVersion: batch/v1
kind: CronJob
metadata: {name: report}
spec:
  schedule: '* * * * *'
  jobTemplate:
    spec:
      template:
        spec:
          restartPolicy: Never
          containers:
          - name: ask
            image: sockspan-test-tools:latest
            imagePullPolicy: IfNotPresent
            command: [wget, -q, -O, '-', 'http://product:8080/products/4']
",
    );
    let jobs = || {
        namespace.kubectl(&[
            "get",
            "jobs",
            "--output=jsonpath={.items[?(@.status.succeeded==1)].metadata.name}",
        ])
    };
    assert!(wait_until(Duration::from_secs(90), || !jobs().is_empty()), "no job has run");
    let spans = await_spans(stage, "nightly", "report", since, 1, |span| span.kind == Kind::Client);
    let resource = &spans[0].resource;
    assert_is_pod(&stage.cluster, resource);
    assert_eq!(resource["k8s.cronjob.name"], "report");
    let trace = &spans[0].trace;
    let servers = await_spans(stage, "nightly", "product", since, 1, |span| {
        &span.trace == trace && span.kind == Kind::Server
    });
    assert_eq!(servers[0].parent, spans[0].id);
}

/// A static pod, which the kubelet runs from a file and of which the API server has a mirror only.
#[test]
fn a_static_pod_is_known_by_its_mirror() {
    let stage = stage();
    let file = given::static_pods().join("static-product.yaml");
    let _file = sockspan_tests::child::Scratch(file.clone());
    let manifest = "apiVersion: v1
kind: Pod
metadata: {name: static-product, namespace: default, labels: {app: static-product}}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - name: product
    image: sockspan-product:0.1.0
    imagePullPolicy: IfNotPresent
    readinessProbe: {httpGet: {path: /, port: 8080}, periodSeconds: 1}
";
    fs::write(&file, manifest).expect("the kubelet's folder for static pods can be written");
    let ready = || {
        let wait = ["wait", "pod", "--selector=app=static-product", "--for=condition=Ready", "--timeout=1s"];
        stage.cluster.attempt(&wait, "").is_ok()
    };
    assert!(wait_until(Duration::from_secs(120), ready), "the static pod does not run");
    let pod = &stage.cluster.pods("default", "app=static-product")[0];
    let name = pod["metadata"]["name"].as_str().expect("a pod has a name").to_owned();
    let since = load::now();
    let answers = Load::get(0, "/products/{}").to((pod_ip(pod), 8080).into()).connecting().run(10);
    let spans = await_spans(stage, "default", &name, since, answers.len(), |span| span.kind == Kind::Server);
    assert_is_pod(&stage.cluster, &spans[0].resource);
}

/// A pod that gets the address of one that has just gone: neither ever speaks with the other's name.
#[test]
fn an_address_used_again_is_another_pod() {
    let stage = stage();
    let namespace = Namespace::new(&stage.cluster, "again", "");
    let pod = |name: &str| {
        format!(
            "apiVersion: v1
kind: Pod
metadata: {{name: {name}, labels: {{app: {name}}}}}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - name: product
    image: sockspan-product:0.1.0
    imagePullPolicy: IfNotPresent
    readinessProbe: {{httpGet: {{path: /, port: 8080}}, periodSeconds: 1}}
"
        )
    };
    let mut addresses = Vec::new();
    for name in ["first", "second"] {
        // The bridge plugin gives the address after the last one; without that note, the lowest that is free.
        for note in given::address_notes() {
            let _ = fs::remove_file(note);
        }
        namespace.apply(&pod(name));
        namespace.kubectl(&["wait", &format!("pod/{name}"), "--for=condition=Ready", "--timeout=120s"]);
        let ip = pod_ip(&namespace.pods(&format!("app={name}"))[0]);
        let since = load::now();
        let answers = Load::get(0, "/products/{}").to((ip, 8080).into()).connecting().run(20);
        let spans = await_spans(stage, "again", name, since, answers.len(), |span| span.kind == Kind::Server);
        let paths: Vec<_> = answers.iter().map(|answer| format!("/products/{}", answer.id)).collect();
        assert!(
            spans.iter().all(|span| paths.iter().any(|path| span.path() == path)),
            "{name} tells of others"
        );
        assert_eq!(resources(&spans).len(), 1);
        assert_is_pod(&stage.cluster, &spans[0].resource);
        namespace.kubectl(&["delete", "pod", name, "--wait"]);
        addresses.push(ip);
        // The address goes back a moment after the pod is gone.
        let freed = || http::Connection::open_at((ip, 8080).into(), Duration::from_millis(200)).is_err();
        assert!(wait_until(Duration::from_secs(10), freed));
        thread::sleep(Duration::from_secs(1));
    }
    assert_eq!(addresses[0], addresses[1], "the second pod was to get the first one's address");
}

fn pod_ip(pod: &Value) -> std::net::IpAddr {
    pod["status"]["podIP"].as_str().and_then(|ip| ip.parse().ok()).expect("a running pod has an address")
}
