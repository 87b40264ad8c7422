//! Every runtime's service, in both probe modes: no link is wrong, no span is missing or invented, and what a service
//! promises to be complete is.
//!
//! In: the services that registered in `tests/runtimes`. Out: a verdict for each cell of a small part of the matrix that
//! `cargo xtask bench fidelity` measures.

use std::path::Path;

use sockspan_tests::{
    given,
    runtimes::{
        cell::Style,
        plan::{self, Filter},
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
    python_aiohttp_uvloop => "python-aiohttp-uvloop",
    python_flask => "python-flask",
    python_gevent => "python-gevent",
    python_gunicorn_gevent => "python-gunicorn-gevent",
    python_gunicorn_gthread => "python-gunicorn-gthread",
    python_gunicorn_sync => "python-gunicorn-sync",
    python_gunicorn_uvicorn => "python-gunicorn-uvicorn",
    python_uvicorn => "python-uvicorn",
    python_uvicorn_uvloop => "python-uvicorn-uvloop",
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
        for watched in
            run::perform(&runtime, &run, given::amount(REQUESTS), Path::new(env!("CARGO_BIN_EXE_fidelity")))
        {
            watched.outcomes.iter().for_each(|outcome| println!("{outcome}"));
            println!("{}", watched.drops);
            let faults = watched.outcomes.into_iter().filter(|outcome| !outcome.is_as_promised());
            broken.extend(faults.map(|outcome| format!("{outcome:#}")));
        }
    }
    assert!(broken.is_empty(), "{} cells are not as they must be:\n{}", broken.len(), broken.join("\n"));
}
