//! Findings into exchanges, and exchanges into traces: which request belongs to which, on what evidence.
//!
//! In: [`Finding`]s in the order of time. Out: [`Settled`] exchanges, whose place in their trace will not change
//! any more. Pure: time is what the events say.

mod identity;
mod request;
#[cfg(test)]
mod tests;
mod ties;

use std::{collections::HashMap, rc::Rc, sync::Arc};

use sockspan_ebpf::{Evidence, Role};

use crate::{
    connection::{Endpoints, Finding, Origin, Output},
    http::{Body, Direction, Header, LossReason, Nanos, RequestHead, Signal},
    metrics::LinkEvidence,
    propagation,
    span::SpanKind,
    timed::Timed,
};

pub use identity::{Identity, Link, Parent, Seed, Trace, client_span};
pub use request::Request;
use ties::Ties;

/// An exchange that is over waits so long for the other end of its wire to be heard of.
const HOLD: Nanos = 200_000_000;
/// The longest that a finished exchange waits for what is above it.
const PATIENCE: Nanos = 5_000_000_000;
/// Children one exchange can have; what is beyond is no trace but a mistake.
const MAX_CHILDREN: u32 = 10_000;
/// Exchanges from a root down to a parent at most; a chain this long is no trace.
const MAX_DEPTH: usize = 256;
/// An exchange is no parent for longer than this after it began.
const MAX_AGE: Nanos = 3_600_000_000_000;

/// What happened on one connection between a request's first byte and its response's last.
#[derive(Debug)]
pub struct Exchange {
    /// Its place among others.
    pub identity: Rc<Identity>,
    /// Where it ran.
    pub endpoints: Arc<Endpoints>,
    /// The request.
    pub request: Option<Request>,
    /// The response's status code.
    pub status: Option<u16>,
    /// The request's body.
    pub request_body: Option<Body>,
    /// The response's body.
    pub response_body: Option<Body>,
    /// When it was over; 0 while it is not.
    pub ended: Nanos,
    /// What went wrong besides the status.
    pub error: Option<&'static str>,
    /// Its end was missed; it ends with the last that is known of what it caused.
    pub unseen: bool,
    origin: Option<Origin>,
}

/// An exchange that is told for good.
pub struct Settled {
    /// The exchange.
    pub exchange: Exchange,
    /// Its trace.
    pub trace: Trace,
    /// Its parent.
    pub parent: Option<Parent>,
}

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
    open: HashMap<(u64, u64), Exchange>,
    /// What is over, by when it is looked at again.
    waiting: Timed<Exchange>,
    ties: Ties,
    most: usize,
    excluded: Excluded,
    now: Nanos,
    /// What was lost since it was last asked.
    pub losses: Vec<Loss>,
}

/// A header as text and bytes; `None` if its name is not text.
fn named(header: &Header) -> Option<(&str, &[u8])> {
    Some((std::str::from_utf8(&header.name).ok()?, &header.value))
}

fn kind_of(role: Role) -> SpanKind {
    if role == Role::Client { SpanKind::Client } else { SpanKind::Server }
}

impl Exchanges {
    /// Holds at most `most` exchanges.
    pub fn new(seed: Seed, most: usize, excluded: Excluded) -> Self {
        Self {
            seed,
            open: HashMap::new(),
            waiting: Timed::default(),
            ties: Ties::default(),
            most,
            excluded,
            now: 0,
            losses: Vec::new(),
        }
    }

    /// Requests whose heads are read from now on are left out by this rule.
    pub fn exclude(&mut self, excluded: Excluded) {
        self.excluded = excluded;
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
    pub fn take(&mut self, output: &mut Output) {
        let alias = output.alias.take();
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
        if self.len() >= self.most {
            self.losses.push(Loss { kind: kind_of(finding.role), reason: LossReason::TooManyPending });
            return;
        }
        let kind = kind_of(finding.role);
        let wire = finding.origin.and_then(|o| o.wire);
        let identity = Rc::new(Identity::new(&self.seed, finding.connection, n, kind, finding.tgid, wire));
        identity.started.set(at);
        if let Some(origin) = finding.origin {
            match kind {
                SpanKind::Server => self.ties.bind(origin.exchange, &identity, origin.shared, at),
                SpanKind::Client => self.link_caller(&identity, &origin, at),
            }
        }
        let exchange = Exchange {
            identity,
            endpoints: finding.endpoints.clone(),
            request: None,
            status: None,
            request_body: None,
            response_body: None,
            ended: 0,
            error: None,
            unseen: false,
            origin: finding.origin,
        };
        self.join(&exchange.identity, at);
        self.open.insert((finding.connection, n), exchange);
    }

    /// A client's request: its parent is the exchange in whose context the kernel side saw it made.
    fn link_caller(&self, identity: &Rc<Identity>, origin: &Origin, at: Nanos) {
        let evidence = match origin.evidence {
            Evidence::None => return,
            Evidence::Task => LinkEvidence::Task,
            Evidence::Thread => LinkEvidence::Thread,
            Evidence::Connect => LinkEvidence::Connect,
        };
        // Requests that share one call share its evidence only if nothing says that they differ; nothing can.
        if origin.shared {
            return;
        }
        if let Some(parent) = self.ties.bound(origin.parent) {
            link(identity, &parent, evidence, at);
        }
    }

    /// Ties the two ends of one request together, whichever is seen first.
    fn join(&mut self, identity: &Rc<Identity>, at: Nanos) {
        let Some(wire) = identity.wire else { return };
        let (client, server) = match identity.kind {
            SpanKind::Client => (Some(identity.clone()), self.ties.client(wire, identity, at)),
            SpanKind::Server => (self.ties.server(wire, identity, at), Some(identity.clone())),
        };
        let (Some(client), Some(server)) = (client, server) else { return };
        let open = client.was_open(server.started.get());
        let fits = server.is_free() && !client.descends_from(&server) && client.depth() < MAX_DEPTH;
        if open && fits {
            client.children.set(client.children.get() + 1);
            // What was received had been sent: the send is stamped when it returns.
            client.started.set(client.started.get().min(server.started.get()));
            *server.link.borrow_mut() = Some(Link { parent: client, evidence: LinkEvidence::Wire });
        }
    }

    fn request_head(&mut self, key: (u64, u64), head: &RequestHead) {
        let Some(exchange) = self.open.get_mut(&key) else { return };
        let identity = exchange.identity.clone();
        let headers = head.headers.iter().filter_map(named);
        let context = propagation::extract(headers.clone());
        let request = Request::of(head);
        identity.excluded.set((self.excluded)(&request));
        exchange.request = Some(request);
        let Some(context) = context else {
            return identity.decision.set(propagation::decision(headers));
        };
        let at = identity.started.get();
        if identity.kind == SpanKind::Client {
            self.link_forwarder(&identity, &context, at);
        }
        *identity.context.borrow_mut() = Some(context);
        if identity.kind == SpanKind::Server {
            self.ties.receive(&identity, at);
        }
    }

    /// A client's request that carries a trace context: if the process received that trace and forwards it, the
    /// exchange that received it is the parent, whatever the thread says; if it did not, the trace is the
    /// application's own, and no thread can say that it belongs to another.
    fn link_forwarder(&self, identity: &Rc<Identity>, context: &propagation::Context, at: Nanos) {
        let server = self.ties.forwarder(identity.tgid, context.trace_id, context.parent, at);
        if let Some(link) = identity.link.take() {
            let same_trace = link.parent.trace().id == context.trace_id;
            let children = link.parent.children.get();
            if server.is_none() && same_trace {
                *identity.link.borrow_mut() = Some(link);
                return;
            }
            link.parent.children.set(children.saturating_sub(1));
        }
        if let Some(server) = server {
            link(identity, &server, LinkEvidence::Header, at);
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
    pub fn settle(&mut self, now: Nanos, out: &mut Vec<Settled>) {
        self.now = self.now.max(now);
        while let Some(exchange) = self.waiting.pop_until(now) {
            let patient = exchange.ended.saturating_add(PATIENCE) > now;
            if patient && (exchange.identity.is_unsettled(now, HOLD) || exchange.caller_is_open()) {
                self.waiting.push(now.saturating_add(HOLD), exchange);
            } else {
                out.push(exchange.settle());
            }
        }
        self.ties.tick(now);
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
            out.push(exchange.settle());
        }
        dropped
    }

    /// The threads of a process turned out to be no evidence: what they seemed to prove is taken back, where
    /// nothing was told of it yet.
    pub fn distrust(&mut self, tgid: u32) {
        let exchanges = self.open.values().chain(self.waiting.iter());
        for exchange in exchanges.filter(|e| e.identity.tgid == tgid && !e.identity.is_told()) {
            let mut link = exchange.identity.link.borrow_mut();
            if link.as_ref().is_some_and(|l| l.evidence == LinkEvidence::Thread) {
                *link = None;
            }
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

/// Makes `parent` the parent of `child`, if it can be: open at the time, not too old, not too deep, not too many
/// children, in the same process.
fn link(child: &Rc<Identity>, parent: &Rc<Identity>, evidence: LinkEvidence, at: Nanos) {
    let young = parent.started.get().saturating_add(MAX_AGE) >= at;
    let few = parent.children.get() < MAX_CHILDREN && parent.depth() < MAX_DEPTH;
    let fits = young && few && child.is_free() && !parent.descends_from(child);
    if fits && parent.tgid == child.tgid && parent.was_open(at) {
        parent.children.set(parent.children.get() + 1);
        *child.link.borrow_mut() = Some(Link { parent: parent.clone(), evidence });
    }
}

impl Exchange {
    /// The client that this server answers, if both ends were seen.
    fn caller(&self) -> Option<Rc<Identity>> {
        let link = self.identity.link.borrow();
        link.as_ref().filter(|l| l.evidence == LinkEvidence::Wire).map(|l| l.parent.clone())
    }

    fn caller_is_open(&self) -> bool {
        self.caller().is_some_and(|client| client.ended.get().is_none() && !client.lost.get())
    }

    /// Its end will not be seen. Whether it becomes a span all the same: so it must where a span was told that names
    /// it as its parent, directly or not. Else what is below it belongs to what is above.
    fn break_off(&mut self) -> bool {
        self.unseen = self.identity.is_told() && self.request.is_some();
        self.identity.lost.set(!self.unseen);
        self.ended = self.identity.latest.get().max(self.identity.started.get());
        self.unseen
    }

    /// The evidence the kernel side had, for those who ask why.
    pub fn origin(&self) -> Option<&Origin> {
        self.origin.as_ref()
    }

    fn settle(mut self) -> Settled {
        // A response that was read to its end had been written: the write is stamped when it returns.
        let answered = self.caller().filter(|client| client.complete.get());
        if let Some(end) = answered.and_then(|client| client.ended.get()) {
            self.ended = self.ended.min(end.max(self.identity.started.get()));
        }
        self.identity.tell(self.ended);
        let (trace, parent) = (self.identity.trace(), self.identity.parent());
        Settled { exchange: self, trace, parent }
    }
}
