//! How the agent behaves as a program: stopping, being killed, receivers that are away, what it tells of itself.
//!
//! In: the variants of frontend and product. Out: counts that must add up; each test prints what it measured.

use std::{
    collections::BTreeSet,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::Duration,
};

use sockspan_tests::{
    agent::{Agent, Launch},
    bpf::Held,
    child::Scratch,
    given::{self, any_mode, modes},
    http,
    judge::{Verdict, judge},
    load::{self, Answer, Load},
    otlp::Collector,
    services::{Behaviour, Shop},
    shop,
    span::{Kind, Span},
    stage::Stage,
    wait_until,
};

/// How long the receiver stays away.
fn absence() -> Duration {
    Duration::from_secs(if given::is_long() { 60 } else { 12 })
}

/// The agent may grow by so much while spans wait: the queue's bound, and what the allocator keeps.
const GROWTH: u64 = 64 << 20;

fn assert_perfect(what: &str, verdict: &Verdict) {
    println!("{what}: {verdict}");
    assert!(verdict.is_perfect(), "{what}: {verdict}");
}

/// Spans of requests that were answered before the signal arrive, though they were to wait for a minute.
#[test]
fn sigterm_loses_no_finished_span() {
    let shop = Shop::two(&Behaviour::default());
    for mode in modes() {
        let collector = Collector::start();
        let launch = Launch::run(mode).pids(&shop.pids()).env("OTEL_BSP_SCHEDULE_DELAY", "60000");
        let agent = launch.export(&collector).start();
        let stop = AtomicBool::new(false);
        let (signal, stopped, answers) = thread::scope(|scope| {
            let load = Load::get(shop.frontend.port, "/products/{}").at(10);
            let stop = &stop;
            let running = scope.spawn(move || load.run_until(stop));
            thread::sleep(Duration::from_secs(1));
            let signal = load::now();
            let stopped = agent.stop();
            stop.store(true, Ordering::Relaxed);
            (signal, stopped, running.join().expect("the load does not panic"))
        });
        let (before, after): (Vec<_>, Vec<_>) = answers.into_iter().partition(|answer| answer.end < signal);
        // What was under way at the signal may be there in part.
        let mut spans = collector.spans();
        spans.retain(|span| !after.iter().any(|answer| span.path() == format!("/products/{}", answer.id)));
        let what = format!("{mode}, {} requests before SIGTERM, {:?} to the end", before.len(), stopped.took);
        assert!(before.len() > 50, "{what}");
        assert_perfect(&what, &judge(&shop::expect(&before, shop::products), &spans));
    }
}

/// A killed agent leaves nothing in the kernel, and the services go on.
#[test]
fn a_killed_agent_leaves_nothing() {
    let shop = Shop::two(&Behaviour::default());
    for mode in modes() {
        let stage = Stage::trace(mode, &shop.pids());
        let answers = Load::get(shop.frontend.port, "/products/{}").at(4).run(40);
        assert_eq!(load::count(&answers, 200), 40);
        let held = Held::by(stage.agent.pid());
        println!(
            "{mode}: {} programs, {} links, {} maps",
            held.programs.len(),
            held.links.len(),
            held.maps.len()
        );
        assert!(!held.programs.is_empty() && !held.links.is_empty() && !held.maps.is_empty());
        assert_eq!(held.left(), held, "the kernel knows what the agent holds");
        stage.agent.kill();
        assert_eq!(held.left_after(Duration::from_secs(10)), Held::default(), "{mode}");
        let answers = Load::get(shop.frontend.port, "/products/{}").at(4).run(40);
        assert_eq!(load::count(&answers, 200), 40);
    }
}

/// What the agent holds of memory at most while `more` says yes.
fn watch_memory(agent: &Agent, more: &AtomicBool, most: &AtomicU64) {
    while more.load(Ordering::Relaxed) {
        most.fetch_max(agent.resident(), Ordering::Relaxed);
        thread::sleep(Duration::from_millis(100));
    }
}

/// Requests that the frontend answers by itself, all the time that `during` takes; their number, and the most memory
/// that the agent held.
fn load_during(agent: &Agent, port: u16, during: impl FnOnce()) -> (Vec<Answer>, u64) {
    let (stop, more, most) = (AtomicBool::new(false), AtomicBool::new(true), AtomicU64::new(0));
    let load = Load::get(port, "/none/{}").at(4);
    thread::scope(|scope| {
        let running = scope.spawn(|| load.run_until(&stop));
        scope.spawn(|| watch_memory(agent, &more, &most));
        during();
        stop.store(true, Ordering::Relaxed);
        let answers = running.join().expect("the load does not panic");
        more.store(false, Ordering::Relaxed);
        (answers, most.load(Ordering::Relaxed))
    })
}

/// Spans that wait in vain are dropped and counted, memory stays bounded, and the rest arrives once somebody takes it.
#[test]
fn a_receiver_that_is_away() {
    let shop = Shop::two(&Behaviour::default());
    let mut stage = Stage::trace(any_mode(), &[shop.frontend.pid()]);
    let before = stage.agent.resident();
    stage.collector.go_away();
    let (answers, most) = load_during(&stage.agent, shop.frontend.port, || thread::sleep(absence()));
    stage.collector.come_back();
    let dropped = || stage.agent.metric("sockspan_spans_dropped_total", &[]) as usize;
    let all = wait_until(Duration::from_secs(40), || stage.collector.len() + dropped() >= answers.len());
    let (arrived, dropped) = (stage.collector.len(), dropped());
    println!(
        "{} requests while the receiver was away for {:?}: {arrived} spans arrived, {dropped} dropped and counted ({}); \
         memory from {} MiB to {} MiB",
        answers.len(),
        absence(),
        stage.drops(),
        before >> 20,
        most >> 20
    );
    assert!(all && arrived + dropped == answers.len(), "{arrived} + {dropped} = {}", answers.len());
    assert!(arrived >= 1000, "what the queue holds arrives");
    assert!(most < before + GROWTH, "memory is bounded");
    stage.stop();
}

/// Requests that are refused, and answers that are late, cost time and no span.
#[test]
fn a_receiver_that_refuses() {
    let shop = Shop::two(&Behaviour::default());
    let stage = Stage::trace(any_mode(), &shop.pids());
    stage.collector.refuse(2);
    stage.collector.delay(Duration::from_millis(300));
    let answers = Load::get(shop.frontend.port, "/products/{}").at(10).run(100);
    assert_perfect("after two refusals", &stage.judge(&shop::expect(&answers, shop::products)));
    let failures = stage.agent.metric("sockspan_export_requests_total", &["result=\"failure\""]);
    let retries = stage.agent.metric("sockspan_export_retries_total", &[]);
    println!("{failures} failures, {retries} retries");
    assert!(failures >= 2.0 && retries >= 2.0);
    stage.stop();
}

/// With everything on the machine traced, the agent's own traffic is not, at either end of it.
#[test]
fn its_own_traffic_is_not_traced() {
    let shop = Shop::two(&Behaviour::default());
    for protocol in ["grpc", "http/protobuf"] {
        let launch = Launch::run(any_mode()).args(&["--all"]).env("OTEL_EXPORTER_OTLP_PROTOCOL", protocol);
        let stage = Stage::start(launch);
        let answers = Load::get(shop.frontend.port, "/products/{}").at(4).run(40);
        for _ in 0..3 {
            assert_eq!(stage.agent.page("/status").0, 200);
            thread::sleep(Duration::from_millis(700));
        }
        let spans = stage.spans(4 * answers.len());
        let agent = stage.agent.pid().to_string();
        let own =
            |span: &&Span| span.resource.get("process.pid") == Some(&agent) || span.path() == "/v1/traces";
        let own: Vec<_> = spans.iter().filter(own).map(Span::line).collect();
        println!("{protocol}: {} spans by --all, {} of the agent's own traffic", spans.len(), own.len());
        assert!(spans.iter().any(|span| span.path() == format!("/products/{}", answers[0].id)));
        assert!(own.is_empty(), "{protocol}: {own:#?}");
        stage.stop();
    }
}

/// Probes and scrapes are left out with all that they cause, and counted.
#[test]
fn excluded_requests() {
    let shop = Shop::two(&Behaviour::default());
    let stage = Stage::trace(any_mode(), &shop.pids());
    let port = shop.frontend.port;
    for path in ["/healthz", "/readyz", "/livez", "/health", "/metrics", "/healthz?full"] {
        assert_eq!(http::get(port, path).expect("the frontend answers").status, 404);
    }
    Load::get(port, "/products/{}").header("User-Agent", "kube-probe/1.31").run(5);
    let answers = Load::get(port, "/products/{}").run(5);
    assert_perfect("beside probes and scrapes", &stage.judge(&shop::expect(&answers, shop::products)));
    let excluded = stage.agent.metric("sockspan_exchanges_dropped_total", &["reason=\"excluded\""]);
    println!("{excluded} spans excluded");
    assert!((excluded - 21.0).abs() < 0.5, "6 of one span and 5 of three, not {excluded}");
    stage.stop();

    let rules = ["--exclude-path", "/products/*"];
    let stage = Stage::start(Launch::run(any_mode()).pids(&shop.pids()).args(&rules));
    Load::get(port, "/products/{}").run(5);
    assert_eq!(http::get(port, "/healthz").expect("the frontend answers").status, 404);
    let paths: Vec<_> = stage.spans(1).iter().map(|span| span.path().to_owned()).collect();
    assert_eq!(paths, ["/healthz"], "a rule of one's own replaces the default ones");
    stage.stop();
}

/// Who a span is from, and what it says, both ways to export.
#[test]
fn resources_and_attributes() {
    let shop = Shop::two(&Behaviour::default());
    for (protocol, compression) in [("grpc", "gzip"), ("http/protobuf", "none")] {
        let launch = Launch::run(any_mode()).pids(&shop.pids()).env("OTEL_EXPORTER_OTLP_PROTOCOL", protocol);
        let launch = launch.env("OTEL_EXPORTER_OTLP_COMPRESSION", compression);
        let stage = Stage::start(launch.env("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test"));
        let answers = Load::get(shop.frontend.port, "/products/{}").header("User-Agent", "tests/1").run(3);
        let requests = shop::expect(&answers, shop::products);
        let spans = stage.spans(shop::spans(&requests));
        assert_perfect(protocol, &judge(&requests, &spans));
        let by = stage.collector.requests();
        assert!(if protocol == "grpc" { by.0 > 0 && by.1 == 0 } else { by.0 == 0 && by.1 > 0 }, "{by:?}");
        for (service, process) in [("frontend", &shop.frontend), ("product", &shop.product)] {
            let span = spans.iter().find(|span| span.service() == service).expect("each service has a span");
            assert_resource(span, process.pid());
        }
        let ids: BTreeSet<_> =
            spans.iter().map(|span| span.resource["service.instance.id"].clone()).collect();
        assert_eq!(ids.len(), 2, "an instance id for each process: {ids:?}");
        assert_attributes(&spans, &shop);
        stage.stop();
    }
}

fn assert_resource(span: &Span, pid: u32) {
    let resource = &span.resource;
    println!("{}: {resource:?}", span.service());
    let expected = [
        ("process.pid", pid.to_string()),
        ("os.type", "linux".to_owned()),
        ("telemetry.distro.name", "sockspan".to_owned()),
        ("deployment.environment.name", "test".to_owned()),
    ];
    for (key, value) in expected {
        assert_eq!(resource.get(key), Some(&value), "{key}");
    }
    for key in
        ["host.name", "host.arch", "process.executable.path", "telemetry.sdk.language", "telemetry.sdk.name"]
    {
        assert!(resource.get(key).is_some_and(|value| !value.is_empty()), "{key}");
    }
    for key in ["process.command_args", "process.command_line"] {
        assert!(!resource.contains_key(key), "{key} may hold secrets");
    }
    let cgroup = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
    if cgroup.lines().all(|line| line.ends_with(":/")) {
        assert!(!resource.contains_key("container.id"), "it is in no container");
    }
}

fn assert_attributes(spans: &[Span], shop: &Shop) {
    let of = |kind, service| {
        let mut found = spans.iter().filter(|span| span.kind == kind && span.service() == service);
        found.next().expect("each is there")
    };
    let root = of(Kind::Server, "frontend");
    let expected = [
        ("http.request.method", "GET".to_owned()),
        ("url.scheme", "http".to_owned()),
        ("server.address", "localhost".to_owned()),
        ("server.port", shop.frontend.port.to_string()),
        ("client.address", "127.0.0.1".to_owned()),
        ("user_agent.original", "tests/1".to_owned()),
        ("network.protocol.version", "1.1".to_owned()),
        ("http.response.status_code", "200".to_owned()),
    ];
    for (key, value) in expected {
        assert_eq!(root.attribute(key), value, "{key}: {:?}", root.attributes);
    }
    let call = of(Kind::Client, "frontend");
    let url = format!("http://localhost:{}{}", shop.product.port, root.path());
    assert_eq!(call.attribute("url.full"), url);
    assert_eq!(call.attribute("server.port"), shop.product.port.to_string());
    assert_eq!((root.name.as_str(), call.name.as_str()), ("GET", "GET"), "no route is known");
}

/// What the admin port tells.
#[test]
fn the_admin_port() {
    let shop = Shop::two(&Behaviour::default());
    let stage = Stage::trace(any_mode(), &shop.pids());
    println!("ready after {:?}", stage.agent.ready_after);
    for (path, status) in
        [("/healthz", 200), ("/readyz", 200), ("/status", 200), ("/metrics", 200), ("/x", 404)]
    {
        assert_eq!(stage.agent.page(path).0, status, "{path}");
    }
    let answers = Load::get(shop.frontend.port, "/products/{}").run(10);
    assert_perfect("ten requests", &stage.judge(&shop::expect(&answers, shop::products)));
    let status = stage.agent.status();
    let processes = status["processes"].as_array().expect("it lists processes");
    let find = |pid: u32| processes.iter().find(|p| p["pid"] == pid).expect("each process is there");
    for (pid, service) in [(shop.frontend.pid(), "frontend"), (shop.product.pid(), "product")] {
        let process = find(pid);
        println!("{process}");
        assert_eq!((&process["traced"], &process["service"]), (&true.into(), &service.into()));
        assert_eq!(process["reason"], format!("--pid {pid}"));
    }
    let other = find(std::process::id());
    assert_eq!(other["traced"], false);
    assert!(other["reason"].as_str().is_some_and(|why| why.contains("no rule matches")), "{other}");
    for (metric, labels, value) in [
        ("sockspan_exchanges_total", &["kind=\"server\""], 20.0),
        ("sockspan_exchanges_total", &["kind=\"client\""], 10.0),
        ("sockspan_spans_total", &["kind=\"server\""], 20.0),
        ("sockspan_spans_total", &["kind=\"client\""], 10.0),
        ("sockspan_links_total", &["evidence=\"wire\""], 10.0),
        ("sockspan_export_spans_total", &["result=\"success\""], 30.0),
        ("sockspan_processes", &["state=\"traced\""], 2.0),
        ("sockspan_map_entries", &["map=\"processes\""], 2.0),
    ] {
        let is = stage.agent.metric(metric, labels);
        assert!((is - value).abs() < 0.5, "{metric}{labels:?} is {is}, not {value}");
    }
    assert!(stage.agent.metric("process_resident_memory_bytes", &[]) > 1e6);
    assert!(stage.agent.metric("process_cpu_seconds_total", &[]) > 0.0);
    stage.stop();
}

/// A span without what differs between two agents that saw the same: ids and the last digits of times.
type Seen = (Kind, String, String, Option<u16>, bool);

fn seen(spans: &[Span]) -> Vec<Seen> {
    let one = |s: &Span| (s.kind, s.service().to_owned(), s.path().to_owned(), s.status(), s.is_root());
    let mut all: Vec<_> = spans.iter().map(one).collect();
    all.sort_unstable();
    all
}

/// A recorded stream replays into the spans that were made live, and twice into the very same.
#[test]
fn a_recording_replays_into_the_same_spans() {
    let shop = Shop::two(&Behaviour { errors: true, ..Behaviour::default() });
    for mode in modes() {
        let file = Scratch::new("recording");
        let path = file.0.to_str().expect("a path of our own making");
        let live = Stage::trace(mode, &shop.pids());
        let recorder = Launch::verb(mode, &["record", path]).pids(&shop.pids()).start();
        let answers = Load::get(shop.frontend.port, "/products/{}").at(10).run(100);
        let requests = shop::expect(&answers, shop::products);
        let live_spans = live.spans(shop::spans(&requests));
        recorder.stop();
        live.stop();
        let replay = || {
            let collector = Collector::start();
            let launch = Launch::verb(mode, &["replay", path]).export(&collector);
            let ended = launch.finish(Duration::from_secs(30));
            assert!(ended.status.success(), "{}", ended.log);
            let mut spans = collector.take();
            spans.sort_unstable_by(|a, b| (&a.trace, &a.id).cmp(&(&b.trace, &b.id)));
            spans
        };
        let (first, second) = (replay(), replay());
        assert_perfect(&format!("{mode}, replayed"), &judge(&requests, &first));
        assert_eq!(seen(&live_spans), seen(&first), "live and replayed");
        assert_eq!(first, second, "replayed twice");
    }
}
