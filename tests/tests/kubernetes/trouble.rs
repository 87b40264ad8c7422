//! What goes wrong around the agent: its API server away, its rights missing, itself and its services replaced.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use sockspan_tests::{
    agent::{Agent, Launch},
    cluster::Namespace,
    given::{self, Mode},
    judge::shape::shapes,
    load::{self, Answer, Load},
    wait_until,
};

use crate::{
    selection::product,
    stage::{AGENT, ARRIVAL, LIVE, Stage, resources, short_names, stage},
};

/// A minute without the API server: traces go on with all their attributes, the agent says so and stays ready; afterwards
/// labels are live again.
#[test]
fn a_minute_without_the_api_server_costs_no_span() {
    let stage = stage();
    let shop = Namespace::new(&stage.cluster, "steady", "");
    shop.deploy_shop();
    let frontend = shop.service("frontend");
    let agent = stage.agent().expect("the agent runs");
    let since = load::now();
    let load = Load::post(0, "/checkout").to(frontend).at(2).connecting();
    let answers = {
        let _away = stage.cluster.without("kube-apiserver");
        let stop = AtomicBool::new(false);
        thread::scope(|scope| {
            let (load, stop) = (&load, &stop);
            let running = scope.spawn(move || load.run_until(stop));
            thread::sleep(Duration::from_secs(60));
            let said = stage.kubernetes_at(agent);
            stop.store(true, Ordering::Relaxed);
            assert_ne!(said["state"], "synced", "{said:#}");
            running.join().expect("the load does not panic")
        })
    };
    let spans = stage.assert_checkouts("steady", since, &answers);
    assert_eq!(resources(&spans).len(), 3, "attributes changed in the outage");
    let synced = wait_until(Duration::from_secs(60), || stage.status()["kubernetes"]["state"] == "synced");
    assert!(synced, "{:#}", stage.status()["kubernetes"]);
    stage.cluster.kubectl(&["label", "namespace", "steady", "sockspan.io/trace=disabled"]);
    stage.await_traced("steady", false, LIVE);
}

/// An agent that starts while the API server is away says so, traces no pod it knows nothing of, and catches up.
#[test]
fn an_agent_that_starts_without_the_api_server_catches_up() {
    let stage = stage();
    let namespace = Namespace::new(&stage.cluster, "late", "");
    namespace.apply(&product(""));
    namespace.rolled_out("deployment/product");
    let launch = Launch::verb(Mode::Sock, &["run"]).env("OTEL_TRACES_EXPORTER", "none");
    let launch = launch.args(&["--kubeconfig", &given::kubeconfig(), "--node-name", "node1"]);
    let traced = |agent: &Agent| {
        let status = agent.status();
        let all = status["processes"].as_array().cloned().unwrap_or_default();
        all.iter()
            .filter(|p| p["traced"] == true && p["pod"].as_str().is_some_and(|pod| pod.starts_with("late/")))
            .count()
    };
    let agent = {
        let _away = stage.cluster.without("kube-apiserver");
        let agent = launch.start();
        let said = agent.status()["kubernetes"].clone();
        assert_eq!((said["state"].as_str(), traced(&agent)), (Some("failing"), 0), "{said:#}");
        agent
    };
    let caught_up = wait_until(Duration::from_secs(60), || traced(&agent) > 0);
    assert!(caught_up, "{:#}", agent.status()["kubernetes"]);
    agent.stop();
}

/// Puts the manifest back, whatever happened.
struct Reapplied<'a>(&'a Stage);

impl Drop for Reapplied<'_> {
    fn drop(&mut self) {
        let file = given::repository("deploy/sockspan.yaml").display().to_string();
        let _ = self.0.cluster.attempt(&["apply", "--filename", &file], "");
    }
}

/// Without its ClusterRoleBinding the agent says which permission is missing and how to give it, and recovers when it is
/// given, without a restart.
#[test]
fn without_rbac_the_agent_says_what_is_missing() {
    let stage = stage();
    let reapplied = Reapplied(stage);
    stage.cluster.kubectl(&["delete", "clusterrolebinding", AGENT]);
    stage.restart_agent_unready();
    let said = || stage.page("/status").unwrap_or_default();
    let told = wait_until(Duration::from_secs(60), || {
        let status = said();
        ["forbids", "sockspan/sockspan", "pods", "namespaces", "ClusterRole"]
            .iter()
            .all(|word| status.contains(word))
    });
    let (status, log) = (said(), stage.agent_log());
    drop(reapplied);
    assert!(told, "/status: {status}\nlog: {log}");
    assert!(log.contains("forbids"), "the log does not tell: {log}");
    let synced = wait_until(Duration::from_secs(90), || stage.status()["kubernetes"]["state"] == "synced");
    assert!(synced, "{:#}", stage.status()["kubernetes"]);
    stage.cluster.rolled_out(AGENT, "daemonset/sockspan");
}

/// A service replaced under load: every checkout that was answered is one complete trace, with the pods that served it.
#[test]
fn a_service_replaced_under_load_loses_nothing() {
    let stage = stage();
    let shop = Namespace::new(&stage.cluster, "rolling", "");
    shop.deploy_shop();
    let since = load::now();
    let (answers, ()) = under_load(&shop, || {
        thread::sleep(Duration::from_secs(6));
        shop.kubectl(&["rollout", "restart", "deployment/product"]);
        shop.rolled_out("deployment/product");
        thread::sleep(Duration::from_secs(10));
    });
    let statuses = load::statuses(&answers);
    let answered: Vec<_> = answers.into_iter().filter(|answer| answer.status.is_some()).collect();
    // While the old pod's address is still given out, connections to it are refused: then there is no call to tell of.
    let wanted = load::count(&answered, 200);
    let mut told = shapes(&[]);
    let mut spans = Vec::new();
    wait_until(ARRIVAL, || {
        spans = stage.spans("rolling", "frontend", since);
        told = shapes(&short_names(&spans));
        told.five >= wanted
    });
    println!("{statuses}; {} and {} checkouts", told.five, told.three);
    assert!(wanted > 20, "{wanted} checkouts went well: {statuses}; {}", shop.logs());
    assert_eq!(told.five, wanted, "{told}");
    let products: Vec<_> =
        resources(&spans).into_iter().filter(|r| r["service.name"] == "product-service").collect();
    assert_eq!(products.len(), 2, "the old pod and the new one: {products:#?}");
    assert_ne!(products[0]["k8s.pod.name"], products[1]["k8s.pod.name"]);
}

/// The agent replaced under load: no span with wrong metadata, and what is missing was under way while it was away.
#[test]
fn the_agent_replaced_under_load_loses_only_its_absence() {
    let stage = stage();
    let shop = Namespace::new(&stage.cluster, "watched", "");
    shop.deploy_shop();
    stage.checkouts(&shop, 10, 2);
    let since = load::now();
    let (answers, (left, back)) = under_load(&shop, || {
        thread::sleep(Duration::from_secs(5));
        let left = load::now();
        stage.restart_agent();
        stage.await_traced("watched", true, Duration::from_secs(30));
        let back = load::now();
        thread::sleep(Duration::from_secs(8));
        (left, back)
    });
    let seen: Vec<Answer> =
        answers.iter().filter(|answer| answer.end < left || answer.start > back).cloned().collect();
    println!(
        "{} checkouts, {} outside of the agent's absence of {} ms",
        answers.len(),
        seen.len(),
        (back - left) / 1_000_000
    );
    let wanted = load::count(&seen, 200);
    let mut spans = Vec::new();
    let complete = |spans: &[sockspan_tests::span::Span]| shapes(&short_names(spans)).five;
    wait_until(ARRIVAL, || {
        spans = stage.spans("watched", "frontend", since);
        complete(&spans) >= wanted
    });
    assert!(complete(&spans) >= wanted, "{} of {wanted}: {}", complete(&spans), shapes(&short_names(&spans)));
    assert_eq!(resources(&spans).len(), 3, "{:#?}", resources(&spans));
    for resource in resources(&spans) {
        crate::checkout::assert_is_pod(&stage.cluster, &resource);
    }
}

/// Checks out without a pause while `during` goes on.
fn under_load<T>(shop: &Namespace, during: impl FnOnce() -> T) -> (Vec<Answer>, T) {
    let load = Load::post(0, "/checkout").to(shop.service("frontend")).at(2).connecting();
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let (load, stop) = (&load, &stop);
        let running = scope.spawn(move || load.run_until(stop));
        let result = during();
        stop.store(true, Ordering::Relaxed);
        (running.join().expect("the load does not panic"), result)
    })
}

impl Stage {
    /// What the agent at `address` says of Kubernetes; asked by address, for nobody can be looked up meanwhile.
    fn kubernetes_at(&self, address: std::net::SocketAddr) -> serde_json::Value {
        let page = sockspan_tests::http::get_at(address, "/status").expect("the agent answers");
        let status: serde_json::Value = serde_json::from_slice(&page.body).expect("/status is JSON");
        status["kubernetes"].clone()
    }

    /// Replaces the agent's pod, whether or not the new one becomes ready.
    fn restart_agent_unready(&self) {
        let name = |stage: &Self| {
            let pods = stage.cluster.pods(AGENT, "app.kubernetes.io/name=sockspan");
            pods.first().and_then(|pod| pod["metadata"]["name"].as_str().map(str::to_owned))
        };
        let before = name(self);
        self.cluster.kubectl(&[
            "delete",
            "pods",
            "--namespace",
            AGENT,
            "--selector=app.kubernetes.io/name=sockspan",
        ]);
        let replaced =
            || name(self).is_some_and(|now| Some(now) != before) && self.page("/healthz").is_some();
        assert!(wait_until(Duration::from_secs(60), replaced), "the agent does not come back");
    }
}
