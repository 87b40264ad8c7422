//! Settings from the ConfigMap, taken while the agent runs.

use sockspan_tests::{
    cluster::Namespace,
    load::{self, Load},
    span::{Kind, Span},
    wait_until,
};

use crate::{
    selection::product,
    stage::{AGENT, ARRIVAL, Stage, stage},
};

fn spans_of(stage: &Stage, shop: &Namespace, requests: &Load, total: usize) -> Vec<Span> {
    let since = load::now();
    let answers = requests.clone().run(total);
    let mut spans = Vec::new();
    wait_until(ARRIVAL, || {
        spans = stage.spans(&shop.name, "product", since);
        spans.retain(|span| span.kind == Kind::Server);
        spans.len() >= answers.len()
    });
    assert_eq!(spans.len(), answers.len());
    spans
}

/// Rules for routes and redaction take effect without a restart; what is refused changes nothing and is told.
#[test]
fn routes_and_redaction_come_from_the_config_map() {
    let stage = stage();
    let shop = Namespace::new(&stage.cluster, "rules", "");
    shop.apply(&product(""));
    shop.rolled_out("deployment/product");
    let agent = stage.cluster.pods(AGENT, "app.kubernetes.io/name=sockspan")[0]["metadata"]["name"].clone();
    let requests = Load::get(0, "/products/secret-{}").to(shop.service("product")).connecting();
    let plain = spans_of(stage, &shop, &requests, 5);
    assert!(plain.iter().all(|span| span.path().starts_with("/products/secret-r")), "{plain:#?}");
    {
        let _settings =
            stage.configure(&[("redact", "['secret-(\\w+)']"), ("route", "['/products/:thing']")]);
        let ruled = spans_of(stage, &shop, &requests, 5);
        for span in &ruled {
            assert_eq!(
                (span.name.as_str(), span.path()),
                ("GET /products/:thing", "/products/secret-REDACTED")
            );
        }
        let text = stage.settings_file();
        stage.write_settings(&(text.clone() + "no-such-key: 1\n"), "refused");
        let reload = stage.status()["reload"].to_string();
        assert!(reload.contains("no-such-key"), "/status does not tell why: {reload}");
        let kept = spans_of(stage, &shop, &requests, 3);
        assert!(kept.iter().all(|span| span.path() == "/products/secret-REDACTED"), "{kept:#?}");
        stage.write_settings(&text, "applied");
    }
    let again = spans_of(stage, &shop, &requests, 3);
    assert!(again.iter().all(|span| span.path().starts_with("/products/secret-r")));
    let now = stage.cluster.pods(AGENT, "app.kubernetes.io/name=sockspan")[0]["metadata"]["name"].clone();
    assert_eq!(agent, now, "the agent was not to be replaced");
}
