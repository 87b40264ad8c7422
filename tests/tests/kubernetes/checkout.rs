//! The main job: apply one manifest, open Jaeger, see true traces with true names.

use std::{collections::BTreeSet, fs, time::Duration};

use serde_json::Value;
use sockspan_tests::{
    cluster::{Cluster, Namespace},
    given,
    jaeger::Query,
    load,
    span::Attributes,
};

use crate::stage::{LIVE, Stage, resources, stage};

/// The sample application, by Service names over three pods: each checkout is one complete trace, from the first one on,
/// and each span says of its pod what the API server says. The kubelet's probes leave no spans.
#[test]
fn checkouts_are_complete_and_say_where_they_ran() {
    let stage = stage();
    let started = load::now();
    let shop = Namespace::new(&stage.cluster, "shop", "team: checkout");
    shop.deploy_shop();
    let spans = stage.checkouts(&shop, 60, 4);
    let told = resources(&spans);
    assert_eq!(told.len(), 3, "three processes: {told:#?}");
    for resource in &told {
        assert_is_pod(&stage.cluster, resource);
    }
    // A pod's first process, which holds its namespaces, is in none of its containers.
    let mut processes = stage.processes("shop");
    processes.retain(|process| process["traced"] == true && process["container"].is_string());
    let decided = processes.iter().filter(|process| process["rule"].is_string()).count();
    assert_eq!((processes.len(), decided), (3, 3), "{processes:#?}");
    assert_no_probes(stage, started);
}

/// The one manifest that is applied is what kustomize makes of the base.
#[test]
fn the_manifest_is_the_base_as_kustomize_renders_it() {
    let base = given::repository("deploy/kustomize/base").display().to_string();
    let rendered = Cluster::given().kubectl(&["kustomize", &base]);
    let manifest =
        fs::read_to_string(given::repository("deploy/sockspan.yaml")).expect("the manifest can be read");
    let objects: String =
        manifest.lines().skip_while(|line| line.starts_with('#')).map(|l| format!("{l}\n")).collect();
    assert_eq!(objects, rendered);
}

/// Jaeger's search by a label of the namespace finds that namespace's traces and no other's.
#[test]
fn jaeger_finds_traces_by_a_label_of_their_namespace() {
    let stage = stage();
    let red = Namespace::new(&stage.cluster, "red", "team: red");
    let blue = Namespace::new(&stage.cluster, "blue", "team: blue");
    // Services of the same names in both.
    red.deploy_shop();
    blue.deploy_shop();
    let since = load::now();
    for (shop, other) in [(&red, &blue), (&blue, &red)] {
        stage.checkouts(shop, 20, 2);
        let query = Query::service("frontend").tag("k8s.namespace.label.team", &shop.name).since(since);
        let found = stage.jaeger.spans(&query);
        assert!(!found.is_empty(), "nothing is found by team={}", shop.name);
        let elsewhere = found.iter().find(|span| span.resource["k8s.namespace.name"] != shop.name);
        assert!(elsewhere.is_none(), "a span of {} is found by {}: {elsewhere:?}", other.name, shop.name);
        let none = Query::service("frontend").tag("k8s.namespace.label.team", "green").since(since);
        assert!(stage.jaeger.spans(&none).is_empty());
    }
}

/// Whether a resource says what the API server says of the pod that it names.
pub fn assert_is_pod(cluster: &Cluster, resource: &Attributes) {
    let attribute = |key: &str| resource.get(key).map_or("", String::as_str);
    let (namespace, name) = (attribute("k8s.namespace.name"), attribute("k8s.pod.name"));
    let pod = cluster.get(&["pod", name, "--namespace", namespace]);
    let mut wanted = expected(cluster, &pod, attribute("k8s.container.name"));
    let mut told: Attributes = resource
        .iter()
        .filter(|(key, _)| wanted.contains_key(*key) || key.starts_with("k8s."))
        .map(owned)
        .collect();
    // Labels are the user's own choice.
    told.retain(|key, _| !key.starts_with("k8s.namespace.label.") && !key.starts_with("k8s.pod.label."));
    wanted.retain(|_, value| value != "null");
    assert_eq!(told, wanted, "of {namespace}/{name}");
}

fn owned((key, value): (&String, &String)) -> (String, String) {
    (key.clone(), value.clone())
}

/// The attributes of a container's processes, from what `kubectl get` says of its pod.
fn expected(cluster: &Cluster, pod: &Value, container: &str) -> Attributes {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let statuses = pod["status"]["containerStatuses"].as_array().cloned().unwrap_or_default();
    let status = statuses.iter().find(|status| status["name"] == container).cloned();
    let status = status.unwrap_or_else(|| panic!("no container {container} in {pod:#}"));
    let specs = pod["spec"]["containers"].as_array().cloned().unwrap_or_default();
    let spec = specs.iter().find(|spec| spec["name"] == container).cloned().unwrap_or_default();
    let image = text(&spec["image"]);
    let (image, tag) = image.rsplit_once(':').expect("images here have tags");
    let namespace = text(&pod["metadata"]["namespace"]);
    let name = text(&pod["metadata"]["name"]);
    let owners = owners(cluster, &namespace, pod);
    let own_name =
        spec["env"].as_array().into_iter().flatten().find(|env| env["name"] == "OTEL_SERVICE_NAME");
    let service = match own_name {
        Some(env) => text(&env["value"]),
        None => owners.last().map_or(name.clone(), |(_, owner)| owner.clone()),
    };
    let id = text(&status["containerID"]);
    let fixed = [
        ("k8s.namespace.name", namespace.clone()),
        ("k8s.pod.name", name.clone()),
        ("k8s.pod.uid", text(&pod["metadata"]["uid"])),
        ("k8s.pod.ip", text(&pod["status"]["podIP"])),
        ("k8s.pod.start_time", text(&pod["status"]["startTime"])),
        ("k8s.node.name", text(&pod["spec"]["nodeName"])),
        ("k8s.container.name", container.to_owned()),
        ("k8s.container.restart_count", text(&status["restartCount"])),
        ("container.id", id.split_once("://").map_or("", |(_, id)| id).to_owned()),
        ("container.image.name", image.to_owned()),
        ("container.image.tags", format!("[\"{tag}\"]")),
        ("service.name", service),
        ("service.namespace", namespace.clone()),
        ("service.instance.id", format!("{namespace}.{name}.{container}")),
        ("service.version", tag.to_owned()),
    ];
    let fixed = fixed.into_iter().map(|(key, value)| (key.to_owned(), value));
    fixed.chain(owners.into_iter().map(|(kind, name)| (format!("k8s.{kind}.name"), name))).collect()
}

/// The chain of a pod's controllers, nearest first, asked of the API server step by step.
fn owners(cluster: &Cluster, namespace: &str, pod: &Value) -> Vec<(String, String)> {
    let mut chain = Vec::new();
    let mut object = pod.clone();
    loop {
        let references = object["metadata"]["ownerReferences"].as_array().cloned().unwrap_or_default();
        let Some(owner) = references.into_iter().find(|owner| owner["controller"] == true) else {
            return chain;
        };
        let kind = owner["kind"].as_str().unwrap_or_default().to_ascii_lowercase();
        let name = owner["name"].as_str().unwrap_or_default().to_owned();
        chain.push((kind.clone(), name.clone()));
        object = match kind.as_str() {
            "node" => {
                chain.pop();
                return chain;
            }
            _ => cluster.get(&[&kind, &name, "--namespace", namespace]),
        };
    }
}

/// No span tells of a probe of the kubelet, which asks every second.
fn assert_no_probes(stage: &Stage, since: u64) {
    std::thread::sleep(Duration::from_secs(6) + LIVE);
    let mut agents = BTreeSet::new();
    for service in stage.jaeger.services() {
        let spans = stage.jaeger.spans(&Query::service(&service).since(since));
        agents.extend(spans.iter().map(|span| span.attribute("user_agent.original").to_owned()));
    }
    let probe = agents.iter().find(|agent| agent.starts_with("kube-probe"));
    assert_eq!(probe, None, "of {agents:?}");
}
