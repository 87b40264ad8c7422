//! What arrives is what happened: every request's spans, each with the right parent, in both probe modes.
//!
//! In: the sample application and its variants, requests of which everything is known. Out: verdicts; each test prints
//! what it measured.

use std::{
    process::Command,
    thread,
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;
use sockspan_tests::{
    agent::Launch,
    child::Running,
    given::{self, Mode, modes},
    http,
    judge::{self, Request, Verdict, shape::shapes},
    load::{self, Answer, Load},
    netns::Netns,
    programs::Program,
    reset::Resets,
    services::{Behaviour, Shop},
    shop,
    span::{Kind, Span},
    stage::{Stage, stop_all, together},
    wait_until,
};

/// The least share of SERVER spans that lie within their CLIENT.
const NESTED: f64 = 0.995;

/// Nothing missing, nothing wrong, nothing more.
fn assert_perfect(what: &str, verdict: &Verdict) {
    println!("{what}: {verdict}");
    assert!(verdict.is_perfect(), "{what}: {verdict}");
    assert!(verdict.inside_share() >= NESTED, "{what}: {verdict}");
}

/// Checkouts of the variants, one after the other and at the same time.
fn checkouts(mode: Mode, what: &str, stage: &Stage, shop: &Shop, amounts: &[(usize, usize)]) {
    for (total, concurrency) in amounts {
        let started = Instant::now();
        let answers = Load::post(shop.frontend.port, "/checkout/{}").at(*concurrency).run(*total);
        let took = started.elapsed().as_secs_f64();
        let verdict = stage.judge(&shop::expect(&answers, shop::checkout));
        let failed = load::count(&answers, 500);
        let what = format!("{mode}, {what}, {total} at {concurrency} ({failed} failed, {took:.1} s)");
        assert_perfect(&what, &verdict);
    }
}

const ALL: [(usize, usize); 3] = [(200, 1), (500, 10), (500, 50)];

#[test]
fn variants_with_errors() {
    let shop = Shop::three(&Behaviour { errors: true, ..Behaviour::default() });
    for mode in modes() {
        let stage = Stage::trace(mode, &shop.pids());
        println!("{mode}: ready after {:?}", stage.agent.ready_after);
        checkouts(mode, "axios as it comes", &stage, &shop, &ALL);
        println!("{mode}: {}", stage.drops());
        stage.stop();
    }
}

#[test]
fn connections_kept_and_not_kept() {
    for keep_alive in [false, true] {
        let shop = Shop::three(&Behaviour { keep_alive: Some(keep_alive), ..Behaviour::default() });
        for mode in modes() {
            let stage = Stage::trace(mode, &shop.pids());
            checkouts(mode, &format!("KEEPALIVE={}", u8::from(keep_alive)), &stage, &shop, &ALL[1..]);
            stage.stop();
        }
    }
}

/// Addresses and ports of connections come back within seconds; identities must not.
#[test]
fn few_ephemeral_ports() {
    let network = Netns::new().with_ports(40_000, 200);
    let behaviour =
        Behaviour { keep_alive: Some(false), ports: Some([8080, 8081, 8082]), ..Behaviour::default() };
    let shop = network.enter(|| Shop::three(&behaviour));
    for mode in modes() {
        let stage = Stage::trace(mode, &shop.pids());
        let answers = network.enter(|| Load::post(8080, "/checkout/{}").at(10).run(500));
        let verdict = stage.judge(&shop::expect(&answers, shop::checkout));
        assert_perfect(&format!("{mode}, 200 ports, 500 at 10"), &verdict);
        stage.stop();
    }
}

/// A relay that is not traced ends the wire identity: product's spans begin traces, and no address makes a link.
#[test]
fn a_relay_between_services() {
    let ports = [(); 3].map(|()| sockspan_tests::services::free_port());
    let relay = Program::relay(ports[1]);
    let shop =
        Shop::two(&Behaviour { product_by: Some(relay.port), ports: Some(ports), ..Behaviour::default() });
    let stages = together(|mode| Launch::run(mode).pids(&shop.pids()));
    let answers = Load::get(shop.frontend.port, "/products/{}").at(10).run(300);
    let requests = shop::expect(&answers, |id, status| shop::products(id, status).relayed());
    for (mode, stage) in &stages {
        assert_perfect(&format!("{mode}, through a relay, 300 at 10"), &stage.judge(&requests));
    }
    stop_all(stages);
}

#[test]
fn timers_immediates_and_messages_inherit_nothing() {
    let shop = Shop::two(&Behaviour::default());
    let stages = together(|mode| Launch::run(mode).pids(&shop.pids()));
    let routes = [("timer", "/timer/{}"), ("immediate", "/immediate/{}"), ("worker", "/worker/{}")];
    for (route, path) in routes {
        let answers = Load::get(shop.frontend.port, path).at(25).run(300);
        let requests = shop::expect(&answers, |id, status| shop::detached(route, id, status));
        for (mode, stage) in &stages {
            assert_perfect(&format!("{mode}, {route}, 300 at 25"), &stage.judge(&requests));
        }
    }
    stop_all(stages);
}

/// An error is read as an answer is: what follows belongs to the request whose call failed.
#[test]
fn what_follows_a_failed_call_belongs_to_its_request() {
    let resets = Resets::start();
    let shop = Shop::two(&Behaviour { resets: Some(resets.port), ..Behaviour::default() });
    let stages = together(|mode| Launch::run(mode).pids(&shop.pids()));
    let answers = Load::get(shop.frontend.port, "/retry/{}").at(25).run(300);
    let requests = shop::expect(&answers, shop::retry);
    for (mode, stage) in &stages {
        let spans = stage.spans(shop::spans(&requests) + answers.len());
        let (failed, others): (Vec<_>, Vec<_>) =
            spans.iter().cloned().partition(|span| span.path().starts_with("/reset/"));
        assert_perfect(&format!("{mode}, after a reset, 300 at 25"), &judge::judge(&requests, &others));
        assert_eq!(failed.len(), answers.len(), "{mode}: each failed call is told");
        for span in &failed {
            let path = span.path().replace("reset", "retry");
            let above = others.iter().find(|other| other.id == span.parent);
            assert!(above.is_some_and(|above| above.path() == path), "{mode}: {}", span.line());
            assert_eq!((span.status(), span.error), (None, true), "{mode}: {}", span.line());
        }
    }
    stop_all(stages);
}

/// Answers of the frontend while its background job runs, and what all that must have made.
fn beside_a_job(shop: &Shop) -> (Vec<Answer>, Vec<Request>) {
    let job = |path: &str| -> u64 {
        let response = http::get(shop.frontend.port, path).expect("the frontend answers");
        let answer: serde_json::Value = serde_json::from_slice(&response.body).expect("it answers with JSON");
        answer["calls"].as_u64().expect("it counts its calls")
    };
    // The route matches with a slash at its end too: two paths, so that each request is one of its kind.
    let before = job("/background");
    let answers = Load::get(shop.frontend.port, "/products/{}").at(10).run(300);
    let after = job("/background/");
    let mut requests = shop::expect(&answers, shop::products);
    let calls = before + 1..=after;
    requests.extend(calls.map(|n| shop::background(usize::try_from(n).expect("a small number"))));
    requests.extend(["/background", "/background/"].map(shop::frontend_alone));
    (answers, requests)
}

#[test]
fn a_background_job_belongs_to_no_request() {
    let shop = Shop::two(&Behaviour::default());
    let stages = together(|mode| Launch::run(mode).pids(&shop.pids()));
    let (answers, requests) = beside_a_job(&shop);
    let jobs = requests.len() - answers.len() - 2;
    assert!(jobs > 5, "the job made {jobs} calls only");
    for (mode, stage) in &stages {
        let what = format!("{mode}, {} at 10 beside {jobs} background calls", answers.len());
        assert_perfect(&what, &stage.judge(&requests));
    }
    stop_all(stages);
}

/// Without uprobes less is known of Node: links may be missing, but none may be wrong.
#[test]
fn without_uprobes_nothing_is_wrong() {
    let shop = Shop::two(&Behaviour::default());
    let stages = together(|mode| Launch::run(mode).pids(&shop.pids()).args(&["--no-uprobes"]));
    let (_, mut requests) = beside_a_job(&shop);
    for (route, path) in [("timer", "/timer/{}"), ("immediate", "/immediate/{}")] {
        let answers = Load::get(shop.frontend.port, path).at(10).run(100);
        requests.extend(shop::expect(&answers, |id, status| shop::detached(route, id, status)));
    }
    for (mode, stage) in &stages {
        let verdict = stage.judge(&requests);
        println!("{mode}, --no-uprobes: {verdict}");
        assert_eq!((verdict.wrong, verdict.missing, verdict.extra), (0, 0, 0), "{verdict}");
    }
    stop_all(stages);
}

/// A server that reads each request and closes, and its client, in one process.
const LEAVING: &str = "
import http.client, socket, sys, threading
listener = socket.create_server(('127.0.0.1', 0))
def serve():
    while True:
        connection = listener.accept()[0]
        connection.recv(4096)
        connection.close()
threading.Thread(target=serve, daemon=True).start()
for line in sys.stdin:
    for n in range(20):
        client = http.client.HTTPConnection('127.0.0.1', listener.getsockname()[1])
        try:
            client.request('GET', f'/left/{n}')
            client.getresponse()
        except (http.client.HTTPException, OSError):
            client.close()
    print('done', flush=True)
";

/// A server that says where it listens.
const SERVING: &str = "
import http.server
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header('Content-Length', '2')
        self.end_headers()
        self.wfile.write(b'ok')
server = http.server.HTTPServer(('127.0.0.1', 0), Handler)
print(server.server_port, flush=True)
server.serve_forever()
";

/// A request that nobody answers is told by both ends, as what it was.
#[test]
fn a_server_that_leaves_without_an_answer() {
    let mut python = Running::spawn("python3", Command::new("python3").args(["-c", LEAVING]));
    let stages = together(|mode| Launch::run(mode).pids(&[python.pid()]));
    python.say("go");
    for (mode, stage) in &stages {
        let spans = stage.spans(40);
        println!("{mode}: {} spans of 20 requests without an answer; {}", spans.len(), stage.drops());
        assert_eq!(spans.len(), 40, "{mode}: {}", stage.drops());
        for span in &spans {
            assert_eq!((span.status(), span.error), (None, true), "{mode}: {}", span.line());
            let above = spans.iter().find(|other| other.id == span.parent);
            let right = above.map(Span::path) == Some(span.path());
            assert!(span.kind == Kind::Client || right, "{mode}: {}", span.line());
        }
    }
    stop_all(stages);
}

/// A server that is killed at its first answer, and looked at only when it shows little more than its id: its span is
/// told as its own.
#[test]
fn a_server_that_is_killed_before_it_is_looked_at() {
    for mode in modes() {
        let mut python = Running::spawn(
            "python3",
            Command::new("python3").args(["-c", SERVING]).env("OTEL_SERVICE_NAME", "lone"),
        );
        let listens = || python.output().trim().parse::<u16>();
        wait_until(given::limit(Duration::from_secs(20)), || listens().is_ok());
        let port = listens().expect("it says where it listens");
        let stage = Stage::trace(mode, &[python.pid()]);
        stage.agent.freeze_while(|| {
            assert_eq!(http::get(port, "/last").expect("it answers").status, 200);
            // Nobody waits for it yet: a zombie, until the agent has read of it.
            python.signal(Signal::SIGKILL);
            thread::sleep(Duration::from_millis(50));
        });
        let spans = stage.spans(1);
        assert_eq!(spans.len(), 1, "{mode}: {}", stage.drops());
        let told = |key: &str| spans[0].resource.get(key).map(String::as_str);
        let named = (told("service.name"), told("process.runtime.name"));
        assert_eq!(named, (Some("lone"), Some("cpython")), "{mode}: {:#?}", spans[0].resource);
        stage.stop();
        python.kill();
    }
}

/// Where events are lost, spans and links are missing; none may be wrong, nor lead nowhere.
#[test]
fn lost_events_make_no_wrong_parent() {
    let shop = Shop::two(&Behaviour::default());
    for mode in modes() {
        let stage = Stage::start(Launch::run(mode).pids(&shop.pids()).args(&["--ring-buffer", "64KiB"]));
        let answers = thread::scope(|scope| {
            let load = scope.spawn(|| Load::get(shop.frontend.port, "/products/{}").at(20).run(1000));
            // Meanwhile the agent looks away three times, for longer than so little memory lasts.
            for _ in 0..3 {
                thread::sleep(Duration::from_millis(400));
                stage.agent.freeze(Duration::from_millis(300));
            }
            load.join().expect("the load does not panic")
        });
        let drops = stage.drops();
        assert!(drops.contains("ring_buffer_full"), "no event was lost: {drops}");
        let verdict = stage.judge_at_end(&shop::expect(&answers, shop::products));
        println!("{mode}, 64 KiB of ring buffer, 1000 at 20: {verdict}; {drops}");
        let false_ones = (verdict.wrong, verdict.dangling, verdict.extra, verdict.misstated);
        assert_eq!(false_ones, (0, 0, 0, 0), "{verdict}");
    }
}

/// A trace context as a client elsewhere sends it: trace id and span id, each of its own.
fn context(n: u8) -> (Vec<u8>, Vec<u8>, String, String) {
    let (trace, span) =
        (vec![0xa0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, n], vec![0xb0, 0, 0, 0, 0, 0, 0, n]);
    let hex = |id: &[u8]| id.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let texts = (hex(&trace), hex(&span));
    (trace, span, texts.0, texts.1)
}

const FORMATS: usize = 4;

/// The headers of each format, for a trace that is sampled.
fn formats(trace: &str, span: &str) -> [Vec<(&'static str, String)>; FORMATS] {
    [
        vec![("traceparent", format!("00-{trace}-{span}-01")), ("tracestate", "vendor=opaque".to_owned())],
        vec![("b3", format!("{trace}-{span}-1"))],
        vec![
            ("X-B3-TraceId", trace.to_owned()),
            ("X-B3-SpanId", span.to_owned()),
            ("X-B3-Sampled", "1".to_owned()),
        ],
        vec![("uber-trace-id", format!("{trace}:{span}:0:1"))],
    ]
}

fn with_headers(port: u16, headers: &[(&str, String)]) -> Vec<Answer> {
    let load = Load::get(port, "/products/{}");
    headers.iter().fold(load, |load, (name, value)| load.header(name, value)).run(1)
}

#[test]
fn a_trace_that_began_elsewhere_goes_on() {
    let shop = Shop::two(&Behaviour::default());
    let stages = together(|mode| Launch::run(mode).pids(&shop.pids()));
    let mut requests = Vec::new();
    for n in 0..FORMATS {
        let (trace, span, trace_hex, span_hex) = context(u8::try_from(n).expect("few formats"));
        let headers = &formats(&trace_hex, &span_hex)[n];
        let answers = with_headers(shop.frontend.port, headers);
        let under = (trace, span);
        requests.extend(shop::expect(&answers, |id, status| shop::products(id, status).under(&under)));
    }
    for (mode, stage) in &stages {
        let spans = stage.spans(shop::spans(&requests));
        assert_perfect(&format!("{mode}, four formats of trace context"), &judge::judge(&requests, &spans));
        assert_eq!(spans.iter().filter(|span| span.state == "vendor=opaque").count(), 3, "{spans:#?}");
    }
    stop_all(stages);
}

/// The sender's decision not to sample is followed, unless the agent is told otherwise, and what it costs is counted.
#[test]
fn a_trace_that_is_not_sampled_is_left_out() {
    let shop = Shop::two(&Behaviour::default());
    let (trace, span, trace_hex, span_hex) = context(9);
    let launch = |mode| Launch::run(mode).pids(&shop.pids());
    let (as_told, all) =
        (together(launch), together(|mode| launch(mode).env("OTEL_TRACES_SAMPLER", "always_on")));
    let header = [("traceparent", format!("00-{trace_hex}-{span_hex}-00"))];
    let unsampled = with_headers(shop.frontend.port, &header);
    let plain = shop::expect(&Load::get(shop.frontend.port, "/products/{}").run(1), shop::products);
    for (mode, stage) in &as_told {
        assert_perfect(&format!("{mode}, one of two requests not sampled"), &stage.judge(&plain));
        let dropped = stage.agent.metric("sockspan_exchanges_dropped_total", &["reason=\"sampled\""]);
        assert!((dropped - 3.0).abs() < 0.5, "three spans are counted as not sampled, not {dropped}");
    }
    let under = (trace, span);
    let mut both = shop::expect(&unsampled, |id, status| shop::products(id, status).under(&under));
    both.extend(plain);
    for (mode, stage) in &all {
        assert_perfect(&format!("{mode}, not sampled, by always_on"), &stage.judge(&both));
    }
    stop_all(as_told.into_iter().chain(all).collect());
}

/// The sample application as people run it; its paths have no ids, so that its traces are judged by their shape.
#[test]
fn the_sample_application() {
    let shop = Shop::sample();
    let stages = together(|mode| Launch::run(mode).pids(&shop.pids()));
    let checkouts =
        |total, concurrency| Load::post(shop.frontend.port, "/checkout").at(concurrency).run(total);
    // The slow ones are watched by one agent of each mode at the same time.
    for (total, concurrency) in [(200, 1), (500, 10)] {
        let answers = checkouts(total, concurrency);
        stages.iter().for_each(|(mode, stage)| judge_sample(*mode, concurrency, stage, &answers));
    }
    stop_all(stages);
    for mode in modes() {
        let stage = Stage::trace(mode, &shop.pids());
        judge_sample(mode, 50, &stage, &checkouts(500, 50));
        stage.stop();
    }
}

fn judge_sample(mode: Mode, concurrency: usize, stage: &Stage, answers: &[Answer]) {
    let (well, failed) = (load::count(answers, 200), load::count(answers, 500));
    assert_eq!(well + failed, answers.len(), "each request was answered");
    let spans = stage.spans(5 * well + 3 * failed);
    let (shapes, nested) = (shapes(&spans), judge::nested(&spans));
    let what = format!(
        "{mode}, sample, {well} + {failed} failed at {concurrency}: {shapes}; {:.2} % of {} pairs nested",
        nested.inside_share() * 100.0,
        nested.nesting.pairs
    );
    println!("{what}");
    assert_eq!((shapes.five, shapes.three, shapes.other.len()), (well, failed, 0), "{what}");
    assert!(nested.inside_share() >= NESTED, "{what}: {nested}");
}
