//! Sockets as the kernel side tells of them, call by call, and the findings that must come of it.

use super::*;

const MINE: u32 = 1_000;
const THEIRS: u32 = 9_000;

/// A socket as the kernel side tells of it, call by call.
struct Socket {
    data: Data,
    next: [u32; 2],
}

impl Socket {
    fn new(role: Role) -> Self {
        let mut data: Data = bytemuck::Zeroable::zeroed();
        (data.role, data.family, data.tgid) = (role as u8, Family::Inet as u8, 7);
        (data.socket, data.generation) = (0x1000, 1);
        data.flags = flag::WIRE | flag::SEQUENCE;
        (data.local_base, data.peer_base) = (MINE, THEIRS);
        (data.local, data.local_port) = ([127, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], 8080);
        (data.peer, data.peer_port) = ([10, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], 40_000);
        Self { data, next: [MINE, THEIRS] }
    }

    fn based(role: Role, mine: u32, theirs: u32) -> Self {
        let mut socket = Self::new(role);
        (socket.data.local_base, socket.data.peer_base) = (mine, theirs);
        socket.next = [mine, theirs];
        socket
    }

    fn at(mut self, socket: u64, generation: u64) -> Self {
        (self.data.socket, self.data.generation) = (socket, generation);
        self
    }
}

/// Connections, and what came of the last event.
struct Play {
    connections: Connections,
    out: Output,
    now: Nanos,
}

impl Play {
    fn new() -> Self {
        Self::with(Limits::default(), 100)
    }

    fn with(limits: Limits, most: usize) -> Self {
        Self { connections: Connections::new(limits, most), out: Output::default(), now: 1_000 }
    }

    /// A call that moved `length` bytes, the first of which are `text`.
    fn moves(&mut self, socket: &mut Socket, way: Way, flags: u16, text: &str, length: u32) {
        self.now += 10;
        let mut data = socket.data;
        (data.kind, data.direction, data.at) = (EventKind::Data as u8, way as u8, self.now);
        data.flags |= flags;
        data.length = length;
        data.position = socket.next[way as usize];
        socket.next[way as usize] = data.position.wrapping_add(length);
        let head = Bytes::copy_from_slice(text.as_bytes());
        self.out = Output::default();
        self.connections.take(EventKind::Data, &data, head, Bytes::new(), &mut self.out);
    }

    fn says(&mut self, socket: &mut Socket, way: Way, flags: u16, text: &str) {
        self.moves(socket, way, flags, text, text.len() as u32);
    }

    /// A request that the kernel side recognised as exchange `id`.
    fn asks(&mut self, socket: &mut Socket, way: Way, id: u64, text: &str) {
        socket.data.exchange = id;
        self.says(socket, way, flag::STARTS_MESSAGE | flag::STARTS_EXCHANGE, text);
    }

    fn turns(&mut self, socket: &Socket, kind: EventKind, state: u8) {
        self.now += 10;
        let mut data = socket.data;
        (data.kind, data.state, data.at) = (kind as u8, state, self.now);
        let way = if kind == EventKind::EndOfStream { Way::Receive } else { Way::Send };
        data.position = socket.next[way as usize];
        self.out = Output::default();
        self.connections.take(kind, &data, Bytes::new(), Bytes::new(), &mut self.out);
    }

    fn waits(&mut self, time: Nanos) {
        self.now += time;
        self.out = Output::default();
        self.connections.tick(self.now, IDLE, &mut self.out);
    }

    /// What came of it, in short.
    fn told(&self) -> String {
        let told: Vec<String> = self.out.findings.iter().map(|f| short(&f.signal)).collect();
        told.join(", ")
    }

    fn origin(&self) -> Origin {
        self.out.findings.iter().find_map(|f| f.origin).unwrap()
    }
}

fn short(signal: &Signal) -> String {
    match signal {
        Signal::RequestBegan { n, .. } => format!("{n}:began"),
        Signal::RequestHead { n, head } => format!("{n}:{}", String::from_utf8_lossy(&head.target)),
        Signal::RequestEnded { n, .. } => format!("{n}:sent"),
        Signal::ResponseBegan { n, .. } => format!("{n}:answer"),
        Signal::ResponseHead { n, head } => format!("{n}:{}", head.status),
        Signal::Informational { n, status } => format!("{n}:info {status}"),
        Signal::ResponseEnded { n, body, complete, .. } => {
            format!("{n}:{} {:?}", if *complete { "done" } else { "broken" }, body.size)
        }
        Signal::Switched { n, .. } => format!("{n}:switched"),
        Signal::Dropped { n, reason } => format!("{n}:dropped {}", reason.name()),
        Signal::Lost { reason, .. } => format!("lost {}", reason.name()),
    }
}

/// A connection is forgotten after so long a silence.
const IDLE: Nanos = 3_600_000_000_000;

const GET: &str = "GET /a HTTP/1.1\r\nHost: h\r\n\r\n";
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const ASKED: &str = "0:began, 0:/a, 0:sent";
const ANSWERED: &str = "0:answer, 0:200, 0:done Some(2)";
const BOTH: u16 = flag::STARTS_MESSAGE | flag::STARTS_EXCHANGE;

fn endpoint(text: &str) -> Option<Endpoint> {
    text.parse::<SocketAddr>().ok().map(Endpoint::from)
}

#[test]
fn a_server_receives_requests_and_a_client_sends_them() {
    for (role, asks, answers) in
        [(Role::Server, Way::Receive, Way::Send), (Role::Client, Way::Send, Way::Receive)]
    {
        let (mut play, mut socket) = (Play::new(), Socket::new(role));
        (socket.data.parent, socket.data.evidence) = (5, Evidence::Thread as u8);
        play.asks(&mut socket, asks, 3, GET);
        assert_eq!(play.told(), ASKED, "{role:?}");
        let finding = &play.out.findings[0];
        assert_eq!((finding.role, finding.tgid, finding.connection), (role, 7, 1));
        assert_eq!(finding.endpoints.local, endpoint("127.0.0.1:8080"));
        assert_eq!(finding.endpoints.peer, endpoint("10.0.0.9:40000"));
        let origin = play.origin();
        assert_eq!((origin.exchange, origin.parent, origin.evidence), (3, 5, Evidence::Thread));
        assert!(!origin.shared);
        play.says(&mut socket, answers, flag::STARTS_MESSAGE, OK);
        assert_eq!(play.told(), ANSWERED, "{role:?}");
    }
}

#[test]
fn both_ends_of_a_connection_name_its_requests_alike() {
    let mut play = Play::new();
    let mut client = Socket::new(Role::Client);
    let mut server = Socket::based(Role::Server, THEIRS, MINE).at(0x2000, 2);
    for n in 0..2 {
        play.asks(&mut client, Way::Send, 1 + n, GET);
        let sent = play.origin().wire;
        play.asks(&mut server, Way::Receive, 5 + n, GET);
        assert_eq!(play.origin().wire, sent);
        assert_eq!(sent.map(|w| w.request), Some(MINE + n as u32 * GET.len() as u32));
        play.says(&mut server, Way::Send, flag::STARTS_MESSAGE, OK);
        play.says(&mut client, Way::Receive, flag::STARTS_MESSAGE, OK);
    }
}

#[test]
fn positions_go_on_when_sequence_numbers_wrap() {
    let (mut play, mut socket) = (Play::new(), Socket::based(Role::Server, 0xffff_ffd0, 0xffff_fff8));
    for n in 0..8 {
        play.asks(&mut socket, Way::Receive, 1 + n, GET);
        assert_eq!(play.told(), ASKED.replace("0:", &format!("{n}:")));
        play.says(&mut socket, Way::Send, flag::STARTS_MESSAGE, OK);
        assert_eq!(play.told(), ANSWERED.replace("0:", &format!("{n}:")));
    }
    assert!(socket.next[1] < 0x1000 && socket.next[0] < 0x1000, "both have wrapped");
}

#[test]
fn a_body_of_more_than_4_gib_is_counted_to_its_end() {
    let (mut play, mut socket) = (Play::new(), Socket::new(Role::Server));
    play.asks(&mut socket, Way::Receive, 1, GET);
    let length = 5u64 << 30;
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n");
    play.says(&mut socket, Way::Send, flag::STARTS_MESSAGE, &head);
    for _ in 0..5 {
        assert_ne!(play.told(), format!("0:done Some({length})"));
        play.moves(&mut socket, Way::Send, 0, "", 1 << 30);
    }
    assert_eq!(play.told(), format!("0:done Some({length})"));
}

#[test]
fn only_large_bodies_are_worth_a_wish() {
    let head = |length: u64| format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n");
    for (length, worth) in [(2_000, false), (60_000, false), (1 << 20, true)] {
        let (mut play, mut socket) = (Play::new(), Socket::new(Role::Server));
        play.asks(&mut socket, Way::Receive, 1, GET);
        assert!(play.out.wishes.is_empty());
        play.says(&mut socket, Way::Send, flag::STARTS_MESSAGE, &head(length));
        let position = socket.next[0].wrapping_add(length as u32);
        let wish = Wish::Skip { socket: 0x1000, generation: 1, way: Way::Send, position };
        assert_eq!(play.out.wishes, if worth { vec![wish] } else { vec![] }, "{length}");
        play.moves(&mut socket, Way::Send, 0, "", 1_000);
        assert!(play.out.wishes.is_empty(), "told once");
        // Then silence up to the end.
        play.moves(&mut socket, Way::Send, 0, "", length as u32 - 1_000);
        assert_eq!(play.told(), format!("0:done Some({length})"));
        play.turns(&socket, EventKind::Closed, TCP_CLOSE);
        play.waits(2 * LINGER);
        let forget = Wish::Forget { socket: 0x1000 };
        assert_eq!(play.out.wishes, if worth { vec![forget] } else { vec![] });
    }
}

#[test]
fn a_wish_reaches_no_further_than_32_bits_can_order() {
    let (mut play, mut socket) = (Play::new(), Socket::new(Role::Server));
    play.asks(&mut socket, Way::Receive, 1, GET);
    let start = socket.next[0];
    play.says(&mut socket, Way::Send, flag::STARTS_MESSAGE, "HTTP/1.0 200 OK\r\n\r\n");
    let skip = |position| Wish::Skip { socket: 0x1000, generation: 1, way: Way::Send, position };
    assert_eq!(play.out.wishes, [skip(start + SKIP_AHEAD as u32)], "to the end of the connection");
    play.moves(&mut socket, Way::Send, 0, "", 1 << 30);
    let last = socket.next[0] - (1 << 30);
    play.moves(&mut socket, Way::Send, 0, "", 1 << 30);
    assert_eq!(play.out.wishes, [skip(last.wrapping_add(1 << 30).wrapping_add(SKIP_AHEAD as u32))]);
}

#[test]
fn what_is_http_no_more_is_ignored() {
    let upgrade = "GET /a HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n";
    let switching = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n";
    let tunnel = "CONNECT h:443 HTTP/1.1\r\nHost: h:443\r\n\r\n";
    let granted = "HTTP/1.1 200 OK\r\n\r\n";
    let ignore = Wish::Ignore { socket: 0x1000, generation: 1 };
    for (request, response) in [(upgrade, switching), (tunnel, granted)] {
        let (mut play, mut socket) = (Play::new(), Socket::new(Role::Server));
        play.asks(&mut socket, Way::Receive, 1, request);
        assert!(play.out.wishes.is_empty());
        play.says(&mut socket, Way::Send, flag::STARTS_MESSAGE, response);
        assert!(play.told().ends_with("0:done Some(0), 0:switched"), "{}", play.told());
        assert_eq!(play.out.wishes.first(), Some(&ignore));
        play.says(&mut socket, Way::Receive, 0, "\u{1}\u{2}binary");
        assert_eq!(play.told(), "");
    }
}

#[test]
fn the_next_socket_at_an_address_is_another_connection() {
    let mut play = Play::new();
    let (mut old, mut new) = (Socket::new(Role::Server), Socket::new(Role::Server).at(0x1000, 2));
    play.asks(&mut old, Way::Receive, 1, GET);
    play.asks(&mut new, Way::Receive, 2, "GET /b HTTP/1.1\r\n\r\n");
    assert_eq!(play.told(), "0:began, 0:/b, 0:sent");
    assert_eq!(play.out.findings[0].connection, 2);
    assert_eq!(play.connections.len(), 2);
    play.says(&mut old, Way::Send, flag::STARTS_MESSAGE, OK);
    assert_eq!((play.told().as_str(), play.out.findings[0].connection), (ANSWERED, 1));
    play.turns(&old, EventKind::Closed, TCP_CLOSE);
    play.waits(2 * LINGER);
    assert_eq!(play.connections.len(), 1, "the old one is closed, not the new one");
}

#[test]
fn the_least_recently_used_connection_makes_room() {
    let mut play = Play::with(Limits::default(), 3);
    let mut sockets: Vec<Socket> = (0..4).map(|n| Socket::new(Role::Server).at(0x1000 + n, 1)).collect();
    for (n, socket) in sockets.iter_mut().take(3).enumerate() {
        play.asks(socket, Way::Receive, 1 + n as u64, GET);
    }
    play.says(&mut sockets[0], Way::Send, flag::STARTS_MESSAGE, OK);
    play.asks(&mut sockets[3], Way::Receive, 9, GET);
    let told: Vec<_> = play.out.findings.iter().map(|f| (f.connection, short(&f.signal))).collect();
    assert_eq!(told[0], (2, "0:dropped too_many_pending".into()), "the second was used least recently");
    assert_eq!(told[1], (4, "0:began".into()));
    assert_eq!(play.connections.len(), 3);
}

#[test]
fn what_a_released_process_had_open_is_given_up_and_nothing_else() {
    let mut play = Play::new();
    let (mut mine, mut other) = (Socket::new(Role::Server), Socket::new(Role::Server).at(0x2000, 1));
    other.data.tgid = 8;
    play.asks(&mut mine, Way::Receive, 1, GET);
    play.asks(&mut other, Way::Receive, 2, GET);
    play.out = Output::default();
    play.connections.release(7, &mut play.out);
    assert_eq!((play.told().as_str(), play.connections.len()), ("0:dropped released", 1));
    play.says(&mut other, Way::Send, flag::STARTS_MESSAGE, OK);
    assert_eq!(play.told(), ANSWERED, "the other goes on");
}

#[test]
fn silence_is_no_end() {
    for started in [false, true] {
        let (mut play, mut server) = (Play::new(), Socket::new(Role::Server));
        play.asks(&mut server, Way::Receive, 1, GET);
        if started {
            let half = "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf";
            play.says(&mut server, Way::Send, flag::STARTS_MESSAGE, half);
        }
        play.told();
        play.waits(2 * IDLE);
        assert_eq!((play.told().as_str(), play.connections.len()), ("0:dropped response_missing", 0));
    }
}

#[test]
fn what_had_arrived_is_read_after_the_close() {
    let (mut play, mut client) = (Play::new(), Socket::new(Role::Client));
    play.asks(&mut client, Way::Send, 1, GET);
    play.says(
        &mut client,
        Way::Receive,
        flag::STARTS_MESSAGE,
        "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n",
    );
    // The state changes in the middle of what another process does.
    let mut closed = Socket::new(Role::Client);
    closed.data.tgid = 99;
    play.turns(&closed, EventKind::Closed, TCP_CLOSE);
    assert_eq!(play.told(), "");
    play.waits(LINGER / 2);
    assert_eq!(play.told(), "");
    play.says(&mut client, Way::Receive, 0, "body");
    assert_eq!(play.told(), "0:done Some(4)");
    assert_eq!(play.out.findings[0].tgid, 7);
    play.waits(2 * LINGER);
    assert!(play.connections.is_empty());
}

#[test]
fn a_close_does_not_change_whose_connection_it_is() {
    let (mut play, mut server) = (Play::new(), Socket::new(Role::Server));
    play.asks(&mut server, Way::Receive, 1, GET);
    server.data.tgid = 99;
    play.turns(&server, EventKind::Closed, TCP_CLOSE);
    play.waits(2 * LINGER);
    assert_eq!(play.told(), "0:broken None", "aborted");
    assert_eq!(play.out.findings[0].tgid, 7);
}

#[test]
fn a_body_without_a_length_ends_with_the_stream() {
    let (mut play, mut client) = (Play::new(), Socket::new(Role::Client));
    play.asks(&mut client, Way::Send, 1, GET);
    play.says(&mut client, Way::Receive, flag::STARTS_MESSAGE, "HTTP/1.0 200 OK\r\n\r\nabc");
    play.turns(&client, EventKind::EndOfStream, 0);
    assert_eq!(play.told(), "0:done Some(3)");

    let (mut play, mut server) = (Play::new(), Socket::new(Role::Server));
    play.asks(&mut server, Way::Receive, 1, GET);
    play.says(&mut server, Way::Send, flag::STARTS_MESSAGE, "HTTP/1.0 200 OK\r\n\r\nabc");
    // FIN_WAIT1: this end has sent all it wants to send.
    play.turns(&server, EventKind::Closed, 4);
    assert_eq!(play.told(), "0:done Some(3)");
}

#[test]
fn an_end_counts_what_passed_untold_before_it() {
    let (mut play, mut client) = (Play::new(), Socket::new(Role::Client));
    play.asks(&mut client, Way::Send, 1, GET);
    play.says(&mut client, Way::Receive, flag::STARTS_MESSAGE, "HTTP/1.0 200 OK\r\n\r\nabc");
    client.next[Way::Receive as usize] += 1_000;
    play.turns(&client, EventKind::EndOfStream, 0);
    assert_eq!(play.told(), "0:done Some(1003)");
}

#[test]
fn requests_that_share_a_call_share_what_is_known_of_it() {
    let (mut play, mut server) = (Play::new(), Socket::new(Role::Server));
    let two = format!("{GET}{}", GET.replace("/a", "/b"));
    play.asks(&mut server, Way::Receive, 1, &two);
    assert_eq!(play.told(), "0:began, 0:/a, 0:sent, 1:began, 1:/b, 1:sent");
    let origins: Vec<Origin> = play.out.findings.iter().filter_map(|f| f.origin).collect();
    assert!(origins.iter().all(|o| o.shared && o.exchange == 1));
    assert_ne!(origins[0].wire, origins[1].wire, "the wire tells them apart");
    assert_eq!(play.out.alias, None);
}

#[test]
fn a_request_that_begins_inside_a_call_is_not_the_one_the_kernel_side_saw() {
    // The end of one request and the beginning of the next in one call; what is a body to us looked like a
    // request to the kernel side.
    let (mut play, mut server) = (Play::new(), Socket::new(Role::Server));
    play.asks(&mut server, Way::Receive, 1, "POST /a HTTP/1.1\r\nContent-Length: 6\r\n\r\n");
    play.asks(&mut server, Way::Receive, 2, &format!("GET /x{GET}"));
    assert_eq!(play.told(), "0:sent, 1:began, 1:/a, 1:sent");
    assert!(play.origin().shared);
    // The same, but the kernel side saw no beginning.
    let (mut play, mut server) = (Play::new(), Socket::new(Role::Server));
    play.asks(&mut server, Way::Receive, 1, "POST /a HTTP/1.1\r\nContent-Length: 6\r\n\r\n");
    play.says(&mut server, Way::Receive, 0, &format!("body..{GET}"));
    assert_eq!(play.told(), "0:sent, 1:began, 1:/a, 1:sent");
    assert!(play.origin().shared);
}

#[test]
fn the_middle_of_a_request_that_looked_like_a_beginning_is_an_alias() {
    let (mut play, mut server) = (Play::new(), Socket::new(Role::Server));
    play.asks(&mut server, Way::Receive, 1, "POST /a HTTP/1.1\r\nContent-Length: 9\r\n\r\n");
    assert_eq!(play.out.alias, None);
    play.asks(&mut server, Way::Receive, 2, "GET /body");
    assert_eq!((play.told().as_str(), play.out.alias), ("0:sent", Some((2, 1))));
}

#[test]
fn a_request_that_is_passed_over_is_no_alias_of_the_one_before() {
    let limits = Limits { pending: 1, ..Limits::default() };
    let (mut play, mut server) = (Play::with(limits, 100), Socket::new(Role::Server));
    play.asks(&mut server, Way::Receive, 1, GET);
    play.asks(&mut server, Way::Receive, 2, GET);
    assert_eq!((play.told().as_str(), play.out.alias), ("lost too_many_pending", None));
}

#[test]
fn a_request_may_come_byte_by_byte_from_its_first() {
    let (mut play, mut server) = (Play::new(), Socket::new(Role::Server));
    play.asks(&mut server, Way::Receive, 1, "G");
    assert_eq!(play.told(), "0:began");
    assert_eq!((play.origin().exchange, play.origin().shared), (1, false));
    for byte in GET.get(1..GET.len() - 1).unwrap().chars() {
        play.says(&mut server, Way::Receive, 0, &byte.to_string());
        assert_eq!(play.told(), "");
    }
    play.says(&mut server, Way::Receive, 0, "\n");
    assert_eq!(play.told(), "0:/a, 0:sent");
    play.says(&mut server, Way::Send, flag::STARTS_MESSAGE, OK);
    assert_eq!(play.told(), ANSWERED);
}

#[test]
fn bytes_lost_before_the_first_answer_are_noticed() {
    let (mut play, mut server) = (Play::new(), Socket::new(Role::Server));
    play.asks(&mut server, Way::Receive, 1, GET);
    // The answer passed unseen; what is seen belongs to the next one.
    server.next[0] += OK.len() as u32;
    play.says(&mut server, Way::Send, flag::STARTS_MESSAGE, OK);
    assert!(!play.told().contains("done"), "{}", play.told());
}

#[test]
fn a_connection_that_is_older_than_the_agent_is_adopted() {
    let (mut play, mut server) = (Play::new(), Socket::new(Role::Server));
    server.next = [MINE + 12_345, THEIRS + 777];
    play.asks(&mut server, Way::Receive, 1, GET);
    assert_eq!(play.told(), ASKED);
    play.says(&mut server, Way::Send, flag::STARTS_MESSAGE, OK);
    assert_eq!(play.told(), ANSWERED);
}

#[test]
fn a_socket_that_changes_its_role_is_begun_anew() {
    let (mut play, mut socket) = (Play::new(), Socket::new(Role::Server));
    play.asks(&mut socket, Way::Receive, 1, GET);
    socket.data.role = Role::Client as u8;
    play.asks(&mut socket, Way::Send, 2, GET);
    assert_eq!(play.told(), format!("0:dropped ambiguous, {ASKED}"));
    assert_eq!((play.out.findings[0].role, play.out.findings[1].role), (Role::Server, Role::Client));
    assert_eq!(play.connections.len(), 1);
}

#[test]
fn silence_and_turns_of_unknown_connections_hold_nothing() {
    let (mut play, mut socket) = (Play::new(), Socket::new(Role::Server));
    play.turns(&socket, EventKind::EndOfStream, 0);
    play.turns(&socket, EventKind::Closed, TCP_CLOSE);
    assert!(play.connections.is_empty());
    play.asks(&mut socket, Way::Receive, 1, GET);
    play.says(&mut socket, Way::Send, BOTH & !flag::STARTS_EXCHANGE, OK);
    play.waits(IDLE + LINGER);
    assert_eq!(play.told(), "");
    assert!(play.connections.is_empty());
}
