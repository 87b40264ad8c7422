//! Requests as both ends see them, and the links and traces that must come of it.

mod forgotten;
mod forwarded;
mod heirs;
mod instrumented;

use std::{rc::Rc, sync::Arc};

use sockspan_ebpf::Evidence;

use super::{
    links::{MAX_AGE, MAX_CHILDREN, MAX_DEPTH},
    *,
};
use crate::{
    connection::{Endpoints, Origin, Wire},
    http::{Chunk, Conversation, Limits},
    metrics::LinkEvidence,
    span::TraceId,
};

const MS: Nanos = 1_000_000;
const T: &str = "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const T_UNSAMPLED: &str = "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";
/// The same trace, named by another span of it.
const T_FURTHER: &str = "traceparent: 00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01";
const OTHER: &str = "traceparent: 00-11111111111111111111111111111111-2222222222222222-01";
const TRACE: TraceId =
    TraceId([0x0a, 0xf7, 0x65, 0x19, 0x16, 0xcd, 0x43, 0xdd, 0x84, 0x48, 0xeb, 0x21, 0x1c, 0x80, 0x31, 0x9c]);
const FRONTEND: u32 = 10;
const PRODUCT: u32 = 20;

/// A request as one end sees it begin. Each has a connection of its own, whose number is its path too.
struct Ask {
    connection: u64,
    role: Role,
    tgid: u32,
    origin: Origin,
    headers: String,
    method: &'static str,
    path: String,
}

fn ask(role: Role, tgid: u32, connection: u64) -> Ask {
    let evidence = Evidence::None;
    let origin = Origin { exchange: 0, parent: 0, via: 0, tid: tgid, evidence, wire: None, shared: false };
    Ask {
        connection,
        role,
        tgid,
        origin,
        headers: String::new(),
        method: "GET",
        path: connection.to_string(),
    }
}

fn server(tgid: u32, connection: u64) -> Ask {
    ask(Role::Server, tgid, connection)
}

fn client(tgid: u32, connection: u64) -> Ask {
    ask(Role::Client, tgid, connection)
}

impl Ask {
    fn kernel(mut self, id: u64) -> Self {
        self.origin.exchange = id;
        self
    }
    fn thread(self, parent: u64) -> Self {
        self.because(Evidence::Thread, parent)
    }
    fn because(mut self, evidence: Evidence, parent: u64) -> Self {
        (self.origin.evidence, self.origin.parent) = (evidence, parent);
        self
    }
    fn wire(mut self, name: u32) -> Self {
        self.origin.wire = Some(Wire { client: 1, server: 2, request: name });
        self
    }
    fn shared(mut self) -> Self {
        self.origin.shared = true;
        self
    }
    fn says(mut self, header: &str) -> Self {
        self.headers = format!("{header}\r\n");
        self
    }
    fn path(mut self, path: &str) -> Self {
        self.path = path.to_owned();
        self
    }

    fn head(&self) -> RequestHead {
        let text = format!("{} /{} HTTP/1.1\r\nHost: h\r\n{}\r\n", self.method, self.path, self.headers);
        let mut signals = Vec::new();
        let chunk =
            Chunk { len: text.len() as u64, head: text.into(), starts_message: true, ..Chunk::default() };
        let limits = Limits { request_headers: correlation(), ..Limits::default() };
        Conversation::new(Arc::new(limits)).push(Direction::Request, chunk, &mut signals);
        let head = signals
            .into_iter()
            .find_map(|s| if let Signal::RequestHead { head, .. } = s { Some(head) } else { None });
        head.unwrap()
    }
}

/// Headers that hold request ids.
fn correlation() -> Arc<[String]> {
    ["x-request-id", "x-correlation-id"].map(String::from).into()
}

/// Exchanges, and those that have settled.
struct Web {
    exchanges: Exchanges,
    told: Vec<Settled>,
}

impl Web {
    fn new() -> Self {
        Self::holding(100_000)
    }

    /// Processes are traced though they have tracers of their own.
    fn with_tracers() -> Self {
        let mut web = Self::new();
        web.exchanges.leave_instrumented(false);
        web
    }

    fn holding(most: usize) -> Self {
        let excluded = |request: &Request| request.target() == b"/healthz";
        let exchanges = Exchanges::new(Seed([7; 16]), most, Box::new(excluded), correlation());
        Self { exchanges, told: Vec::new() }
    }

    fn finds(&mut self, ask: &Ask, signal: Signal, origin: Option<Origin>) {
        let endpoints = Rc::new(Endpoints { local: None, peer: None, netns: 1 });
        let (connection, tgid, role) = (ask.connection, ask.tgid, ask.role);
        let finding = Finding { connection, tgid, role, endpoints, signal, origin };
        self.exchanges.take(&mut Output { findings: vec![finding], ..Output::default() });
    }

    fn began(&mut self, at: Nanos, ask: &Ask) {
        self.finds(ask, Signal::RequestBegan { n: 0, position: 0, at }, Some(ask.origin));
    }

    fn asks(&mut self, at: Nanos, ask: &Ask) {
        self.began(at, ask);
        self.finds(ask, Signal::RequestHead { n: 0, head: ask.head() }, None);
    }

    fn ends(&mut self, at: Nanos, connection: u64, complete: bool) {
        let body = Body { size: Some(0), exact: true };
        let ended = Signal::ResponseEnded { n: 0, at, body, complete };
        self.finds(&server(0, connection), ended, None);
    }

    fn answers(&mut self, at: Nanos, connection: u64) {
        self.ends(at, connection, true);
    }

    fn answers_all<const N: usize>(&mut self, at: Nanos, connections: [u64; N]) {
        connections.into_iter().for_each(|connection| self.answers(at, connection));
    }

    fn drops(&mut self, connection: u64) {
        let dropped = Signal::Dropped { n: 0, reason: LossReason::Gap };
        self.finds(&server(0, connection), dropped, None);
    }

    fn settles(&mut self, now: Nanos) {
        self.exchanges.settle(now, &mut self.told);
    }

    fn find(&self, path: &str) -> Option<&Settled> {
        let target = format!("/{path}");
        self.told
            .iter()
            .find(|s| s.exchange.request.as_ref().is_some_and(|r| r.target() == target.as_bytes()))
    }

    /// The exchange of this connection, which has been told.
    fn of(&self, connection: u64) -> &Settled {
        self.find(&connection.to_string()).unwrap_or_else(|| panic!("{connection} has not been told"))
    }

    fn is_told(&self, connection: u64) -> bool {
        self.find(&connection.to_string()).is_some()
    }

    /// Whose child it is, and how that is known; `None` for no parent, 0 for one that is not here.
    fn parent(&self, connection: u64) -> Option<(u64, LinkEvidence)> {
        let parent = self.of(connection).parent.as_ref()?;
        let of = |s: &&Settled| s.exchange.identity.span_id == parent.span_id;
        let path = self.told.iter().find(of).and_then(|s| s.exchange.request.as_ref()).map(Request::target);
        let number = path.and_then(|p| std::str::from_utf8(p).ok()?.trim_start_matches('/').parse().ok());
        assert_eq!(parent.remote, number.is_none());
        Some((number.unwrap_or(0), parent.evidence))
    }

    fn trace(&self, connection: u64) -> TraceId {
        self.of(connection).trace.id
    }

    /// A server of `FRONTEND` that makes one call, as `call` says, and what is told of the call. Both have ended.
    fn calling(mut self, served: &Ask, call: &Ask) -> Self {
        self.asks(MS, served);
        self.asks(2 * MS, call);
        self.answers(3 * MS, call.connection);
        self.answers(4 * MS, served.connection);
        self.settles(1_000 * MS);
        self
    }
}

#[test]
fn the_two_ends_of_a_wire_are_one_trace_whichever_comes_first() {
    for order in [[1, 2], [2, 1]] {
        let mut web = Web::new();
        for end in order {
            let end = if end == 1 { client(FRONTEND, 1) } else { server(PRODUCT, 2) };
            web.asks(MS, &end.wire(5));
        }
        web.answers(2 * MS, 2);
        web.answers(3 * MS, 1);
        web.settles(300 * MS);
        assert_eq!(web.parent(2), Some((1, LinkEvidence::Wire)), "{order:?}");
        assert_eq!((web.parent(1), web.trace(1)), (None, web.trace(2)), "{order:?}");
        assert_eq!(
            web.of(1).exchange.identity.span_id,
            client_span(Wire { client: 1, server: 2, request: 5 })
        );
    }
}

#[test]
fn other_wires_are_other_requests() {
    let mut web = Web::new();
    web.asks(MS, &client(FRONTEND, 1).wire(5));
    web.asks(MS, &server(PRODUCT, 2).wire(6));
    web.asks(MS, &server(PRODUCT, 3));
    web.answers_all(2 * MS, [1, 2, 3]);
    web.settles(300 * MS);
    assert_eq!([1, 2, 3].map(|c| web.parent(c)), [None; 3]);
    assert_ne!(web.trace(1), web.trace(2));
}

#[test]
fn what_the_kernel_side_saw_makes_a_parent() {
    let ladder = [
        (Evidence::Task, Some(LinkEvidence::Task)),
        (Evidence::Thread, Some(LinkEvidence::Thread)),
        (Evidence::Connect, Some(LinkEvidence::Connect)),
        (Evidence::None, None),
    ];
    for (evidence, expected) in ladder {
        let call = client(FRONTEND, 2).because(evidence, 70);
        let web = Web::new().calling(&server(FRONTEND, 1).kernel(70), &call);
        assert_eq!(web.parent(2), expected.map(|e| (1, e)), "{evidence:?}");
        assert_eq!(web.trace(2) == web.trace(1), expected.is_some());
    }
}

#[test]
fn what_does_not_fit_makes_none() {
    let served = || server(FRONTEND, 1).kernel(70);
    let cases = [
        ("another process", client(PRODUCT, 2).thread(70)),
        ("an unknown id", client(FRONTEND, 2).thread(71)),
        ("no id", client(FRONTEND, 2).thread(0)),
        ("several requests in one call", client(FRONTEND, 2).thread(70).shared()),
    ];
    for (why, call) in cases {
        assert_eq!(Web::new().calling(&served(), &call).parent(2), None, "{why}");
    }
    let several = server(FRONTEND, 1).kernel(70).shared();
    let web = Web::new().calling(&several, &client(FRONTEND, 2).thread(70));
    assert_eq!(web.parent(2), None, "requests that came in one call");
}

#[test]
fn an_id_that_stands_for_several_stands_for_none() {
    let mut web = Web::new();
    web.asks(MS, &server(FRONTEND, 3).kernel(70));
    let web = web.calling(&server(FRONTEND, 1).kernel(70), &client(FRONTEND, 2).thread(70));
    assert_eq!(web.parent(2), None);
}

#[test]
fn an_exchange_that_is_over_or_too_old_causes_nothing() {
    for (at, expected) in [(9 * MS, true), (10 * MS, true), (11 * MS, false)] {
        let mut web = Web::new();
        web.asks(MS, &server(FRONTEND, 1).kernel(70));
        web.answers(10 * MS, 1);
        web.asks(at, &client(FRONTEND, 2).thread(70));
        web.answers(at + MS, 2);
        web.exchanges.finish(&mut web.told);
        assert_eq!(web.parent(2).is_some(), expected, "at {at}");
    }
    for (age, expected) in [(MAX_AGE, true), (MAX_AGE + 1, false)] {
        let mut web = Web::new();
        web.asks(MS, &server(FRONTEND, 1).kernel(70));
        web.asks(MS + age, &client(FRONTEND, 2).thread(70));
        web.answers(MS + age, 2);
        web.answers(MS + age, 1);
        web.exchanges.finish(&mut web.told);
        assert_eq!(web.parent(2).is_some(), expected, "aged {age}");
    }
}

#[test]
fn nothing_has_more_children_than_a_trace_can_have() {
    let mut web = Web::new();
    web.asks(MS, &server(FRONTEND, 1).kernel(70));
    for n in 0..=u64::from(MAX_CHILDREN) {
        web.asks(2 * MS, &client(FRONTEND, 2 + n).thread(70));
        web.answers(3 * MS, 2 + n);
    }
    web.answers(4 * MS, 1);
    web.exchanges.finish(&mut web.told);
    let linked = web.told.iter().filter(|s| s.parent.is_some()).count();
    assert_eq!(linked, MAX_CHILDREN as usize);
}

#[test]
fn an_alias_is_the_same_exchange() {
    let mut web = Web::new();
    web.asks(MS, &server(FRONTEND, 1).kernel(70));
    web.exchanges.take(&mut Output { alias: Some((71, 1)), ..Output::default() });
    web.exchanges.take(&mut Output { alias: Some((72, 9)), ..Output::default() });
    for (connection, id) in [(2, 70), (3, 71), (4, 72)] {
        web.asks(2 * MS, &client(FRONTEND, connection).thread(id));
        web.answers(3 * MS, connection);
    }
    web.answers(4 * MS, 1);
    web.exchanges.finish(&mut web.told);
    let of_one = Some((1, LinkEvidence::Thread));
    assert_eq!([2, 3, 4].map(|c| web.parent(c)), [of_one, of_one, None]);
}

#[test]
fn a_trace_that_comes_in_a_header_is_continued() {
    let headers = format!("{T}\r\ntracestate: vendor=x");
    let served = server(FRONTEND, 1).kernel(70).says(&headers);
    let web = Web::new().calling(&served, &client(FRONTEND, 2).thread(70));
    assert_eq!(web.parent(1), Some((0, LinkEvidence::Header)));
    assert_eq!(web.of(1).parent.as_ref().map(|p| p.span_id.to_string()), Some("b7ad6b7169203331".into()));
    assert_eq!(web.parent(2), Some((1, LinkEvidence::Thread)));
    for connection in [1, 2] {
        let trace = &web.of(connection).trace;
        assert_eq!((trace.id, trace.state.as_str(), trace.sampled), (TRACE, "vendor=x", Some(true)));
    }
}

#[test]
fn a_header_that_is_handed_on_beats_the_thread() {
    for header in [T, T_FURTHER] {
        let mut web = Web::with_tracers();
        web.asks(MS, &server(FRONTEND, 3).kernel(71).says(T));
        let served = server(FRONTEND, 1).kernel(70);
        let mut web = web.calling(&served, &client(FRONTEND, 2).thread(70).says(header));
        web.answers(5 * MS, 3);
        web.settles(2_000 * MS);
        assert_eq!((web.trace(2), web.parent(2)), (TRACE, Some((3, LinkEvidence::Header))));
    }
}

#[test]
fn a_header_that_several_received_is_told_apart_by_its_parent_or_not_at_all() {
    for (headers, expected) in [([T, T_FURTHER], Some((1, LinkEvidence::Header))), ([T, T], None)] {
        let mut web = Web::new();
        web.asks(MS, &server(FRONTEND, 1).says(headers[0]));
        web.asks(MS, &server(FRONTEND, 3).says(headers[1]));
        web.asks(2 * MS, &client(FRONTEND, 2).says(T));
        web.answers_all(3 * MS, [2, 1, 3]);
        web.exchanges.finish(&mut web.told);
        let found = web.parent(2).filter(|(parent, _)| *parent != 0);
        assert_eq!((found, web.trace(2)), (expected, TRACE));
    }
    // The thread still knows which, as long as the trace agrees.
    let mut web = Web::new();
    web.asks(MS, &server(FRONTEND, 3).says(T));
    let web = web.calling(&server(FRONTEND, 1).kernel(70).says(T), &client(FRONTEND, 2).thread(70).says(T));
    assert_eq!(web.parent(2), Some((1, LinkEvidence::Thread)));
}

/// What goes on after an answer carries its own request's context, and the next request of the trace is none of its
/// business; neither is a second try that of the first, whose client gave up.
#[test]
fn a_header_of_a_request_that_is_over_is_nobody_elses() {
    for (complete, second, expected) in
        [(true, T_FURTHER, None), (false, T, None), (true, T, Some((3, LinkEvidence::Header)))]
    {
        let mut web = Web::new();
        web.asks(MS, &server(FRONTEND, 1).says(T));
        web.ends(2 * MS, 1, complete);
        web.asks(3 * MS, &server(FRONTEND, 3).says(second));
        web.asks(4 * MS, &client(FRONTEND, 2).says(T));
        web.answers_all(5 * MS, [2, 3]);
        web.exchanges.finish(&mut web.told);
        let found = web.parent(2).filter(|(parent, _)| *parent != 0);
        assert_eq!((found, web.trace(2)), (expected, TRACE), "{complete} {second}");
    }
}

#[test]
fn an_applications_own_trace_is_no_threads_business() {
    let web = Web::with_tracers()
        .calling(&server(FRONTEND, 1).kernel(70), &client(FRONTEND, 2).thread(70).says(OTHER));
    assert_eq!(web.parent(2), Some((0, LinkEvidence::Header)));
    assert_ne!(web.trace(2), web.trace(1));
    assert_eq!(web.of(1).exchange.identity.children.get(), 0);
}

#[test]
fn another_processs_header_is_not_handed_on() {
    let mut web = Web::new();
    web.asks(MS, &server(PRODUCT, 1).says(T));
    web.asks(2 * MS, &client(FRONTEND, 2).says(T));
    web.answers_all(3 * MS, [2, 1]);
    web.exchanges.finish(&mut web.told);
    assert_eq!(web.parent(2), Some((0, LinkEvidence::Header)), "a sibling by its header");
}

#[test]
fn on_the_far_side_the_wire_beats_the_header() {
    let mut web = Web::new();
    web.asks(MS, &server(FRONTEND, 1).kernel(70).says(T));
    web.asks(2 * MS, &client(FRONTEND, 2).thread(70).says(T).wire(5));
    web.asks(3 * MS, &server(PRODUCT, 3).says(T).wire(5));
    web.answers_all(4 * MS, [3, 2, 1]);
    web.settles(300 * MS);
    assert_eq!(
        web.parent(3),
        Some((2, LinkEvidence::Wire)),
        "not beside the client, which sent the header on"
    );
    assert_eq!(web.parent(2), Some((1, LinkEvidence::Header)));
    assert_eq!([1, 2, 3].map(|c| web.trace(c)), [TRACE; 3]);
}

#[test]
fn the_sampling_decision_that_came_holds_for_all_below() {
    for (header, expected) in [
        (T, Some(true)),
        (T_UNSAMPLED, Some(false)),
        ("b3: 0", Some(false)),
        ("x-b3-sampled: 1", Some(true)),
        ("a: b", None),
    ] {
        let mut web = Web::new();
        web.asks(MS, &server(FRONTEND, 1).kernel(70).says(header));
        web.asks(2 * MS, &client(FRONTEND, 2).thread(70).wire(5));
        web.asks(3 * MS, &server(PRODUCT, 3).wire(5));
        web.answers_all(4 * MS, [3, 2, 1]);
        web.settles(300 * MS);
        assert_eq!([1, 2, 3].map(|c| web.of(c).trace.sampled), [expected; 3], "{header}");
        assert_eq!([1, 2, 3].map(|c| web.trace(c)), [web.trace(1); 3]);
    }
}

#[test]
fn a_server_lies_inside_its_client() {
    for (complete, ended) in [(true, 20 * MS), (false, 25 * MS)] {
        let mut web = Web::new();
        // The send is stamped when it returns, and so is the write of the answer.
        web.asks(9 * MS, &server(PRODUCT, 2).wire(5));
        web.asks(10 * MS, &client(FRONTEND, 1).wire(5));
        web.ends(20 * MS, 1, complete);
        web.answers(25 * MS, 2);
        web.settles(400 * MS);
        assert_eq!(web.of(1).exchange.identity.started.get(), 9 * MS);
        assert_eq!(web.of(2).exchange.identity.started.get(), 9 * MS);
        assert_eq!(web.of(2).exchange.ended, ended, "a client that gave up says nothing of its server's end");
    }
}

#[test]
fn what_is_below_a_lost_exchange_belongs_to_what_is_above() {
    let mut web = Web::new();
    web.asks(MS, &server(FRONTEND, 1).kernel(70));
    web.asks(2 * MS, &client(FRONTEND, 2).thread(70).wire(5));
    web.asks(3 * MS, &server(PRODUCT, 3).wire(5).kernel(71));
    web.asks(3 * MS, &client(PRODUCT, 4).thread(71));
    web.drops(2);
    web.answers_all(4 * MS, [4, 3, 1]);
    web.settles(300 * MS);
    assert_eq!(web.parent(3), Some((1, LinkEvidence::Wire)));
    assert_eq!(web.parent(4), Some((3, LinkEvidence::Thread)));
    assert_eq!([3, 4].map(|c| web.trace(c)), [web.trace(1); 2]);
    assert_eq!(web.exchanges.losses, [Loss { kind: SpanKind::Client, reason: LossReason::Gap }]);
}

#[test]
fn what_is_below_a_lost_root_shares_its_trace() {
    for (header, expected) in [("a: b", None), (T, Some((0, LinkEvidence::Header)))] {
        let mut web = Web::new();
        web.asks(MS, &server(FRONTEND, 1).kernel(70).says(header));
        for connection in [2, 3] {
            web.asks(2 * MS, &client(FRONTEND, connection).thread(70));
            web.answers(3 * MS, connection);
        }
        web.drops(1);
        web.settles(300 * MS);
        assert_eq!([2, 3].map(|c| web.parent(c)), [expected; 2]);
        assert_eq!(web.trace(2), web.trace(3));
    }
}

#[test]
fn what_is_below_an_excluded_exchange_is_excluded() {
    let mut web = Web::new();
    web.asks(MS, &server(FRONTEND, 1).kernel(70).path("healthz"));
    web.asks(2 * MS, &client(FRONTEND, 2).thread(70).wire(5));
    web.asks(2 * MS, &server(PRODUCT, 3).wire(5));
    web.asks(2 * MS, &client(FRONTEND, 4));
    web.answers_all(4 * MS, [4, 3, 2, 1]);
    web.settles(300 * MS);
    let excluded = |c: u64| web.of(c).exchange.identity.is_excluded();
    assert!(web.find("healthz").is_some_and(|s| s.exchange.identity.is_excluded()));
    assert_eq!([2, 3, 4].map(excluded), [true, true, false]);
}

#[test]
fn a_late_child_stays_in_the_trace_of_a_parent_that_was_told() {
    let mut web = Web::new();
    web.asks(MS, &server(FRONTEND, 1).kernel(70).wire(4));
    web.asks(2 * MS, &client(FRONTEND, 2).thread(70).wire(5));
    web.answers(3 * MS, 1);
    web.settles(600 * MS);
    assert!(web.is_told(1) && !web.is_told(2));
    web.asks(700 * MS, &server(PRODUCT, 3).wire(5));
    web.answers_all(800 * MS, [3, 2]);
    web.settles(1_200 * MS);
    assert_eq!(
        (web.parent(2), web.parent(3)),
        (Some((1, LinkEvidence::Thread)), Some((2, LinkEvidence::Wire)))
    );
    assert_eq!([2, 3].map(|c| web.trace(c)), [web.trace(1); 2]);
}

#[test]
fn a_trace_that_was_told_is_not_changed() {
    let mut web = Web::new();
    // A call is over and told, while the request it was made for is still open.
    web.asks(MS, &server(FRONTEND, 1).kernel(70).wire(4));
    web.asks(2 * MS, &client(FRONTEND, 2).thread(70));
    web.answers(3 * MS, 2);
    web.settles(3 * MS + PATIENCE);
    assert!(web.is_told(2));
    // Only now the other end of that request is heard of.
    web.asks(4 * MS + PATIENCE, &client(PRODUCT, 3).wire(4).says(T));
    web.answers_all(5 * MS + PATIENCE, [1, 3]);
    web.settles(6 * MS + 2 * PATIENCE);
    assert_eq!((web.parent(1), web.trace(1)), (None, web.trace(2)), "no parent outside the trace it is in");
}

#[test]
fn a_finished_exchange_waits_for_its_open_caller_but_not_for_ever() {
    let mut web = Web::new();
    web.asks(MS, &client(FRONTEND, 1).wire(5));
    web.asks(2 * MS, &server(PRODUCT, 2).wire(5));
    web.answers(3 * MS, 2);
    web.settles(2_000 * MS);
    assert!(!web.is_told(2));
    web.answers(2_100 * MS, 1);
    web.settles(2_300 * MS);
    assert!(web.is_told(1) && web.is_told(2));

    let mut web = Web::new();
    web.asks(MS, &client(FRONTEND, 1).wire(5));
    web.asks(2 * MS, &server(PRODUCT, 2).wire(5));
    web.answers(3 * MS, 2);
    (1..20).for_each(|n| web.settles(3 * MS + n * PATIENCE / 10));
    assert!(web.is_told(2) && !web.is_told(1));
    web.settles(3 * PATIENCE);
    web.answers(3 * PATIENCE, 1);
    web.settles(4 * PATIENCE);
    assert_eq!(web.parent(2), Some((1, LinkEvidence::Wire)));
    assert_eq!(web.trace(1), web.trace(2));
}

#[test]
fn a_call_waits_until_it_is_known_who_caused_it_all() {
    let mut web = Web::new();
    web.asks(MS, &server(FRONTEND, 1).kernel(70).wire(4));
    web.asks(2 * MS, &client(FRONTEND, 2).thread(70).wire(5));
    web.answers(3 * MS, 2);
    web.settles(1_000 * MS);
    assert!(!web.is_told(2), "the other end of its root may still come");
    web.answers(1_001 * MS, 1);
    web.settles(1_100 * MS);
    assert!(!web.is_told(1) && !web.is_told(2));
    web.asks(1_101 * MS, &client(PRODUCT, 3).wire(4));
    web.answers(1_150 * MS, 3);
    web.settles(1_500 * MS);
    assert_eq!(web.parent(2), Some((1, LinkEvidence::Thread)));
    assert_eq!(web.parent(1), Some((3, LinkEvidence::Wire)));
    assert_eq!([1, 2].map(|c| web.trace(c)), [web.trace(3); 2]);
}

#[test]
fn a_chain_too_long_for_a_trace_is_cut_and_each_part_is_whole() {
    let mut web = Web::new();
    let long = 3 * MAX_DEPTH as u64;
    for n in 0..long {
        web.asks(n, &server(FRONTEND, 2 * n).kernel(1 + n).wire(n as u32));
        web.asks(n, &client(FRONTEND, 2 * n + 1).thread(1 + n).wire(n as u32 + 1));
    }
    (0..2 * long).rev().for_each(|c| web.answers(MS, c));
    web.exchanges.finish(&mut web.told);
    let roots = web.told.iter().filter(|s| s.parent.is_none()).count();
    assert_eq!((web.told.len() as u64, roots as u64), (2 * long, 2 * long / MAX_DEPTH as u64));
    for child in (0..2 * long).filter(|c| web.parent(*c).is_some()) {
        assert_eq!(web.trace(child), web.trace(child - 1), "{child}");
    }
}

#[test]
fn the_longest_chain_is_let_go_of_without_recursion() {
    let identity = |n| Rc::new(Identity::new(&Seed([1; 16]), n, 0, SpanKind::Server, 1, None));
    let chain = (1..500_000).fold(identity(0), |parent, n| {
        let child = identity(n);
        *child.link.borrow_mut() = Some(Link { parent, evidence: LinkEvidence::Wire });
        child
    });
    assert_eq!(chain.depth(), 500_000);
    drop(chain);
}

#[test]
fn no_more_is_held_than_was_said() {
    let mut web = Web::holding(3);
    (1..=3).for_each(|c| web.asks(MS, &server(FRONTEND, c)));
    web.answers(2 * MS, 1);
    web.asks(3 * MS, &server(FRONTEND, 4));
    assert_eq!(web.exchanges.losses, [Loss { kind: SpanKind::Server, reason: LossReason::TooManyPending }]);
    assert_eq!(web.exchanges.len(), 3);
    web.settles(300 * MS);
    web.asks(301 * MS, &server(FRONTEND, 5));
    assert_eq!((web.told.len(), web.exchanges.len()), (1, 3));
}

#[test]
fn ties_fade() {
    // A wire's name comes round again after 4 GiB: the same name much later is another request.
    for (age, expected) in [(60_000, true), (121_000, false)] {
        let mut web = Web::new();
        web.asks(MS, &client(FRONTEND, 1).wire(5));
        web.settles(age * MS);
        web.asks(MS + age * MS, &server(PRODUCT, 2).wire(5));
        web.answers_all(2 * MS + age * MS, [2, 1]);
        web.exchanges.finish(&mut web.told);
        assert_eq!(web.parent(2).is_some(), expected, "after {age} ms");
    }
    // So many ids that the oldest is forgotten; the next one is not.
    let mut web = Web::new();
    for n in 0..65_537 {
        web.began(MS, &server(FRONTEND, 10 + n).kernel(100 + n));
        web.answers(2 * MS, 10 + n);
    }
    assert!(web.exchanges.ties.bound(100).is_none());
    assert!(web.exchanges.ties.bound(101).is_some());
    web.settles(7_200_000 * MS);
    assert!(web.exchanges.ties.bound(65_636).is_none(), "an hour is enough");
    assert!(web.exchanges.is_empty());
}

#[test]
fn what_is_never_answered_is_given_up() {
    let mut web = Web::new();
    web.asks(MS, &server(FRONTEND, 1));
    web.asks(5 * MS, &server(FRONTEND, 2));
    web.exchanges.expire(3 * MS);
    assert_eq!(web.exchanges.losses, [Loss { kind: SpanKind::Server, reason: LossReason::ResponseMissing }]);
    assert_eq!(web.exchanges.finish(&mut web.told).len(), 1);
    assert!(web.told.is_empty());
}

#[test]
fn an_exchange_of_which_only_the_response_was_seen_is_counted_once() {
    let mut web = Web::new();
    for reason in [LossReason::RequestMissing, LossReason::RequestDropped, LossReason::Gap] {
        let lost = Signal::Lost { direction: Direction::Response, reason };
        web.finds(&client(FRONTEND, 1), lost, None);
    }
    assert_eq!(web.exchanges.losses, [Loss { kind: SpanKind::Client, reason: LossReason::RequestMissing }]);
}

#[test]
fn what_is_open_at_the_end_is_nobodys_parent() {
    let mut web = Web::new();
    web.asks(MS, &server(FRONTEND, 1).kernel(70));
    web.asks(2 * MS, &client(FRONTEND, 2).thread(70).wire(5));
    web.asks(3 * MS, &server(PRODUCT, 3).wire(5));
    web.answers_all(4 * MS, [3, 1]);
    assert_eq!(web.exchanges.finish(&mut web.told).len(), 1);
    assert_eq!((web.parent(3), web.trace(3)), (Some((1, LinkEvidence::Wire)), web.trace(1)));
}

#[test]
fn a_parent_that_was_told_of_becomes_a_span_though_its_end_is_missed() {
    for at_the_end in [false, true] {
        let mut web = Web::new();
        web.asks(MS, &server(FRONTEND, 1).kernel(70));
        web.asks(2 * MS, &client(FRONTEND, 2).thread(70).wire(5));
        web.asks(3 * MS, &server(PRODUCT, 3).wire(5));
        web.asks(4 * MS, &client(FRONTEND, 4).thread(70));
        web.answers(9 * MS, 3);
        (0..30).for_each(|n| web.settles(n * PATIENCE / 10));
        assert!(web.is_told(3));
        if !at_the_end {
            [1, 2, 4].into_iter().for_each(|connection| web.drops(connection));
            web.settles(4 * PATIENCE);
            assert_eq!(web.exchanges.losses, [Loss { kind: SpanKind::Client, reason: LossReason::Gap }]);
        }
        assert_eq!(web.exchanges.finish(&mut web.told).len(), usize::from(at_the_end));
        assert_eq!(web.told.len(), 3, "nobody was told of the fourth");
        assert_eq!(web.parent(2), Some((1, LinkEvidence::Thread)));
        for connection in [1, 2] {
            let exchange = &web.of(connection).exchange;
            assert!(exchange.unseen && exchange.ended == 9 * MS, "{exchange:?}");
        }
    }
}

#[test]
fn what_threads_and_tasks_seemed_to_prove_is_taken_back() {
    let mut web = Web::new();
    for (connection, tgid, id) in [(1, FRONTEND, 70), (11, PRODUCT, 80)] {
        web.asks(MS, &server(tgid, connection).kernel(id));
        web.asks(2 * MS, &client(tgid, connection + 1).thread(id));
        web.asks(2 * MS, &client(tgid, connection + 2).because(Evidence::Task, id));
        web.answers_all(3 * MS, [connection + 1, connection + 2]);
    }
    web.exchanges.distrust(FRONTEND);
    web.answers_all(4 * MS, [1, 11]);
    web.settles(1_000 * MS);
    let (task, thread) = (LinkEvidence::Task, LinkEvidence::Thread);
    assert_eq!([2, 3].map(|c| web.parent(c)), [None, None]);
    assert_eq!([12, 13].map(|c| web.parent(c)), [Some((11, thread)), Some((11, task))], "another process");
}

#[test]
fn what_was_told_is_not_taken_back() {
    let mut web = Web::new();
    web.asks(MS, &server(FRONTEND, 1).kernel(70));
    web.asks(2 * MS, &client(FRONTEND, 2).thread(70).wire(5));
    web.asks(2 * MS, &server(PRODUCT, 3).wire(5));
    web.answers(3 * MS, 3);
    // The far side is told after its patience, before its caller.
    (0..30).for_each(|n| web.settles(n * PATIENCE / 10));
    assert!(web.is_told(3));
    web.exchanges.distrust(FRONTEND);
    web.answers_all(3 * PATIENCE, [2, 1]);
    web.settles(5 * PATIENCE);
    assert_eq!(web.parent(2), Some((1, LinkEvidence::Thread)));
    assert_eq!([2, 3].map(|c| web.trace(c)), [web.trace(1); 2]);
}

#[test]
fn ids_are_the_same_for_the_same_seed_and_no_others() {
    let ids = |seed: u8| {
        let identity = Rc::new(Identity::new(&Seed([seed; 16]), 3, 4, SpanKind::Server, 1, None));
        (identity.span_id, identity.trace().id)
    };
    assert_eq!(ids(1), ids(1));
    assert_ne!(ids(1).0, ids(2).0);
    assert_ne!(ids(1).1, ids(2).1);
}
