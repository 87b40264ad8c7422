//! What is read from the sockets, however a program uses them, and what must never be read.
//!
//! In: C programs that know every way to use a socket, and the services that start quickly. Out: spans compared with
//! what was sent; recorded streams searched for planted secrets. All of this also runs on other kernels, in a virtual
//! machine where everything takes longer.

use std::{
    fs,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use sockspan_tests::{
    agent::{Agent, Launch},
    child::{Running, Scratch},
    given::{self, Mode, modes},
    judge::{Expected, Parent, Request, Verdict, judge},
    load::{self, Load},
    programs::{self, Program},
    secret::{self, SECRET},
    services::{Behaviour, Shop},
    shop,
    span::{Attributes, Kind, Span},
    stage::Stage,
};

/// The programs run no longer than this here.
const PATIENCE: Duration = Duration::from_secs(60);

/// A request between two threads of the program `service`: a root and its child.
fn between_threads(service: &'static str, path: &str) -> Request {
    let expected = |kind, parent| Expected { service, kind, path: path.to_owned(), status: 200, parent };
    Request::of(vec![expected(Kind::Client, Parent::Nobody), expected(Kind::Server, Parent::Of(0))])
}

fn assert_perfect(what: &str, verdict: &Verdict) {
    println!("{what}: {verdict}");
    assert!(verdict.is_perfect(), "{what}: {verdict}");
}

/// Each of `spans` says how long both bodies were. A size that was not seen to its end may be unsaid where `unseen`
/// says so of the span.
fn assert_sizes(spans: &[Span], request: u64, response: u64, unseen: impl Fn(&Span) -> bool) {
    let sizes = [("http.request.body.size", request), ("http.response.body.size", response)];
    for span in spans {
        for (key, size) in sizes {
            let said = span.attribute(key);
            let right = said == size.to_string() || (said.is_empty() && unseen(span));
            assert!(right, "{key} is not {size} in {}: {:?}", span.line(), span.attributes);
        }
    }
}

fn seconds(duration: Duration) -> String {
    format!("{:.1} s", duration.as_secs_f64())
}

/// Every call that sends or receives, heads in pieces, bodies of a size.
const SHAPES: [&str; 8] = ["rw", "vec", "pv2", "to", "msg", "mmsg", "sendfile", "splice"];

/// Runs the program of each shape while an agent watches; the requests made.
fn run_shapes(mode: Mode, shapes: &[&str], each: usize, body: u64) -> (Stage, Vec<Request>) {
    let (count, size) = (each.to_string(), body.to_string());
    let mut running: Vec<_> =
        shapes.iter().map(|shape| Program::waiting("shapes", &[shape, &count, &size])).collect();
    let pids: Vec<u32> = running.iter().map(Program::pid).collect();
    let stage = Stage::trace(mode, &pids);
    running.iter_mut().for_each(Program::go);
    running.iter_mut().for_each(|program| drop(program.finish(PATIENCE)));
    let paths = shapes.iter().flat_map(|shape| (0..each).map(move |n| format!("/shapes/{shape}/{n}")));
    (stage, paths.map(|path| between_threads("shapes", &path)).collect())
}

#[test]
fn every_way_to_use_a_socket() {
    for mode in modes() {
        for body in [300, 20_000] {
            let (stage, requests) = run_shapes(mode, &SHAPES, given::amount(25), body);
            let spans = stage.spans(shop::spans(&requests));
            let what = format!("{mode}, {} ways, bodies of {body} bytes", SHAPES.len());
            assert_perfect(&what, &judge(&requests, &spans));
            // The sockets' own tracepoints do not tell of splice from a socket.
            let unseen = |span: &Span| mode == Mode::Sock && span.path().starts_with("/shapes/splice/");
            assert_sizes(&spans, body, body, unseen);
            println!("{}", stage.drops());
            stage.stop();
        }
    }
}

/// Where no call names the program's memory, nothing is read, nothing is invented, and the calls are counted.
#[test]
fn what_cannot_be_read_is_counted() {
    for mode in modes() {
        let (stage, _) = run_shapes(mode, &["blind"], 10, 300);
        assert_eq!(stage.spans(0), []);
        let unreadable = stage.agent.metric("sockspan_unreadable_total", &[]);
        println!("{mode}: {unreadable} unreadable calls");
        assert!(unreadable >= 1.0, "unreadable calls are counted: {}", stage.agent.samples("sockspan_"));
        stage.stop();
    }
}

/// 1 GB each way by sendfile, some 60,000 calls: the kernel side hears after a few milliseconds that it need not
/// tell of them, and the sizes are right to the byte.
#[test]
fn a_large_body_costs_few_events() {
    let body: u64 = if given::is_guest() { 10 << 20 } else { 1000 << 20 };
    for mode in modes() {
        let (stage, requests) = run_shapes(mode, &["sendfile"], 1, body);
        let spans = stage.spans(2);
        assert_perfect(&format!("{mode}, {} MiB each way", body >> 20), &judge(&requests, &spans));
        assert_sizes(&spans, body, body, |_| false);
        let events = stage.agent.metric("sockspan_events_total", &["kind=\"data\""]);
        println!("{mode}: {events} events for {} MiB", 2 * (body >> 20));
        let most = if given::is_guest() { 1000.0 } else { 4_000.0 };
        assert!(events <= most, "{events} events");
        stage.stop();
    }
}

/// An agent that writes the events of these processes to `file`.
fn recorder(mode: Mode, pids: &[u32], file: &Scratch) -> Agent {
    let path = file.0.to_str().expect("a path of our own making");
    Launch::verb(mode, &["record", path]).pids(pids).start()
}

/// Nothing of the secret is in the recorded stream nor in the spans; `sign` is, so the search sees what there is.
fn assert_no_secret(what: &str, file: &Scratch, spans: &[Span], sign: &str) {
    let stream = fs::read(&file.0).expect("the stream was written");
    let seen = stream.windows(sign.len()).filter(|window| *window == sign.as_bytes()).count();
    println!("{what}: {} bytes recorded, {sign:?} stands there {seen} times", stream.len());
    assert!(seen > 0, "{what}: the stream does not even have {sign:?}");
    let nowhere: [usize; 0] = [];
    assert_eq!(secret::find(&stream), nowhere, "{what}: pieces of the secret are in the stream");
    assert_eq!(
        secret::find(format!("{spans:?}").as_bytes()),
        nowhere,
        "{what}: pieces of the secret are in spans"
    );
}

/// MSG_PEEK, MSG_TRUNC, heads byte by byte, files and pipes beside the sockets.
#[test]
fn peeking_and_discarding() {
    let each = given::amount(40);
    for mode in modes() {
        let mut program = Program::waiting("peek", &[&each.to_string(), SECRET, "body of the request "]);
        let file = Scratch::new("peek.stream");
        let stage = Stage::trace(mode, &[program.pid()]);
        let recorder = recorder(mode, &[program.pid()], &file);
        program.go();
        println!("{mode}: {}", program.finish(PATIENCE).expect("every kernel can peek"));
        let requests: Vec<_> = (0..each).map(|n| between_threads("peek", &format!("/peek/{n}"))).collect();
        let spans = stage.spans(shop::spans(&requests));
        recorder.stop();
        assert_perfect(&format!("{mode}, peek"), &judge(&requests, &spans));
        assert_sizes(&spans, 3000, 7, |_| false);
        assert_no_secret(&format!("{mode}, peek"), &file, &spans, "POST /peek/1 ");
        stage.stop();
    }
}

/// Receives that the kernel finishes within unrelated calls, whose registers name the secret's memory.
#[test]
fn io_uring_among_unrelated_calls() {
    let (clients, each) = (20, given::amount(8));
    let shop = Shop::two(&Behaviour { delay: "5-20", ..Behaviour::default() });
    for mode in modes() {
        let (port, each_text) = (shop.product.port.to_string(), each.to_string());
        let arguments = ["127.0.0.1", &port, &clients.to_string(), &each_text, SECRET];
        let mut program = Program::waiting("uring", &arguments);
        let pids = [program.pid(), shop.product.pid()];
        let file = Scratch::new("uring.stream");
        let stage = Stage::trace(mode, &pids);
        let recorder = recorder(mode, &pids, &file);
        program.go();
        let Some(counts) = program.finish(PATIENCE) else {
            println!("this kernel has no io_uring of this kind: nothing to see here");
            return;
        };
        println!("{mode}: {counts}");
        let deferred = counts["deferred_receives"].as_u64().expect("it counts deferred receives");
        assert!(deferred > 0, "no receive was finished within an unrelated call: {counts}");
        let spans = stage.spans(clients * each);
        recorder.stop();
        assert_uring(mode, &spans, clients, each);
        assert_no_secret(&format!("{mode}, io_uring"), &file, &spans, "GET /products/uring-0-0 ");
        stage.stop();
    }
}

/// Product saw every request; what the clients show of themselves, if anything, is right.
fn assert_uring(mode: Mode, spans: &[Span], clients: usize, each: usize) {
    let (servers, mine): (Vec<_>, Vec<_>) = spans.iter().cloned().partition(|s| s.kind == Kind::Server);
    let paths = (0..clients).flat_map(|c| (0..each).map(move |n| format!("uring-{c}-{n}")));
    let requests: Vec<_> = paths
        .map(|id| {
            let mut request = shop::product_alone(&id, 200);
            if let Some(parent) = mine.iter().find(|span| span.path() == format!("/products/{id}")) {
                request = request.under(&(parent.trace.clone(), parent.id.clone()));
            }
            request
        })
        .collect();
    println!("{mode}: {} spans of the io_uring clients themselves", mine.len());
    assert_perfect(&format!("{mode}, {clients} io_uring clients"), &judge(&requests, &servers));
}

/// Connections that were there before the agent are told of from their next message on.
#[test]
fn connections_older_than_the_agent() {
    for keep_alive in [false, true] {
        let behaviour = Behaviour { keep_alive: Some(keep_alive), ..Behaviour::default() };
        // Where there is no Java service, only product is called.
        let java = !given::is_guest();
        let shop = if java { Shop::three(&behaviour) } else { Shop::two(&behaviour) };
        let load = match java {
            true => Load::post(shop.frontend.port, "/checkout/{}"),
            false => Load::get(shop.frontend.port, "/products/{}"),
        };
        for mode in modes() {
            let stop = AtomicBool::new(false);
            let (stage, ready, answers) = thread::scope(|scope| {
                let load = load.clone().at(8);
                let stop = &stop;
                let running = scope.spawn(move || load.run_until(stop));
                thread::sleep(given::limit(Duration::from_millis(500)));
                let stage = Stage::trace(mode, &shop.pids());
                let ready = load::now();
                thread::sleep(given::limit(Duration::from_millis(1500)));
                stop.store(true, Ordering::Relaxed);
                (stage, ready, running.join().expect("the load does not panic"))
            });
            let (later, earlier): (Vec<_>, Vec<_>) = answers.into_iter().partition(|a| a.start > ready);
            let request = if java { shop::checkout } else { shop::products };
            let requests = shop::expect(&later, request);
            // What was under way when the agent came may be seen in part.
            let mut spans = stage.spans(shop::spans(&requests));
            let early = |span: &Span| earlier.iter().any(|a| span.path().ends_with(&format!("/{}", a.id)));
            spans.retain(|span| !early(span));
            let what = format!("{mode}, KEEPALIVE={}, 8 old connections", u8::from(keep_alive));
            assert!(later.len() >= 8, "{what}: only {} requests", later.len());
            assert_perfect(&what, &judge(&requests, &spans));
            stage.stop();
        }
    }
}

/// Spans as if all were of the service `shapes`.
fn as_shapes(spans: Vec<Span>) -> Vec<Span> {
    let shapes = Arc::new(Attributes::from([("service.name".to_owned(), "shapes".to_owned())]));
    spans.into_iter().map(|span| Span { resource: shapes.clone(), ..span }).collect()
}

/// What a traced process starts is traced from its first byte on, and through execve; where it lives for longer than
/// a moment it is also known by its own name.
#[test]
fn children_and_new_programs_are_traced() {
    let shapes = programs::command("shapes");
    let shapes = shapes.get_program().to_str().expect("a path of our own making").to_owned();
    let pause = if given::is_guest() { 5 } else { 1 };
    let live = |shape: &str| format!("(sleep {pause}; echo go) | {shapes} --wait {shape} 5");
    for mode in modes() {
        let long = format!("{}; {}", live("pv2"), live("msg"));
        let short = format!("{shapes} rw 5; ( {shapes} vec 5 & wait ); exec {shapes} to 5");
        for (what, script, names) in
            [("long", long, &["pv2", "msg"][..]), ("short", short, &["rw", "vec", "to"])]
        {
            let mut shell =
                Running::spawn("sh", Command::new("sh").args(["-c", &format!("read word; {script}")]));
            let stage = Stage::trace(mode, &[shell.pid()]);
            shell.say("go");
            assert!(shell.wait(given::limit(PATIENCE)).success());
            let paths = names.iter().flat_map(|s| (0..5).map(move |n| format!("/shapes/{s}/{n}")));
            let requests: Vec<_> = paths.map(|path| between_threads("shapes", &path)).collect();
            let mut spans = stage.spans(shop::spans(&requests));
            let named = spans.iter().filter(|span| span.service() == "shapes").count();
            println!("{mode}: {named} of {} spans of {what}-lived children by their own name", spans.len());
            if what == "short" {
                spans = as_shapes(spans);
            }
            assert_perfect(&format!("{mode}, {what}-lived children and execve"), &judge(&requests, &spans));
            stage.stop();
        }
    }
}

/// The two services that start everywhere, under load.
#[test]
fn two_services_under_load() {
    let shop = Shop::two(&Behaviour { errors: true, ..Behaviour::default() });
    for mode in modes() {
        let stage = Stage::trace(mode, &shop.pids());
        println!("{mode}: ready after {}", seconds(stage.agent.ready_after));
        for (total, concurrency) in [(given::amount(100), 1), (given::amount(200), 10)] {
            let answers = Load::get(shop.frontend.port, "/products/{}").at(concurrency).run(total);
            let verdict = stage.judge(&shop::expect(&answers, shop::products));
            assert_perfect(&format!("{mode}, two services, {total} at {concurrency}"), &verdict);
        }
        println!("{mode}: {}", stage.drops());
        stage.stop();
    }
}
