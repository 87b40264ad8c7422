//! Links where threads prove nothing, by what applications hand on: trace headers, and ids of requests.
//!
//! In: nginx and a service on asyncio, without uprobes; requests each of which has an id of its own, or not. Out: verdicts.

use std::{thread, time::Duration};

use sockspan_tests::{
    agent::Launch,
    child::Scratch,
    forwarding::{Forwarder, ask},
    given::{Mode, any_mode},
    judge::{Request, Verdict},
    load::Answer,
    shop,
    stage::{Stage, stop_all, together},
    wait_until,
};

/// The evidence by which a call is known to belong to its request.
fn links(stage: &Stage, evidence: &str) -> f64 {
    stage.agent.metric("sockspan_links_total", &[&format!("evidence=\"{evidence}\"")])
}

fn launch(mode: Mode, services: &[&Forwarder]) -> Launch {
    let pids: Vec<_> = services.iter().map(|service| service.pid()).collect();
    // Nothing of asyncio's tasks is known then; nginx has but one name.
    Launch::run(mode).pids(&pids).args(&["--no-uprobes", "--service-name", "nginx=frontend", "--evidence"])
}

fn id(name: &str, id: &str) -> Vec<(String, String)> {
    vec![(name.to_owned(), format!("{id:0>24}"))]
}

/// A context of a trace that only the request of this id belongs to, in each format.
fn contexts(id: &str) -> [Vec<(String, String)>; 4] {
    let n: u64 =
        id.chars().filter(char::is_ascii_digit).collect::<String>().parse().expect("ids have a number");
    let (trace, span) = (format!("5a{n:030x}"), format!("7b{n:014x}"));
    let own = |name: &str, value: String| (name.to_owned(), value);
    [
        vec![own("traceparent", format!("00-{trace}-{span}-01"))],
        vec![own("b3", format!("{trace}-{span}-1"))],
        // As Envoy and Zipkin's libraries wrote them for long: traces of 64 bits.
        vec![own("X-B3-TraceId", format!("5a{n:014x}")), own("X-B3-SpanId", span.clone())],
        vec![own("uber-trace-id", format!("{trace}:{span}:0:1"))],
    ]
}

/// The same requests whose traces begin elsewhere: where, the header says.
fn begun_elsewhere(answers: &[Answer], place: usize) -> Vec<Request> {
    let bytes = |hex: &str| -> Vec<u8> {
        (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hex")).collect()
    };
    let one = |id: &str, status: u16| {
        let n: u64 = id.chars().filter(char::is_ascii_digit).collect::<String>().parse().expect("a number");
        let trace = if place == 2 { format!("{:016}5a{n:014x}", 0) } else { format!("5a{n:030x}") };
        shop::products(id, status).under(&(bytes(&trace), bytes(&format!("7b{n:014x}"))))
    };
    shop::expect(answers, one)
}

fn assert_perfect(what: &str, verdict: &Verdict) {
    println!("{what}: {verdict}");
    assert!(verdict.is_perfect(), "{what}: {verdict}");
}

/// Nothing links what carries no id of its own; nothing is wrong either.
fn assert_unlinked(what: &str, verdict: &Verdict, calls: usize) {
    println!("{what}: {verdict}");
    let wrong = (verdict.wrong, verdict.dangling, verdict.missing, verdict.extra, verdict.misstated);
    assert_eq!((wrong, verdict.unlinked), ((0, 0, 0, 0, 0), calls), "{what}: {verdict}");
}

#[test]
fn a_service_on_asyncio_that_hands_on_ids_and_headers() {
    let names = ["x-request-id", "x-correlation-id", "traceparent", "b3", "x-b3-traceid", "x-b3-spanid"];
    let product = Forwarder::asyncio("product", None, &[]);
    let frontend =
        Forwarder::asyncio("frontend", Some(product.port), &[&names[..], &["uber-trace-id"]].concat());
    hands_on("asyncio", &frontend, &product);
}

#[test]
fn nginx_hands_on_what_it_got() {
    let product = Forwarder::asyncio("product", None, &[]);
    let frontend = Forwarder::nginx(product.port);
    hands_on("nginx", &frontend, &product);
}

fn hands_on(what: &str, frontend: &Forwarder, product: &Forwarder) {
    let stages = together(|mode| launch(mode, &[frontend, product]));
    for name in ["X-Request-ID", "x-correlation-id"] {
        let answers = ask(frontend.port, "/products/{}", 300, 25, |n| id(name, n));
        let requests = shop::expect(&answers, shop::products);
        for (mode, stage) in &stages {
            assert_perfect(&format!("{mode}, {what}, {name}, 300 at 25"), &stage.judge(&requests));
        }
    }
    for place in 0..contexts("r0x").len() {
        let answers = ask(frontend.port, "/products/{}", 100, 25, |n| contexts(n)[place].clone());
        let requests = begun_elsewhere(&answers, place);
        for (mode, stage) in &stages {
            assert_perfect(&format!("{mode}, {what}, trace header {place}"), &stage.judge(&requests));
        }
    }
    for (mode, stage) in &stages {
        assert!((links(stage, "forwarded_id") - 600.0).abs() < 0.5, "{mode}");
        assert!(
            (links(stage, "thread") + links(stage, "connect") + links(stage, "task")).abs() < 0.5,
            "{mode}"
        );
    }
    stop_all(stages);
}

/// nginx's `$request_id` is its own: it stands in what it sends, and in nothing that it got.
#[test]
fn nginx_gives_each_request_an_id_of_its_own() {
    let product = Forwarder::asyncio("product", None, &[]);
    let frontend = Forwarder::nginx(product.port);
    let stages = together(|mode| launch(mode, &[&frontend, &product]));
    for with in [false, true] {
        let headers = |n: &str| if with { id("x-request-id", n) } else { Vec::new() };
        let answers = ask(frontend.port, "/given/products/{}", 100, 10, headers);
        // The path loses its beginning on the way.
        let renamed = |n: &str, status: u16| {
            let mut request = shop::detached("given/products", n, status);
            request.expected[0].path = format!("/given/products/{n}");
            request
        };
        let requests = shop::expect(&answers, renamed);
        for (mode, stage) in &stages {
            assert_perfect(&format!("{mode}, $request_id, client's own {with}"), &stage.judge(&requests));
        }
    }
    stop_all(stages);
}

/// An id for a whole trace, or for all attempts of a request, comes several times: it says nothing.
#[test]
fn an_id_that_comes_several_times_links_nothing() {
    let product = Forwarder::asyncio("product", None, &[]);
    let frontend = Forwarder::asyncio("frontend", Some(product.port), &["x-request-id"]);
    let stages = together(|mode| launch(mode, &[&frontend, &product]));
    // The first of all is still the only one that brought it.
    let same = |_: &str| id("x-request-id", "one-trace");
    ask(frontend.port, "/products/{}", 1, 1, same);
    let pair = ask(frontend.port, "/products/{}", 1, 1, same);
    let mut requests = shop::expect(&pair, shop::products);
    requests.extend(shop::expect(&ask(frontend.port, "/products/{}", 200, 20, same), shop::products));
    for (mode, stage) in &stages {
        let spans: Vec<_> = stage.spans(3 * 202);
        let judged: Vec<_> = spans
            .into_iter()
            .filter(|span| requests.iter().any(|r| r.expected.iter().any(|e| e.path == span.path())))
            .collect();
        let verdict = sockspan_tests::judge::judge(&requests, &judged);
        assert_unlinked(&format!("{mode}, one id for all"), &verdict, requests.len());
        assert!((links(stage, "forwarded_id") - 1.0).abs() < 0.5, "{mode}: the first alone");
    }
    stop_all(stages);
}

/// The headers' names change while the agent runs, on connections that are open too.
#[test]
fn other_names_count_at_once() {
    let product = Forwarder::asyncio("product", None, &[]);
    let frontend = Forwarder::asyncio("frontend", Some(product.port), &["x-request-id", "x-shop-id"]);
    let file = Scratch::with("settings.yaml", "log: info\n");
    let path = file.0.display().to_string();
    let stage = Stage::start(launch(any_mode(), &[&frontend, &product]).args(&["--config", &path]));
    for (yaml, header, linked) in [
        ("log: info\n", "x-request-id", true),
        ("correlation-header: []\n", "x-request-id", false),
        ("correlation-header: [X-Shop-ID]\n", "x-shop-id", true),
        ("correlation-header: [X-Shop-ID]\nlog: info\n", "x-request-id", false),
    ] {
        let applied = || stage.agent.metric("sockspan_settings_reloads_total", &["result=\"applied\""]);
        let before = applied();
        if std::fs::read_to_string(&file.0).is_ok_and(|now| now != yaml) {
            std::fs::write(&file.0, yaml).expect("the folder for temporary files can be written");
            assert!(wait_until(Duration::from_secs(10), || applied() > before), "{}", stage.agent.log());
            // The pipeline takes it with its next input.
            thread::sleep(Duration::from_millis(300));
        }
        let answers = ask(frontend.port, "/products/{}", 20, 4, |n| id(header, n));
        let requests = shop::expect(&answers, shop::products);
        match linked {
            true => assert_perfect(yaml, &stage.judge(&requests)),
            false => assert_unlinked(yaml, &stage.judge(&requests), requests.len()),
        }
    }
    stage.stop();
}
