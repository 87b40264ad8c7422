//! Findings into exchanges, and exchanges into traces: which request belongs to which, on what evidence.
//!
//! In: [`Finding`]s in the order of time. Out: [`Settled`] exchanges, whose place in their trace will not change
//! any more. Pure: time is what the events say.

mod doubt;
mod fading;
mod forwarded;
mod identity;
mod instrumented;
mod links;
mod request;
mod settled;
#[cfg(test)]
mod tests;
mod ties;

use std::{rc::Rc, sync::Arc};

use sockspan_ebpf::{Inheritance, Role};

use crate::{
    connection::{Finding, Origin, Output},
    http::{Body, Direction, Header, LossReason, Nanos, RequestHead, Signal},
    metrics::{LinkEvidence, Withdrawal},
    propagation,
    span::SpanKind,
    table::Table,
    timed::Timed,
};

use doubt::{Doubts, Verdict};
pub use identity::{Identity, Link, Parent, Seed, Trace, client_span};
pub use instrumented::Sign;
pub use request::Request;
pub use settled::{Exchange, Settled};

use forwarded::Ids;
use instrumented::Recognition;
use ties::Ties;

/// An exchange that is over waits so long for the other end of its wire to be heard of.
const HOLD: Nanos = 200_000_000;
/// The longest that a finished exchange waits for what is above it.
const PATIENCE: Nanos = 5_000_000_000;

/// An exchange that was not told, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Loss {
    /// Which side's.
    pub kind: SpanKind,
    /// Why.
    pub reason: LossReason,
}

/// Decides whether an exchange is left out, once its request's head is known.
pub type Excluded = Box<dyn Fn(&Request) -> bool + Send>;

/// All exchanges that are open, or over and not settled.
pub struct Exchanges {
    seed: Seed,
    open: Table<(u64, u64), Box<Exchange>>,
    /// What is over, by when it is looked at again.
    waiting: Timed<Box<Exchange>>,
    ties: Ties,
    ids: Ids,
    recognition: Recognition,
    doubts: Doubts,
    most: usize,
    excluded: Excluded,
    now: Nanos,
    /// What was lost since it was last asked.
    pub losses: Vec<Loss>,
    /// Processes that were found to have a tracer of their own, since it was last asked.
    pub signs: Vec<(u32, Sign)>,
    /// The evidence that was not believed, since it was last asked: stronger evidence named another parent.
    pub overruled: Vec<LinkEvidence>,
    /// Why links were taken back, likewise.
    pub withdrawn: Vec<Withdrawal>,
}

/// A header as text and bytes; `None` if its name is not text.
fn named(header: &Header) -> Option<(&str, &[u8])> {
    Some((std::str::from_utf8(&header.name).ok()?, &header.value))
}

fn kind_of(role: Role) -> SpanKind {
    if role == Role::Client { SpanKind::Client } else { SpanKind::Server }
}

impl Exchanges {
    /// Holds at most `most` exchanges; ids in headers of the names `correlation` are evidence.
    pub fn new(seed: Seed, most: usize, excluded: Excluded, correlation: Arc<[String]>) -> Self {
        Self {
            ids: Ids::new(&seed, correlation),
            seed,
            open: Table::default(),
            waiting: Timed::default(),
            ties: Ties::default(),
            recognition: Recognition::default(),
            signs: Vec::new(),
            doubts: Doubts::default(),
            most,
            excluded,
            now: 0,
            losses: Vec::new(),
            overruled: Vec::new(),
            withdrawn: Vec::new(),
        }
    }

    /// Requests whose heads are read from now on are left out by this rule.
    pub fn exclude(&mut self, excluded: Excluded) {
        self.excluded = excluded;
    }

    /// Ids in headers of these names are evidence from now on.
    pub fn correlate(&mut self, names: Arc<[String]>) {
        self.ids.rename(names);
    }

    /// Whether events are held back that will be told later than others of their time: then more is remembered.
    pub fn expect_late(&mut self, late: bool) {
        self.ties.late = late;
    }

    /// Open exchanges, and those that are over and wait.
    pub fn len(&self) -> usize {
        self.open.len() + self.waiting.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Takes in what came of one event.
    #[inline(never)] // A stage: its instructions are budgeted.
    pub fn take(&mut self, output: &mut Output) {
        let alias = output.alias.take();
        // Before its exchange is over by the same event.
        if let Some(answer) = output.answer.take() {
            self.doubts.answers(&answer);
        }
        for finding in output.findings.drain(..) {
            self.finding(finding);
        }
        if let Some((id, connection)) = alias {
            self.alias(id, connection);
        }
    }

    /// The kernel side took the middle of a request for the beginning of one: both ids are the same exchange.
    fn alias(&mut self, id: u64, connection: u64) {
        let newest = self.open.iter().filter(|((c, _), _)| *c == connection).max_by_key(|((_, n), _)| *n);
        if let Some((_, exchange)) = newest {
            let identity = exchange.identity.clone();
            self.ties.bind(id, &identity, false, self.now);
            self.doubts.alias(id, &identity, self.now);
        }
    }

    fn finding(&mut self, finding: Finding) {
        let key = |n: u64| (finding.connection, n);
        match finding.signal {
            Signal::RequestBegan { n, at, .. } => self.began(&finding, n, at),
            Signal::RequestHead { n, head } => self.request_head(key(n), &head),
            Signal::RequestEnded { n, body, .. } => self.change(key(n), |e| e.request_body = Some(body)),
            // Requests that were passed over whole, and responses that nothing else is known of: no exchange was begun
            // that could be dropped.
            Signal::Lost {
                direction: Direction::Request,
                reason: reason @ (LossReason::Ambiguous | LossReason::TooManyPending),
            }
            | Signal::Lost { direction: Direction::Response, reason: reason @ LossReason::RequestMissing } => {
                self.losses.push(Loss { kind: kind_of(finding.role), reason });
            }
            Signal::ResponseBegan { .. } | Signal::Informational { .. } | Signal::Lost { .. } => {}
            Signal::ResponseHead { n, head } => self.change(key(n), |e| e.status = Some(head.status)),
            Signal::ResponseEnded { n, at, body, complete } => self.ended(key(n), at, body, complete),
            // A tunnel's exchange was over with its head; what flows after is not HTTP.
            Signal::Switched { .. } => {}
            Signal::Dropped { n, reason } => self.lost(key(n), reason),
        }
    }

    fn change(&mut self, key: (u64, u64), change: impl FnOnce(&mut Exchange)) {
        if let Some(exchange) = self.open.get_mut(&key) {
            change(exchange);
        }
    }

    fn began(&mut self, finding: &Finding, n: u64, at: Nanos) {
        self.now = self.now.max(at);
        let refused = match () {
            () if self.recognition.has_left(finding.tgid) => Some(LossReason::Instrumented),
            () if self.len() >= self.most => Some(LossReason::TooManyPending),
            () => None,
        };
        if let Some(reason) = refused {
            self.losses.push(Loss { kind: kind_of(finding.role), reason });
            return;
        }
        let kind = kind_of(finding.role);
        let wire = finding.origin.and_then(|o| o.wire);
        let identity = Rc::new(Identity::new(&self.seed, finding.connection, n, kind, finding.tgid, wire));
        identity.started.set(at);
        if let Some(origin) = finding.origin {
            match kind {
                SpanKind::Server => self.serves(&identity, &origin, at),
                SpanKind::Client => self.calls(&identity, &origin, at),
            }
        }
        let exchange = Box::new(Exchange {
            identity,
            endpoints: finding.endpoints.clone(),
            request: None,
            status: None,
            request_body: None,
            response_body: None,
            ended: 0,
            error: None,
            unseen: false,
            forwarded: None,
            origin: finding.origin,
        });
        self.ties.join(&exchange.identity, at);
        self.open.insert((finding.connection, n), exchange);
    }

    fn serves(&mut self, identity: &Rc<Identity>, origin: &Origin, at: Nanos) {
        self.ties.bind(origin.exchange, identity, origin.shared, at);
        self.doubts.serves(origin.exchange, origin.tid, identity, at);
    }

    fn calls(&mut self, identity: &Rc<Identity>, origin: &Origin, at: Nanos) {
        self.ties.link_caller(identity, origin, at);
        let linked = identity.link.borrow().is_some();
        let context = (origin.parent, origin.via);
        let doubt = self.doubts.calls(origin.exchange, context, origin.tid, at, linked);
        *identity.doubt.borrow_mut() = doubt.map(Box::new);
    }

    fn request_head(&mut self, key: (u64, u64), head: &RequestHead) {
        let Some(exchange) = self.open.get_mut(&key) else { return };
        let identity = exchange.identity.clone();
        let headers = head.headers.iter().filter_map(named);
        let request = Request::of(head);
        identity.excluded.set((self.excluded)(&request));
        identity.whole.set(!request.truncated);
        let at = identity.started.get();
        let forwarded = self.ids.take(&identity, head, at);
        exchange.forwarded.clone_from(&forwarded);
        let context = propagation::extract(headers.clone());
        let sign = self.recognition.sign(&identity, &request, context.as_ref(), &self.ties, at);
        exchange.request = Some(request);
        if let Some(sign) = sign {
            self.leave(identity.tgid, sign);
        }
        if identity.left.get() {
            return;
        }
        match context {
            None => identity.decision.set(propagation::decision(headers)),
            Some(context) => self.heed(&identity, context, at),
        }
        // What an heir stands for comes later, and is stronger.
        if let Some(sender) = forwarded.filter(|_| identity.awaited.get().is_none())
            && links::link_by_id(&identity, &sender, at)
        {
            self.overruled.push(LinkEvidence::ForwardedId);
        }
    }

    /// A request carries a trace context.
    fn heed(&mut self, identity: &Rc<Identity>, context: propagation::Context, at: Nanos) {
        if identity.kind == SpanKind::Client {
            self.overruled.extend(self.ties.link_forwarder(identity, &context, at));
        }
        *identity.context.borrow_mut() = Some(Box::new(context));
        if identity.kind == SpanKind::Server {
            self.ties.receive(identity, at);
        }
    }

    fn ended(&mut self, key: (u64, u64), at: Nanos, body: Body, complete: bool) {
        self.now = self.now.max(at);
        let Some(mut exchange) = self.open.remove(&key) else { return };
        exchange.response_body = Some(body);
        exchange.ended = at;
        if !complete {
            exchange.error = Some("connection_closed");
        }
        exchange.identity.ended.set(Some(at));
        exchange.identity.complete.set(complete);
        self.waiting.push(at.saturating_add(HOLD), exchange);
    }

    fn lost(&mut self, key: (u64, u64), reason: LossReason) {
        let Some(mut exchange) = self.open.remove(&key) else { return };
        exchange.identity.ended.set(Some(self.now));
        if exchange.break_off() {
            self.waiting.push(self.now, exchange);
        } else {
            self.losses.push(Loss { kind: exchange.identity.kind, reason });
        }
    }

    /// The exchanges that have settled by `now`.
    #[inline(never)] // A stage: its instructions are budgeted.
    pub fn settle(&mut self, now: Nanos, out: &mut Vec<Settled>) {
        self.now = self.now.max(now);
        while let Some(exchange) = self.waiting.pop_until(now) {
            let patient = exchange.ended.saturating_add(PATIENCE) > now;
            let unsettled = exchange.identity.is_unsettled(now, HOLD) || exchange.caller_is_open();
            if patient && (unsettled || !self.is_judged(&exchange.identity, false)) {
                self.waiting.push(now.saturating_add(HOLD), exchange);
            } else {
                self.ties.abandon(&exchange.identity, now);
                self.is_judged(&exchange.identity, true);
                exchange.link_by_id();
                out.push(exchange.settle());
            }
        }
        self.ties.tick(now);
        self.ids.tick(now);
        self.doubts.tick(now);
    }

    /// Whether no link is in doubt from this exchange up to its root, now that those that can be judged are. `last`: all
    /// are.
    fn is_judged(&mut self, identity: &Rc<Identity>, last: bool) -> bool {
        for above in identity.ancestry() {
            let Some(doubt) = above.doubt.take() else { continue };
            match self.doubts.verdict(&doubt, last) {
                Verdict::Wait => {
                    *above.doubt.borrow_mut() = Some(doubt);
                    return false;
                }
                Verdict::Keep => {}
                Verdict::Withdraw(why) if above.unlink() => {
                    self.withdrawn.push(why);
                    return true;
                }
                Verdict::Withdraw(_) => {}
            }
        }
        true
    }

    /// All exchanges that are over, settled or not: for the end of the stream. Returns the kinds of those that are still
    /// open and never become spans, so that what is below them belongs to what is above.
    pub fn finish(&mut self, out: &mut Vec<Settled>) -> Vec<SpanKind> {
        let mut dropped = Vec::new();
        for (_, mut exchange) in self.open.drain() {
            match exchange.break_off() {
                true => self.waiting.push(self.now, exchange),
                false => dropped.push(exchange.identity.kind),
            }
        }
        while let Some(exchange) = self.waiting.pop() {
            self.is_judged(&exchange.identity, true);
            out.push(exchange.settle());
        }
        dropped
    }

    /// A task has ended: what it did for whom is known now.
    pub fn inherited(&mut self, told: &Inheritance) {
        self.ties.inherit(told);
    }

    /// The threads of a process turned out to be no evidence: what they seemed to prove is taken back, where
    /// nothing was told of it yet.
    pub fn distrust(&mut self, tgid: u32) {
        let exchanges = self.open.values().chain(self.waiting.iter());
        for exchange in exchanges.filter(|e| e.identity.tgid == tgid && !e.identity.is_told()) {
            let identity = &exchange.identity;
            self.ties.abandon(identity, self.now);
            let taken_back = |link: &Link| matches!(link.evidence, LinkEvidence::Thread | LinkEvidence::Task);
            if identity.link.borrow().as_ref().is_none_or(|link| !taken_back(link)) {
                continue;
            }
            *identity.link.borrow_mut() = None;
            exchange.link_by_id();
        }
    }

    /// Gives up what has been open since before `before`.
    pub fn expire(&mut self, before: Nanos) {
        let old: Vec<_> =
            self.open.iter().filter(|(_, e)| e.identity.started.get() < before).map(|(k, _)| *k).collect();
        for key in old {
            self.lost(key, LossReason::ResponseMissing);
        }
    }
}
