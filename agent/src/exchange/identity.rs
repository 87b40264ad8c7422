//! Who an exchange is in its trace: its span id, its parent, and by way of its parents its trace.
//!
//! An identity outlives its exchange as long as a child holds it, so a late child still finds its trace.

use std::{
    cell::{Cell, RefCell},
    hash::Hasher as _,
    rc::Rc,
};

use siphasher::sip128::{Hasher128 as _, SipHasher24};

use crate::{
    connection::Wire,
    http::Nanos,
    metrics::LinkEvidence,
    propagation::Context,
    span::{SpanId, SpanKind, TraceId},
};

use super::{HOLD, doubt::Doubt};

/// The version of the rule by which a client's span id follows from the wire. Part of what is hashed: agents of
/// different rules must not seem to agree.
const WIRE_VERSION: u8 = 1;

/// What the kernel side tells comes milliseconds late at most, and what outlives an exchange by more than [`HOLD`] is not
/// its own.
const GRACE: Nanos = 2 * HOLD;

/// Where ids come from: random once an agent, or given for a replay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seed(pub [u8; 16]);

fn hash(key: &[u8; 16], parts: &[&[u8]]) -> [u8; 16] {
    let mut hasher = SipHasher24::new_with_key(key);
    parts.iter().for_each(|part| hasher.write(part));
    hasher.finish128().as_bytes()
}

fn span_id(bytes: [u8; 16]) -> SpanId {
    let [a, b, c, d, e, f, g, h, ..] = bytes;
    let id = [a, b, c, d, e, f, g, h];
    // All zero is no id.
    SpanId(if id == [0; 8] { [1; 8] } else { id })
}

impl Seed {
    fn trace(&self, connection: u64, n: u64) -> TraceId {
        let id = hash(&self.0, &[b"trace", &connection.to_be_bytes(), &n.to_be_bytes()]);
        TraceId(if id == [0; 16] { [1; 16] } else { id })
    }

    fn span(&self, connection: u64, n: u64) -> SpanId {
        span_id(hash(&self.0, &[b"span", &connection.to_be_bytes(), &n.to_be_bytes()]))
    }
}

/// The id of the client's span of a request: whoever sees either end of the wire can derive it.
pub fn client_span(wire: Wire) -> SpanId {
    span_id(hash(&[0; 16], &[b"sockspan wire", &[WIRE_VERSION], &wire.bytes()]))
}

/// A parent and how it is known.
#[derive(Clone, Debug)]
pub struct Link {
    /// The parent.
    pub parent: Rc<Identity>,
    /// On what evidence.
    pub evidence: LinkEvidence,
}

/// An exchange's place among others.
#[derive(Debug)]
pub struct Identity {
    /// Its span's id.
    pub span_id: SpanId,
    /// Server or client.
    pub kind: SpanKind,
    /// The process.
    pub tgid: u32,
    /// When it began; corrected where the other end of the wire saw it earlier.
    pub started: Cell<Nanos>,
    /// When its response was complete, or it was known that it never would be.
    pub ended: Cell<Option<Nanos>>,
    /// Its response came to its proper end.
    pub complete: Cell<bool>,
    /// How both ends can name it.
    pub wire: Option<Wire>,
    /// Its parent on this node.
    pub link: RefCell<Option<Link>>,
    /// What stands for its parent until the task that made it ends.
    pub awaited: Cell<Option<u64>>,
    /// Its link is an event loop's and may not hold; `None` once that is judged.
    pub doubt: RefCell<Option<Box<Doubt>>>,
    /// What its own headers said.
    pub context: RefCell<Option<Box<Context>>>,
    /// A sampling decision that its headers carried without ids.
    pub decision: Cell<Option<bool>>,
    /// It never becomes a span: left out by a rule (and all below it with it).
    pub excluded: Cell<bool>,
    /// Its request's head was read whole.
    pub whole: Cell<bool>,
    /// It never becomes a span, for its process has a tracer of its own: it is nobody's parent.
    pub left: Cell<bool>,
    /// It never becomes a span: lost. What is below it belongs to its parent.
    pub lost: Cell<bool>,
    /// The latest end of what was told below it.
    pub latest: Cell<Nanos>,
    /// How many exchanges name it as their parent.
    pub children: Cell<u32>,
    /// It, or something below it, was told as part of its trace: neither can change any more.
    told: Cell<bool>,
    own_trace: TraceId,
}

/// A trace as one of its spans sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trace {
    /// The trace's id.
    pub id: TraceId,
    /// W3C tracestate that came with it.
    pub state: String,
    /// The sampling decision that came with it.
    pub sampled: Option<bool>,
}

/// What a span's parent is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parent {
    /// Its span id.
    pub span_id: SpanId,
    /// It was named by a header and is not one of ours.
    pub remote: bool,
    /// How it is known.
    pub evidence: LinkEvidence,
}

impl Identity {
    /// A new exchange: the `n`th of a connection.
    pub fn new(seed: &Seed, connection: u64, n: u64, kind: SpanKind, tgid: u32, wire: Option<Wire>) -> Self {
        let span_id = match (kind, wire) {
            (SpanKind::Client, Some(wire)) => client_span(wire),
            _ => seed.span(connection, n),
        };
        Self {
            span_id,
            kind,
            tgid,
            started: Cell::new(0),
            ended: Cell::new(None),
            complete: Cell::new(false),
            wire,
            link: RefCell::new(None),
            awaited: Cell::new(None),
            doubt: RefCell::new(None),
            context: RefCell::new(None),
            decision: Cell::new(None),
            excluded: Cell::new(false),
            lost: Cell::new(false),
            whole: Cell::new(false),
            left: Cell::new(false),
            latest: Cell::new(0),
            children: Cell::new(0),
            told: Cell::new(false),
            own_trace: seed.trace(connection, n),
        }
    }

    /// From here up to the root, parents by link only.
    pub fn ancestry(self: &Rc<Self>) -> impl Iterator<Item = Rc<Self>> {
        let up = |i: &Rc<Self>| i.link.borrow().as_ref().map(|link| link.parent.clone());
        std::iter::successors(Some(self.clone()), up)
    }

    /// How many exchanges there are from here up to the root, both included.
    pub fn depth(self: &Rc<Self>) -> usize {
        self.ancestry().count()
    }

    /// It is told now, with this end: its trace and those above it stay what they are.
    pub fn tell(self: &Rc<Self>, ended: Nanos) {
        for above in self.ancestry() {
            above.told.set(true);
            above.latest.set(above.latest.get().max(ended));
        }
    }

    /// Whether its place in its trace was told, of itself or of something below it.
    pub fn is_told(&self) -> bool {
        self.told.get()
    }

    /// Takes its link back, if the kernel side's word is all that it rests on; returns whether it was.
    pub fn unlink(&self) -> bool {
        let seen = |link: &mut Link| matches!(link.evidence, LinkEvidence::Thread | LinkEvidence::Connect);
        let Some(link) = self.link.borrow_mut().take_if(seen) else { return false };
        link.parent.children.set(link.parent.children.get().saturating_sub(1));
        true
    }

    /// Whether it can still be given a parent.
    pub fn is_free(&self) -> bool {
        !self.is_told() && self.link.borrow().is_none()
    }

    fn root(self: &Rc<Self>) -> Rc<Self> {
        self.ancestry().last().unwrap_or_else(|| self.clone())
    }

    /// The trace it belongs to, as far as is known now.
    pub fn trace(self: &Rc<Self>) -> Trace {
        let root = self.root();
        let context = root.context.borrow();
        match context.as_ref() {
            Some(c) => Trace { id: c.trace_id, state: c.state.clone(), sampled: c.sampled },
            None => Trace { id: root.own_trace, state: String::new(), sampled: root.decision.get() },
        }
    }

    /// Its parent: the nearest ancestor that becomes a span, else what its header names.
    pub fn parent(self: &Rc<Self>) -> Option<Parent> {
        let evidence = self.link.borrow().as_ref().map(|link| link.evidence);
        if let (Some(evidence), Some(parent)) = (evidence, self.ancestry().skip(1).find(|i| !i.lost.get())) {
            return Some(Parent { span_id: parent.span_id, remote: false, evidence });
        }
        let root = self.root();
        let context = root.context.borrow();
        let remote = |c: &Context| Parent { span_id: c.parent, remote: true, evidence: LinkEvidence::Header };
        context.as_deref().map(remote)
    }

    /// Whether a rule left it out, or something above it.
    pub fn is_excluded(self: &Rc<Self>) -> bool {
        self.ancestry().any(|i| i.excluded.get())
    }

    /// Whether its trace may still change at `now`: the root's maker is not known yet, or the other end of its wire has
    /// not been heard of, and the root is not over, or has not been for `hold`.
    pub fn is_unsettled(self: &Rc<Self>, now: Nanos, hold: Nanos) -> bool {
        let root = self.root();
        if root.awaited.get().is_some() {
            return true;
        }
        let waits = root.kind == SpanKind::Server && root.wire.is_some() && root.context.borrow().is_none();
        waits && root.ended.get().is_none_or(|ended| ended.saturating_add(hold) > now)
    }

    /// Whether it was open at `at`: after its response it causes nothing.
    pub fn was_open(&self, at: Nanos) -> bool {
        self.ended.get().is_none_or(|ended| at <= ended)
    }

    /// Whether something can still come of it at `now`: it is open, or has been until lately, so that what was told late, and
    /// what outlived it a little, finds it.
    pub fn is_of_use(&self, now: Nanos) -> bool {
        self.ended.get().is_none_or(|ended| ended.saturating_add(GRACE) > now)
    }

    /// Whether `other` is this exchange or above it.
    pub fn descends_from(self: &Rc<Self>, other: &Rc<Self>) -> bool {
        self.ancestry().any(|i| Rc::ptr_eq(&i, other))
    }
}

impl Drop for Identity {
    /// Takes a chain of parents apart one by one instead of by recursion.
    fn drop(&mut self) {
        let mut next = self.link.take();
        while let Some(link) = next {
            next = match Rc::try_unwrap(link.parent) {
                Ok(parent) => parent.link.take(),
                Err(_) => None,
            };
        }
    }
}
