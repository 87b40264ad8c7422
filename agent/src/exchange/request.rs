//! What an exchange keeps of its request's head: little, and in memory of its own, so that a long exchange does
//! not hold the whole batch of events it came in.

use bytes::{Bytes, BytesMut};

use crate::{
    http::{RequestHead, Version},
    span::conventions::{MAX_ADDRESS, MAX_METHOD, MAX_URL, MAX_USER_AGENT},
};

/// Bytes kept of `Host`: an address in brackets, a colon, a port.
const MAX_HOST: usize = MAX_ADDRESS + 8;
/// Bytes kept of a target: what a span keeps of a path, after a scheme and a host.
const MAX_TARGET: usize = MAX_URL + MAX_HOST + 8;

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
    /// Copies what is kept, which is what a span can say of it, into one piece of memory.
    pub fn of(head: &RequestHead) -> Self {
        let cut = |bytes: &Bytes, most: usize| bytes.slice(..bytes.len().min(most));
        let parts = [
            Some(cut(&head.method, MAX_METHOD)),
            Some(cut(&head.target, MAX_TARGET)),
            head.headers.get("host").map(|host| cut(host, MAX_HOST)),
            head.headers.get("user-agent").map(|agent| cut(agent, MAX_USER_AGENT)),
        ];
        let mut memory = BytesMut::with_capacity(parts.iter().flatten().map(|p| p.len()).sum());
        parts.iter().flatten().for_each(|p| memory.extend_from_slice(p));
        let mut memory = memory.freeze();
        let mut take = |part: Option<Bytes>| part.map(|p| memory.split_to(p.len()));
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
