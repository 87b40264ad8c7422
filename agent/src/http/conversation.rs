//! One connection: both lanes and the exchanges between them.
//!
//! In: [`Chunk`]s of either direction. Out: [`Signal`]s. What each lane's findings mean is decided in `requests`
//! and `responses`; here is what they share.

use std::sync::Arc;

use super::{
    Body, Chunk, Direction, Limits, LossReason, Nanos, Signal,
    lane::{Lane, Phase},
    pairing::{Exchange, Held, Pending},
};

/// The framing state of one connection.
///
/// Memory is bounded by the [`Limits`]: a head that comes in pieces per direction, the open exchanges, and a
/// response that came before its request.
#[derive(Debug)]
pub struct Conversation {
    pub(super) limits: Arc<Limits>,
    pub(super) request: Lane,
    pub(super) response: Lane,
    pub(super) pending: Pending,
    pub(super) held: Option<Box<Held>>,
    /// The request that the request lane is in, while its end is not reported.
    pub(super) current: Option<u64>,
    pub(super) begun: u64,
    /// The client has been seen not to wait for responses.
    pub(super) pipelined: bool,
    /// Requests or responses may have passed unseen: the order proves nothing until all is answered.
    pub(super) doubt: bool,
    /// Requests that were given up and whose responses may still come.
    pub(super) given_up: u32,
}

impl Conversation {
    /// A connection of which nothing is known yet.
    pub fn new(limits: Arc<Limits>) -> Self {
        Self {
            limits,
            request: Lane::new(),
            response: Lane::new(),
            pending: Pending::default(),
            held: None,
            current: None,
            begun: 0,
            pipelined: false,
            doubt: false,
            given_up: 0,
        }
    }

    /// Goes by other bounds and choices from its next head on.
    pub fn limit(&mut self, limits: Arc<Limits>) {
        self.limits = limits;
    }

    /// Tells that the connection is seen from its start: the first byte of `direction` is at `position`. To be
    /// called before the first chunk; it makes losses at the very beginning visible.
    pub fn begins_at(&mut self, direction: Direction, position: u64) {
        let lane = self.lane(direction);
        if lane.is_virgin() {
            lane.begins_at(position);
        }
    }

    /// Takes the next observed call. What overlaps with earlier chunks of that direction is ignored.
    pub fn push(&mut self, direction: Direction, chunk: Chunk, out: &mut Vec<Signal>) {
        if self.lane(direction).is_far_behind(chunk.position) {
            match direction {
                Direction::Request => self.lose_request(LossReason::Position, out),
                Direction::Response => self.lose_response(LossReason::Position, out),
            }
            self.lane(direction).forget_position();
        }
        match direction {
            Direction::Request => {
                self.push_request(chunk, out);
                self.release_held(out);
            }
            Direction::Response => {
                if let Some(chunk) = self.hold(chunk, out) {
                    self.push_response(chunk, out);
                }
            }
        }
    }

    /// The sender of `direction` ended its stream in order: a body that is read until the end is complete.
    pub fn end_of_stream(&mut self, direction: Direction, at: Nanos, out: &mut Vec<Signal>) {
        match direction {
            Direction::Request => self.end_requests(out),
            Direction::Response => {
                self.discard_held(out);
                self.end_responses(at, true, out);
            }
        }
    }

    /// The socket was closed: nothing more will be observed. A body that is read until the end counts as
    /// complete but not as exact, for the side that closes may not have read it all: call
    /// [`end_of_stream`](Self::end_of_stream) first where the closing side is the sender.
    pub fn close(&mut self, at: Nanos, out: &mut Vec<Signal>) {
        self.end_requests(out);
        self.discard_held(out);
        self.end_responses(at, false, out);
    }

    /// Nothing more will be looked at, though the socket may go on: the open exchanges are given up.
    pub fn abandon(&mut self, reason: LossReason, out: &mut Vec<Signal>) {
        self.current = None;
        self.drop_pending(reason, out);
    }

    /// The stream offset before which bytes of `direction` need not be captured: the cursor is in counted data
    /// up to there (`u64::MAX`: for good). `None`: capture what comes next.
    pub fn until(&self, direction: Direction) -> Option<u64> {
        match direction {
            Direction::Request => self.request.until(),
            Direction::Response => self.response.until(),
        }
    }

    /// Bytes of memory held, this value included.
    pub fn cost(&self) -> usize {
        size_of::<Self>()
            + self.request.cost()
            + self.response.cost()
            + self.pending.cost()
            + self.held.as_ref().map_or(0, |h| h.cost())
    }

    fn lane(&mut self, direction: Direction) -> &mut Lane {
        match direction {
            Direction::Request => &mut self.request,
            Direction::Response => &mut self.response,
        }
    }

    /// Longest head in bytes; never nothing, so that every step makes progress.
    pub(super) fn head_limit(&self) -> usize {
        self.limits.head_bytes.max(1)
    }

    /// Gives up the open exchanges.
    pub(super) fn drop_pending(&mut self, reason: LossReason, out: &mut Vec<Signal>) {
        while let Some(exchange) = self.pending.pop() {
            self.forget_request(exchange.n);
            self.given_up = self.given_up.saturating_add(1);
            out.push(Signal::Dropped { n: exchange.n, reason });
        }
    }

    /// The exchange `n` is over: the rest of its request, if there is any, is only passed over.
    pub(super) fn forget_request(&mut self, n: u64) {
        if self.current == Some(n) {
            self.current = None;
            // Without a length there is no telling where the next one starts.
            if matches!(self.request.phase, Phase::Head | Phase::Adrift { .. }) {
                self.doubt = true;
                self.request.unsync();
            }
        }
    }

    /// Ends the exchange at the front with its response.
    pub(super) fn end_exchange(&mut self, body: Body, complete: bool, at: Nanos, out: &mut Vec<Signal>) {
        let Some(Exchange { n, head_known, request_ended, .. }) = self.pending.pop() else { return };
        if head_known && !request_ended && self.current == Some(n) {
            self.end_request(n, self.request.body(false), self.request.last_at, out);
        }
        self.forget_request(n);
        out.push(match head_known {
            true => Signal::ResponseEnded { n, at, body, complete },
            false => Signal::Dropped { n, reason: LossReason::Closed },
        });
    }

    /// Reports the end of the request `n`.
    pub(super) fn end_request(&mut self, n: u64, body: Body, at: Nanos, out: &mut Vec<Signal>) {
        if let Some(exchange) = self.pending.get(n) {
            exchange.request_ended = true;
        }
        out.push(Signal::RequestEnded { n, at, body });
    }
}
