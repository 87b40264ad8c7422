//! Sampling as the tutorial has it: all errors and a tenth of the rest, decided by a Collector behind the agent.

use std::{collections::BTreeSet, time::Duration};

use sockspan_tests::{
    cluster::Namespace,
    load::{self, Load},
    wait_until,
};

use crate::stage::{OBSERVABILITY, short_names, stage};

/// Every checkout that failed for a `database_timeout` reaches Jaeger through the tail-sampling Collector, whole; of those
/// that went well about a tenth does.
#[test]
fn all_errors_and_a_tenth_of_the_rest_reach_jaeger() {
    let stage = stage();
    stage.cluster.apply_file("deploy/collector/collector.yaml");
    stage.cluster.rolled_out(OBSERVABILITY, "deployment/opentelemetry-collector");
    let shop = Namespace::new(&stage.cluster, "sampled", "");
    shop.deploy_shop();
    let endpoint = "\n  OTEL_EXPORTER_OTLP_ENDPOINT: http://opentelemetry-collector.observability:4317";
    let restarted = stage.restart_with(&[("otel", endpoint)]);

    let since = load::now();
    let answers = Load::post(0, "/checkout").to(shop.service("frontend")).at(8).connecting().run(600);
    let (well, failed) = (load::count(&answers, 200), load::count(&answers, 500));
    assert_eq!(well + failed, answers.len());
    // The Collector decides 10 s after a trace's first span.
    let traces = |error: bool| -> BTreeSet<Vec<u8>> {
        let spans = short_names(&stage.spans("sampled", "frontend", since));
        spans
            .iter()
            .filter(|span| span.is_root() && span.error == error)
            .map(|span| span.trace.clone())
            .collect()
    };
    wait_until(Duration::from_secs(60), || traces(true).len() >= failed);
    let (errors, rest) = (traces(true).len(), traces(false).len());
    println!("{failed} failed, {errors} of them in Jaeger; {well} went well, {rest} of them in Jaeger");
    assert!(failed > 20, "a tenth of 600 was to fail");
    assert_eq!(errors, failed, "an error is missing");
    let share = rest as f64 / well as f64;
    // Four standard deviations of a tenth of 540.
    assert!((0.05..0.16).contains(&share), "{rest} of {well}");
    let told = sockspan_tests::judge::shape::shapes(&short_names(&stage.spans("sampled", "frontend", since)));
    assert_eq!((told.three, told.other.len()), (failed, 0), "{told}");

    drop(restarted);
    stage.cluster.kubectl(&["delete", "deployment/opentelemetry-collector", "--namespace", OBSERVABILITY]);
}
