//! HTTP/1.0 and HTTP/1.1 framing of one observed TCP connection, both directions.
//!
//! In: [`Chunk`]s, what socket calls moved, of which only a part may have been captured. Out: [`Signal`]s,
//! where each request and its response begin and end. Pure: no I/O and no clock; a body is counted, never kept.
//!
//! The observer comes late, misses calls and sees heads only in part. Three rules follow:
//! - framing is exact, or it says that it is not ([`Body::exact`], [`Signal::Lost`]);
//! - a response is paired with a request only where the order proves it, else the exchange is
//!   [`Signal::Dropped`];
//! - after a loss, a direction is picked up again at a chunk that starts a message.

mod chunked;
mod conversation;
mod feed;
mod fields;
mod gathered;
pub mod head;
mod lane;
mod pairing;
mod requests;
mod responses;
mod signal;

#[cfg(test)]
mod losses;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod talk;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use bytes::Bytes;

pub use conversation::Conversation;
pub use fields::{Header, Headers};
pub use head::{RequestHead, ResponseHead, Version};
pub use signal::{Body, LossReason, Protocol, Signal};

/// Nanoseconds of `CLOCK_MONOTONIC`.
pub type Nanos = u64;

/// One observed socket call: `len` bytes of the stream from `position` on.
///
/// `head` holds the first captured bytes and `tail` the last captured ones; either may be empty, and what lies
/// between was not captured. A chunk of no length reports progress: everything before `position` had passed by
/// `at`.
#[derive(Clone, Debug, Default)]
pub struct Chunk {
    /// 64-bit stream offset of the first byte; the origin is arbitrary.
    pub position: u64,
    /// Bytes moved by the call.
    pub len: u64,
    /// The first captured bytes.
    pub head: Bytes,
    /// The last captured bytes.
    pub tail: Bytes,
    /// When the call was done.
    pub at: Nanos,
    /// When a send was entered, if known, else `at`. For receives always `at`: a reader waits before the bytes
    /// come.
    pub began: Nanos,
    /// The capture side believes that a message begins exactly at `position`.
    pub starts_message: bool,
}

/// Which way a chunk went, whoever observed it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// From client to server.
    Request,
    /// From server to client.
    Response,
}

/// Bounds and choices, shared by all connections.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Longest head that is read whole, in bytes. What is longer is delivered truncated.
    pub head_bytes: usize,
    /// Most requests that may wait for their responses on one connection.
    pub pending: usize,
    /// Names of further request headers to keep, compared without case.
    pub request_headers: Arc<[String]>,
    /// Names of response headers to keep, compared without case.
    pub response_headers: Arc<[String]>,
}

impl Default for Limits {
    fn default() -> Self {
        Self { head_bytes: 8192, pending: 64, request_headers: Arc::new([]), response_headers: Arc::new([]) }
    }
}
