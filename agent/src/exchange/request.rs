//! What an exchange keeps of its request's head: little, and in memory of its own, so that a long exchange does
//! not hold the whole batch of events it came in.

use bytes::{Bytes, BytesMut};

use crate::http::{RequestHead, Version};

/// A request, as its span needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Protocol version.
    pub version: Version,
    /// Method as sent.
    pub method: Bytes,
    /// Target as sent.
    pub target: Bytes,
    /// `Host`.
    pub host: Option<Bytes>,
    /// `User-Agent`.
    pub user_agent: Option<Bytes>,
    /// The head was longer than what was captured: headers may be missing.
    pub truncated: bool,
}

impl Request {
    /// Copies what is kept into one piece of memory.
    pub fn of(head: &RequestHead) -> Self {
        let parts = [
            Some(&head.method),
            Some(&head.target),
            head.headers.get("host"),
            head.headers.get("user-agent"),
        ];
        let mut memory = BytesMut::with_capacity(parts.iter().flatten().map(|p| p.len()).sum());
        parts.iter().flatten().for_each(|p| memory.extend_from_slice(p));
        let mut memory = memory.freeze();
        let mut take = |part: Option<&Bytes>| part.map(|p| memory.split_to(p.len()));
        let [method, target, host, user_agent] = parts;
        Self {
            version: head.version,
            method: take(method).unwrap_or_default(),
            target: take(target).unwrap_or_default(),
            host: take(host),
            user_agent: take(user_agent),
            truncated: head.truncated,
        }
    }
}
