//! Beside services that OpenTelemetry's SDKs trace: one trace, nothing told twice, and the sampler's word that came.
//!
//! In: services in Node.js and Python with real SDKs, and others without, whose spans all arrive in one place. Out: who is
//! whose parent, and how often each end of a request is told.

use std::{thread, time::Duration};

use sockspan_tests::{
    agent::{Agent, Launch},
    child::Scratch,
    forwarding::{Forwarder, ask},
    given::{self, any_mode, modes},
    instrumented::{Language, Told, Tracer, is_ours, start},
    load::Answer,
    otlp::Collector,
    services::Service,
    span::{Kind, Span},
    wait_until,
};

const BOTH: [Language; 2] = [Language::Node, Language::Python];
/// A service's tracer sends what it has every half second, the agent every fifth.
const PAUSE: Duration = Duration::from_secs(12);

fn agent(launch: Launch, collector: &Collector, pids: &[u32]) -> Agent {
    launch.pids(pids).export(collector).start()
}

/// What `/status` says of a process: traced, instrumented, and why.
fn state(agent: &Agent, pid: u32) -> (bool, bool, String) {
    let status = agent.status();
    let processes = status["processes"].as_array().cloned().unwrap_or_default();
    let entry = processes.into_iter().find(|entry| entry["pid"] == pid).unwrap_or_default();
    let is = |key: &str| entry[key].as_bool().unwrap_or_default();
    (is("traced"), is("instrumented"), entry["reason"].as_str().unwrap_or_default().to_owned())
}

fn await_state(agent: &Agent, pid: u32, expected: (bool, bool)) -> String {
    let now = || state(agent, pid);
    let came = wait_until(given::limit(PAUSE), || matches!(now(), (t, i, _) if (t, i) == expected));
    assert!(came, "{pid} is {:?} instead of {expected:?}\n{}", now(), agent.log());
    now().2
}

fn one(port: u16, path: &str) -> Answer {
    let answer = ask(port, path, 1, 1, |_| Vec::new()).pop().expect("one answer");
    assert_eq!(answer.status, Some(200));
    answer
}

/// All spans, once those that tell of `path` are as many, and no more come.
fn spans(collector: &Collector, path: &str, expected: usize) -> Vec<Span> {
    let those = || collector.spans().into_iter().filter(|span| span.path() == path).count();
    wait_until(given::limit(PAUSE), || those() >= expected);
    thread::sleep(Duration::from_millis(1_500));
    collector.spans()
}

fn is_child(child: &Span, parent: &Span) -> bool {
    child.trace == parent.trace && child.parent == parent.id
}

/// Nobody names a parent that nobody told.
fn assert_whole(spans: &[Span]) {
    let known = |span: &&Span| span.is_root() || spans.iter().any(|other| is_child(span, other));
    let lost: Vec<_> = spans.iter().filter(|span| !known(span)).map(Span::line).collect();
    assert!(lost.is_empty(), "parents that nobody told: {lost:#?}");
}

/// An SDK's span, ours, and an SDK's again. Who forwards the header makes it one trace.
#[test]
fn from_sdk_to_sdk_through_a_service_that_hands_the_header_on() {
    for (mode, language) in modes().into_iter().zip(BOTH) {
        let collector = Collector::start();
        let down = start("down", language, Tracer::Loaded, None, &collector, &[]);
        let middle = Forwarder::asyncio("middle", Some(down.port), &["traceparent", "tracestate"]);
        let up = start("up", language, Tracer::Loaded, Some(middle.port), &collector, &[]);
        let agent = agent(
            Launch::run(mode).args(&["--no-uprobes"]),
            &collector,
            &[up.pid(), middle.pid(), down.pid()],
        );
        let path = format!("/walk/{}", one(up.port, "/walk/{}").id);
        let all = spans(&collector, &path, 5);
        let told = Told::of(&all, &path);
        let (client, server) = (told.one("up", Kind::Client), told.one("middle", Kind::Server));
        assert!(is_child(client, told.one("up", Kind::Server)));
        assert!(is_ours(server) && is_child(server, client), "{told:#?}");
        assert!(is_child(told.one("middle", Kind::Client), server));
        // The header named the first SDK's span, and still does.
        assert!(is_child(told.one("down", Kind::Server), client));
        assert_whole(&all);
        println!("{mode}, {language:?}: five spans, one trace");
        agent.stop();
    }
}

/// Who hands no header on ends the first trace with a call whose other end begins another.
#[test]
fn from_sdk_to_sdk_through_a_service_that_does_not() {
    let collector = Collector::start();
    let down = start("down", Language::Node, Tracer::Loaded, None, &collector, &[]);
    let middle = start("middle", Language::Python, Tracer::None, Some(down.port), &collector, &[]);
    let up = start("up", Language::Node, Tracer::Loaded, Some(middle.port), &collector, &[]);
    let agent = agent(Launch::run(any_mode()), &collector, &[up.pid(), middle.pid(), down.pid()]);
    let path = format!("/walk/{}", one(up.port, "/walk/{}").id);
    let all = spans(&collector, &path, 5);
    let told = Told::of(&all, &path);
    let server = told.one("middle", Kind::Server);
    assert!(is_child(server, told.one("up", Kind::Client)), "{told:#?}");
    assert!(is_child(told.one("middle", Kind::Client), server));
    assert!(told.one("down", Kind::Server).is_root());
    assert_whole(&all);
    agent.stop();
}

fn assert_left(agent: &Agent, service: &Service, reason: &str) {
    let why = await_state(agent, service.pid(), (false, true));
    assert!(why.contains(reason), "{why}");
    assert!((agent.metric("sockspan_processes", &["state=\"instrumented\""]) - 1.0).abs() < 0.5);
}

/// A tracer that the runtime loads is known before the first request.
#[test]
fn who_is_traced_by_what_its_runtime_loads_is_left_alone() {
    for (mode, language) in modes().into_iter().zip(BOTH) {
        let collector = Collector::start();
        let leaf = Forwarder::asyncio("leaf", None, &[]);
        let service = start("shop", language, Tracer::Loaded, Some(leaf.port), &collector, &[]);
        let agent = agent(Launch::run(mode), &collector, &[service.pid(), leaf.pid()]);
        assert_left(&agent, &service, "opentelemetry");
        let path = format!("/buy/{}", one(service.port, "/buy/{}").id);
        let all = spans(&collector, &path, 3);
        let told = Told::of(&all, &path);
        assert!(!is_ours(told.one("shop", Kind::Server)));
        assert!(is_child(told.one("leaf", Kind::Server), told.one("shop", Kind::Client)), "{told:#?}");
        assert_whole(&all);
        agent.stop();
    }
}

/// One that the program loads shows by the first call: not even that request is told twice.
#[test]
fn who_sends_spans_of_its_own_is_left_alone_from_the_first_call() {
    for language in BOTH {
        for mode in modes() {
            let collector = Collector::start();
            let leaf = Forwarder::asyncio("leaf", None, &[]);
            let service = start("shop", language, Tracer::InCode, Some(leaf.port), &collector, &[]);
            // What it did before is sent before the agent comes: its export would give it away.
            thread::sleep(Duration::from_secs(2));
            let agent = agent(Launch::run(mode), &collector, &[service.pid(), leaf.pid()]);
            await_state(&agent, service.pid(), (true, false));
            let answers = ask(service.port, "/buy/{}", 20, 4, |_| Vec::new());
            assert_left(&agent, &service, "spans of its own");
            let last = format!("/buy/{}", answers.last().expect("answers").id);
            let all = spans(&collector, &last, 3);
            for answer in &answers {
                let path = format!("/buy/{}", answer.id);
                let told = Told::of(&all, &path);
                assert!(!is_ours(told.one("shop", Kind::Server)));
                assert!(
                    is_child(told.one("leaf", Kind::Server), told.one("shop", Kind::Client)),
                    "{told:#?}"
                );
            }
            assert_whole(&all);
            println!("{mode}, {language:?}: {} requests, each told once", answers.len());
            agent.stop();
        }
    }
}

/// One that calls nobody shows when it sends its spans away; what came before that is told twice.
#[test]
fn who_calls_nobody_is_left_alone_once_it_has_sent_its_spans() {
    let collector = Collector::start();
    let service = start("leaf", Language::Node, Tracer::InCode, None, &collector, &[]);
    thread::sleep(Duration::from_secs(2));
    let agent = agent(Launch::run(any_mode()), &collector, &[service.pid()]);
    await_state(&agent, service.pid(), (true, false));
    one(service.port, "/first/{}");
    assert_left(&agent, &service, "exports spans");
    let path = format!("/then/{}", one(service.port, "/then/{}").id);
    let all = spans(&collector, &path, 1);
    assert!(!is_ours(Told::of(&all, &path).one("leaf", Kind::Server)));
    let dropped = agent.metric("sockspan_exchanges_dropped_total", &["reason=\"instrumented\""]);
    println!("told twice or dropped before it was known: {dropped} dropped");
    agent.stop();
}

/// `instrumented: trace` tells such a process too, from now on, and `leave` leaves it again.
#[test]
fn the_setting_decides_while_the_agent_runs() {
    let collector = Collector::start();
    let service = start("shop", Language::Python, Tracer::Loaded, None, &collector, &[]);
    let file = Scratch::with("settings.yaml", "instrumented: leave\n");
    let config = file.0.display().to_string();
    let agent = agent(Launch::run(any_mode()).args(&["--config", &config]), &collector, &[service.pid()]);
    for (yaml, expected) in [("leave", (false, true)), ("trace", (true, false)), ("leave", (false, true))] {
        std::fs::write(&file.0, format!("instrumented: {yaml}\n")).expect("the file can be written");
        await_state(&agent, service.pid(), expected);
        thread::sleep(Duration::from_millis(300));
        let path = format!("/buy/{}", one(service.port, "/buy/{}").id);
        let all = spans(&collector, &path, 1 + usize::from(expected.0));
        let told = Told::of(&all, &path);
        assert_eq!(told.count("shop", Kind::Server), 1 + usize::from(expected.0), "{yaml}: {told:#?}");
    }
    agent.stop();
}

/// The decision that an SDK sends with its trace holds for what the agent tells of it.
#[test]
fn what_an_sdk_does_not_sample_is_not_told() {
    for (sampler, told_by_us) in [("always_on", 2), ("always_off", 0)] {
        let collector = Collector::start();
        let leaf = Forwarder::asyncio("leaf", None, &[]);
        let middle = Forwarder::asyncio("middle", Some(leaf.port), &["traceparent"]);
        let more = [("OTEL_TRACES_SAMPLER", sampler)];
        let up = start("up", Language::Node, Tracer::Loaded, Some(middle.port), &collector, &more);
        let agent = agent(Launch::run(any_mode()), &collector, &[middle.pid(), leaf.pid()]);
        let path = format!("/walk/{}", one(up.port, "/walk/{}").id);
        let all = spans(&collector, &path, 3);
        let told = Told::of(&all, &path);
        let ours = [("middle", Kind::Server), ("leaf", Kind::Server)];
        let counted: usize = ours.iter().map(|(service, kind)| told.count(service, *kind)).sum();
        assert_eq!(counted, told_by_us, "{sampler}: {told:#?}");
        let dropped = agent.metric("sockspan_exchanges_dropped_total", &["reason=\"sampled\""]);
        assert!((dropped > 0.5) == (sampler == "always_off"), "{sampler}: {dropped} dropped");
        agent.stop();
    }
}

/// B3 as Envoy and Zipkin's libraries send it, decisions without ids among it.
#[test]
fn the_decisions_of_b3() {
    let (trace, span) = ("463ac35c9f6413ad", "a2fb4a1d1a96d312");
    let multi = |sampled: &str| {
        vec![("X-B3-TraceId", trace), ("X-B3-SpanId", span), ("X-B3-Sampled", sampled)]
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect::<Vec<_>>()
    };
    let own = |name: &str, value: &str| vec![(name.to_owned(), value.to_owned())];
    let cases = [
        (own("b3", "0"), false, false),
        (own("b3", "1"), true, false),
        (own("X-B3-Sampled", "0"), false, false),
        (own("x-b3-sampled", "1"), true, false),
        (own("X-B3-Flags", "1"), true, false),
        (multi("0"), false, true),
        (multi("1"), true, true),
        (own("b3", &format!("{trace}-{span}-0")), false, true),
        (own("b3", &format!("{trace}-{span}-d")), true, true),
    ];
    let leaf = Forwarder::asyncio("leaf", None, &[]);
    for mode in modes() {
        let collector = Collector::start();
        let agent = agent(Launch::run(mode), &collector, &[leaf.pid()]);
        let answers: Vec<_> =
            cases.iter().map(|(headers, ..)| ask(leaf.port, "/b3/{}", 1, 1, |_| headers.clone())).collect();
        let last = format!("/b3/{}", answers.last().expect("cases")[0].id);
        let all = spans(&collector, &last, 1);
        for (answer, (headers, sampled, ids)) in answers.iter().zip(&cases) {
            let path = format!("/b3/{}", answer[0].id);
            let told = Told::of(&all, &path);
            assert_eq!(told.count("leaf", Kind::Server), usize::from(*sampled), "{mode} {headers:?}");
            if *sampled {
                let server = told.one("leaf", Kind::Server);
                assert_eq!(server.is_root(), !ids, "{mode} {headers:?}");
                // Ids of 64 bits are the low half of those of 128.
                assert!(!ids || server.trace.starts_with(&[0; 8]), "{mode} {headers:?}");
            }
        }
        agent.stop();
    }
}
