//! Which processes turn out to be traced by a tracer of their own, by what they send: telling their requests too would tell
//! everything twice.
//!
//! In: requests' heads and the trace contexts in them. Out: [`Sign`]s, and the set of processes that are left alone.
//!
//! An application that only hands headers on sends what it received, unchanged. One that sends spans to a collector, or
//! puts a span of its own into a trace that it received or has just begun, has a tracer.

use crate::{http::Nanos, propagation::Context, span::SpanKind, span::conventions, table::Set};

use super::{Exchanges, Identity, Loss, LossReason, Request, Ties};

/// Where tracers send spans by plain HTTP: OTLP's path and Zipkin's.
const EXPORTS: [&[u8]; 2] = [b"/v1/traces", b"/api/v2/spans"];
/// Processes that are remembered in each set; beyond that nothing new is concluded.
const MOST: usize = 65_536;

/// How a process showed that it has a tracer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sign {
    /// It sent spans somewhere.
    Exports,
    /// It sent a span's id of its own.
    OwnSpans,
}

impl Sign {
    /// In words.
    pub fn text(self) -> &'static str {
        match self {
            Self::Exports => "it exports spans itself",
            Self::OwnSpans => "it sends trace headers with spans of its own",
        }
    }
}

/// What is known of processes' tracers.
#[derive(Default)]
pub(super) struct Recognition {
    /// Nothing is concluded: all are traced.
    pub off: bool,
    left: Set<u32>,
    /// Who takes spans in hands on those of others.
    receivers: Set<u32>,
    /// Their runtime writes spans' ids into headers, traced or not.
    writers: Set<u32>,
}

impl Recognition {
    /// Whether the process is left alone.
    pub fn has_left(&self, tgid: u32) -> bool {
        self.left.contains(&tgid)
    }

    /// A new process has this id. `writes`: its runtime sends spans' ids of its own, whether it is traced or not.
    pub fn begin(&mut self, tgid: u32, writes: bool) {
        self.left.remove(&tgid);
        self.receivers.remove(&tgid);
        self.writers.remove(&tgid);
        if writes {
            insert(&mut self.writers, tgid);
        }
    }

    /// Looks for signs of a tracer in a request's head. To be called before anything follows from its context.
    pub fn sign(
        &mut self,
        identity: &Identity,
        request: &Request,
        context: Option<&Context>,
        ties: &Ties,
        at: Nanos,
    ) -> Option<Sign> {
        if self.off {
            return None;
        }
        let by_path = self.by_path(identity, request);
        by_path.or_else(|| context.and_then(|context| self.by_context(identity, context, ties, at)))
    }

    /// What a request's path tells of its process.
    fn by_path(&mut self, identity: &Identity, request: &Request) -> Option<Sign> {
        let path = conventions::path(request.target());
        if request.method() != b"POST" || !EXPORTS.iter().any(|export| path.ends_with(export)) {
            return None;
        }
        match identity.kind {
            SpanKind::Server => {
                insert(&mut self.receivers, identity.tgid);
                None
            }
            SpanKind::Client => (!self.receivers.contains(&identity.tgid)).then_some(Sign::Exports),
        }
    }

    /// What the trace context of a client's request tells of its process.
    fn by_context(&self, identity: &Identity, context: &Context, ties: &Ties, at: Nanos) -> Option<Sign> {
        if identity.kind == SpanKind::Server || self.writers.contains(&identity.tgid) {
            return None;
        }
        let link = identity.link.borrow();
        // The request that it belongs to brought no trace: so this one was begun here.
        let untold = |parent: &Identity| parent.whole.get() && parent.context.borrow().is_none();
        let is_sure = identity.doubt.borrow().as_ref().is_none_or(|doubt| doubt.is_none());
        let begun = is_sure
            && link.as_ref().is_some_and(|link| untold(&link.parent))
            && !ties.has_received(identity.tgid, context.trace_id);
        (begun || ties.is_own_span(identity.tgid, context, at)).then_some(Sign::OwnSpans)
    }
}

fn insert(set: &mut Set<u32>, tgid: u32) {
    if set.len() < MOST {
        set.insert(tgid);
    }
}

impl Exchanges {
    /// Whether processes with a tracer of their own are left alone.
    pub fn leave_instrumented(&mut self, leave: bool) {
        self.recognition.off = !leave;
        if !leave {
            self.recognition.left.clear();
        }
    }

    /// Another process has this id from now on, or this one is taken up anew; see [`Recognition::begin`].
    pub fn meet(&mut self, tgid: u32, writes: bool) {
        self.recognition.begin(tgid, writes);
    }

    /// Leaves a process alone: what it has begun becomes no span, but for what was named as a parent already; and nobody is
    /// its child.
    pub(super) fn leave(&mut self, tgid: u32, sign: Sign) {
        let before = self.recognition.left.len();
        insert(&mut self.recognition.left, tgid);
        if self.recognition.left.len() == before {
            return;
        }
        self.signs.push((tgid, sign));
        let goes = |identity: &Identity| identity.tgid == tgid && !identity.is_told();
        let open = self.open.extract_if(|_, e| goes(&e.identity)).map(|(_, exchange)| exchange);
        let gone = open.chain(self.waiting.extract_if(|e| goes(&e.identity)));
        for exchange in gone {
            let identity = exchange.identity;
            identity.ended.set(Some(self.now));
            identity.left.set(true);
            self.losses.push(Loss { kind: identity.kind, reason: LossReason::Instrumented });
        }
        for exchange in self.open.values().chain(self.waiting.iter()) {
            let mut link = exchange.identity.link.borrow_mut();
            if link.as_ref().is_some_and(|link| link.parent.left.get()) {
                *link = None;
            }
        }
    }
}
