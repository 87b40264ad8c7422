//! What ties exchanges to each other until it is used: the kernel side's ids, the two ends of a wire, the trace
//! headers that a process received. All bounded by time.

use std::rc::Rc;

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
    ended: Fading<u64, Bound>,
    /// Clients whose makers have not ended, by what stands for their parents.
    heirs: Fading<u64, Vec<(Rc<Identity>, LinkEvidence)>>,
    wires: Fading<Wire, Ends>,
    received: Fading<Received, Vec<Rc<Identity>>>,
}

/// Entries of each table at most.
const MOST: usize = 65_536;
/// Servers of one process and trace that are told apart.
const MOST_RECEIVED: usize = 16;
/// The two ends of one request are seen within this time of each other, the longest blocking send included.
const WIRE_AGE: Nanos = 120_000_000_000;
/// What an heir stood for is asked by those that it made or that acted in its name, all of which end or are given up soon.
const ENDED_AGE: Nanos = 600_000_000_000;
/// No exchange is a parent for longer.
const KERNEL_AGE: Nanos = 3_600_000_000_000;

impl Default for Ties {
    fn default() -> Self {
        let (kernel, ended, heirs) = (Fading::new(MOST), Fading::new(MOST), Fading::new(MOST));
        Self { kernel, ended, heirs, wires: Fading::new(MOST), received: Fading::new(MOST) }
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
        match self.kernel.get(&id).or_else(|| self.ended.get(&id)) {
            Some(Bound::One(identity)) => Some(identity.clone()),
            _ => None,
        }
    }

    /// Whether what `heir` stands for may still become known.
    pub fn is_open_question(&self, heir: u64) -> bool {
        self.ended.get(&heir).is_none()
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
        self.ended.insert(heir, maker.map_or(Bound::Several, |maker| Bound::One(maker.clone())), now);
    }

    /// An exchange that waits no longer to know its parent: nobody else does for the same.
    pub fn abandon(&mut self, identity: &Identity, now: Nanos) {
        let Some(heir) = identity.awaited.take() else { return };
        self.answer(heir, None, now);
        self.expecting(heir).iter().for_each(|(other, _)| other.awaited.set(None));
    }

    /// The client's end of a request was seen. Returns the server's, if that was too.
    pub fn client(&mut self, wire: Wire, identity: &Rc<Identity>, now: Nanos) -> Option<Rc<Identity>> {
        self.ends(wire, now, |ends| {
            ends.client = Some(identity.clone());
            ends.server.clone()
        })
    }

    /// The server's end of a request was seen. Returns the client's, if that was too.
    pub fn server(&mut self, wire: Wire, identity: &Rc<Identity>, now: Nanos) -> Option<Rc<Identity>> {
        self.ends(wire, now, |ends| {
            ends.server = Some(identity.clone());
            ends.client.clone()
        })
    }

    /// Changes a request's ends.
    fn ends<T>(&mut self, wire: Wire, now: Nanos, change: impl FnOnce(&mut Ends) -> T) -> T {
        // A name comes round again after exactly 4 GiB on one connection: by then its ends have faded.
        self.wires.fade(now.saturating_sub(WIRE_AGE));
        if let Some(ends) = self.wires.get_mut(&wire) {
            return change(ends);
        }
        let mut ends = Ends::default();
        let result = change(&mut ends);
        self.wires.insert(wire, ends, now);
        result
    }

    /// A server of process `tgid` received a trace context.
    pub fn receive(&mut self, identity: &Rc<Identity>, now: Nanos) {
        let context = identity.context.borrow();
        let Some(context) = context.as_ref() else { return };
        for parent in [Some(context.parent), None] {
            let key = Received { tgid: identity.tgid, trace: context.trace_id, parent };
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
        let mut by = [Some(parent), None].into_iter();
        let servers = by.find_map(|parent| self.received.get(&Received { tgid, trace, parent }))?;
        // One that was given up by its client, which may have tried again, can still be at work.
        let mut working = servers.iter().filter(|s| s.was_open(at) || !s.complete.get());
        let first = working.next()?;
        (working.next().is_none() && first.was_open(at)).then(|| first.clone())
    }

    /// Whether a trace came to a process.
    pub fn has_received(&self, tgid: u32, trace: TraceId) -> bool {
        self.received.get(&Received { tgid, trace, parent: None }).is_some()
    }

    /// Whether a client's request names a span of its own process: of a trace that came to it, by a header of the same kind,
    /// but not with this span.
    pub fn is_own_span(&self, tgid: u32, context: &Context, at: Nanos) -> bool {
        let received = |parent| self.received.get(&Received { tgid, trace: context.trace_id, parent });
        let alike = |s: &Rc<Identity>| {
            s.was_open(at) && s.context.borrow().as_ref().is_some_and(|c| c.format == context.format)
        };
        received(Some(context.parent)).is_none() && received(None).is_some_and(|all| all.iter().any(alike))
    }

    /// Lets go of what is too old to tie anything.
    pub fn tick(&mut self, now: Nanos) {
        self.wires.fade(now.saturating_sub(WIRE_AGE));
        self.kernel.fade(now.saturating_sub(KERNEL_AGE));
        self.ended.fade(now.saturating_sub(ENDED_AGE));
        self.heirs.fade(now.saturating_sub(KERNEL_AGE));
        self.received.fade(now.saturating_sub(KERNEL_AGE));
    }
}
