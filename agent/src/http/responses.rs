//! What the response lane's findings mean: which exchange a response belongs to, when it is over, and when that
//! can't be known.

use super::{
    Body, Chunk, Conversation, Direction, LossReason, Nanos, Protocol, ResponseHead, Signal,
    feed::Feed,
    fields::Framing,
    head::{self, Verdict},
    lane::{Phase, Step},
};

const NO_BODY: Body = Body { size: Some(0), exact: true };
const UNKNOWN: Body = Body { size: None, exact: false };

impl Conversation {
    pub(super) fn push_response(&mut self, chunk: Chunk, out: &mut Vec<Signal>) {
        let virgin = self.response.is_virgin();
        let Some(mut feed) = self.response.admit(chunk) else { return };
        let limit = self.head_limit();
        while let Some(step) = self.response.step(&mut feed, limit) {
            self.on_response(step, virgin, &mut feed, out);
        }
        self.response.finish(&feed);
    }

    fn on_response(&mut self, step: Step, virgin: bool, feed: &mut Feed, out: &mut Vec<Signal>) {
        match step {
            Step::Start { synced } => self.response_starts(synced, virgin, feed, out),
            Step::Restart => self.response_restarts(feed, out),
            Step::Head(bytes) => match head::response(&bytes, &self.limits.response_headers) {
                Ok((head, framing)) => self.response_head(head, framing, feed, out),
                Err(LossReason::TooManyHeaders) => {
                    self.response_cut(&bytes, LossReason::TooManyHeaders, feed, out);
                }
                Err(reason) => self.lose_response(reason, out),
            },
            Step::HeadCut(bytes, reason) => self.response_cut(&bytes, reason, feed, out),
            Step::End { body, at } => {
                self.end_exchange(body, true, at, out);
                // A terminator after a hidden stretch may be that of a later response.
                if !body.exact && !self.pending.is_empty() {
                    self.lose_response(LossReason::Ambiguous, out);
                }
            }
            Step::Astray(reason) => out.push(Signal::Lost { direction: Direction::Response, reason }),
            Step::Lost => self.lose_response(LossReason::Gap, out),
        }
    }

    fn response_starts(&mut self, synced: bool, virgin: bool, feed: &Feed, out: &mut Vec<Signal>) {
        let is_http = head::response_verdict(feed.seen()) != Verdict::No;
        if !synced && !is_http {
            return;
        }
        if self.pending.is_empty() {
            self.response.unsync();
            // The final response is yet to come.
            if head::looks_interim(feed.seen()) {
                return;
            }
            let reason = if is_http { self.unasked() } else { LossReason::NotHttp };
            out.push(Signal::Lost { direction: Direction::Response, reason });
            return;
        }
        if !is_http {
            return self.lose_response(LossReason::NotHttp, out);
        }
        let several = self.pending.len() > 1;
        let first = virgin && (!several || self.pipelined);
        if !synced && !self.response.clean && !first {
            return self.lose_response(LossReason::Ambiguous, out);
        }
        self.pipelined |= synced && several;
        self.response.begin(feed.began);
    }

    /// In a response whose end can't be told, a chunk starts that may be another one.
    fn response_restarts(&mut self, feed: &Feed, out: &mut Vec<Signal>) {
        if !head::looks_like_response(feed.seen()) {
            return;
        }
        let (body, at) = (self.response.body(false), self.response.last_at);
        self.response.unsync();
        self.end_exchange(body, true, at, out);
        self.response_starts(false, false, feed, out);
    }

    fn response_head(&mut self, head: ResponseHead, framing: Framing, feed: &Feed, out: &mut Vec<Signal>) {
        let Some(exchange) = self.pending.front() else { return self.response.unsync() };
        if !exchange.head_known {
            return self.lose_response(LossReason::RequestIncomplete, out);
        }
        let (n, status, truncated) = (exchange.n, head.status, head.truncated);
        if (100..200).contains(&status) && status != 101 {
            return self.informational(n, status, framing, out);
        }
        let switched = match status {
            101 => Some(Protocol::Upgrade(head.headers.get("upgrade").cloned().unwrap_or_default())),
            200..300 if exchange.is_connect => Some(Protocol::Tunnel),
            _ => None,
        };
        let is_bodiless = !truncated && (exchange.is_head || matches!(status, 204 | 304));
        out.push(Signal::ResponseBegan { n, at: self.response.began });
        out.push(Signal::ResponseHead { n, head });
        self.answered(n, out);
        if let Some(protocol) = switched {
            return self.switch(n, protocol, feed.at(), out);
        }
        let framing = if is_bodiless { Framing::Length(0) } else { framing };
        if let Framing::Unknown(reason) = framing {
            out.push(Signal::Lost { direction: Direction::Response, reason });
        }
        self.response.follow(framing);
    }

    fn informational(&mut self, n: u64, status: u16, framing: Framing, out: &mut Vec<Signal>) {
        self.response.phase = Phase::Idle;
        out.push(Signal::Informational { n, status });
        // Interim responses have no body, so this is a head that was cut.
        if let Framing::Unknown(reason @ (LossReason::Gap | LossReason::HeadTooLong)) = framing {
            self.lose_response(reason, out);
        }
    }

    /// A request whose end can't be told is over when its response comes.
    fn answered(&mut self, n: u64, out: &mut Vec<Signal>) {
        if let Some(exchange) = self.pending.front() {
            exchange.answered = true;
        }
        if self.current == Some(n) && matches!(self.request.phase, Phase::Adrift { .. }) {
            self.end_request(n, self.request.body(false), self.request.last_at, out);
            self.forget_request(n);
        }
    }

    /// A head that can't be read whole: what is there is reported, the end of the response can't be told.
    fn response_cut(&mut self, bytes: &[u8], reason: LossReason, feed: &Feed, out: &mut Vec<Signal>) {
        match head::mend(bytes).map(|mended| head::response(&mended, &self.limits.response_headers)) {
            Some(Ok((mut head, _))) => {
                (head.truncated, head.head_size) = (true, bytes.len() as u64);
                self.response_head(head, Framing::Unknown(reason), feed, out);
            }
            _ => self.lose_response(reason, out),
        }
    }

    fn switch(&mut self, n: u64, protocol: Protocol, at: Nanos, out: &mut Vec<Signal>) {
        self.end_exchange(NO_BODY, true, at, out);
        out.push(Signal::Switched { n, protocol });
        self.drop_pending(LossReason::Switched, out);
        self.request.over();
        self.response.over();
    }

    /// No telling where in the stream of responses the lane is, nor which request the next one answers.
    pub(super) fn lose_response(&mut self, reason: LossReason, out: &mut Vec<Signal>) {
        out.push(Signal::Lost { direction: Direction::Response, reason });
        self.drop_pending(reason, out);
        self.held = None;
        self.doubt = true;
        self.response.unsync();
    }

    /// The server sends no more.
    pub(super) fn end_responses(&mut self, at: Nanos, orderly: bool, out: &mut Vec<Signal>) {
        let last_at = self.response.last_at;
        match self.response.phase {
            Phase::UntilClose => {
                let end = if orderly { at } else { last_at };
                self.end_exchange(self.response.body(orderly), true, end, out);
            }
            Phase::Adrift { .. } => self.end_exchange(UNKNOWN, true, last_at, out),
            Phase::Fixed { .. } | Phase::Chunked(_) => {
                self.end_exchange(self.response.body(false), false, at, out);
            }
            Phase::Unsynced if !self.response.clean && !self.response.is_virgin() => {
                self.drop_pending(LossReason::ResponseMissing, out);
            }
            Phase::Unsynced | Phase::Idle | Phase::Head | Phase::Over => {}
        }
        while !self.pending.is_empty() {
            self.end_exchange(UNKNOWN, false, at, out);
        }
        self.response.over();
    }

    /// Keeps a response that may have come before its request; gives back what is to be read now.
    pub(super) fn hold(&mut self, chunk: Chunk, out: &mut Vec<Signal>) -> Option<Chunk> {
        let starts = match self.response.phase {
            Phase::Idle => true,
            Phase::Unsynced => chunk.starts_message,
            _ => false,
        };
        // Only a request that follows right upon the last one is proven to be the next.
        let provable = self.pending.is_empty() && !self.doubt && self.request.phase == Phase::Idle;
        let is_new = self.response.next().is_none_or(|next| chunk.position >= next);
        let is_http = head::response_verdict(&chunk.head) != Verdict::No && !chunk.head.is_empty();
        if self.held.is_none() && !(provable && starts && is_new && is_http) {
            return Some(chunk);
        }
        let held = self.held.get_or_insert_default();
        match held.add(chunk, &self.limits) {
            Ok(()) => None,
            Err(chunk) => {
                self.discard_held(out);
                Some(chunk)
            }
        }
    }

    /// A response came to which no request is open. It tells of an exchange that nobody knew of, unless it may be the
    /// answer to one that was given up.
    fn unasked(&mut self) -> LossReason {
        match self.given_up.checked_sub(1) {
            Some(left) => {
                self.given_up = left;
                LossReason::RequestDropped
            }
            None => LossReason::RequestMissing,
        }
    }

    /// Reads what was held, now that the head of its request is known.
    pub(super) fn release_held(&mut self, out: &mut Vec<Signal>) {
        let known = self.pending.front().is_some_and(|e| e.head_known);
        if let Some(held) = self.held.take_if(|held| known && held.proven) {
            held.into_chunks().into_iter().for_each(|chunk| self.push_response(chunk, out));
        }
    }

    /// Passes over a held response whose request was not seen.
    pub(super) fn discard_held(&mut self, out: &mut Vec<Signal>) {
        if let Some(held) = self.held.take() {
            let proven = held.proven;
            held.into_chunks().into_iter().for_each(|chunk| self.response.pass(chunk));
            if proven {
                self.lose_response(LossReason::RequestIncomplete, out);
            } else {
                self.response.unsync();
                let reason = self.unasked();
                out.push(Signal::Lost { direction: Direction::Response, reason });
            }
        }
    }
}
