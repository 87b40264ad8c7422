//! `OTEL_*` variables, and the settings or complaints that they must give.

use super::*;

fn parse(variables: &[(&str, &str)]) -> Result<Settings, Problems> {
    Settings::parse(|name| variables.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned()))
}

fn otlp(variables: &[(&str, &str)]) -> Otlp {
    match parse(variables).unwrap().target {
        Target::Otlp(otlp) => *otlp,
        other => panic!("{other:?}"),
    }
}

fn problem(variables: &[(&str, &str)]) -> String {
    parse(variables).unwrap_err().to_string()
}

const HTTP: (&str, &str) = ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf");

#[test]
fn without_variables_the_defaults_hold() {
    assert_eq!(parse(&[]).unwrap(), Settings::default());
    assert_eq!(parse(&[("OTEL_TRACES_EXPORTER", " ")]).unwrap(), Settings::default());
    assert_eq!(otlp(&[HTTP]).endpoint.to_string(), "http://localhost:4318/v1/traces");
    assert_eq!(otlp(&[]).endpoint.host_and_port(), ("localhost".to_owned(), 4317));
}

#[test]
fn the_signals_own_variable_wins_whole() {
    let settings = otlp(&[
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
        ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/protobuf"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "a=1,b=2"),
        ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "c=3"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "1"),
        ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "250"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip"),
        ("OTEL_EXPORTER_OTLP_TRACES_COMPRESSION", "none"),
    ]);
    assert_eq!(settings.protocol, Protocol::HttpProtobuf);
    assert_eq!(settings.headers.len(), 1);
    assert_eq!(settings.timeout, Duration::from_millis(250));
    assert_eq!(settings.compression, Compression::None);
}

#[test]
fn http_endpoints_are_completed_only_if_general() {
    let url = |name, value| otlp(&[HTTP, (name, value)]).endpoint.url().to_string();
    let general = |value| url("OTEL_EXPORTER_OTLP_ENDPOINT", value);
    assert_eq!(general("http://c:4318"), "http://c:4318/v1/traces");
    assert_eq!(general("https://c/base/"), "https://c/base/v1/traces");
    let own = |value| url("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", value);
    assert_eq!(own("http://c:4318"), "http://c:4318/");
    assert_eq!(own("http://c:4318/v1/other?x=1"), "http://c:4318/v1/other?x=1");
}

#[test]
fn grpc_targets_may_lack_a_scheme() {
    let url = |value, insecure| {
        let insecure = ("OTEL_EXPORTER_OTLP_INSECURE", insecure);
        otlp(&[("OTEL_EXPORTER_OTLP_ENDPOINT", value), insecure]).endpoint.url().to_string()
    };
    assert_eq!(url("http://c:4317", "false"), "http://c:4317/");
    assert_eq!(url("https://c:4317", "true"), "https://c:4317/", "the scheme wins");
    assert_eq!(url("c:4317", "false"), "https://c:4317/");
    assert_eq!(url("c:4317", "TRUE"), "http://c:4317/");
    assert_eq!(url("c:80", "true"), "http://c/", "80 was written");
    assert_eq!(url("[::1]:4317", "true"), "http://[::1]:4317/");
    let ipv6 = otlp(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://[::1]:9")]);
    assert_eq!(ipv6.endpoint.host_and_port(), ("::1".to_owned(), 9));
}

#[test]
fn headers_are_percent_decoded_and_never_printed() {
    let variables = [("OTEL_EXPORTER_OTLP_HEADERS", "Authorization=Basic%20hunter2%3D%3D, x-a = b=c ,")];
    let otlp = otlp(&variables);
    let values: Vec<_> = otlp.headers.iter().map(|h| (h.name.as_str(), h.value.expose())).collect();
    assert_eq!(values, [("authorization", "Basic hunter2=="), ("x-a", "b=c")]);
    let settings = parse(&variables).unwrap();
    let printed = format!("{settings:?} {settings:#?}");
    assert!(!printed.contains("hunter2") && printed.contains("[redacted]"), "{printed}");
}

#[test]
fn a_query_may_hold_a_key_and_is_not_printed() {
    let otlp = otlp(&[HTTP, ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "https://c/v1?key=hunter2")]);
    assert_eq!(otlp.endpoint.to_string(), "https://c/v1?[redacted]");
    assert!(!format!("{otlp:?}").contains("hunter2"));
}

#[test]
fn batches_fit_the_queue() {
    let batch = parse(&[("OTEL_BSP_MAX_QUEUE_SIZE", "100"), ("OTEL_BSP_SCHEDULE_DELAY", "0")]).unwrap().batch;
    assert_eq!((batch.max_queue_size, batch.max_export_batch_size), (100, 100));
    assert_eq!(batch.schedule_delay, Duration::ZERO);
    let none = parse(&[("OTEL_BSP_EXPORT_TIMEOUT", "0")]).unwrap();
    assert_eq!(none.batch.export_timeout, Duration::MAX);
}

#[test]
fn what_holds_where_nobody_said_anything_is_told_by_its_variable() {
    let defaults = |variables: &[(&str, &str)]| {
        let is_set = |name: &str| variables.iter().any(|(n, _)| *n == name);
        let told = parse(variables).unwrap().defaults(&is_set);
        told.into_iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>()
    };
    assert_eq!(
        defaults(&[]),
        [
            "OTEL_TRACES_EXPORTER=otlp",
            "OTEL_BSP_SCHEDULE_DELAY=5000",
            "OTEL_BSP_EXPORT_TIMEOUT=30000",
            "OTEL_BSP_MAX_QUEUE_SIZE=2048",
            "OTEL_BSP_MAX_EXPORT_BATCH_SIZE=512",
            "OTEL_EXPORTER_OTLP_PROTOCOL=grpc",
            "OTEL_EXPORTER_OTLP_ENDPOINT=http://localhost:4317",
            "OTEL_EXPORTER_OTLP_COMPRESSION=none",
            "OTEL_EXPORTER_OTLP_INSECURE=false",
            "OTEL_EXPORTER_OTLP_TIMEOUT=10000",
        ]
    );
    let some =
        defaults(&[HTTP, ("OTEL_BSP_MAX_QUEUE_SIZE", "9"), ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "0")]);
    for line in ["OTEL_EXPORTER_OTLP_ENDPOINT=http://localhost:4318", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE=9"] {
        assert!(some.iter().any(|told| told == line), "{some:?}");
    }
    assert!(!some.iter().any(|told| told.contains("TIMEOUT=1") || told.contains("PROTOCOL")), "{some:?}");
    assert!(!defaults(&[("OTEL_TRACES_EXPORTER", "console")]).iter().any(|told| told.contains("OTLP")));
}

#[test]
fn a_bad_value_is_named_with_what_is_accepted() {
    let endpoint = "OTEL_EXPORTER_OTLP_ENDPOINT";
    let cases: [(&[(&str, &str)], &str); 18] = [
        (
            &[("OTEL_TRACES_EXPORTER", "zipkin")],
            "OTEL_TRACES_EXPORTER=\"zipkin\": accepted are otlp, console, none",
        ),
        (
            &[("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json")],
            "OTEL_EXPORTER_OTLP_PROTOCOL=\"http/json\": JSON is not supported; accepted are grpc, http/protobuf",
        ),
        (
            &[("OTEL_EXPORTER_OTLP_TRACES_COMPRESSION", "zstd")],
            "OTEL_EXPORTER_OTLP_TRACES_COMPRESSION=\"zstd\": accepted are gzip, none",
        ),
        (
            &[("OTEL_EXPORTER_OTLP_INSECURE", "1")],
            "OTEL_EXPORTER_OTLP_INSECURE=\"1\": accepted are true, false",
        ),
        (
            &[("OTEL_EXPORTER_OTLP_TIMEOUT", "10s")],
            "OTEL_EXPORTER_OTLP_TIMEOUT=\"10s\": a whole number of milliseconds is accepted, e.g. 10000",
        ),
        (
            &[("OTEL_BSP_MAX_QUEUE_SIZE", "0")],
            "OTEL_BSP_MAX_QUEUE_SIZE=\"0\": a whole number of at least 1 is accepted",
        ),
        (
            &[("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "4096")],
            "OTEL_BSP_MAX_EXPORT_BATCH_SIZE=\"4096\": at most the queue's size (OTEL_BSP_MAX_QUEUE_SIZE), 2048",
        ),
        (
            &[(endpoint, "ftp://c")],
            "OTEL_EXPORTER_OTLP_ENDPOINT=\"ftp://c\": accepted are http://host:port, https://host:port and \
             host:port",
        ),
        (
            &[(endpoint, "notaurl")],
            "OTEL_EXPORTER_OTLP_ENDPOINT=\"notaurl\": accepted are http://host:port, https://host:port and \
             host:port",
        ),
        (
            &[(endpoint, "[::1]")],
            "OTEL_EXPORTER_OTLP_ENDPOINT=\"[::1]\": accepted are http://host:port, https://host:port and \
             host:port",
        ),
        (
            &[(endpoint, "c:")],
            "OTEL_EXPORTER_OTLP_ENDPOINT=\"c:\": accepted are http://host:port, https://host:port and host:port",
        ),
        (
            &[(endpoint, "http://c:4318/v1/traces")],
            "OTEL_EXPORTER_OTLP_ENDPOINT=\"http://c:4318/v1/traces\": a gRPC endpoint has no path; for \
             http/protobuf set OTEL_EXPORTER_OTLP_PROTOCOL",
        ),
        (
            &[HTTP, (endpoint, "collector:4318")],
            "OTEL_EXPORTER_OTLP_ENDPOINT=\"collector:4318\": a URL is accepted: http://host:port or \
             https://host:port, with or without a path",
        ),
        (
            &[(endpoint, "http://me:hunter2@c:4317")],
            "OTEL_EXPORTER_OTLP_ENDPOINT: credentials do not belong in the URL; send them by \
             OTEL_EXPORTER_OTLP_HEADERS",
        ),
        (
            &[("OTEL_EXPORTER_OTLP_HEADERS", "a=1,hunter2")],
            "OTEL_EXPORTER_OTLP_HEADERS: member 2 has no '='; accepted is name=value,name=value",
        ),
        (
            &[("OTEL_EXPORTER_OTLP_HEADERS", "a=hunter2%0d%0a")],
            "OTEL_EXPORTER_OTLP_HEADERS: the value of a holds characters that a header can't carry",
        ),
        (
            &[("OTEL_EXPORTER_OTLP_HEADERS", "a-bin=hunter2")],
            "OTEL_EXPORTER_OTLP_HEADERS: a-bin can't be set: gRPC keeps names that end in -bin or start with \
             grpc-",
        ),
        (
            &[("OTEL_EXPORTER_OTLP_CLIENT_KEY", "k.pem")],
            "OTEL_EXPORTER_OTLP_CLIENT_KEY: needs OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE beside it",
        ),
    ];
    for (variables, message) in cases {
        let text = problem(variables);
        assert_eq!(text, message);
        assert!(!text.contains("hunter2"));
    }
}

#[test]
fn all_problems_are_told_at_once() {
    let text = problem(&[("OTEL_BSP_SCHEDULE_DELAY", "-1"), ("OTEL_EXPORTER_OTLP_PROTOCOL", "udp")]);
    assert_eq!(text.lines().count(), 2, "{text}");
}

#[test]
fn metrics_have_the_same_rules_with_names_and_a_path_of_their_own() {
    let metrics = |variables: &[(&str, &str)]| {
        Otlp::parse(Signal::Metrics, |name| {
            variables.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned())
        })
    };
    let url = |variables: &[(&str, &str)]| metrics(variables).unwrap().endpoint.url().to_string();
    assert_eq!(url(&[]), "http://localhost:4317/");
    assert_eq!(url(&[HTTP]), "http://localhost:4318/v1/metrics");
    assert_eq!(url(&[HTTP, ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c/b")]), "http://c/b/v1/metrics");
    assert_eq!(url(&[HTTP, ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "http://c/m")]), "http://c/m");
    let own = metrics(&[
        ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "t=1"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "a=1"),
        ("OTEL_EXPORTER_OTLP_METRICS_HEADERS", "m=1,n=2"),
        ("OTEL_EXPORTER_OTLP_METRICS_CERTIFICATE", "ca.pem"),
        ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "https://m:9"),
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "udp://x"),
    ])
    .unwrap();
    assert_eq!(own.headers.len(), 2);
    assert_eq!(own.certificate.as_ref().unwrap().variable, "OTEL_EXPORTER_OTLP_METRICS_CERTIFICATE");
    assert_eq!(own.endpoint.to_string(), "https://m:9/");
    let wrong = [("OTEL_EXPORTER_OTLP_METRICS_TIMEOUT", "x"), ("OTEL_EXPORTER_OTLP_METRICS_PROTOCOL", "y")];
    let text = metrics(&wrong).unwrap_err().to_string();
    assert!(text.starts_with("OTEL_EXPORTER_OTLP_METRICS_PROTOCOL=\"y\""), "{text}");
    assert_eq!(text.lines().count(), 2, "{text}");
}

#[test]
fn otlp_variables_do_not_matter_to_the_console() {
    let settings = parse(&[("OTEL_TRACES_EXPORTER", "console"), ("OTEL_EXPORTER_OTLP_PROTOCOL", "udp")]);
    assert_eq!(settings.unwrap().target, Target::Console);
}
