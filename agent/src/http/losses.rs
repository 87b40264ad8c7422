//! Properties of pairing: whatever is lost on the way to the observer, no response is given to another request.

use std::collections::BTreeMap;

use proptest::{collection::vec, prelude::*};

use super::{
    Direction::{self, Request, Response},
    LossReason, Signal,
    head::{looks_like_request, looks_like_response},
    properties::{Exchange, exchange, message},
    talk::{Talk, lives, short},
};

/// What becomes of a call on its way to the observer.
#[derive(Clone, Copy, Debug)]
enum Fate {
    Seen,
    Lost,
    /// So many of its first and of its last bytes are captured.
    Partly(usize, usize),
}

impl Fate {
    fn tell(self, talk: &mut Talk, d: Direction, call: &[u8]) {
        let (head, tail) = match self {
            Self::Seen => (call.len(), 0),
            Self::Lost => return talk.at[d as usize] += call.len() as u64,
            Self::Partly(head, tail) => (head.min(call.len()), tail.min(call.len().saturating_sub(head))),
        };
        // A capture side that looks at the bytes takes some of a body's for a message's.
        let starts = looks_like_request(call) || looks_like_response(call);
        talk.chunk(d, call.len() as u64, &call[..head], &call[call.len() - tail..], starts && head > 0);
    }
}

fn fates() -> impl Strategy<Value = Vec<Fate>> {
    let partly = (0..60usize, 0..9usize).prop_map(|(head, tail)| Fate::Partly(head, tail));
    vec(prop_oneof![8 => Just(Fate::Seen), 1 => Just(Fate::Lost), 2 => partly], 1..40)
}

/// A conversation in calls of given sizes and fates, again and again.
struct Lossy {
    talk: Talk,
    sizes: Vec<usize>,
    fates: Vec<Fate>,
    turn: usize,
}

impl Lossy {
    fn say(&mut self, d: Direction, bytes: &[u8], fate: Option<Fate>) {
        for call in bytes.chunks(self.sizes[self.turn % self.sizes.len()]) {
            self.turn += 1;
            let fate = fate.unwrap_or(self.fates[self.turn % self.fates.len()]);
            fate.tell(&mut self.talk, d, call);
        }
    }
}

/// A request and its response, both marked with `n`.
fn marked(n: usize, exchange: &Exchange) -> (Vec<u8>, Vec<u8>) {
    let start = format!("{} /{n} HTTP/1.1", exchange.method);
    let mut response = exchange.clone();
    response.status = 400 + n as u16;
    (message(&start, exchange.request, false, "\r\n"), response.response_bytes())
}

/// The first response that was given to another request than its own.
fn mistaken(out: &[Signal]) -> Option<String> {
    let mut targets = BTreeMap::new();
    for signal in out {
        match signal {
            Signal::RequestHead { n, head } => {
                targets.insert(*n, head.target.clone());
            }
            Signal::ResponseHead { n, head } if targets[n] != format!("/{}", head.status - 400) => {
                return Some(format!("{} to {:?} in {}", head.status, targets[n], told(out)));
            }
            _ => {}
        }
    }
    None
}

/// The exchanges that are told of, each by its beginning or because it was passed over.
fn counted(out: &[Signal]) -> usize {
    use LossReason::{Ambiguous, RequestMissing, TooManyPending};
    let counts = |signal: &&Signal| match signal {
        Signal::RequestBegan { .. } => true,
        Signal::Lost { direction: Request, reason } => matches!(reason, Ambiguous | TooManyPending),
        Signal::Lost { direction: Response, reason } => *reason == RequestMissing,
        _ => false,
    };
    out.iter().filter(counts).count()
}

fn told(out: &[Signal]) -> String {
    out.iter().map(short).collect::<Vec<_>>().join(", ")
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_client_that_waits(
        exchanges in vec(exchange(), 2..12),
        sizes in vec(1..120usize, 1..12),
        fates in fates(),
        adopt_after in 0..3usize,
    ) {
        let talk = if adopt_after == 0 { Talk::new() } else { Talk::adopted() };
        let mut lossy = Lossy { talk, sizes, fates, turn: 0 };
        for (n, exchange) in exchanges.iter().enumerate() {
            // The first exchange that is seen anchors an adopted connection.
            let fate = match n.cmp(&adopt_after) {
                std::cmp::Ordering::Less => Some(Fate::Lost),
                std::cmp::Ordering::Equal => Some(Fate::Seen),
                std::cmp::Ordering::Greater => None,
            };
            let (request, response) = marked(n, exchange);
            lossy.say(Request, &request, fate);
            lossy.say(Response, &response, fate);
        }
        // What is seen whole again is told again.
        let mut talk = lossy.talk;
        for n in 90..93 {
            talk.says(Request, &format!("GET /{n} HTTP/1.1\r\n\r\n"));
            talk.says(Response, &format!("HTTP/1.1 {} No\r\nContent-Length: 1\r\n\r\nx", 400 + n));
        }
        prop_assert!(talk.out.last().is_some_and(|s| short(s).ends_with(":done 1")), "{}", told(&talk.out));
        talk.closes();
        prop_assert_eq!(lives(&talk.out), Ok(()));
        prop_assert_eq!(mistaken(&talk.out), None);
        prop_assert!(counted(&talk.out) <= exchanges.len() + 3, "{}", told(&talk.out));
    }

    #[test]
    fn a_client_that_is_known_to_pipeline(
        exchanges in vec(exchange(), 2..12),
        depth in 2..5usize,
        sizes in vec(1..120usize, 1..12),
        fates in fates(),
    ) {
        let mut lossy = Lossy { talk: Talk::new(), sizes, fates, turn: 0 };
        for n in [80, 82] {
            let request = |n| format!("GET /{n} HTTP/1.1\r\n\r\n");
            let response = |n| format!("HTTP/1.1 {} No\r\nContent-Length: 0\r\n\r\n", 400 + n);
            lossy.talk.says(Request, &[request(n), request(n + 1)].concat());
            lossy.talk.says(Response, &[response(n), response(n + 1)].concat());
        }
        for (batch, exchanges) in exchanges.chunks(depth).enumerate() {
            let both: Vec<_> =
                exchanges.iter().enumerate().map(|(i, e)| marked(batch * depth + i, e)).collect();
            both.iter().for_each(|(request, _)| lossy.say(Request, request, None));
            both.iter().for_each(|(_, response)| lossy.say(Response, response, None));
        }
        lossy.talk.closes();
        prop_assert_eq!(lives(&lossy.talk.out), Ok(()));
        prop_assert_eq!(mistaken(&lossy.talk.out), None);
        prop_assert!(counted(&lossy.talk.out) <= exchanges.len() + 4, "{}", told(&lossy.talk.out));
    }
}
