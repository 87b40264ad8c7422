//! Spans begin and end when the kernel moved the bytes: compared to ftrace's account of the same system calls.
//!
//! In: requests to a Node.js service that calls another, one at a time. Out: for the four ends of both spans the median
//! distance, by probe mode.

use std::{path::Path, thread, time::Duration};

use nix::time::{ClockId, clock_gettime};
use sockspan_tests::{
    agent::Launch,
    ftrace::{Call, Ftrace, Way},
    given::modes,
    load::{self, Load},
    runtimes::{
        leaf::Leaf,
        route::{LEAF, MID},
    },
    services::{Application, Program, Service, free_port},
    span::{Kind, Span},
    stage::Stage,
};

/// The farthest that the median may be, in microseconds.
const MEDIAN_US: u64 = 100;
const REQUESTS: usize = 100;
/// No head of a message is shorter: what is moved beside is a byte or eight that wake somebody.
const SHORTEST: i64 = 40;

/// The four ends, in nanoseconds of one clock.
#[derive(Clone, Copy, Debug, Default)]
struct Ends {
    server_start: u64,
    client_start: u64,
    client_end: u64,
    server_end: u64,
}

impl Ends {
    fn all(self) -> [(&'static str, u64); 4] {
        [
            ("SERVER start", self.server_start),
            ("CLIENT start", self.client_start),
            ("CLIENT end", self.client_end),
            ("SERVER end", self.server_end),
        ]
    }
}

/// Nanoseconds from the monotonic clock to the Unix epoch's.
fn to_epoch() -> u64 {
    let read = |clock| {
        let time = clock_gettime(clock).expect("these clocks exist");
        u64::try_from(time.tv_sec() * 1_000_000_000 + time.tv_nsec()).expect("a time since the epoch")
    };
    read(ClockId::CLOCK_REALTIME) - read(ClockId::CLOCK_MONOTONIC)
}

/// What the kernel says of each request: the service reads it, writes its call, reads the answer, and writes its own.
fn by_kernel(calls: &[Call], epoch: u64) -> Vec<Ends> {
    let messages: Vec<_> = calls.iter().filter(|call| call.result >= SHORTEST).collect();
    let steps = [Way::Read, Way::Write, Way::Read, Way::Write];
    let requests = messages.chunks_exact(steps.len());
    requests
        .map(|request| {
            assert!(
                request.iter().zip(steps).all(|(call, way)| call.way == way)
                    && request[0].descriptor == request[3].descriptor
                    && request[1].descriptor == request[2].descriptor,
                "one request after the other reads, asks, reads, answers: {request:#?}"
            );
            Ends {
                server_start: request[0].exit + epoch,
                client_start: request[1].enter + epoch,
                client_end: request[2].exit + epoch,
                server_end: request[3].exit + epoch,
            }
        })
        .collect()
}

/// What the spans say, request by request.
fn by_spans(spans: &[Span], ids: &[String]) -> Vec<Ends> {
    let find = |kind, path: &str| {
        let found = spans.iter().find(|s| s.kind == kind && s.service() == MID && s.path() == path);
        found.unwrap_or_else(|| panic!("no {kind:?} span of {path}"))
    };
    let ends = |id: &String| {
        let server = find(Kind::Server, &format!("/one/{id}"));
        let client = find(Kind::Client, &format!("/leaf/{id}/0"));
        Ends {
            server_start: server.start,
            client_start: client.start,
            client_end: client.end,
            server_end: server.end,
        }
    };
    ids.iter().map(ends).collect()
}

#[test]
fn spans_begin_and_end_with_their_system_calls() {
    let leaf = Leaf::start(Path::new(env!("CARGO_BIN_EXE_fidelity")));
    let environment = [
        ("NEXT", format!("http://127.0.0.1:{}", leaf.port)),
        ("KEEPALIVE", "1".to_owned()),
        ("OTEL_SERVICE_NAME", MID.to_owned()),
    ];
    let mid = Service::start(&Program::find(Application::Runtimes, "node"), free_port(), &environment);
    for mode in modes() {
        let stage = Stage::start(Launch::run(mode).pids(&[mid.pid(), leaf.pid()]));
        let connections = Load::get(mid.port, "/one/{}");
        // Both connections are there, and what is compiled at first use.
        let before = connections.run(20).len();
        thread::sleep(Duration::from_millis(50));
        let ftrace = Ftrace::start(&[mid.pid()]);
        let answers = connections.run(REQUESTS);
        let (calls, epoch) = (ftrace.calls(), to_epoch());
        drop(ftrace);
        assert_eq!(load::count(&answers, 200), REQUESTS, "each request is answered");
        let spans = stage.spans((before + REQUESTS) * 3);
        assert!(spans.iter().any(|span| span.service() == LEAF), "the leaf is traced too");
        let ids: Vec<_> = answers.into_iter().map(|answer| answer.id).collect();
        compare(&mode.to_string(), &by_kernel(&calls, epoch), &by_spans(&spans, &ids));
        stage.stop();
    }
}

/// Prints the medians, and asserts that they are near.
fn compare(mode: &str, kernel: &[Ends], spans: &[Ends]) {
    assert_eq!(kernel.len(), spans.len(), "the kernel saw each request");
    let mut lines = Vec::new();
    let mut far = false;
    for end in 0..4 {
        let mut distances: Vec<_> = kernel
            .iter()
            .zip(spans)
            .map(|(kernel, span)| kernel.all()[end].1.abs_diff(span.all()[end].1))
            .collect();
        distances.sort_unstable();
        let (median, most) = (distances[distances.len() / 2], distances[distances.len() - 1]);
        far |= median > MEDIAN_US * 1_000;
        let name = Ends::default().all()[end].0;
        lines.push(format!("{name} {:.1} us ({:.1} at most)", median as f64 / 1e3, most as f64 / 1e3));
    }
    println!("{mode}, median distance to ftrace: {}", lines.join(", "));
    assert!(!far, "{mode}: a median is farther than {MEDIAN_US} us: {}", lines.join(", "));
}
