//! Where the stages are joined: inputs into spans, one step at a time, without I/O and without a clock.
//!
//! In: [`Input`]s, from the kernel or from a recording. Out: [`Yield`].

mod unjudged;
mod waiting;

use std::{sync::Arc, time::Duration};

use sockspan_ebpf::{Data, EventKind, Lifecycle, Role, flag, process_flag};

use crate::{
    connection::{Connections, Output, Wish},
    event::{Event, Order, events},
    exchange::{Exchanges, Excluded, Loss, Seed, Settled, Sign},
    http::{Limits, LossReason, Nanos},
    metrics::{DropReason, EventKind as EventLabel, EventLoss, LinkEvidence, Metrics, Side},
    record::Input,
    span::{
        Attribute, Resource, Span, SpanKind, assemble::Assembler, clock::Clock, conventions::Conventions,
        route::Router,
    },
    table::{Set, Table},
};

use unjudged::Unjudged;
use waiting::Waiting;

/// Exchanges that are looked after at a time, for each connection that may be.
const EXCHANGES_PER_CONNECTION: usize = 4;
/// The resource of a process that ended is kept so long for its last spans.
const GRACE: Nanos = 30_000_000_000;
/// Processes that are remembered to serve; when there are more, they are told of again.
const SERVING: usize = 16_384;
/// Idle connections are looked for this often.
const TIDY: Nanos = 1_000_000_000;

/// What the pipeline is made with.
pub struct Options {
    /// What ids are made from.
    pub seed: Seed,
    /// Longest head that is read whole, in bytes.
    pub head_bytes: usize,
    /// Connections followed at a time.
    pub connections: usize,
    /// An exchange that is open for longer is given up, a connection that is silent for longer forgotten.
    pub max_duration: Duration,
    /// Decides what is left out.
    pub excluded: Excluded,
    /// Headers in which applications hand on the ids of requests.
    pub correlation: Arc<[String]>,
    /// Processes with a tracer of their own are left alone.
    pub leave_instrumented: bool,
    /// Exchanges into spans.
    pub assembler: Assembler,
}

/// What the pipeline goes by and can change while it runs.
pub struct Rules {
    /// Decides what is left out.
    pub excluded: Excluded,
    /// Headers in which applications hand on the ids of requests.
    pub correlation: Arc<[String]>,
    /// Processes with a tracer of their own are left alone.
    pub leave_instrumented: bool,
    /// The choices the conventions leave open.
    pub conventions: Conventions,
    /// Routes.
    pub router: Router,
    /// Say on what evidence a parent is known.
    pub evidence: bool,
}

/// A process whose resource is kept for its last spans.
struct Leaving {
    due: Nanos,
    tgid: u32,
    /// It has ended; otherwise it goes on and may be traced again.
    ended: bool,
}

/// What came of the inputs so far.
#[derive(Default)]
pub struct Yield {
    /// Finished spans.
    pub spans: Vec<Span>,
    /// What the kernel side may leave out.
    pub wishes: Vec<Wish>,
    /// Turns in the lives of processes. One of the kind `Data` is its first request, which it has begun to serve.
    pub turns: Vec<(EventKind, Lifecycle)>,
    /// Processes that were found to have a tracer of their own, and how.
    pub signs: Vec<(u32, Sign)>,
}

/// All stages between the kernel and the export.
pub struct Pipeline {
    order: Order,
    connections: Connections,
    exchanges: Exchanges,
    assembler: Assembler,
    resources: Table<u32, Arc<Resource>>,
    leaving: Vec<Leaving>,
    /// Processes that are let go once all events before that are taken; those that came back since are none of them.
    releasing: Set<u32>,
    unjudged: Unjudged,
    waiting: Waiting<Settled>,
    serving: Set<u32>,
    metrics: Arc<Metrics>,
    max_duration: Nanos,
    now: Nanos,
    tidied: Nanos,
    output: Output,
    settled: Vec<Settled>,
}

fn side(kind: SpanKind) -> Side {
    match kind {
        SpanKind::Server => Side::Server,
        SpanKind::Client => Side::Client,
    }
}

fn event_label(kind: EventKind) -> EventLabel {
    match kind {
        EventKind::Data => EventLabel::Data,
        EventKind::EndOfStream => EventLabel::EndOfStream,
        EventKind::Closed => EventLabel::Closed,
        EventKind::Fork => EventLabel::Fork,
        EventKind::Exec => EventLabel::Exec,
        EventKind::Exit => EventLabel::Exit,
        EventKind::Listen => EventLabel::Listen,
        EventKind::Multiplexed => EventLabel::Multiplexed,
        EventKind::Released => EventLabel::Released,
        EventKind::Inherited => EventLabel::Inherited,
    }
}

fn drop_reason(reason: LossReason) -> DropReason {
    match reason {
        LossReason::NotHttp | LossReason::Malformed | LossReason::Switched => DropReason::NotHttp,
        LossReason::ResponseMissing | LossReason::Closed => DropReason::Unfinished,
        LossReason::TooManyPending => DropReason::TooMany,
        LossReason::Released => DropReason::NotSelected,
        LossReason::Instrumented => DropReason::Instrumented,
        LossReason::RequestMissing => DropReason::RequestMissing,
        _ => DropReason::StreamGap,
    }
}

impl Pipeline {
    /// A pipeline that counts into `metrics`.
    pub fn new(options: Options, metrics: Arc<Metrics>) -> Self {
        let Options { head_bytes, correlation, .. } = options;
        let request_headers = correlation.clone();
        let limits = Limits { head_bytes, request_headers, ..Limits::default() };
        let most = options.connections.saturating_mul(EXCHANGES_PER_CONNECTION);
        let mut exchanges = Exchanges::new(options.seed, most, options.excluded, correlation);
        exchanges.leave_instrumented(options.leave_instrumented);
        Self {
            order: Order::default(),
            connections: Connections::new(limits, options.connections),
            exchanges,
            assembler: options.assembler,
            resources: Table::default(),
            leaving: Vec::new(),
            releasing: Set::default(),
            unjudged: Unjudged::default(),
            waiting: Waiting::default(),
            serving: Set::default(),
            metrics,
            max_duration: u64::try_from(options.max_duration.as_nanos()).unwrap_or(u64::MAX),
            now: 0,
            tidied: 0,
            output: Output::default(),
            settled: Vec::new(),
        }
    }

    /// Connections and exchanges that are held now.
    pub fn held(&self) -> (usize, usize) {
        (self.connections.len(), self.exchanges.len())
    }

    /// Goes by these rules from now on: requests are left out by them when their heads are read, spans made by them
    /// when they are told.
    pub fn reload(&mut self, rules: Rules) {
        let Rules { excluded, correlation, leave_instrumented, conventions, router, evidence } = rules;
        self.exchanges.exclude(excluded);
        self.connections.keep_headers(correlation.clone());
        self.exchanges.correlate(correlation);
        self.exchanges.leave_instrumented(leave_instrumented);
        self.assembler.conventions = conventions;
        self.assembler.router = router;
        self.assembler.evidence = evidence;
    }

    /// Takes an input in.
    pub fn take(&mut self, input: Input, out: &mut Yield) {
        match input {
            Input::Batch(batch) => {
                let (order, releasing) = (&mut self.order, &mut self.releasing);
                let damaged = events(batch, |event| {
                    if event.kind == EventKind::Released
                        && let Some(Event::Process { turn, .. }) = event.clone().event()
                    {
                        releasing.insert(turn.tgid);
                    }
                    order.push(event);
                });
                self.metrics.events_lost.add(EventLoss::Damaged, damaged);
            }
            Input::Process { tgid, resource, complete } => {
                // Of one that has ended there may be more to say; it does not come back.
                self.leaving.retain(|leaving| leaving.tgid != tgid || leaving.ended);
                self.releasing.remove(&tgid);
                self.exchanges.meet(tgid, writes_spans(&resource));
                self.resources.insert(tgid, Arc::new(resource));
                self.waiting.expect(tgid, !complete);
                for event in self.unjudged.take(tgid) {
                    self.event(event, out);
                }
            }
            Input::Clock { monotonic, wall } => {
                self.assembler.clock.observe(monotonic, wall);
                self.order.tick(monotonic);
                self.now = self.now.max(monotonic);
            }
        }
        self.run(out);
    }

    fn run(&mut self, out: &mut Yield) {
        while let Some(event) = self.order.pop() {
            self.event(event, out);
        }
        self.exchanges.expect_late(!self.unjudged.is_empty());
        self.exchanges.settle(self.now, &mut self.settled);
        self.yield_spans(out);
        if self.now.saturating_sub(self.tidied) >= TIDY {
            self.tidied = self.now;
            self.tidy(out);
        }
    }

    /// Ends the stream: everything that is over becomes a span, everything else is counted as lost.
    pub fn finish(&mut self, out: &mut Yield) {
        while let Some(event) = self.order.drain() {
            self.event(event, out);
        }
        for kind in self.exchanges.finish(&mut self.settled) {
            self.metrics.exchange(side(kind), Err(DropReason::Shutdown));
        }
        self.waiting.give_up();
        self.yield_spans(out);
    }

    fn event(&mut self, event: Event, out: &mut Yield) {
        self.now = self.now.max(event.at());
        let Some(event) = self.judged(event) else { return };
        match event {
            Event::Socket { kind, data, head, tail } => {
                self.metrics.events.inc(event_label(kind));
                self.connections.take(kind, &data, head, tail, &mut self.output);
                self.pass_on(out);
                self.serves(&data, out);
            }
            Event::Process { kind, turn } => {
                self.metrics.events.inc(event_label(kind));
                self.turn(kind, turn);
                if kind == EventKind::Released {
                    self.connections.release(turn.tgid, &mut self.output);
                    self.pass_on(out);
                }
                out.turns.push((kind, turn));
            }
            Event::Inherited(told) => {
                self.metrics.events.inc(event_label(EventKind::Inherited));
                self.exchanges.inherited(&told);
            }
        }
    }

    /// The event, if it is known that its process is traced; else it is held.
    fn judged(&mut self, event: Event) -> Option<Event> {
        let Event::Socket { kind, data, .. } = &event else { return Some(event) };
        let owner = match kind {
            // Told in the context of whatever ran when the peer's packet came.
            EventKind::Closed => self.unjudged.owner(data),
            _ => Some(data.tgid).filter(|tgid| !self.resources.contains_key(tgid)),
        };
        let Some(tgid) = owner else { return Some(event) };
        if !self.unjudged.hold(tgid, self.now, event) {
            self.metrics.events_lost.inc(EventLoss::Unjudged);
        }
        None
    }

    /// Tells of a process's first request: only a process that serves shows with what runtime it does.
    fn serves(&mut self, data: &Data, out: &mut Yield) {
        let begins = data.role == Role::Server as u8 && data.flags & flag::STARTS_EXCHANGE != 0;
        if !begins || self.serving.contains(&data.tgid) {
            return;
        }
        if self.serving.len() >= SERVING {
            self.serving.clear();
        }
        self.serving.insert(data.tgid);
        let kind = EventKind::Data;
        let turn = Lifecycle {
            kind: kind as u8,
            reserved: [0; 3],
            tgid: data.tgid,
            other: 0,
            flags: 0,
            at: data.at,
        };
        out.turns.push((kind, turn));
    }

    fn pass_on(&mut self, out: &mut Yield) {
        self.exchanges.take(&mut self.output);
        out.signs.append(&mut self.exchanges.signs);
        out.wishes.append(&mut self.output.wishes);
    }

    fn turn(&mut self, kind: EventKind, turn: Lifecycle) {
        if matches!(kind, EventKind::Fork | EventKind::Exec | EventKind::Exit | EventKind::Released) {
            self.serving.remove(&turn.tgid);
        }
        if matches!(kind, EventKind::Fork | EventKind::Exec) {
            self.begin(turn);
        }
        match kind {
            // Until more is known of it, a child is what its parent is.
            EventKind::Fork => {
                if let Some(parent) = self.resources.get(&turn.other).cloned() {
                    self.resources.entry(turn.tgid).or_insert(parent);
                }
            }
            EventKind::Multiplexed => self.exchanges.distrust(turn.tgid),
            // It has come back meanwhile.
            EventKind::Released if !self.releasing.remove(&turn.tgid) => {}
            EventKind::Exit | EventKind::Released => {
                let (due, ended) = (turn.at.saturating_add(GRACE), kind == EventKind::Exit);
                self.leaving.push(Leaving { due, tgid: turn.tgid, ended });
            }
            _ => {}
        }
    }

    /// An id that is used again is another process; and what a program did before nobody judged it is not the next one's.
    fn begin(&mut self, turn: Lifecycle) {
        let tgid = turn.tgid;
        let used = self.leaving.iter().any(|leaving| leaving.tgid == tgid && leaving.ended);
        if used || turn.flags & process_flag::UNJUDGED != 0 {
            self.leaving.retain(|leaving| leaving.tgid != tgid);
            self.resources.remove(&tgid);
            drop(self.unjudged.take(tgid));
        }
    }

    fn tidy(&mut self, out: &mut Yield) {
        self.connections.tick(self.now, self.max_duration, &mut self.output);
        self.pass_on(out);
        self.exchanges.expire(self.now.saturating_sub(self.max_duration));
        let now = self.now;
        self.unjudged.expire(now);
        let (resources, waiting) = (&mut self.resources, &mut self.waiting);
        self.leaving.retain(|Leaving { due, tgid, .. }| {
            let stays = *due > now;
            if !stays {
                resources.remove(tgid);
                waiting.expect(*tgid, false);
            }
            stays
        });
    }

    fn yield_spans(&mut self, out: &mut Yield) {
        for Loss { kind, reason } in self.exchanges.losses.drain(..) {
            self.metrics.exchange(side(kind), Err(drop_reason(reason)));
        }
        self.exchanges.overruled.drain(..).for_each(|evidence| self.metrics.overruled.inc(evidence));
        for why in self.exchanges.withdrawn.drain(..) {
            self.metrics.links_withdrawn.inc(why);
        }
        let settled = std::mem::take(&mut self.settled);
        let process = |settled: &Settled| settled.exchange.identity.tgid;
        for settled in self.waiting.sort(settled, self.now, process) {
            self.yield_span(&settled, out);
        }
    }

    /// What is said of a process. Of one that nobody has looked at since its fork, what is said of its parent, but for
    /// what tells one process from another.
    fn resource(&mut self, tgid: u32) -> Arc<Resource> {
        let Some(known) = self.resources.get_mut(&tgid) else { return Arc::new(unknown(tgid)) };
        if !is_of(known, tgid) {
            *known = Arc::new(inherited(known, tgid));
        }
        known.clone()
    }

    fn yield_span(&mut self, settled: &Settled, out: &mut Yield) {
        let identity = &settled.exchange.identity;
        let side = side(identity.kind);
        let resource = self.resource(identity.tgid);
        match self.assembler.span(settled, &resource) {
            Ok(span) => {
                self.metrics.exchange(side, Ok(()));
                let evidence = settled.parent.as_ref().map_or(LinkEvidence::None, |p| p.evidence);
                self.metrics.links.inc(evidence);
                if self.waiting.expects(identity.tgid) {
                    self.metrics.spans_incomplete.inc();
                }
                out.spans.push(span);
            }
            Err(reason) => self.metrics.exchange(side, Err(reason)),
        }
    }
}

/// Whether the process's runtime sends spans' ids of its own though nothing traces it, as .NET's HttpClient does.
fn writes_spans(resource: &Resource) -> bool {
    let dotnet = Attribute::str("telemetry.sdk.language", "dotnet");
    resource.attributes.contains(&dotnet)
}

/// The process's id, as its spans say it.
fn pid(tgid: u32) -> Attribute {
    Attribute::int("process.pid", i64::from(tgid))
}

fn is_of(resource: &Resource, tgid: u32) -> bool {
    resource.attributes.contains(&pid(tgid))
}

/// What is said of a process that ended before anything could be read of it.
fn unknown(tgid: u32) -> Resource {
    let name = "unknown_service";
    let attributes = vec![pid(tgid), Attribute::str("service.name", name)];
    Resource { service_name: name.into(), attributes }
}

/// What can be said of a child by its parent alone.
fn inherited(parent: &Resource, tgid: u32) -> Resource {
    let is_own = |a: &&Attribute| a.key != "process.pid" && a.key != "service.instance.id";
    let mut attributes: Vec<_> = parent.attributes.iter().filter(is_own).cloned().collect();
    attributes.push(pid(tgid));
    Resource { attributes, ..parent.clone() }
}

/// A clock that starts from the machine's own.
pub fn clock() -> Clock {
    let (monotonic, wall) = crate::span::clock::sample();
    Clock::new(monotonic, wall)
}

#[cfg(test)]
mod tests;
