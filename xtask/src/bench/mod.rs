//! `cargo xtask bench`: what the agent costs, and how true its traces are.
//!
//! In: what to measure. Out: tables on standard output; beside the logs the same as JSON, and a picture.

pub mod agent;
pub mod app;
pub mod fidelity;
mod markdown;
pub mod probes;
mod report;
pub mod scale;
mod sink;
mod spread;
mod svg;
mod watch;
