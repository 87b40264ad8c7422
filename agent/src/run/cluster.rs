//! The agent's parts that know Kubernetes, joined: the cache, the watches that fill it, the census that goes by it.

use std::sync::{Arc, mpsc::SyncSender};

use crate::{
    census::{self, Cluster},
    export::{self, Target},
    kubernetes::{Cache, Kin, Kubernetes, Link, Rules, Watches, namespace_of, start},
    metrics::Metrics,
    settings,
};

use super::threads::Call;

/// What is known of the cluster.
pub struct Known {
    /// For those who look.
    pub kubernetes: Kubernetes,
}

impl Known {
    /// Nothing yet; the census is called when there is something.
    pub fn new(link: Link, rules: &census::Rules, calls: SyncSender<Call>) -> Self {
        let kept = rules.kubernetes.as_ref().map(Rules::kept).unwrap_or_default();
        // Where many calls wait, the census looks by itself.
        let waker = Box::new(move || drop(calls.try_send(Call::Pods)));
        Self { kubernetes: Kubernetes { cache: Cache::new(kept, waker), link } }
    }

    /// What the census needs.
    pub fn for_census(&self, settings: &settings::Kubernetes) -> Cluster {
        let Kubernetes { cache, link } = &self.kubernetes;
        Cluster { cache: cache.clone(), node: link.node.clone(), in_pod: settings.in_pod }
    }

    /// Begins to watch.
    pub fn watch(&self, metrics: &Arc<Metrics>) -> anyhow::Result<Watches> {
        start(&self.kubernetes.link, &self.kubernetes.cache, metrics)
    }
}

/// The namespaces that are never traced: the agent's, and that of the receiver. What a receiver does with spans would
/// make spans without end.
pub fn kin(link: &Link, export: &export::Settings) -> Vec<Kin> {
    let own = link.namespace.clone().map(|name| Kin { name, why: "the agent's own" });
    let host = match &export.target {
        Target::Otlp(otlp) => Some(otlp.endpoint.host_and_port().0),
        _ => None,
    };
    let receiver = host
        .as_deref()
        .and_then(namespace_of)
        .map(|name| Kin { name: name.to_owned(), why: "that of the OTLP endpoint's Service" });
    own.into_iter().chain(receiver).collect()
}
