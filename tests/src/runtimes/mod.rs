//! The fidelity matrix: real services of every runtime between a load and a leaf, each link judged by ids in paths.
//!
//! In: the services that registered in `tests/runtimes`, and which part of the matrix is wanted ([`plan`]). Out: a
//! verdict for every cell ([`cell`]).
//!
//! A cell is a service with a client library, a style of connections, a concurrency, a route, and who watches.

pub mod cell;
pub mod leaf;
pub mod plan;
pub mod registration;
pub mod route;
pub mod run;
pub mod watch;
