//! Every runtime's service, in both probe modes: no link is wrong, no span is missing or invented, and what a service
//! promises to be complete is.
//!
//! In: the services that registered in `tests/runtimes`. Out: a verdict for each cell of a small part of the matrix that
//! `cargo xtask bench fidelity` measures.

use std::path::Path;

use sockspan_tests::{
    given,
    runtimes::{
        cell::{Outcome, Style},
        plan::{self, Filter, Run},
        registration::Runtime,
        run,
    },
};

/// Requests a cell: twice as many as there are at a time.
const REQUESTS: usize = 2 * plan::BASE;

/// The services that are tested with every style of connections; the others, which differ from these in little, with kept
/// ones. The bench measures all.
const WIDE: [&str; 8] = [
    "go-net-http",
    "java-tomcat",
    "nginx",
    "node",
    "python-aiohttp",
    "python-flask",
    "python-gunicorn-gevent",
    "python-uvicorn",
];

/// A test for each service.
macro_rules! runtimes {
    ($($test:ident => $name:literal),* $(,)?) => {
        $(
            #[test]
            fn $test() {
                matrix($name);
            }
        )*
        const TESTED: &[&str] = &[$($name),*];
    };
}

runtimes! {
    go_net_http => "go-net-http",
    go_net_http_lazy_pool => "go-net-http-lazy-pool",
    java_httpserver => "java-httpserver",
    java_jetty => "java-jetty",
    java_jetty_shared => "java-jetty-shared",
    java_netty => "java-netty",
    java_netty_named => "java-netty-named",
    java_tomcat => "java-tomcat",
    java_tomcat_async => "java-tomcat-async",
    java_tomcat_common => "java-tomcat-common",
    java_undertow => "java-undertow",
    java_vertx => "java-vertx",
    nginx => "nginx",
    node => "node",
    node_cluster => "node-cluster",
    python_aiohttp => "python-aiohttp",
    python_aiohttp_lazy_pool => "python-aiohttp-lazy-pool",
    python_aiohttp_uvloop => "python-aiohttp-uvloop",
    python_flask => "python-flask",
    python_gevent => "python-gevent",
    python_gevent_lazy_pool => "python-gevent-lazy-pool",
    python_gunicorn_gevent => "python-gunicorn-gevent",
    python_gunicorn_gthread => "python-gunicorn-gthread",
    python_gunicorn_sync => "python-gunicorn-sync",
    python_gunicorn_uvicorn => "python-gunicorn-uvicorn",
    python_uvicorn => "python-uvicorn",
    python_uvicorn_asyncio_lazy_pool => "python-uvicorn-asyncio-lazy-pool",
    python_uvicorn_executor => "python-uvicorn-executor",
    python_uvicorn_uvloop => "python-uvicorn-uvloop",
    python_uvicorn_uvloop_executor => "python-uvicorn-uvloop-executor",
    python_uvicorn_uvloop_lazy_pool => "python-uvicorn-uvloop-lazy-pool",
}

#[test]
fn every_service_has_its_test() {
    let registered = Runtime::all().into_iter().map(|runtime| runtime.registration.name);
    let mut registered: Vec<_> = registered.collect();
    registered.sort();
    let mut tested = TESTED.to_vec();
    tested.sort_unstable();
    assert_eq!(registered, tested, "a line in this file for each service in tests/runtimes");
    assert!(WIDE.iter().all(|name| TESTED.contains(name)));
}

/// All routes at one concurrency, and few of them by each other client and each other style of connections.
fn matrix(name: &str) {
    let runtime = Runtime::all().into_iter().find(|runtime| runtime.registration.name == name);
    let runtime = runtime.unwrap_or_else(|| panic!("no service {name} is registered"));
    let styles = if WIDE.contains(&name) { Vec::new() } else { vec![Style::Pool.text().to_owned()] };
    let filter = Filter {
        styles,
        concurrencies: vec![plan::BASE],
        modes: given::modes().iter().map(|mode| mode.text().to_owned()).collect(),
        together: true,
        brief: true,
        ..Filter::default()
    };
    let mut broken = Vec::new();
    for run in filter.runs(&runtime) {
        let mut outcomes = measured(&runtime, &run);
        // On a busy machine a link can be left out that is made otherwise; none may be false.
        if outcomes.iter().all(Outcome::is_true) && !outcomes.iter().all(Outcome::is_as_promised) {
            println!("a promise was not kept: measured once more");
            outcomes = measured(&runtime, &run);
        }
        let faults = outcomes.into_iter().filter(|outcome| !outcome.is_as_promised());
        broken.extend(faults.map(|outcome| format!("{outcome:#}")));
    }
    assert!(broken.is_empty(), "{} cells are not as they must be:\n{}", broken.len(), broken.join("\n"));
}

/// The cells of one run, for all watchers.
fn measured(runtime: &Runtime, run: &Run) -> Vec<Outcome> {
    let program = Path::new(env!("CARGO_BIN_EXE_fidelity"));
    let watched = run::perform(runtime, run, given::amount(REQUESTS), program);
    watched.iter().for_each(|watched| println!("{}", watched.drops));
    let outcomes: Vec<_> = watched.into_iter().flat_map(|watched| watched.outcomes).collect();
    outcomes.iter().for_each(|outcome| println!("{outcome}"));
    outcomes
}
