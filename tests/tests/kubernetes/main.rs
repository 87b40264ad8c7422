//! The whole thing as its user has it: manifests applied to a real cluster, an application that nobody instrumented, and
//! what a real Jaeger says afterwards.
//!
//! In: the cluster of `cargo xtask k8s test`. Out: traces and attributes that must be what the application did and what
//! `kubectl get` says. Tests run one after the other; each has namespaces of its own and leaves the agent as it found it.

mod checkout;
mod pods;
mod sampling;
mod scale;
mod selection;
mod settings;
mod stage;
mod trouble;
