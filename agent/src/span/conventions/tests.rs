//! Attributes by the HTTP conventions, for targets and hosts of every form.

use proptest::prelude::*;

use super::*;
use crate::span::Value;

/// One end of a connection, for as long as the test runs.
fn socket(text: &str) -> &'static Endpoint {
    Box::leak(Box::new(text.parse::<SocketAddr>().unwrap().into()))
}

fn facts(kind: SpanKind) -> Facts<'static> {
    Facts {
        kind,
        method: b"GET",
        target: b"/products?page=2&token=abc",
        host: Some(b"shop.example:8080"),
        scheme: "http",
        version: Some("1.1"),
        status: Some(200),
        request_size: Some(0),
        response_size: Some(512),
        peer: Some(socket("10.1.2.80:40000")),
        local: Some(socket("10.9.9.9:3000")),
        user_agent: Some(b"curl/8"),
        error: None,
        route: None,
    }
}

/// The attributes as `key=value` lines.
fn lines(described: &Described) -> Vec<String> {
    let line = |a: &Attribute| match &a.value {
        Value::Str(s) => format!("{}={s}", a.key),
        Value::Int(n) => format!("{}={n}", a.key),
        other => format!("{}={other:?}", a.key),
    };
    described.attributes.iter().map(line).collect()
}

fn value(facts: &Facts<'_>, key: &str) -> Option<String> {
    value_of(&Conventions::default(), facts, key)
}

fn value_of(conventions: &Conventions, facts: &Facts<'_>, key: &str) -> Option<String> {
    let prefix = format!("{key}=");
    let lines = lines(&conventions.describe(facts));
    lines.iter().find_map(|line| line.strip_prefix(&prefix).map(str::to_owned))
}

#[test]
fn a_server_span() {
    let described = Conventions::default().describe(&facts(SpanKind::Server));
    assert_eq!((described.name.as_ref(), described.status), ("GET", Status::Unset));
    assert_eq!(
        lines(&described),
        [
            "http.request.method=GET",
            "url.scheme=http",
            "url.path=/products",
            "server.address=shop.example",
            "server.port=8080",
            "client.address=10.1.2.80",
            "network.peer.address=10.1.2.80",
            "network.peer.port=40000",
            "network.protocol.version=1.1",
            "user_agent.original=curl/8",
            "http.request.body.size=0",
            "http.response.body.size=512",
            "http.response.status_code=200",
        ]
    );
}

#[test]
fn a_client_span() {
    let described = Conventions::default().describe(&facts(SpanKind::Client));
    assert_eq!(
        lines(&described),
        [
            "http.request.method=GET",
            "url.full=http://shop.example:8080/products",
            "server.address=shop.example",
            "server.port=8080",
            "network.peer.address=10.1.2.80",
            "network.peer.port=40000",
            "network.protocol.version=1.1",
            "user_agent.original=curl/8",
            "http.request.body.size=0",
            "http.response.body.size=512",
            "http.response.status_code=200",
        ]
    );
}

#[test]
fn a_route_names_the_span() {
    let server = Facts { route: Some("/products"), ..facts(SpanKind::Server) };
    assert_eq!(Conventions::default().describe(&server).name, "GET /products");
    assert_eq!(value(&server, "http.route").unwrap(), "/products");
    let client = Facts { kind: SpanKind::Client, ..server };
    assert_eq!(value(&client, "url.template").unwrap(), "/products");
    assert_eq!(value(&client, "http.route"), None);
}

#[test]
fn errors_by_kind_and_status() {
    let outcome = |kind, status, error| {
        let described = Conventions::default().describe(&Facts { status, error, ..facts(kind) });
        let error = lines(&described).iter().find_map(|l| l.strip_prefix("error.type=").map(str::to_owned));
        (described.status == Status::Error, error)
    };
    let error = |kind: &str| (true, Some(kind.to_owned()));
    use SpanKind::{Client, Server};
    assert_eq!(outcome(Server, Some(404), None), (false, None));
    assert_eq!(outcome(Client, Some(404), None), error("404"));
    assert_eq!(outcome(Server, Some(500), None), error("500"));
    assert_eq!(outcome(Client, Some(302), None), (false, None));
    assert_eq!(outcome(Server, Some(101), None), (false, None));
    assert_eq!(outcome(Server, None, Some("connection_closed")), error("connection_closed"));
    assert_eq!(outcome(Client, Some(200), Some("timeout")), error("timeout"));
    assert_eq!(outcome(Client, Some(503), Some("connection_closed")), error("503"));
    assert_eq!(outcome(Client, None, None), (false, None));
}

#[test]
fn what_was_not_seen_is_not_set() {
    let bare = Facts {
        host: None,
        version: None,
        status: None,
        request_size: None,
        response_size: None,
        peer: None,
        local: None,
        user_agent: None,
        ..facts(SpanKind::Server)
    };
    let server = Conventions::default().describe(&bare);
    assert_eq!(lines(&server), ["http.request.method=GET", "url.scheme=http", "url.path=/products"]);
    let client = Conventions::default().describe(&Facts { kind: SpanKind::Client, ..bare });
    assert_eq!(lines(&client), ["http.request.method=GET"]);
}

#[test]
fn unknown_methods() {
    let odd = Facts { method: b"get\xff", route: Some("/p"), ..facts(SpanKind::Server) };
    assert_eq!(Conventions::default().describe(&odd).name, "HTTP /p");
    assert_eq!(value(&odd, "http.request.method").unwrap(), "_OTHER");
    assert_eq!(value(&odd, "http.request.method_original").unwrap(), "get\u{fffd}");
    let listed = Conventions::default().with_known_methods("GET, PURGE,");
    let purge = Facts { method: b"PURGE", ..facts(SpanKind::Server) };
    assert_eq!(value_of(&listed, &purge, "http.request.method").unwrap(), "PURGE");
    let post = Facts { method: b"POST", ..purge };
    assert_eq!(value_of(&listed, &post, "http.request.method").unwrap(), "_OTHER");
}

#[test]
fn the_server_as_the_request_names_it() {
    let endpoint = |kind, target: &'static [u8], host: Option<&'static [u8]>| {
        let facts = Facts { target, host, ..facts(kind) };
        (value(&facts, "server.address"), value(&facts, "server.port"))
    };
    let is = |address: &str, port: Option<&str>| (Some(address.to_owned()), port.map(str::to_owned));
    use SpanKind::{Client, Server};
    assert_eq!(endpoint(Client, b"/", Some(b"a.example")), is("a.example", Some("80")));
    assert_eq!(endpoint(Server, b"/", Some(b"a.example")), is("a.example", None));
    assert_eq!(endpoint(Client, b"/", Some(b"[::1]:8080")), is("::1", Some("8080")));
    assert_eq!(endpoint(Client, b"/", Some(b"[::1]")), is("::1", Some("80")));
    assert_eq!(endpoint(Client, b"/", Some(b"::1")), is("::1", Some("80")));
    assert_eq!(endpoint(Client, b"/", Some(b"a:99999")), is("a", Some("80")));
    assert_eq!(endpoint(Server, b"http://b.example:1/x", Some(b"a:2")), is("b.example", Some("1")));
    assert_eq!(endpoint(Client, b"b.example:443", Some(b"a:2")), is("b.example", Some("443")));
    assert_eq!(endpoint(Client, b"/", None), is("10.1.2.80", Some("40000")));
    assert_eq!(endpoint(Server, b"/", Some(b" ")), is("10.9.9.9", Some("3000")));
}

#[test]
fn mapped_addresses_are_unmapped() {
    let facts = Facts { peer: Some(socket("[::ffff:10.0.0.7]:5")), host: None, ..facts(SpanKind::Client) };
    assert_eq!(value(&facts, "network.peer.address").unwrap(), "10.0.0.7");
    assert_eq!(value(&facts, "url.full").unwrap(), "http://10.0.0.7:5/products");
}

#[test]
fn urls_without_credentials_and_query() {
    let full = |target: &'static [u8], host: &'static [u8]| {
        value(&Facts { target, host: Some(host), ..facts(SpanKind::Client) }, "url.full").unwrap()
    };
    assert_eq!(full(b"/a?x#y", b"h"), "http://h/a");
    assert_eq!(full(b"http://me:secret@h:1/a?x", b"z"), "http://h:1/a");
    assert_eq!(full(b"http://h?x=1", b"z"), "http://h/");
    assert_eq!(full(b"/a", b"me:secret@h:2"), "http://h:2/a");
    assert_eq!(full(b"/a", b"[::1]:2"), "http://[::1]:2/a");
    assert_eq!(full(b"*", b"h"), "http://h");
    assert_eq!(full(b"/to/http://x?u", b"h"), "http://h/to/http://x");
    assert_eq!(full(b"h:443", b"h:443"), "http://h:443");
}

#[test]
fn queries_only_when_asked_for_and_never_with_secrets() {
    let asked = Conventions::default().with_query(true);
    let server = facts(SpanKind::Server);
    assert_eq!(value(&server, "url.query"), None);
    assert_eq!(value_of(&asked, &server, "url.query").unwrap(), "page=2&token=REDACTED");
    let client = facts(SpanKind::Client);
    let full = value_of(&asked, &client, "url.full").unwrap();
    assert_eq!(full, "http://shop.example:8080/products?page=2&token=REDACTED");
    assert_eq!(url::redact("Sig=a&%74oken=b&sig=&q&x=1=2&X-Amz-Signature=c", &Redaction::default()), {
        "Sig=REDACTED&%74oken=REDACTED&sig=&q&x=1=2&X-Amz-Signature=REDACTED"
    });
}

fn redacting(expressions: &[&str]) -> Conventions {
    let expressions = expressions.iter().map(|text| text.parse().unwrap()).collect();
    Conventions::default().with_query(true).with_redaction(Redaction::new(expressions))
}

#[test]
fn what_the_user_redacts_in_paths_and_queries() {
    let target = b"/reset/abc?page=2&token=x&user=ann";
    let server = Facts { target, ..facts(SpanKind::Server) };
    let client = Facts { target, ..facts(SpanKind::Client) };
    let table: [(&[&str], &str, &str, &str); 6] = [
        // Not the port, which is as long.
        (
            &[r"\d{4}"],
            "/reset/abc",
            "page=2&token=REDACTED&user=ann",
            "/reset/abc?page=2&token=REDACTED&user=ann",
        ),
        (
            &["^/reset/(.+)"],
            "/reset/REDACTED",
            "page=2&token=REDACTED&user=ann",
            "/reset/REDACTED?page=2&token=REDACTED&user=ann",
        ),
        (
            &["user=([^&]+)"],
            "/reset/abc",
            "page=2&token=REDACTED&user=REDACTED",
            "/reset/abc?page=2&token=REDACTED&user=REDACTED",
        ),
        // An expression never hides a well-known secret, nor the other way round.
        (
            &["oken", "token=x&user=(.*)"],
            "/reset/abc",
            "page=2&tREDACTED=REDACTED&user=REDACTED",
            "/reset/abc?page=2&tREDACTED=REDACTED&user=REDACTED",
        ),
        (
            &["^page=2&"],
            "/reset/abc",
            "REDACTEDtoken=REDACTED&user=ann",
            "/reset/abc?REDACTEDtoken=REDACTED&user=ann",
        ),
        // The URL as a whole.
        (
            &[r"/reset/abc\?page=(\d)"],
            "/reset/abc",
            "page=2&token=REDACTED&user=ann",
            "/reset/abc?page=REDACTED&token=REDACTED&user=ann",
        ),
    ];
    for (expressions, path, query, full) in table {
        let conventions = redacting(expressions);
        assert_eq!(value_of(&conventions, &server, "url.path").as_deref(), Some(path));
        assert_eq!(value_of(&conventions, &server, "url.query").as_deref(), Some(query));
        let full = format!("http://shop.example:8080{full}");
        assert_eq!(value_of(&conventions, &client, "url.full"), Some(full));
    }
}

#[test]
fn a_secret_is_found_before_the_value_is_cut() {
    let target = [b"/".as_slice(), &[b'a'; MAX_URL - 6], b"/secret-1234"].concat();
    let server = Facts { target: &target, ..facts(SpanKind::Server) };
    let path = value_of(&redacting(&["secret-1234"]), &server, "url.path").unwrap();
    assert!(path.ends_with("/REDA"), "{path}");
}

#[test]
fn long_and_broken_values_are_cut_at_a_character() {
    let long = [b"/".as_slice(), "é".repeat(3_000).as_bytes()].concat();
    let cut = value(&Facts { target: &long, ..facts(SpanKind::Server) }, "url.path").unwrap();
    assert!(cut.len() <= MAX_URL && cut.len() > MAX_URL - 4);
    let agent = vec![0xff; 10_000];
    let cut = value(&Facts { user_agent: Some(&agent), ..facts(SpanKind::Server) }, "user_agent.original");
    assert!(cut.unwrap().len() <= MAX_USER_AGENT);
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..60),
        "(http://)?[a-z@:\\[\\]/?#&=%.*0-9]{0,40}".prop_map(String::into_bytes),
    ]
}

proptest! {
    #[test]
    fn never_panics_and_shows_no_query_unasked(
        method in bytes(), target in bytes(), host in prop::option::of(bytes()), client: bool, query: bool,
    ) {
        let kind = if client { SpanKind::Client } else { SpanKind::Server };
        let facts = Facts { method: &method, target: &target, host: host.as_deref(), ..facts(kind) };
        let described = Conventions::default().with_query(query).describe(&facts);
        if !query {
            let shown = ["url.path", "url.full"].map(|key| value(&facts, key).unwrap_or_default());
            prop_assert!(shown.iter().all(|s| !s.contains('?')), "{shown:?}");
        }
        prop_assert!(!described.name.contains('?'));
    }
}

proptest! {
    #[test]
    fn a_redacted_value_is_nowhere_in_a_span(
        before in "(/[a-z%]{1,5}){0,3}", secret in "[0-9]{6,9}", after in "(/[a-z]{0,4}|[?&][a-z]{1,4}=[a-z]{0,4}){0,3}",
        form in 0..3usize, client: bool,
    ) {
        let kind = if client { SpanKind::Client } else { SpanKind::Server };
        let start = ["", "http://shop.example:80", "https://a:b@shop.example"][form];
        let target = format!("{start}{before}/{secret}{after}&s={secret}");
        let facts = Facts { target: target.as_bytes(), ..facts(kind) };
        let conventions = redacting(&["[0-9]{6,}"]);
        let told = format!("{:?}", conventions.describe(&facts));
        prop_assert!(!told.contains(&secret) && told.contains("REDACTED"), "{told}");
    }
}

#[test]
fn the_path_of_any_form_of_target() {
    for (target, expected) in [
        ("/a/b?c=d", "/a/b"),
        ("http://host:80/a?b", "/a"),
        ("http://host", "/"),
        ("/r?u=http://x/y", "/r"),
        ("*", "*"),
        ("host:443", ""),
        ("a?b:443", "a"),
        ("a/b:443", "a/b:443"),
    ] {
        assert_eq!(path(target.as_bytes()), expected.as_bytes(), "{target}");
    }
}

#[test]
fn addresses_read_as_they_do_everywhere() {
    for address in ["0.0.0.0", "10.9.99.100", "255.254.200.1", "2001:db8::1", "::ffff:10.0.0.7"] {
        let address: std::net::IpAddr = address.parse().unwrap();
        let endpoint = Endpoint::from(SocketAddr::new(address, 7));
        assert_eq!(endpoint.address, address.to_canonical().to_string());
    }
}
