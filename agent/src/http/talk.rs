//! For tests: a conversation told call by call, and its signals in short.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;

use super::{
    Body, Chunk, Conversation,
    Direction::{self, Request, Response},
    Limits, Protocol, Signal,
};

/// A conversation, its signals, and a clock that ticks with each call.
pub(super) struct Talk {
    pub conversation: Conversation,
    pub out: Vec<Signal>,
    pub now: u64,
    pub at: [u64; 2],
}

impl Talk {
    /// Seen from the start.
    pub fn new() -> Self {
        let mut talk = Self::adopted();
        talk.conversation.begins_at(Request, talk.at[0]);
        talk.conversation.begins_at(Response, talk.at[1]);
        talk
    }
    /// Joined at an unknown point.
    pub fn adopted() -> Self {
        Self::with(Limits::default())
    }
    pub fn with(limits: Limits) -> Self {
        let conversation = Conversation::new(Arc::new(limits));
        Self { conversation, out: Vec::new(), now: 0, at: [1 << 33, 77] }
    }
    pub fn chunk(&mut self, d: Direction, len: u64, head: &[u8], tail: &[u8], starts: bool) {
        self.now += 10;
        let position = self.at[d as usize];
        self.at[d as usize] += len;
        let (head, tail) = (Bytes::copy_from_slice(head), Bytes::copy_from_slice(tail));
        let chunk =
            Chunk { position, len, head, tail, at: self.now, began: self.now - 1, starts_message: starts };
        self.conversation.push(d, chunk, &mut self.out);
    }
    /// A call that was captured whole and starts a message.
    pub fn says(&mut self, d: Direction, text: &str) -> &mut Self {
        self.chunk(d, text.len() as u64, text.as_bytes(), b"", true);
        self
    }
    /// A call that was captured whole in the middle of a message.
    pub fn goes_on(&mut self, d: Direction, text: &str) -> &mut Self {
        self.chunk(d, text.len() as u64, text.as_bytes(), b"", false);
        self
    }
    /// A call of which only the ends were captured.
    pub fn partly(&mut self, d: Direction, head: &str, hidden: u64, tail: &str) -> &mut Self {
        let len = (head.len() + tail.len()) as u64 + hidden;
        self.chunk(d, len, head.as_bytes(), tail.as_bytes(), !head.is_empty());
        self
    }
    /// Bytes nobody saw.
    pub fn misses(&mut self, d: Direction, len: u64) -> &mut Self {
        self.at[d as usize] += len;
        self
    }
    pub fn ends(&mut self, d: Direction) -> &mut Self {
        self.now += 10;
        self.conversation.end_of_stream(d, self.now, &mut self.out);
        self
    }
    pub fn closes(&mut self) -> &mut Self {
        self.now += 10;
        self.conversation.close(self.now, &mut self.out);
        self
    }
    /// The signals so far, in short; times left out.
    pub fn told(&mut self) -> String {
        let told: Vec<_> = self.out.drain(..).map(|s| short(&s)).collect();
        told.join(", ")
    }
}

fn measure(body: &Body) -> String {
    let size = body.size.map_or("?".into(), |size| size.to_string());
    if body.exact { size } else { format!("~{size}") }
}

pub(super) fn short(signal: &Signal) -> String {
    let text = |b: &Bytes| String::from_utf8_lossy(b).into_owned();
    match signal {
        Signal::RequestBegan { n, .. } => format!("{n}:began"),
        Signal::RequestHead { n, head } => {
            let cut = if head.truncated { " cut" } else { "" };
            format!("{n}:{} {}{cut}", text(&head.method), text(&head.target))
        }
        Signal::RequestEnded { n, body, .. } => format!("{n}:sent {}", measure(body)),
        Signal::ResponseBegan { n, .. } => format!("{n}:answer"),
        Signal::ResponseHead { n, head } => {
            let cut = if head.truncated { " cut" } else { "" };
            format!("{n}:{}{cut}", head.status)
        }
        Signal::Informational { n, status } => format!("{n}:info {status}"),
        Signal::ResponseEnded { n, body, complete, .. } => {
            format!("{n}:{} {}", if *complete { "done" } else { "broken" }, measure(body))
        }
        Signal::Switched { n, protocol: Protocol::Upgrade(name) } => format!("{n}:to {}", text(name)),
        Signal::Switched { n, protocol: Protocol::Tunnel } => format!("{n}:tunnel"),
        Signal::Dropped { n, reason } => format!("{n}:dropped {}", reason.name()),
        Signal::Lost { direction, reason } => format!("lost {direction:?} {}", reason.name()),
    }
}

/// Whether each exchange was reported as `signal` promises: begun once, ended once, in order.
pub(super) fn lives(out: &[Signal]) -> Result<(), String> {
    let mut states = BTreeMap::<u64, &str>::new();
    for signal in out {
        let told = short(signal);
        let Some((n, what)) = told.split_once(':') else { continue };
        let n: u64 = n.parse().map_err(|_| told.clone())?;
        let word = what.split(' ').next().unwrap_or_default();
        let before = states.get(&n).copied();
        let after = match (before, signal) {
            (None, Signal::RequestBegan { .. }) => "began",
            (Some("began"), Signal::RequestHead { .. }) => "head",
            (Some("head"), Signal::RequestEnded { .. }) => "sent",
            (Some("answered"), Signal::RequestEnded { .. }) => "answered, sent",
            (
                Some(state @ ("head" | "sent")),
                Signal::Informational { .. } | Signal::ResponseBegan { .. },
            ) => state,
            (Some("head"), Signal::ResponseHead { .. }) => "answered",
            (Some("sent"), Signal::ResponseHead { .. }) => "answered, sent",
            (Some("sent" | "answered, sent"), Signal::ResponseEnded { .. }) => "over",
            (Some("began" | "head" | "sent" | "answered" | "answered, sent"), Signal::Dropped { .. }) => {
                "over"
            }
            (Some("over"), Signal::Switched { .. }) => "over",
            _ => return Err(format!("{word} of {n} after {before:?}")),
        };
        states.insert(n, after);
    }
    match states.iter().find(|(_, state)| **state != "over") {
        Some((n, state)) => Err(format!("{n} was left {state}")),
        None => Ok(()),
    }
}
