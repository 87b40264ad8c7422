//! Properties of framing: what holds for any messages, any split of their bytes, and any input at all.

use std::sync::Arc;

use bytes::Bytes;
use proptest::{collection::vec, prelude::*};

use super::{
    Chunk, Conversation,
    Direction::{self, Request, Response},
    Limits,
    talk::{Talk, lives},
};

/// How a generated message tells its end.
#[derive(Clone, Copy, Debug)]
pub(super) enum Ends {
    Nowhere,
    Length,
    Chunks { size: usize, trailers: bool },
}

#[derive(Clone, Debug)]
pub(super) struct Exchange {
    pub method: &'static str,
    pub request: (Ends, usize),
    interim: bool,
    pub status: u16,
    response: (Ends, usize),
    line_end: &'static str,
}

fn ends() -> impl Strategy<Value = (Ends, usize)> {
    let chunks = (1..40usize, any::<bool>()).prop_map(|(size, trailers)| Ends::Chunks { size, trailers });
    prop_oneof![Just((Ends::Nowhere, 0)), (Just(Ends::Length), 0..90usize), (chunks, 0..90usize)]
}

pub(super) fn exchange() -> impl Strategy<Value = Exchange> {
    let method = prop_oneof![Just("GET"), Just("HEAD"), Just("POST"), Just("CONNECT")];
    let status = prop_oneof![Just(200), Just(204), Just(304), Just(500)];
    let line_end = prop_oneof![Just("\r\n"), Just("\n")];
    (method, ends(), any::<bool>(), status, ends(), line_end).prop_map(
        |(method, request, interim, mut status, mut response, line_end)| {
            if method == "CONNECT" {
                status = 500;
            }
            // On a connection that goes on, a response must tell its length.
            if matches!(response.0, Ends::Nowhere) && !matches!(status, 204 | 304) && method != "HEAD" {
                response.0 = Ends::Length;
            }
            Exchange { method, request, interim, status, response, line_end }
        },
    )
}

pub(super) fn message(start: &str, (ends, size): (Ends, usize), bodiless: bool, eol: &str) -> Vec<u8> {
    let framing = match ends {
        Ends::Nowhere => String::new(),
        Ends::Length => format!("Content-Length: {size}{eol}"),
        Ends::Chunks { .. } => format!("Content-Length: 7{eol}Transfer-Encoding: chunked{eol}"),
    };
    let mut text = format!("{start}{eol}Host: h{eol}{framing}{eol}").into_bytes();
    let body: Vec<u8> = b"0\r\n\r\n(a) HTTP/1.1\r\n\r\n".iter().copied().cycle().take(size).collect();
    match ends {
        Ends::Length if !bodiless => text.extend(body),
        Ends::Chunks { size, trailers } if !bodiless => {
            for part in body.chunks(size) {
                text.extend(format!("{:x};x=\"y\"{eol}", part.len()).into_bytes());
                text.extend([part, eol.as_bytes()].concat());
            }
            let trailer = if trailers { format!("X-Sum: 1{eol}Y: 2{eol}") } else { String::new() };
            text.extend(format!("0{eol}{trailer}{eol}").into_bytes());
        }
        _ => {}
    }
    text
}

impl Exchange {
    fn request_bytes(&self) -> Vec<u8> {
        message(&format!("{} /x HTTP/1.1", self.method), self.request, false, self.line_end)
    }
    pub fn response_bytes(&self) -> Vec<u8> {
        let interim = if self.interim { "HTTP/1.1 103 Early\r\nLink: a\r\n\r\n" } else { "" };
        let (ends, size) = self.response;
        let bodiless = self.method == "HEAD" || matches!(self.status, 204 | 304);
        let start = format!("HTTP/1.1 {} Reason", self.status);
        [interim.as_bytes(), &message(&start, (ends, size), bodiless, self.line_end)].concat()
    }
    fn request_told(&self, n: usize) -> Vec<String> {
        let size = self.request.1;
        vec![format!("{n}:began"), format!("{n}:{} /x", self.method), format!("{n}:sent {size}")]
    }
    fn response_told(&self, n: usize) -> Vec<String> {
        let bodiless = self.method == "HEAD" || matches!(self.status, 204 | 304);
        let size = if bodiless { 0 } else { self.response.1 };
        let mut told =
            vec![format!("{n}:answer"), format!("{n}:{}", self.status), format!("{n}:done {size}")];
        if self.interim {
            told.insert(0, format!("{n}:info 103"));
        }
        told
    }
}

/// Says `bytes` in calls of the given sizes, again and again; `thrifty` captures only what has to be.
fn say(talk: &mut Talk, d: Direction, bytes: &[u8], sizes: &[usize], turn: &mut usize, thrifty: bool) {
    let mut rest = bytes;
    while !rest.is_empty() {
        let size = sizes.get(*turn % sizes.len()).copied().unwrap_or(1).clamp(1, rest.len());
        let (now, later) = rest.split_at(size);
        // A call's bytes may be captured in two pieces.
        let (mut head, mut tail) = now.split_at(if turn.is_multiple_of(3) { size / 2 } else { size });
        if thrifty && let Some(until) = talk.conversation.until(d) {
            let blind = usize::try_from(until - talk.at[d as usize]).unwrap_or(size).min(size);
            (head, tail) = (&[], &now[blind..]);
        }
        talk.chunk(d, size as u64, head, tail, rest.len() == bytes.len());
        *turn += 1;
        rest = later;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_split_gives_the_same_signals(
        exchanges in vec(exchange(), 1..5),
        sizes in vec(1..60usize, 1..12),
        adopted in any::<bool>(),
        thrifty in any::<bool>(),
    ) {
        let mut talk = if adopted { Talk::adopted() } else { Talk::new() };
        let (mut turn, mut expected) = (0, Vec::new());
        for (n, exchange) in exchanges.iter().enumerate() {
            say(&mut talk, Request, &exchange.request_bytes(), &sizes, &mut turn, thrifty);
            say(&mut talk, Response, &exchange.response_bytes(), &sizes, &mut turn, thrifty);
            expected.extend(exchange.request_told(n));
            expected.extend(exchange.response_told(n));
        }
        prop_assert_eq!(talk.told(), expected.join(", "));
    }

    #[test]
    fn any_split_of_pipelined_messages_gives_the_same_signals(
        exchanges in vec(exchange(), 1..5),
        sizes in vec(1..200usize, 1..12),
        thrifty in any::<bool>(),
    ) {
        let mut talk = Talk::new();
        let requests: Vec<u8> = exchanges.iter().flat_map(Exchange::request_bytes).collect();
        let responses: Vec<u8> = exchanges.iter().flat_map(Exchange::response_bytes).collect();
        say(&mut talk, Request, &requests, &sizes, &mut 0, thrifty);
        say(&mut talk, Response, &responses, &sizes, &mut 1, thrifty);
        let all = || exchanges.iter().enumerate();
        let expected: Vec<String> = all().flat_map(|(n, e)| e.request_told(n))
            .chain(all().flat_map(|(n, e)| e.response_told(n))).collect();
        prop_assert_eq!(talk.told(), expected.join(", "));
    }

    #[test]
    fn gaps_inside_bodies_of_known_length_keep_framing_exact(
        bodies in vec((1..5000u64, 1..5000u64, vec(any::<u8>(), 1..20)), 1..6),
    ) {
        let mut talk = Talk::new();
        let mut expected = Vec::new();
        for (n, (sent, received, cuts)) in bodies.iter().enumerate() {
            let request = format!("PUT /x HTTP/1.1\r\nContent-Length: {sent}\r\n\r\n");
            let response = format!("HTTP/1.1 200 OK\r\nContent-Length: {received}\r\n\r\n");
            for (d, head, size) in [(Request, request, *sent), (Response, response, *received)] {
                talk.says(d, &head);
                sparse_body(&mut talk, d, size, cuts);
            }
            expected.push(format!("{n}:began, {n}:PUT /x, {n}:sent {sent}, {n}:answer, {n}:200, {n}:done {received}"));
        }
        prop_assert_eq!(talk.told(), expected.join(", "));
    }

    #[test]
    fn anything_goes_and_memory_stays_bounded(calls in vec(call(), 1..60)) {
        let limits = Limits { head_bytes: 256, pending: 4, ..Limits::default() };
        let mut conversation = Conversation::new(Arc::new(limits));
        let mut out = Vec::new();
        let mut reached = [100u64, 100];
        for (at, call) in calls.into_iter().enumerate() {
            let at = at as u64;
            match call {
                Call::Chunk(d, position, chunk) => {
                    let position = position.unwrap_or(reached[d as usize]);
                    reached[d as usize] = position.wrapping_add(chunk.len);
                    conversation.push(d, Chunk { at, position, ..chunk }, &mut out);
                }
                Call::Origin(d, position) => conversation.begins_at(d, position),
                Call::Ends(d) => conversation.end_of_stream(d, at, &mut out),
            }
            let _ = (conversation.until(Request), conversation.until(Response));
            prop_assert!(conversation.cost() < 4096, "{}", conversation.cost());
        }
        conversation.close(u64::MAX, &mut out);
        prop_assert!(lives(&out).is_ok(), "{:?}", lives(&out));
    }
}

/// A body of which some calls were seen in part, some not at all; its last byte is seen to pass.
fn sparse_body(talk: &mut Talk, d: Direction, size: u64, cuts: &[u8]) {
    let mut left = size;
    for cut in cuts.iter().cycle() {
        let len = u64::from(*cut % 64 + 1) * 40;
        if left <= len {
            break;
        }
        left -= len;
        match cut % 3 {
            0 => talk.misses(d, len),
            1 => talk.partly(d, "GET / HTTP/1.1\r\n\r\n", len - 20, "\r\n"),
            _ => talk.partly(d, "", len, ""),
        };
    }
    talk.partly(d, "", left, "");
}

#[derive(Clone, Debug)]
enum Call {
    /// At a position, or right after the last one.
    Chunk(Direction, Option<u64>, Chunk),
    Origin(Direction, u64),
    Ends(Direction),
}

fn call() -> impl Strategy<Value = Call> {
    const PIECES: [&str; 17] = [
        "GET / HTTP/1.1\r\n\r\n",
        "HEAD / HTTP/1.1\r\nHost: h\r\n",
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n",
        "PUT / HTTP/1.1\r\nContent-Length: 20\r\n\r\n",
        "CONNECT h:1 HTTP/1.1\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\n\r\n",
        "HTTP/1.1 100 Continue\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n",
        "HTTP/1.1 204 No\r\nContent-Length: 1, 2\r\n\r\n",
        "5\r\nhello\r\n",
        "0\r\n\r\n",
        "ffffffffffffffff\r\n",
        "\r\n",
        "Content-Length: 99999999999999999999\r\n",
        "",
    ];
    let direction = prop_oneof![Just(Request), Just(Response)];
    let piece = prop_oneof![
        4 => (0..PIECES.len()).prop_map(|i| Bytes::from_static(PIECES.get(i).unwrap_or(&"").as_bytes())),
        1 => vec(any::<u8>(), 0..300).prop_map(Bytes::from),
    ];
    let position =
        prop_oneof![12 => Just(None), 2 => (0..400u64).prop_map(Some), 1 => any::<u64>().prop_map(Some)];
    let hidden = prop_oneof![6 => Just(0u64), 3 => 0..50u64, 1 => any::<u64>()];
    let chunk = (position, piece.clone(), hidden, piece, any::<bool>(), any::<u64>()).prop_map(
        |(position, head, hidden, tail, starts_message, began)| {
            let len = hidden.wrapping_add((head.len() + tail.len()) as u64);
            (position, Chunk { position: 0, len, head, tail, starts_message, began, at: 0 })
        },
    );
    prop_oneof![
        20 => (direction.clone(), chunk).prop_map(|(d, (p, c))| Call::Chunk(d, p, c)),
        1 => (direction.clone(), 0..400u64).prop_map(|(d, p)| Call::Origin(d, p)),
        1 => direction.prop_map(Call::Ends),
    ]
}
