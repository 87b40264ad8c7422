//! What the request lane's findings mean: requests that begin, end or are lost, and when a request that begins
//! proves that all before it was answered.

use super::{
    Chunk, Conversation, Direction, LossReason, Signal,
    feed::Feed,
    fields::Framing,
    head::{self, Verdict},
    lane::{Phase, Step},
};

impl Conversation {
    pub(super) fn push_request(&mut self, chunk: Chunk, out: &mut Vec<Signal>) {
        let Some(mut feed) = self.request.admit(chunk) else { return };
        let limit = self.head_limit();
        while let Some(step) = self.request.step(&mut feed, limit) {
            self.on_request(step, &mut feed, out);
        }
        self.request.finish(&feed);
    }

    fn on_request(&mut self, step: Step, feed: &mut Feed, out: &mut Vec<Signal>) {
        match step {
            Step::Start { synced } => self.request_starts(synced, feed, out),
            // A body may hold what looks like a request; a real one comes after the response.
            Step::Restart => {}
            Step::Head(bytes) => match head::request(&bytes, &self.limits.request_headers) {
                Ok((head, framing)) => self.request_head(head, framing, out),
                Err(LossReason::TooManyHeaders) => {
                    self.request_cut(&bytes, LossReason::TooManyHeaders, out);
                }
                Err(reason) => self.lose_request(reason, out),
            },
            Step::HeadCut(bytes, reason) => self.request_cut(&bytes, reason, out),
            Step::End { body, at } => {
                if let Some(n) = self.current.take() {
                    self.end_request(n, body, at, out);
                }
            }
            Step::Astray(reason) => self.request_astray(reason, out),
            Step::Lost => self.lose_request(LossReason::Gap, out),
        }
    }

    fn request_starts(&mut self, synced: bool, feed: &Feed, out: &mut Vec<Signal>) {
        let is_http = head::request_verdict(feed.seen()) != Verdict::No;
        if synced && !is_http {
            return self.lose_request(LossReason::NotHttp, out);
        }
        // Out of sync, the tail of a method may pass for one ("EAD /").
        let is_known = is_http && head::has_known_method(feed.seen());
        if !synced && !is_known {
            return self.pass_request(out, LossReason::NotHttp);
        }
        let answers = self.held.as_ref().is_some_and(|held| synced && held.answers(feed.began));
        if !answers {
            self.discard_held(out);
        }
        // One call moved the end of a request and the beginning of the next.
        self.pipelined |= synced && feed.ended && !self.pending.is_empty();
        if !self.settle(out) {
            return self.pass_request(out, LossReason::Ambiguous);
        }
        if self.pending.len() >= self.limits.pending.max(1) {
            return self.pass_request(out, LossReason::TooManyPending);
        }
        if let Some(held) = &mut self.held {
            held.proven = true;
        }
        if self.pending.is_empty() {
            self.response.clean = !self.response.is_virgin();
            self.given_up = 0;
        }
        let n = self.begun;
        (self.begun, self.current) = (n + 1, Some(n));
        self.pending.push(n);
        self.request.begin(feed.began);
        out.push(Signal::RequestBegan { n, position: feed.position, at: feed.began });
    }

    /// Whether the response to a request that begins now can be told from others. Unless it has been seen to do
    /// otherwise, a client waits for a response before it sends the next request.
    fn settle(&mut self, out: &mut Vec<Signal>) -> bool {
        if self.pending.len() == 1 && self.response.is_open_ended() {
            let (body, at) = (self.response.body(false), self.response.last_at);
            self.response.unsync();
            self.end_exchange(body, true, at, out);
        }
        if self.doubt {
            if self.pipelined || !self.pending.is_empty() {
                return false;
            }
            self.doubt = false;
        }
        true
    }

    /// A request begins that can't be followed.
    fn pass_request(&mut self, out: &mut Vec<Signal>, reason: LossReason) {
        self.discard_held(out);
        self.request.unsync();
        if reason != LossReason::NotHttp {
            self.doubt = true;
            self.given_up = self.given_up.saturating_add(1);
        }
        out.push(Signal::Lost { direction: Direction::Request, reason });
    }

    fn request_head(&mut self, head: head::RequestHead, framing: Framing, out: &mut Vec<Signal>) {
        let Some(n) = self.current else { return self.request.unsync() };
        if let Some(exchange) = self.pending.get(n) {
            exchange.head_known = true;
            exchange.is_head = head.method == "HEAD";
            exchange.is_connect = head.method == "CONNECT";
        }
        out.push(Signal::RequestHead { n, head });
        self.request.follow(framing);
        if let Framing::Unknown(reason) = framing {
            self.request_astray(reason, out);
        }
    }

    /// A head that can't be read whole: what is there is reported, the end of the request can't be told.
    fn request_cut(&mut self, bytes: &[u8], reason: LossReason, out: &mut Vec<Signal>) {
        match head::mend(bytes).map(|mended| head::request(&mended, &self.limits.request_headers)) {
            Some(Ok((mut head, _))) => {
                (head.truncated, head.head_size) = (true, bytes.len() as u64);
                self.request_head(head, Framing::Unknown(reason), out);
            }
            _ => self.lose_request(reason, out),
        }
    }

    /// The end of the current request can't be told. It is over when its response begins; what follows until
    /// then may be other requests.
    fn request_astray(&mut self, reason: LossReason, out: &mut Vec<Signal>) {
        out.push(Signal::Lost { direction: Direction::Request, reason });
        self.doubt = true;
        match self.current {
            Some(n) if self.pending.get(n).is_some_and(|e| e.answered) => {
                self.end_request(n, self.request.body(false), self.request.last_at, out);
                self.forget_request(n);
            }
            Some(_) => {}
            None => self.request.unsync(),
        }
    }

    /// No telling where in the stream of requests the lane is.
    pub(super) fn lose_request(&mut self, reason: LossReason, out: &mut Vec<Signal>) {
        out.push(Signal::Lost { direction: Direction::Request, reason });
        self.discard_held(out);
        self.cut_current(reason, out);
        self.doubt = true;
        self.request.unsync();
    }

    /// The rest of the current request will not be followed: without its head, the exchange is not worth
    /// having.
    fn cut_current(&mut self, reason: LossReason, out: &mut Vec<Signal>) {
        let Some(n) = self.current.take() else { return };
        if self.pending.get(n).is_some_and(|e| e.head_known) {
            self.end_request(n, self.request.body(false), self.request.last_at, out);
        } else if self.pending.remove(n).is_some() {
            self.given_up = self.given_up.saturating_add(1);
            out.push(Signal::Dropped { n, reason });
            if self.pending.is_empty() && self.response.phase == Phase::Head {
                self.response.unsync();
            }
        }
    }

    /// The client sends no more.
    pub(super) fn end_requests(&mut self, out: &mut Vec<Signal>) {
        self.cut_current(LossReason::Closed, out);
        self.request.over();
    }
}
