//! What a pod says of the processes in it, by OpenTelemetry's conventions for Kubernetes.
//!
//! In: the pod, its namespace, the container's id. Out: [`Facts`], from which `process::resource` makes a resource.
//! Where a status lags behind the process, they say so, and spans wait for the rest.

use std::borrow::Cow;

use smol_str::SmolStr;

use super::{
    image::Image,
    owner::workloads,
    pod::{Container, Instance, Namespace, Pod},
    rules::Globs,
    selector::Labels,
};
use crate::span::Value;

/// Annotations with this prefix are resource attributes by the conventions.
pub(super) const RESOURCE: &str = "resource.opentelemetry.io/";
const INSTANCE: &str = "app.kubernetes.io/instance";
const NAME: &str = "app.kubernetes.io/name";
const VERSION: &str = "app.kubernetes.io/version";
/// The attributes that can be service.name, the strongest first.
const NAMES: [&str; 8] = [
    "k8s.deployment.name",
    "k8s.replicaset.name",
    "k8s.statefulset.name",
    "k8s.daemonset.name",
    "k8s.cronjob.name",
    "k8s.job.name",
    "k8s.pod.name",
    "k8s.container.name",
];

/// Which labels and annotations become attributes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Chosen {
    /// `namespace-label`.
    pub namespace_labels: Globs,
    /// `pod-label`.
    pub pod_labels: Globs,
    /// `namespace-annotation`.
    pub namespace_annotations: Globs,
    /// `pod-annotation`.
    pub pod_annotations: Globs,
    /// `service-name-from-labels`.
    pub service_labels: bool,
}

/// An attribute's name with its value.
pub type Pair = (Cow<'static, str>, Value);

/// What is known of a process by the pod it is in.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Facts {
    /// Attributes that follow from the objects; what the user says of the process goes before them.
    pub derived: Vec<Pair>,
    /// Attributes that the pod's annotations name.
    pub annotated: Vec<(String, String)>,
    /// `service.name`, if the process itself has none configured.
    pub service_name: String,
    /// The container's name, if known.
    pub container: Option<String>,
    /// Whether everything is there that the pod's status will tell of the container.
    pub complete: bool,
}

/// The facts of a process in the container `id` of `pod`.
pub fn facts(pod: &Pod, namespace: Option<&Namespace>, id: Option<&str>, chosen: &Chosen) -> Facts {
    let found = id.and_then(|id| pod.container(id));
    // Where a pod has but one container, its name needs no status.
    let only = match pod.containers.as_slice() {
        [only] => Some(only),
        _ => None,
    };
    let container = found.map(|(container, _)| container).or(only);
    let mut derived = of_pod(pod);
    chosen_pairs(&mut derived, pod, namespace, chosen);
    if let Some(id) = id {
        put(&mut derived, "container.id", id);
    }
    of_container(&mut derived, container, found.map(|(_, instance)| instance));
    let annotated = annotated(&pod.annotations);
    let version = container.and_then(|c| Image::parse(&c.image).version());
    let version = chosen.label(pod, VERSION).or(version);
    if let Some(version) = version {
        put(&mut derived, "service.version", version);
    }
    put(&mut derived, "service.namespace", &*pod.namespace);
    let name = container.map(|container| container.name.to_string());
    if let Some(name) = &name {
        put(&mut derived, "service.instance.id", format!("{}.{}.{name}", pod.namespace, pod.name));
    }
    let service_name = service_name(pod, &annotated, &derived, chosen);
    Facts { derived, annotated, service_name, container: name, complete: found.is_some() && pod.ip.is_some() }
}

fn put(pairs: &mut Vec<Pair>, key: &'static str, value: impl Into<SmolStr>) {
    pairs.push((Cow::Borrowed(key), Value::Str(value.into())));
}

fn of_pod(pod: &Pod) -> Vec<Pair> {
    let mut pairs = Vec::new();
    put(&mut pairs, "k8s.namespace.name", &*pod.namespace);
    put(&mut pairs, "k8s.pod.name", &*pod.name);
    put(&mut pairs, "k8s.pod.uid", &*pod.uid);
    put(&mut pairs, "k8s.node.name", &*pod.node);
    if let Some(ip) = &pod.ip {
        put(&mut pairs, "k8s.pod.ip", &**ip);
    }
    if let Some(time) = &pod.start_time {
        put(&mut pairs, "k8s.pod.start_time", &**time);
    }
    let owners = pod.owner.iter().flat_map(|owner| workloads(owner, &pod.labels, pod.created));
    owners.for_each(|(key, name)| put(&mut pairs, key, name));
    pairs
}

fn of_container(pairs: &mut Vec<Pair>, container: Option<&Container>, instance: Option<&Instance>) {
    let Some(container) = container else { return };
    put(pairs, "k8s.container.name", &*container.name);
    let image = Image::parse(&container.image);
    put(pairs, "container.image.name", image.name);
    if let Some(tag) = image.tag {
        pairs.push((Cow::Borrowed("container.image.tags"), Value::Strs(vec![tag.to_owned()])));
    }
    let Some(instance) = instance else { return };
    pairs.push((Cow::Borrowed("k8s.container.restart_count"), Value::Int(instance.restarts)));
    if !instance.image_id.is_empty() {
        put(pairs, "container.image.id", &*instance.image_id);
    }
    // What was pulled is known by its digest in the registry.
    if instance.image_id.contains('@') {
        let digest = instance.image_id.split("://").last().unwrap_or_default().to_owned();
        pairs.push((Cow::Borrowed("container.image.repo_digests"), Value::Strs(vec![digest])));
    }
}

fn chosen_pairs(pairs: &mut Vec<Pair>, pod: &Pod, namespace: Option<&Namespace>, chosen: &Chosen) {
    let mut add = |what: &str, all: &Labels, globs: &Globs| {
        for (key, value) in all.iter().filter(|(key, _)| globs.matches(key)) {
            pairs.push((Cow::Owned(format!("k8s.{what}.{key}")), Value::Str(value.into())));
        }
    };
    add("pod.label", &pod.labels, &chosen.pod_labels);
    add("pod.annotation", &pod.annotations, &chosen.pod_annotations);
    if let Some(namespace) = namespace {
        add("namespace.label", &namespace.labels, &chosen.namespace_labels);
        add("namespace.annotation", &namespace.annotations, &chosen.namespace_annotations);
    }
}

fn annotated(annotations: &Labels) -> Vec<(String, String)> {
    let pairs = annotations.iter().filter_map(|(key, value)| Some((key.strip_prefix(RESOURCE)?, value)));
    pairs
        .filter(|(key, value)| !key.is_empty() && !value.is_empty())
        .map(|(k, v)| (k.into(), v.clone()))
        .collect()
}

impl Chosen {
    /// A well-known label, if the user takes them.
    fn label(&self, pod: &Pod, key: &str) -> Option<String> {
        pod.labels.get(key).filter(|value| self.service_labels && !value.is_empty()).cloned()
    }
}

fn service_name(pod: &Pod, annotated: &[(String, String)], derived: &[Pair], chosen: &Chosen) -> String {
    let annotation = annotated.iter().find(|(key, _)| key == "service.name").map(|(_, name)| name.clone());
    let label = || [INSTANCE, NAME].iter().find_map(|key| chosen.label(pod, key));
    let object = || {
        NAMES.iter().find_map(|key| match derived.iter().find(|(k, _)| k == key) {
            Some((_, Value::Str(name))) => Some(name.to_string()),
            _ => None,
        })
    };
    annotation.or_else(label).or_else(object).unwrap_or_else(|| pod.name.to_string())
}

#[cfg(test)]
mod tests;
