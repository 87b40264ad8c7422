//! What many pods cost: memory, and questions to the API server.
//!
//! In: five hundred pods as objects of the real API server, on a node that nobody runs. Out: the agent's resident memory,
//! and what the API server's audit says of it.

use std::{fmt::Write, fs, thread, time::Duration};

use serde_json::Value;
use sockspan_tests::{
    agent::Launch,
    cluster::Namespace,
    given::{self, Mode},
    wait_until,
};

use crate::stage::stage;

const PODS: usize = 500;
const NAMESPACES: usize = 50;
/// What the agent may take with all of them, bytes.
const MOST: u64 = 40_000_000;
/// The node that is not there.
const NODE: &str = "paper";

/// Some of what a pod of a real cluster carries about, 6 KB of it.
fn pod(number: usize) -> String {
    let filler = "x".repeat(300);
    let mut text = format!(
        "apiVersion: v1
kind: Pod
metadata:
  name: paper-{number}
  labels: {{app: paper-{}, app.kubernetes.io/name: paper, app.kubernetes.io/version: '{number}', pod-template-hash: 7d9c{number}}}
  annotations:
",
        number % 40
    );
    for n in 0..8 {
        // Writing to a String does not fail.
        let _ = writeln!(text, "    example.com/annotation-{n}: {filler}");
    }
    let _ = writeln!(text, "spec:\n  nodeName: {NODE}\n  containers:");
    for container in ["main", "sidecar"] {
        let _ = writeln!(
            text,
            "  - name: {container}\n    image: registry.example/team/{container}:1.{number}\n    env:"
        );
        for n in 0..10 {
            let _ = writeln!(text, "    - {{name: VARIABLE_{n}, value: {}}}", "y".repeat(60));
        }
    }
    text + "---\n"
}

/// Requests of this agent that the API server has noted so far: verb and address.
fn asked() -> Vec<(String, String)> {
    let audit = fs::read_to_string(given::audit_log()).expect("the API server writes its audit");
    let events = audit.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let own = events
        .filter(|event| event["userAgent"].as_str().is_some_and(|agent| agent.starts_with("sockspan/")));
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    own.map(|event| (text(&event["verb"]), text(&event["requestURI"]))).collect()
}

/// The memory of an agent that knows 500 pods is below 40 MB, and after its start it asks for nothing but the watches.
#[test]
fn five_hundred_pods_take_little_memory_and_no_questions() {
    let stage = stage();
    let namespace = Namespace::new(&stage.cluster, "paper", "");
    let spaces: Vec<_> = (0..NAMESPACES)
        .map(|n| Namespace::new(&stage.cluster, &format!("paper-{n}"), "team: paper"))
        .collect();
    let account =
        || stage.cluster.attempt(&["get", "serviceaccount", "default", "--namespace", "paper"], "").is_ok();
    assert!(wait_until(Duration::from_secs(30), account));
    namespace.apply(&(0..PODS).map(pod).collect::<String>());
    let launch = Launch::verb(Mode::Sock, &["run"]).env("OTEL_TRACES_EXPORTER", "none");
    let agent = launch
        .args(&["--kubernetes", "on", "--kubeconfig", &given::kubeconfig(), "--node-name", NODE])
        .start();
    let known = || agent.metric("sockspan_kubernetes_objects", &["resource=\"pods\""]);
    assert!(
        wait_until(Duration::from_secs(60), || known() > PODS as f64 - 0.5),
        "{} pods are known",
        known()
    );
    // Whatever follows the start.
    thread::sleep(Duration::from_secs(5));
    let before = asked().len();
    thread::sleep(Duration::from_secs(30));
    let after: Vec<_> = asked().split_off(before);
    let resident = agent.resident();
    println!("{} pods, {} namespaces: {resident} bytes resident", known(), NAMESPACES);
    println!("{before} entries of the audit at the start, {} in the 30 s after: {after:?}", after.len());
    assert!(before > 2, "the audit knows nothing of the agent");
    assert!(after.iter().all(|(verb, _)| verb == "watch"), "{after:?}");
    assert!(resident < MOST, "{resident} bytes");
    agent.stop();
    drop(spaces);
    let delete = ["delete", "pods", "--all", "--grace-period=0", "--force", "--wait=false"];
    namespace.kubectl(&delete);
}
