//! What a pod says of itself, and the attributes that must follow by the conventions.

use super::*;
use crate::kubernetes::owner::Owner;

const ID: &str = "ab";

fn labels(pairs: &[(&str, &str)]) -> Labels {
    pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
}

fn container(name: &str, image: &str, id: Option<&str>) -> Container {
    let instance = id.map(|id| Instance {
        id: id.into(),
        image_id: "docker.io/library/cart@sha256:cd".into(),
        restarts: 2,
    });
    Container { name: name.into(), image: image.into(), instance }
}

fn pod() -> Pod {
    Pod {
        uid: "u-1".into(),
        name: "cart-5d4f8-x".into(),
        namespace: "shop".into(),
        node: "n1".into(),
        ip: Some("10.0.0.1".into()),
        start_time: Some("2026-11-25T09:00:01Z".into()),
        created: 1_795_597_200,
        labels: labels(&[
            ("pod-template-hash", "5d4f8"),
            ("app.kubernetes.io/name", "basket"),
            ("team", "a"),
        ]),
        annotations: labels(&[("note", "n")]),
        owner: Some(Owner { group: "apps".into(), kind: "ReplicaSet".into(), name: "cart-5d4f8".into() }),
        hash: None,
        containers: vec![
            container("cart", "docker.io/library/cart:1.2", Some(ID)),
            container("side", "side", None),
        ],
    }
}

fn lines(facts: &Facts) -> Vec<String> {
    let text = |value: &Value| match value {
        Value::Str(text) => text.to_string(),
        other => format!("{other:?}"),
    };
    let mut lines: Vec<String> = facts.derived.iter().map(|(k, v)| format!("{k}={}", text(v))).collect();
    lines.sort();
    lines
}

#[test]
fn a_pod_in_full() {
    let chosen = Chosen {
        pod_labels: Globs::of(&["team"]),
        pod_annotations: Globs::of(&["n*"]),
        namespace_labels: Globs::of(&["*"]),
        ..Chosen::default()
    };
    let namespace = Namespace {
        name: "shop".into(),
        labels: labels(&[("env/x", "prod")]),
        annotations: labels(&[("a", "b")]),
    };
    let facts = facts(&pod(), Some(&namespace), Some(ID), &chosen);
    assert!(facts.complete);
    assert_eq!((facts.service_name.as_str(), facts.container.as_deref()), ("cart", Some("cart")));
    assert_eq!(
        lines(&facts),
        [
            "container.id=ab",
            "container.image.id=docker.io/library/cart@sha256:cd",
            "container.image.name=docker.io/library/cart",
            "container.image.repo_digests=Strs([\"docker.io/library/cart@sha256:cd\"])",
            "container.image.tags=Strs([\"1.2\"])",
            "k8s.container.name=cart",
            "k8s.container.restart_count=Int(2)",
            "k8s.deployment.name=cart",
            "k8s.namespace.label.env/x=prod",
            "k8s.namespace.name=shop",
            "k8s.node.name=n1",
            "k8s.pod.annotation.note=n",
            "k8s.pod.ip=10.0.0.1",
            "k8s.pod.label.team=a",
            "k8s.pod.name=cart-5d4f8-x",
            "k8s.pod.start_time=2026-11-25T09:00:01Z",
            "k8s.pod.uid=u-1",
            "k8s.replicaset.name=cart-5d4f8",
            "service.instance.id=shop.cart-5d4f8-x.cart",
            "service.namespace=shop",
            "service.version=1.2",
        ]
    );
}

#[test]
fn a_status_that_lags_is_no_container_of_another() {
    let lagging = facts(&pod(), None, Some("another"), &Chosen::default());
    assert!(!lagging.complete);
    assert_eq!(lagging.container, None);
    assert!(
        !lines(&lagging).iter().any(|l| l.starts_with("k8s.container.") || l.starts_with("container.image"))
    );
    assert!(lines(&lagging).contains(&"container.id=another".to_owned()));
    // The only container there is has a name before it has a status.
    let alone = Pod { containers: vec![container("cart", "cart:1", None)], ..pod() };
    let alone = facts(&alone, None, Some(ID), &Chosen::default());
    assert_eq!((alone.container.as_deref(), alone.complete), (Some("cart"), false));
    assert!(!lines(&alone).iter().any(|l| l.starts_with("k8s.container.restart_count")));
    let no_address = Pod { ip: None, ..pod() };
    assert!(!facts(&no_address, None, Some(ID), &Chosen::default()).complete);
}

#[test]
fn service_names_by_the_conventions() {
    let name = |pod: &Pod, chosen: &Chosen| facts(pod, None, Some(ID), chosen).service_name;
    let plain = Chosen::default();
    let opted = Chosen { service_labels: true, ..Chosen::default() };
    let base = pod();
    assert_eq!(name(&base, &plain), "cart");
    assert_eq!(name(&base, &opted), "basket");
    let mut instance = base.clone();
    instance.labels.insert("app.kubernetes.io/instance".into(), "basket-eu".into());
    instance.labels.insert("app.kubernetes.io/version".into(), "9".into());
    assert_eq!(name(&instance, &opted), "basket-eu");
    assert!(lines(&facts(&instance, None, Some(ID), &opted)).contains(&"service.version=9".to_owned()));
    assert!(lines(&facts(&instance, None, Some(ID), &plain)).contains(&"service.version=1.2".to_owned()));
    let mut annotated = instance;
    annotated.annotations.insert("resource.opentelemetry.io/service.name".into(), "mine".into());
    annotated.annotations.insert("resource.opentelemetry.io/team".into(), "blue".into());
    assert_eq!(name(&annotated, &opted), "mine");
    let facts = facts(&annotated, None, Some(ID), &plain);
    assert_eq!(
        facts.annotated,
        [("service.name".to_owned(), "mine".to_owned()), ("team".into(), "blue".into())]
    );
    let bare = Pod { owner: None, ..base.clone() };
    assert_eq!(name(&bare, &plain), "cart-5d4f8-x");
    let job = Owner { group: "batch".into(), kind: "Job".into(), name: "backup-29926620".into() };
    assert_eq!(name(&Pod { owner: Some(job), ..base }, &plain), "backup");
}
