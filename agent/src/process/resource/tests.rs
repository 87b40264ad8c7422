//! Resources in full, and which source of an attribute wins.

use super::*;
use crate::process::fixture::Fixture;

fn process() -> Process {
    let fixture = Fixture::new();
    fixture.process(42, &["/usr/bin/node", "shop.js", "--password=x"], "/srv");
    fixture.procfs().process(42).unwrap()
}

fn host() -> Host {
    Host { name: Some("node-1".into()), id: Some("0123456789abcdef0123456789abcdef".into()), arch: "amd64" }
}

fn node() -> Runtime {
    Runtime::Node { library: None }
}

fn lines(resource: &Resource) -> Vec<String> {
    let line = |a: &Attribute| match &a.value {
        Value::Str(s) => format!("{}={s}", a.key),
        other => format!("{}={other:?}", a.key),
    };
    resource.attributes.iter().map(line).collect()
}

fn value(resource: &Resource, key: &str) -> Option<String> {
    let prefix = format!("{key}=");
    lines(resource).iter().find_map(|line| line.strip_prefix(&prefix).map(str::to_owned))
}

#[test]
fn a_resource_in_full() {
    let mut process = process();
    process.container_id = Some("ab".repeat(32));
    let resource = resource(&process, None, &node(), &host(), &[], None);
    let id = value(&resource, "service.instance.id").unwrap();
    assert_eq!(Uuid::parse_str(&id).unwrap().get_version_num(), 5);
    let version = VERSION;
    assert_eq!(
        lines(&resource),
        [
            format!("container.id={}", "ab".repeat(32)),
            "host.arch=amd64".into(),
            "host.id=0123456789abcdef0123456789abcdef".into(),
            "host.name=node-1".into(),
            "os.type=linux".into(),
            "process.command=/usr/bin/node".into(),
            "process.executable.name=node".into(),
            "process.executable.path=/usr/bin/node".into(),
            "process.pid=Int(42)".into(),
            "process.runtime.name=nodejs".into(),
            format!("service.instance.id={id}"),
            "service.name=shop".into(),
            "telemetry.distro.name=sockspan".into(),
            format!("telemetry.distro.version={version}"),
            "telemetry.sdk.language=nodejs".into(),
            "telemetry.sdk.name=sockspan".into(),
            format!("telemetry.sdk.version={version}"),
        ]
    );
}

#[test]
fn the_users_attributes_win_over_what_was_detected() {
    let mut process = process();
    let own = "service.name=cart,service.instance.id=one,host.name=h%2C1,deployment.environment.name=prod,telemetry.sdk.name=x";
    process.environment.resource_attributes = Some(own.into());
    let pair = |k: &str, v: &str| (k.to_owned(), v.to_owned());
    let defaults = [
        pair("deployment.environment.name", "test"),
        pair("cloud.region", "eu"),
        pair("service.name", "agent"),
        pair("service.namespace", "shop"),
    ];
    let resource = resource(&process, None, &node(), &host(), &defaults, None);
    assert_eq!(resource.service_name, "cart");
    for (key, expected) in [
        ("service.name", "cart"),
        ("service.instance.id", "one"),
        ("service.namespace", "shop"),
        ("host.name", "h,1"),
        ("deployment.environment.name", "prod"),
        ("cloud.region", "eu"),
        ("telemetry.sdk.name", "sockspan"),
    ] {
        assert_eq!(value(&resource, key).as_deref(), Some(expected), "{key}");
    }
    assert!(resource.attributes.is_sorted_by(|a, b| a.key < b.key));
}

#[test]
fn instances_differ_by_start_and_host() {
    let id = |process: &Process, host: &Host| instance_id(process, host);
    let (one, here) = (process(), host());
    let mut later = one.clone();
    later.identity.start_ticks += 1;
    let elsewhere = Host { id: None, ..host() };
    assert_eq!(id(&one, &here), id(&one.clone(), &here));
    assert_ne!(id(&one, &here), id(&later, &here));
    assert_ne!(id(&one, &here), id(&one, &elsewhere));
}

#[test]
fn titles_and_other_pythons() {
    let mut process = process();
    process.arguments = vec!["nginx: worker process".into()];
    process.executable = Some("/usr/bin/pypy3".into());
    let runtime = Runtime::Python { asyncio: false, greenlet: false, gevent: false, uvloop: false };
    let resource = resource(&process, None, &runtime, &host(), &[], None);
    assert_eq!(value(&resource, "process.command"), None);
    assert_eq!(value(&resource, "process.runtime.name").unwrap(), "pypy");
}

#[test]
fn lists_of_attributes() {
    let pairs = parse_attributes(" a = b%20c , d=e=f,,g=%c3%a9, h=").unwrap();
    let expected = [("a", "b c"), ("d", "e=f"), ("g", "é"), ("h", "")];
    assert_eq!(pairs, expected.map(|(k, v)| (k.to_owned(), v.to_owned())));
    assert_eq!(parse_attributes("").unwrap(), []);
    assert_eq!(parse_attributes("a=1,b").unwrap_err(), AttributesError::NoPair("b".into()));
    assert_eq!(parse_attributes("=1").unwrap_err(), AttributesError::NoPair("=1".into()));
    for bad in ["a=%", "a=%4", "a=%zz", "a=%ff", "a=%é"] {
        assert_eq!(parse_attributes(bad).unwrap_err(), AttributesError::Encoding("a".into()), "{bad}");
    }
}

#[test]
fn a_pods_word_stands_between_the_agents_and_the_processs() {
    use crate::kubernetes::Facts;
    let str = |text: &str| Value::Str(text.to_owned().into());
    let facts = Facts {
        derived: vec![
            ("k8s.pod.name".into(), str("cart-x")),
            ("service.namespace".into(), str("shop")),
            ("service.instance.id".into(), str("shop.cart-x.cart")),
            ("team".into(), str("derived")),
        ],
        annotated: vec![("team".into(), "annotated".into()), ("tier".into(), "web".into())],
        service_name: "cart".into(),
        container: Some("cart".into()),
        complete: true,
    };
    let pair = |k: &str, v: &str| (k.to_owned(), v.to_owned());
    let defaults = [pair("team", "agents"), pair("service.namespace", "all"), pair("tier", "x")];
    let plain = resource(&process(), None, &node(), &host(), &defaults, Some(&facts));
    for (key, expected) in [
        ("service.name", "cart"),
        ("service.namespace", "all"),
        ("service.instance.id", "shop.cart-x.cart"),
        ("k8s.pod.name", "cart-x"),
        ("team", "annotated"),
        ("tier", "web"),
        ("telemetry.sdk.name", "sockspan"),
    ] {
        assert_eq!(value(&plain, key).as_deref(), Some(expected), "{key}");
    }
    let mut named = process();
    named.environment.resource_attributes = Some("service.name=own,team=own".into());
    let own = resource(&named, None, &node(), &host(), &defaults, Some(&facts));
    assert_eq!((own.service_name.as_str(), value(&own, "team").as_deref()), ("own", Some("own")));
    assert!(own.attributes.is_sorted_by(|a, b| a.key < b.key));
}
