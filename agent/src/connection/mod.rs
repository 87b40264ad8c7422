//! Events into HTTP signals: one conversation a connection, keyed by its socket and generation.
//!
//! In: socket [`Event`]s in the order of time. Out: [`Finding`]s, each a signal of a conversation with what the
//! kernel side knew about the call; and [`Wish`]es, what the kernel side may leave out from now on.

mod position;
mod wire;

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    rc::Rc,
    sync::Arc,
};

use bytes::Bytes;
use sockspan_ebpf::{Data, Direction as Way, EventKind, Evidence, Family, LEFT, Role, flag};

use crate::{
    http::{Chunk, Conversation, Direction, Limits, LossReason, Nanos, Signal},
    span::conventions::Endpoint,
    table::Table,
};

use position::Positions;
pub use wire::Wire;

/// The TCP state in which both directions are over.
const TCP_CLOSE: u8 = 7;

/// A body of which so many bytes are still to come is worth telling the kernel side about.
const WORTH_SKIPPING: u64 = 64 * 1024;
/// How far ahead the kernel side can be told to skip: half of what 32 bits can order.
const SKIP_AHEAD: u64 = 1 << 30;

/// A closed connection is kept so long for reads of what had arrived before.
const LINGER: Nanos = 500_000_000;

/// Where a connection runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoints {
    /// This end; `None` for Unix sockets.
    pub local: Option<Endpoint>,
    /// The other end.
    pub peer: Option<Endpoint>,
    /// Inode number of the network namespace.
    pub netns: u32,
}

/// What the kernel side knew when a request began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The kernel side's own id of the exchange; 0 if it had none.
    pub exchange: u64,
    /// The exchange in whose context the request was made; 0 for none.
    pub parent: u64,
    /// By whose end that context came to the thread; see [`Data::via`].
    pub via: u64,
    /// The thread.
    pub tid: u32,
    /// How it knew.
    pub evidence: Evidence,
    /// How both ends can name the request.
    pub wire: Option<Wire>,
    /// Other requests began in the same call: the kernel side's ids do not tell them apart.
    pub shared: bool,
}

/// Bytes of a server's response were sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The exchange, as the kernel side calls it.
    pub exchange: u64,
    /// The exchange in whose context they were sent, likewise; 0 for none.
    pub context: u64,
    /// By whose end that context came to the thread; see [`Data::via`].
    pub via: u64,
    /// The thread.
    pub tid: u32,
    /// When.
    pub at: Nanos,
}

/// A signal of a connection's conversation.
#[derive(Clone, Debug)]
pub struct Finding {
    /// The connection's number.
    pub connection: u64,
    /// The process that made the call.
    pub tgid: u32,
    /// Which end of the conversation it is.
    pub role: Role,
    /// Where the connection runs.
    pub endpoints: Rc<Endpoints>,
    /// What was found.
    pub signal: Signal,
    /// For `RequestBegan`: what the kernel side knew.
    pub origin: Option<Origin>,
}

/// What the kernel side may leave out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// Bytes of this direction before this position.
    Skip {
        /// The connection.
        socket: u64,
        /// Its generation.
        generation: u64,
        /// Which way.
        way: Way,
        /// Up to where, exclusive.
        position: u32,
    },
    /// Everything of this connection.
    Ignore {
        /// The connection.
        socket: u64,
        /// Its generation.
        generation: u64,
    },
    /// The connection is gone; its wishes can be forgotten.
    Forget {
        /// The connection.
        socket: u64,
    },
}

/// What came of an event.
#[derive(Debug, Default)]
pub struct Output {
    /// The signals, in order.
    pub findings: Vec<Finding>,
    /// The wishes.
    pub wishes: Vec<Wish>,
    /// The kernel side gave this id to the middle of a request of this connection.
    pub alias: Option<(u64, u64)>,
    /// The event tells of a response.
    pub answer: Option<Answer>,
}

struct Connection {
    number: u64,
    role: Role,
    tgid: u32,
    conversation: Conversation,
    endpoints: Rc<Endpoints>,
    positions: [Positions; 2],
    told: [u64; 2],
    used: Nanos,
    closed: Option<Nanos>,
}

/// All connections that are followed.
pub struct Connections {
    table: Table<(u64, u64), Box<Connection>>,
    limits: Arc<Limits>,
    most: usize,
    next: u64,
    signals: Vec<Signal>,
}

fn address(family: u8, bytes: [u8; 16], port: u16) -> Option<Endpoint> {
    let [a, b, c, d, ..] = bytes;
    let ip = match family {
        f if f == Family::Inet as u8 => IpAddr::V4(Ipv4Addr::new(a, b, c, d)),
        f if f == Family::Inet6 as u8 => IpAddr::V6(Ipv6Addr::from(bytes)).to_canonical(),
        _ => return None,
    };
    Some(SocketAddr::new(ip, port).into())
}

fn role_of(data: &Data) -> Role {
    if data.role == Role::Client as u8 { Role::Client } else { Role::Server }
}

fn way_of(data: &Data) -> Way {
    if data.direction == Way::Send as u8 { Way::Send } else { Way::Receive }
}

fn evidence_of(data: &Data) -> Evidence {
    match data.evidence {
        e if e == Evidence::Task as u8 => Evidence::Task,
        e if e == Evidence::Thread as u8 => Evidence::Thread,
        e if e == Evidence::Connect as u8 => Evidence::Connect,
        _ => Evidence::None,
    }
}

/// What an event tells of a response.
fn answer(kind: EventKind, data: &Data) -> Option<Answer> {
    let sends = kind == EventKind::Data && way_of(data) == Way::Send && data.length > 0;
    (sends && role_of(data) == Role::Server && data.exchange != 0).then_some(Answer {
        exchange: data.exchange,
        context: data.parent,
        via: data.via,
        tid: data.tid,
        at: data.at,
    })
}

impl Connections {
    /// Follows at most `most` connections at a time.
    pub fn new(limits: Limits, most: usize) -> Self {
        Self { table: Table::default(), limits: Arc::new(limits), most, next: 0, signals: Vec::new() }
    }

    /// Keeps request headers of these names too, from now on.
    pub fn keep_headers(&mut self, names: Arc<[String]>) {
        if self.limits.request_headers == names {
            return;
        }
        self.limits = Arc::new(Limits { request_headers: names, ..Limits::clone(&self.limits) });
        self.table.values_mut().for_each(|c| c.conversation.limit(self.limits.clone()));
    }

    /// How many are followed.
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// Takes in a socket event.
    #[inline(never)] // A stage: its instructions are budgeted.
    pub fn take(&mut self, kind: EventKind, data: &Data, head: Bytes, tail: Bytes, out: &mut Output) {
        let key = (data.socket, data.generation);
        let role = role_of(data);
        if self.table.get(&key).is_some_and(|c| c.role != role) {
            self.drop_connection(key, LossReason::Ambiguous, out);
        }
        if !self.table.contains_key(&key) {
            if kind != EventKind::Data {
                return;
            }
            self.make_room(out);
            self.next += 1;
            let connection = Connection::new(self.next, data, self.limits.clone());
            self.table.insert(key, Box::new(connection));
        }
        let Some(connection) = self.table.get_mut(&key) else { return };
        connection.used = data.at;
        // A connection is often closed in the middle of someone else's work.
        if kind != EventKind::Closed {
            connection.tgid = data.tgid;
        }
        self.signals.clear();
        if kind == EventKind::Closed && connection.closed.is_none() && data.missed != 0 {
            connection.progress(Way::Receive, data.missed, data.at, &mut self.signals);
        }
        out.answer = answer(kind, data);
        match kind {
            EventKind::Data => connection.data(data, head, tail, &mut self.signals),
            EventKind::EndOfStream => connection.end(Way::Receive, data, &mut self.signals),
            _ if data.state & !LEFT == TCP_CLOSE => connection.closed = Some(data.at),
            _ => connection.end(Way::Send, data, &mut self.signals),
        }
        // Who has left does not wait for the other end: what is not over by now never will be, to it.
        if kind == EventKind::Closed && data.state & LEFT != 0 && connection.closed.is_none() {
            connection.closed = Some(data.at);
        }
        connection.report(data, &mut self.signals, out);
        if kind == EventKind::Data {
            connection.wish(key, data, out);
        }
    }

    /// Forgets what is closed and what was silent for `idle`.
    pub fn tick(&mut self, now: Nanos, idle: Nanos, out: &mut Output) {
        let gone = |c: &Connection| {
            c.closed.is_some_and(|at| at.saturating_add(LINGER) < now) || c.used.saturating_add(idle) < now
        };
        let keys: Vec<_> = self.table.iter().filter(|(_, c)| gone(c)).map(|(key, _)| *key).collect();
        for key in keys {
            self.drop_connection(key, LossReason::ResponseMissing, out);
        }
    }

    /// Forgets the connections of a process that is no longer traced. What is open on them is given up.
    pub fn release(&mut self, tgid: u32, out: &mut Output) {
        let keys: Vec<_> = self.table.iter().filter(|(_, c)| c.tgid == tgid).map(|(key, _)| *key).collect();
        for key in keys {
            self.drop_connection(key, LossReason::Released, out);
        }
    }

    fn make_room(&mut self, out: &mut Output) {
        if self.table.len() < self.most {
            return;
        }
        // One pass makes room for many: the least recently used sixteenth goes.
        let mut used: Vec<(Nanos, (u64, u64))> = self.table.iter().map(|(k, c)| (c.used, *k)).collect();
        used.sort_unstable();
        for (_, key) in used.into_iter().take(self.most / 16 + 1) {
            self.drop_connection(key, LossReason::TooManyPending, out);
        }
    }

    /// Forgets a connection. Where it was not closed, what is open on it is given up for this reason: nobody saw it
    /// end.
    fn drop_connection(&mut self, key: (u64, u64), reason: LossReason, out: &mut Output) {
        let Some(mut connection) = self.table.remove(&key) else { return };
        let mut signals = Vec::new();
        match connection.closed {
            Some(at) => connection.conversation.close(at, &mut signals),
            None => connection.conversation.abandon(reason, &mut signals),
        }
        connection.report_all(&mut signals, out);
        if connection.told != [0; 2] {
            out.wishes.push(Wish::Forget { socket: key.0 });
        }
    }
}

impl Connection {
    fn new(number: u64, data: &Data, limits: Arc<Limits>) -> Self {
        let endpoints = Endpoints {
            local: address(data.family, data.local, data.local_port),
            peer: address(data.family, data.peer, data.peer_port),
            netns: data.netns,
        };
        let mut connection = Self {
            number,
            role: role_of(data),
            tgid: data.tgid,
            conversation: Conversation::new(limits),
            endpoints: Rc::new(endpoints),
            positions: [Positions::default(), Positions::default()],
            told: [0; 2],
            used: data.at,
            closed: None,
        };
        connection.begin(data);
        connection
    }

    /// If this is the connection's very first call, both streams are known from their first bytes.
    fn begin(&mut self, data: &Data) {
        let known = flag::WIRE | flag::SEQUENCE;
        let bases = [(Way::Send, data.local_base), (Way::Receive, data.peer_base)];
        let is_first = bases.iter().any(|(way, base)| *way == way_of(data) && *base == data.position);
        if data.flags & known != known || !is_first {
            return;
        }
        for (way, base) in bases {
            let position = self.positions[way as usize].unwrap(base);
            self.conversation.begins_at(self.direction(way), position);
        }
    }

    fn direction(&self, way: Way) -> Direction {
        if (self.role == Role::Server) == (way == Way::Receive) {
            Direction::Request
        } else {
            Direction::Response
        }
    }

    fn data(&mut self, data: &Data, head: Bytes, tail: Bytes, signals: &mut Vec<Signal>) {
        let way = way_of(data);
        let position = self.positions[way as usize].unwrap(data.position);
        let began = if way == Way::Send && data.began != 0 { data.began } else { data.at };
        let chunk = Chunk {
            position,
            len: u64::from(data.length),
            head,
            tail,
            at: data.at,
            began,
            starts_message: data.flags & flag::STARTS_MESSAGE != 0,
        };
        self.conversation.push(self.direction(way), chunk, signals);
    }

    /// One direction ended in order, after all that the event's position says passed, told or not. (A connection
    /// that is closed without that was aborted: `close` says so when it is forgotten.)
    fn end(&mut self, way: Way, data: &Data, signals: &mut Vec<Signal>) {
        self.progress(way, data.position, data.at, signals);
        self.conversation.end_of_stream(self.direction(way), data.at, signals);
    }

    /// One direction has come to `position`, whether its bytes were told or not.
    fn progress(&mut self, way: Way, position: u32, at: Nanos, signals: &mut Vec<Signal>) {
        let position = self.positions[way as usize].unwrap(position);
        let passed = Chunk { position, at, began: at, ..Chunk::default() };
        self.conversation.push(self.direction(way), passed, signals);
    }

    /// Passes the signals of one event on, with what the kernel side knew of the requests that began in it.
    fn report(&self, data: &Data, signals: &mut Vec<Signal>, out: &mut Output) {
        let began = signals.iter().filter(|s| matches!(s, Signal::RequestBegan { .. })).count();
        let starts = data.flags & flag::STARTS_EXCHANGE != 0;
        // A request that was passed over is not part of the one before.
        let passed = |s: &Signal| matches!(s, Signal::Lost { direction: Direction::Request, .. });
        if began == 0 && starts && !signals.iter().any(passed) {
            out.alias = Some((data.exchange, self.number));
        }
        for signal in signals.drain(..) {
            let origin = match &signal {
                Signal::RequestBegan { position, .. } => Some(Origin {
                    exchange: data.exchange,
                    parent: data.parent,
                    via: data.via,
                    tid: data.tid,
                    evidence: evidence_of(data),
                    wire: Wire::of(data, self.role, *position as u32),
                    shared: began > 1 || !starts || *position as u32 != data.position,
                }),
                _ => None,
            };
            out.findings.push(self.finding(signal, origin));
        }
    }

    fn report_all(&self, signals: &mut Vec<Signal>, out: &mut Output) {
        out.findings.extend(signals.drain(..).map(|signal| self.finding(signal, None)));
    }

    fn finding(&self, signal: Signal, origin: Option<Origin>) -> Finding {
        Finding {
            connection: self.number,
            tgid: self.tgid,
            role: self.role,
            endpoints: self.endpoints.clone(),
            signal,
            origin,
        }
    }

    /// Tells the kernel side what it may leave out, when that has grown by enough.
    fn wish(&mut self, (socket, generation): (u64, u64), data: &Data, out: &mut Output) {
        if out.findings.iter().any(|f| matches!(f.signal, Signal::Switched { .. })) {
            out.wishes.push(Wish::Ignore { socket, generation });
        }
        let way = way_of(data);
        let side = way as usize;
        let Some(until) = self.conversation.until(self.direction(way)) else { return };
        let now = self.positions[side].last();
        let until = until.min(now.saturating_add(SKIP_AHEAD));
        if until.saturating_sub(now.max(self.told[side])) >= WORTH_SKIPPING {
            self.told[side] = until;
            out.wishes.push(Wish::Skip { socket, generation, way, position: until as u32 });
        }
    }
}

#[cfg(test)]
mod tests;
