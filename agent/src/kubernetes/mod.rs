//! Kubernetes: what the API server knows of the processes, and which of them are traced for it.
//!
//! In: two watches (`watch`), this node's pods and the namespaces' metadata. Out: for a process whose cgroup names a pod,
//! the rule that decides whether it is traced (`rules`) and the attributes of its resource (`attributes`). `cache` stands
//! between: it is filled by I/O tasks, read by the census, and outlives the API server's absence. All else is pure.

pub mod attributes;
mod cache;
mod check;
mod connect;
mod image;
mod owner;
mod pod;
mod rules;
pub mod selector;
mod status;
mod trouble;
mod watch;

use std::sync::Arc;

pub use self::{
    attributes::{Chosen, Facts, facts},
    cache::{Cache, Changes, Health, Waker},
    check::check,
    connect::Link,
    pod::{Container, Instance, Namespace, Pod},
    rules::{Decision, Globs, Kept, Kin, Rules, TRACE, namespace_of},
    selector::Selector,
    watch::{Watches, start},
};

/// The agent's side of Kubernetes, for those who look at it.
#[derive(Clone)]
pub struct Kubernetes {
    /// What is known.
    pub cache: Arc<Cache>,
    /// The way to the API server.
    pub link: Link,
}
