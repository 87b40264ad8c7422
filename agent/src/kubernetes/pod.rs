//! What is kept of a pod and of a namespace: the little that selection and attributes need.
//!
//! In: the API's JSON, of which everything else is passed over while it is read, so that it never takes memory. Out:
//! [`Pod`] and [`Namespace`].

use std::{borrow::Cow, sync::Arc};

use k8s_openapi::{
    api::core::v1,
    apimachinery::pkg::apis::meta::v1::{OwnerReference, Time},
};
use kube::{
    Resource,
    api::{ObjectMeta, PartialObjectMeta},
};
use serde::{Deserialize, Deserializer};

use super::{owner::Owner, selector::Labels};

/// The static pods' annotations with the hash that stands for their UID.
const HASHES: [&str; 2] = ["kubernetes.io/config.hash", "kubernetes.io/config.mirror"];

/// A pod.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Pod {
    /// Its UID, as the API server has it.
    pub uid: Arc<str>,
    /// Its name.
    pub name: Box<str>,
    /// Its namespace.
    pub namespace: Arc<str>,
    /// The node it is bound to.
    pub node: Box<str>,
    /// Its address.
    pub ip: Option<Box<str>>,
    /// When the kubelet took it up, RFC 3339.
    pub start_time: Option<Box<str>>,
    /// When it was made, seconds since 1970.
    pub created: i64,
    /// Its labels.
    pub labels: Labels,
    /// Those of its annotations that are needed.
    pub annotations: Labels,
    /// What its controller is.
    pub owner: Option<Owner>,
    /// What stands for the UID in a static pod's cgroup.
    pub hash: Option<Box<str>>,
    /// Its containers: of the pod, init and ephemeral ones.
    pub containers: Vec<Container>,
}

/// A container of a pod.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Container {
    /// Its name.
    pub name: Box<str>,
    /// The image, as the pod asks for it.
    pub image: Box<str>,
    /// What is known of the instance that runs now.
    pub instance: Option<Instance>,
}

/// One life of a container.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Instance {
    /// The runtime's id.
    pub id: Box<str>,
    /// The image, as the runtime has it.
    pub image_id: Box<str>,
    /// How often the container was restarted before.
    pub restarts: i64,
}

/// A namespace.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Namespace {
    /// Its name.
    pub name: Arc<str>,
    /// Its labels.
    pub labels: Labels,
    /// Those of its annotations that are needed.
    pub annotations: Labels,
}

impl Pod {
    /// The container whose present instance has the id `id`.
    pub fn container(&self, id: &str) -> Option<(&Container, &Instance)> {
        self.containers.iter().find_map(|one| Some((one, one.instance.as_ref().filter(|i| &*i.id == id)?)))
    }

    /// `namespace/name`.
    pub fn full_name(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }
}

/// A pod on its way from the API.
#[derive(Clone, Debug, Deserialize)]
pub struct Listed {
    #[serde(deserialize_with = "meta")]
    metadata: ObjectMeta,
    #[serde(default)]
    spec: Spec,
    #[serde(default)]
    status: Status,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Spec {
    node_name: String,
    containers: Vec<Asked>,
    init_containers: Vec<Asked>,
    ephemeral_containers: Vec<Asked>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Asked {
    name: String,
    image: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Status {
    #[serde(rename = "podIP")]
    pod_ip: Option<Box<str>>,
    start_time: Option<Box<str>>,
    container_statuses: Vec<Running>,
    init_container_statuses: Vec<Running>,
    ephemeral_container_statuses: Vec<Running>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Running {
    name: String,
    #[serde(rename = "containerID")]
    container_id: String,
    #[serde(rename = "imageID")]
    image_id: String,
    restart_count: i64,
}

/// Metadata without what is not needed, `managedFields` above all.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Meta {
    name: Option<String>,
    namespace: Option<String>,
    uid: Option<String>,
    resource_version: Option<String>,
    creation_timestamp: Option<Time>,
    labels: Option<Labels>,
    annotations: Option<Labels>,
    owner_references: Option<Vec<OwnerReference>>,
}

fn meta<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ObjectMeta, D::Error> {
    let meta = Meta::deserialize(deserializer)?;
    Ok(ObjectMeta {
        name: meta.name,
        namespace: meta.namespace,
        uid: meta.uid,
        resource_version: meta.resource_version,
        creation_timestamp: meta.creation_timestamp,
        labels: meta.labels,
        annotations: meta.annotations,
        owner_references: meta.owner_references,
        ..ObjectMeta::default()
    })
}

impl Resource for Listed {
    type DynamicType = ();
    type Scope = <v1::Pod as Resource>::Scope;

    fn kind((): &()) -> Cow<'_, str> {
        v1::Pod::kind(&())
    }
    fn group((): &()) -> Cow<'_, str> {
        v1::Pod::group(&())
    }
    fn version((): &()) -> Cow<'_, str> {
        v1::Pod::version(&())
    }
    fn plural((): &()) -> Cow<'_, str> {
        v1::Pod::plural(&())
    }
    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }
    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

/// The pairs whose keys are `kept`.
fn pick(all: Option<Labels>, kept: impl Fn(&str) -> bool) -> Labels {
    let mut all = all.unwrap_or_default();
    all.retain(|key, _| kept(key));
    all
}

impl Listed {
    /// What is kept of it, `kept` says which annotations.
    pub fn slim(self, kept: impl Fn(&str) -> bool) -> Pod {
        let Self { metadata, spec, status } = self;
        // Anyone can annotate a pod; a mirror of a static one is its node's.
        let owners = metadata.owner_references.as_deref().unwrap_or_default();
        let is_mirror = owners.iter().any(|owner| owner.kind == "Node");
        let hash =
            HASHES.iter().find_map(|key| metadata.annotations.as_ref()?.get(*key)).filter(|_| is_mirror);
        let hash = hash.map(|hash| hash.clone().into_boxed_str());
        let mut running = status.container_statuses;
        running.extend(status.init_container_statuses);
        running.extend(status.ephemeral_container_statuses);
        let asked = spec.containers.into_iter().chain(spec.init_containers).chain(spec.ephemeral_containers);
        let containers = asked.map(|asked| container(asked, &running)).collect();
        Pod {
            uid: metadata.uid.unwrap_or_default().into(),
            name: metadata.name.unwrap_or_default().into(),
            namespace: metadata.namespace.unwrap_or_default().into(),
            node: spec.node_name.into(),
            ip: status.pod_ip.filter(|ip| !ip.is_empty()),
            start_time: status.start_time,
            created: metadata.creation_timestamp.map_or(0, |time| time.0.as_second()),
            labels: metadata.labels.unwrap_or_default(),
            annotations: pick(metadata.annotations, kept),
            owner: metadata.owner_references.into_iter().flatten().find_map(owner),
            hash,
            containers,
        }
    }
}

fn container(asked: Asked, running: &[Running]) -> Container {
    let status = running.iter().find(|one| one.name == asked.name);
    // containerd://<id>; empty until there is one.
    let id = |status: &Running| {
        Some(status.container_id.split_once("://")?.1).filter(|id| !id.is_empty()).map(Box::from)
    };
    let instance = status.and_then(|status| {
        Some(Instance {
            id: id(status)?,
            image_id: status.image_id.as_str().into(),
            restarts: status.restart_count,
        })
    });
    Container { name: asked.name.into(), image: asked.image.into(), instance }
}

fn owner(reference: OwnerReference) -> Option<Owner> {
    let group = reference.api_version.split_once('/').map_or("", |(group, _)| group);
    let owner = Owner { group: group.into(), kind: reference.kind.into(), name: reference.name.into() };
    (reference.controller == Some(true)).then_some(owner)
}

impl Namespace {
    /// What is kept of a namespace, `kept` says which annotations.
    pub fn slim(listed: PartialObjectMeta<v1::Namespace>, kept: impl Fn(&str) -> bool) -> Self {
        let meta = listed.metadata;
        Self {
            name: meta.name.unwrap_or_default().into(),
            labels: meta.labels.unwrap_or_default(),
            annotations: pick(meta.annotations, kept),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn of_a_pod_only_what_is_needed_is_kept() {
        let id = "ab".repeat(32);
        let listed: Listed = serde_json::from_value(json!({
            "kind": "Pod", "apiVersion": "v1",
            "metadata": {
                "name": "cart-5d4f8-x", "namespace": "shop", "uid": "u-1", "resourceVersion": "7",
                "creationTimestamp": "2026-11-25T09:00:00Z", "labels": {"app": "cart"},
                "annotations": {"kubernetes.io/config.hash": "h", "big": "x", "sockspan.io/trace": "enabled"},
                "ownerReferences": [
                    {"apiVersion": "v1", "kind": "Other", "name": "o", "uid": "1"},
                    {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "cart-5d4f8", "uid": "2", "controller": true}],
                "managedFields": [{"manager": "kubectl", "fieldsV1": {"f:spec": {}}}],
            },
            "spec": {"nodeName": "n1", "containers": [{"name": "cart", "image": "cart:1", "env": []}],
                     "initContainers": [{"name": "init", "image": "init:1"}], "volumes": []},
            "status": {"phase": "Running", "podIP": "10.0.0.1", "startTime": "2026-11-25T09:00:01Z",
                       "containerStatuses": [{"name": "cart", "containerID": format!("containerd://{id}"), "imageID": "sha256:1",
                                              "restartCount": 2, "image": "cart:1", "state": {}}],
                       "initContainerStatuses": [{"name": "init", "containerID": "", "imageID": "", "restartCount": 0}]},
        })).unwrap();
        assert_eq!(listed.meta().resource_version.as_deref(), Some("7"));
        assert_eq!(listed.meta().managed_fields, None);
        let pod = listed.slim(|key| key.starts_with("sockspan.io/"));
        assert_eq!((&*pod.uid, &*pod.full_name(), &*pod.node), ("u-1", "shop/cart-5d4f8-x", "n1"));
        assert_eq!(
            (pod.ip.as_deref(), pod.start_time.as_deref()),
            (Some("10.0.0.1"), Some("2026-11-25T09:00:01Z"))
        );
        assert_eq!((pod.created, pod.hash.as_deref()), (1_795_597_200, None), "it is no mirror");
        assert_eq!(pod.annotations.keys().collect::<Vec<_>>(), ["sockspan.io/trace"]);
        assert_eq!(
            pod.owner.as_ref().map(|o| (&*o.group, &*o.kind, &*o.name)),
            Some(("apps", "ReplicaSet", "cart-5d4f8"))
        );
        let (container, instance) = pod.container(&id).unwrap();
        assert_eq!((&*container.name, &*container.image, instance.restarts), ("cart", "cart:1", 2));
        assert_eq!(pod.containers.len(), 2);
        assert_eq!(pod.container(""), None);
    }

    #[test]
    fn a_static_pods_hash_is_taken_from_its_mirror_alone() {
        let hash = |kind: &str| {
            let listed: Listed = serde_json::from_value(json!({
                "metadata": {"name": "a", "namespace": "b", "uid": "c", "annotations": {"kubernetes.io/config.mirror": "h"},
                             "ownerReferences": [{"apiVersion": "v1", "kind": kind, "name": "n", "uid": "1", "controller": true}]},
                "spec": {"nodeName": "n"}, "status": {}
            }))
            .unwrap();
            listed.slim(|_| true).hash
        };
        assert_eq!((hash("Node").as_deref(), hash("ReplicaSet")), (Some("h"), None));
    }

    #[test]
    fn a_pod_that_has_only_been_bound_is_read_too() {
        let listed: Listed = serde_json::from_value(json!({
            "metadata": {"name": "a", "namespace": "b", "uid": "c"}, "spec": {"nodeName": "n"}, "status": {}
        }))
        .unwrap();
        let pod = listed.slim(|_| true);
        assert_eq!((pod.ip, pod.containers.len(), pod.owner), (None, 0, None));
    }
}
