//! What ties exchanges to each other until it is used: the kernel side's ids, the two ends of a wire, the trace
//! headers that a process received. All bounded by time.

use std::{hash::RandomState, rc::Rc};

use crate::{
    connection::Wire,
    http::Nanos,
    metrics::LinkEvidence,
    propagation::Context,
    span::{SpanId, TraceId},
};

use super::{Identity, fading::Fading};

/// What an id of the kernel side's, or one that was received, stands for.
#[derive(Clone, Debug)]
pub(super) enum Bound {
    /// One exchange.
    One(Rc<Identity>),
    /// Several exchanges share it, or nobody will ever know: no evidence.
    Several,
}

/// One request's two ends.
#[derive(Clone, Debug, Default)]
struct Ends {
    client: Option<Rc<Identity>>,
    server: Option<Rc<Identity>>,
}

/// A trace context that a process received.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Received {
    tgid: u32,
    trace: TraceId,
    /// The parent it named; `None` where only the trace is compared.
    parent: Option<SpanId>,
}

/// The ties.
pub struct Ties {
    kernel: Fading<u64, Bound>,
    /// What heirs stood for that have ended; apart, for they are many and soon of no use.
    ended: Fading<u64, Rc<Identity>>,
    /// That heirs have ended, whether anything is left of what they stood for.
    answered: Fading<u64, ()>,
    /// Clients whose makers have not ended, by what stands for their parents.
    heirs: Fading<u64, Vec<(Rc<Identity>, LinkEvidence)>>,
    wires: Fading<Wire, Ends>,
    received: Fading<Received, Vec<Rc<Identity>>, RandomState>,
    /// That contexts were received, whether their servers are still of use.
    seen: Fading<Received, (), RandomState>,
    /// Events are held back that will be told later than others of their time.
    pub(super) late: bool,
}

/// Entries of each table at most.
const MOST: usize = 65_536;
/// Servers of one process and trace that are told apart.
const MOST_RECEIVED: usize = 16;
/// The two ends of one request are seen within this time of each other, the longest blocking send included.
const WIRE_AGE: Nanos = 120_000_000_000;
/// Whether an heir has ended is asked by those that it made or that acted in its name, all of which end or are given up soon.
const ANSWERED_AGE: Nanos = 600_000_000_000;
/// A server that was given up by its client may be at work for long.
const RECEIVED_LOOK: Nanos = 10_000_000_000;
/// What is held back of a process that nobody has judged is told or dropped by then.
const LATE: Nanos = 7_000_000_000;
/// No exchange is a parent for longer.
const KERNEL_AGE: Nanos = 3_600_000_000_000;

impl Default for Ties {
    fn default() -> Self {
        Self {
            kernel: Fading::new(MOST),
            ended: Fading::new(MOST),
            answered: Fading::new(MOST).patient(ANSWERED_AGE),
            heirs: Fading::new(MOST),
            wires: Fading::new(MOST),
            received: Fading::new(MOST).patient(RECEIVED_LOOK),
            seen: Fading::new(MOST).patient(KERNEL_AGE),
            late: false,
        }
    }
}

impl Ties {
    /// The kernel side called this exchange `id`; `shared`: and others too.
    pub fn bind(&mut self, id: u64, identity: &Rc<Identity>, shared: bool, now: Nanos) {
        if id == 0 {
            return;
        }
        let bound = match self.kernel.get(&id) {
            None if !shared => Bound::One(identity.clone()),
            Some(Bound::One(same)) if Rc::ptr_eq(same, identity) => Bound::One(identity.clone()),
            _ => Bound::Several,
        };
        self.kernel.insert(id, bound, now);
    }

    /// The exchange the kernel side called `id`, or what such an id stands for, if it is one alone.
    pub fn bound(&self, id: u64) -> Option<Rc<Identity>> {
        match self.kernel.get(&id) {
            Some(Bound::One(identity)) => Some(identity.clone()),
            Some(Bound::Several) => None,
            None => self.ended.get(&id).cloned(),
        }
    }

    /// Whether what `heir` stands for may still become known.
    pub fn is_open_question(&self, heir: u64) -> bool {
        self.answered.get(&heir).is_none()
    }

    /// This client's parent is known when it is known what `heir` stands for, unless that never will be.
    pub fn expect(&mut self, heir: u64, identity: &Rc<Identity>, evidence: LinkEvidence, now: Nanos) {
        if !self.is_open_question(heir) {
            return identity.awaited.set(None);
        }
        identity.awaited.set(Some(heir));
        match self.heirs.get_mut(&heir) {
            Some(expecting) => expecting.push((identity.clone(), evidence)),
            None => self.heirs.insert(heir, vec![(identity.clone(), evidence)], now),
        }
    }

    /// Those that wait to know what `heir` stands for, and by what they know it.
    pub fn expecting(&mut self, heir: u64) -> Vec<(Rc<Identity>, LinkEvidence)> {
        self.heirs.take(&heir).unwrap_or_default()
    }

    /// What `heir` stands for is known, or that it stands for nobody.
    pub fn answer(&mut self, heir: u64, maker: Option<&Rc<Identity>>, now: Nanos) {
        self.answered.insert(heir, (), now);
        if let Some(maker) = maker {
            self.ended.insert(heir, maker.clone(), now);
        } else {
            self.ended.take(&heir);
        }
    }

    /// An exchange that waits no longer to know its parent: nobody else does for the same.
    pub fn abandon(&mut self, identity: &Identity, now: Nanos) {
        let Some(heir) = identity.awaited.take() else { return };
        self.answer(heir, None, now);
        self.expecting(heir).iter().for_each(|(other, _)| other.awaited.set(None));
    }

    /// The client's end of a request was seen. Returns the server's, if that was too.
    pub fn client(&mut self, wire: Wire, identity: &Rc<Identity>, now: Nanos) -> Option<Rc<Identity>> {
        let ends = Ends { client: Some(identity.clone()), server: None };
        self.other_end(wire, ends, now).server
    }

    /// The server's end of a request was seen. Returns the client's, if that was too.
    pub fn server(&mut self, wire: Wire, identity: &Rc<Identity>, now: Nanos) -> Option<Rc<Identity>> {
        let ends = Ends { client: None, server: Some(identity.clone()) };
        self.other_end(wire, ends, now).client
    }

    /// The other end than this one; while it is not known, this one waits for it. A name comes round again after exactly
    /// 4 GiB on one connection: by then its ends have faded.
    fn other_end(&mut self, wire: Wire, ends: Ends, now: Nanos) -> Ends {
        match self.wires.get(&wire) {
            Some(known) if known.client.is_some() != ends.client.is_some() => {
                self.wires.take(&wire).unwrap_or_default()
            }
            _ => {
                self.wires.insert(wire, ends, now);
                Ends::default()
            }
        }
    }

    /// A server of process `tgid` received a trace context.
    pub fn receive(&mut self, identity: &Rc<Identity>, now: Nanos) {
        let context = identity.context.borrow();
        let Some(context) = context.as_ref() else { return };
        for parent in [Some(context.parent), None] {
            let key = Received { tgid: identity.tgid, trace: context.trace_id, parent };
            self.seen.insert(key, (), now);
            match self.received.get_mut(&key) {
                Some(servers) => {
                    servers.retain(|s| s.ended.get().is_none() || !s.complete.get());
                    if servers.len() < MOST_RECEIVED {
                        servers.push(identity.clone());
                    }
                }
                None => self.received.insert(key, vec![identity.clone()], now),
            }
        }
    }

    /// The open server of process `tgid` whose trace context an outgoing request carries on: the one that received
    /// exactly this context, else, if none did, the only one of this trace.
    pub fn forwarder(&self, tgid: u32, trace: TraceId, parent: SpanId, at: Nanos) -> Option<Rc<Identity>> {
        let exactly = Received { tgid, trace, parent: Some(parent) };
        // Of one that received exactly this and is over, no other takes the place.
        let key = match self.seen.get(&exactly) {
            Some(()) => exactly,
            None => Received { parent: None, ..exactly },
        };
        let servers = self.received.get(&key)?;
        // One that was given up by its client, which may have tried again, can still be at work.
        let mut working = servers.iter().filter(|s| s.was_open(at) || !s.complete.get());
        let first = working.next()?;
        (working.next().is_none() && first.was_open(at)).then(|| first.clone())
    }

    /// Whether a trace came to a process.
    pub fn has_received(&self, tgid: u32, trace: TraceId) -> bool {
        self.seen.get(&Received { tgid, trace, parent: None }).is_some()
    }

    /// Whether a client's request names a span of its own process: of a trace that came to it, by a header of the same kind,
    /// but not with this span.
    pub fn is_own_span(&self, tgid: u32, context: &Context, at: Nanos) -> bool {
        let key = |parent| Received { tgid, trace: context.trace_id, parent };
        let alike = |s: &Rc<Identity>| {
            s.was_open(at) && s.context.borrow().as_ref().is_some_and(|c| c.format == context.format)
        };
        self.seen.get(&key(Some(context.parent))).is_none()
            && self.received.get(&key(None)).is_some_and(|all| all.iter().any(alike))
    }

    /// Lets go of what is too old to tie anything.
    pub fn tick(&mut self, now: Nanos) {
        let young = |at: Nanos, age: Nanos| at.saturating_add(age) > now;
        let of_use = |identity: &Rc<Identity>, at| identity.is_of_use(now) && young(at, KERNEL_AGE);
        let ends_of_use =
            |ends: &Ends| [&ends.client, &ends.server].into_iter().flatten().any(|end| end.is_of_use(now));
        let late = |at| self.late && young(at, LATE);
        // Who was given up by its client can still be at work.
        let works = |server: &Rc<Identity>| server.is_of_use(now) || !server.complete.get();
        self.wires.fade(now, |_, ends, at| young(at, WIRE_AGE) && (late(at) || ends_of_use(ends)));
        self.kernel.fade(now, |_, bound, at| matches!(bound, Bound::One(one) if of_use(one, at)));
        self.ended.fade(now, |_, one, at| of_use(one, at));
        self.answered.fade(now, |_, (), _| false);
        self.seen.fade(now, |_, (), _| false);
        self.heirs.fade(now, |_, all, at| {
            young(at, KERNEL_AGE) && all.iter().any(|(one, _)| one.awaited.get().is_some())
        });
        self.received.fade(now, |_, all, at| {
            all.retain(works);
            young(at, KERNEL_AGE) && !all.is_empty()
        });
    }
}
