//! sockspan: sockets in, spans out. See ARCHITECTURE.md for the way of the data and its invariants.
//!
//! Everything from [`event`] to [`span`] is pure: it is tested by replaying recorded streams, without a kernel.

pub mod admin;
pub mod capture;
pub mod census;
pub mod chain;
pub mod connection;
pub mod event;
pub mod exchange;
pub mod export;
pub mod http;
pub mod kubernetes;
pub mod log;
pub mod memory;
pub mod metrics;
pub mod pipeline;
pub mod preflight;
pub mod process;
pub mod propagation;
pub mod record;
pub mod run;
pub mod sampler;
pub mod settings;
pub mod span;
pub mod table;
pub mod timed;
