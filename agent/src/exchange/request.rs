//! What an exchange keeps of its request's head: little, and in memory of its own, so that a long exchange does
//! not hold the whole batch of events it came in.

use std::ops::Range;

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
    /// The head was longer than what was captured: headers may be missing.
    pub truncated: bool,
    /// Method, target, `Host` and `User-Agent`, one after the other.
    memory: Box<[u8]>,
    /// Where the first three end; of a header that is missing, nothing.
    method: u16,
    target: u16,
    host: Option<u16>,
    has_user_agent: bool,
}

impl Request {
    /// Copies what is kept, which is what a span can say of it, into one piece of memory.
    pub fn of(head: &RequestHead) -> Self {
        let cut = |bytes: &[u8], most: usize| -> usize { bytes.len().min(most) };
        let (host, agent) = (head.headers.get("host"), head.headers.get("user-agent"));
        let parts = [
            Some((&head.method, cut(&head.method, MAX_METHOD))),
            Some((&head.target, cut(&head.target, MAX_TARGET))),
            host.map(|host| (host, cut(host, MAX_HOST))),
            agent.map(|agent| (agent, cut(agent, MAX_USER_AGENT))),
        ];
        let mut memory = Vec::with_capacity(parts.iter().flatten().map(|(_, length)| length).sum());
        let mut ends = [0; 4];
        for (part, end) in parts.iter().zip(&mut ends) {
            if let Some((bytes, length)) = part {
                memory.extend_from_slice(bytes.get(..*length).unwrap_or_default());
            }
            // All together they are shorter than 64 KiB.
            *end = memory.len() as u16;
        }
        let [method, target, host_end, _] = ends;
        Self {
            version: head.version,
            truncated: head.truncated,
            memory: memory.into(),
            method,
            target,
            host: host.map(|_| host_end),
            has_user_agent: agent.is_some(),
        }
    }

    fn part(&self, range: Range<u16>) -> &[u8] {
        self.memory.get(usize::from(range.start)..usize::from(range.end)).unwrap_or_default()
    }

    /// Method as sent.
    pub fn method(&self) -> &[u8] {
        self.part(0..self.method)
    }

    /// Target as sent.
    pub fn target(&self) -> &[u8] {
        self.part(self.method..self.target)
    }

    /// `Host`.
    pub fn host(&self) -> Option<&[u8]> {
        self.host.map(|end| self.part(self.target..end))
    }

    /// `User-Agent`.
    pub fn user_agent(&self) -> Option<&[u8]> {
        let start = usize::from(self.host.unwrap_or(self.target));
        self.has_user_agent.then(|| self.memory.get(start..).unwrap_or_default())
    }
}

const _: () = assert!(MAX_METHOD + MAX_TARGET + MAX_HOST + MAX_USER_AGENT <= u16::MAX as usize);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::{Header, Headers};
    use bytes::Bytes;

    #[test]
    fn each_part_is_where_it_was_put() {
        let header = |name: &'static str, value: &'static str| Header {
            name: Bytes::from_static(name.as_bytes()),
            value: Bytes::from_static(value.as_bytes()),
        };
        let head = |headers: Vec<Header>| RequestHead {
            version: Version::Http11,
            method: Bytes::from_static(b"GET"),
            target: Bytes::from_static(b"/x"),
            headers: Headers::new(headers),
            content_length: None,
            head_size: 0,
            truncated: false,
        };
        let parts = |headers| {
            let request = Request::of(&head(headers));
            assert_eq!((request.method(), request.target()), (b"GET".as_slice(), b"/x".as_slice()));
            let text = |part: Option<&[u8]>| part.map(|part| String::from_utf8(part.to_vec()).unwrap());
            (text(request.host()), text(request.user_agent()))
        };
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(parts(vec![header("Host", "h"), header("User-Agent", "a")]), (some("h"), some("a")));
        assert_eq!(parts(vec![header("User-Agent", "a")]), (None, some("a")));
        assert_eq!(parts(vec![header("Host", "")]), (some(""), None));
        assert_eq!(parts(Vec::new()), (None, None));
        let long = header("Host", Box::leak("h".repeat(9_999).into_boxed_str()));
        assert_eq!(parts(vec![long]).0.map(|host| host.len()), Some(MAX_HOST));
    }
}
