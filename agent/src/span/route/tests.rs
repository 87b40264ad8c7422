//! Paths and the templates that they fall under.

use proptest::prelude::*;

use super::*;

fn router(rules: &[&str], infer: bool) -> Router {
    Router::new(rules.iter().map(|rule| rule.parse().unwrap()).collect(), infer)
}

fn route(rules: &[&str], path: &str) -> Option<String> {
    router(rules, false).route("shop", path, |path| path).map(|route| route.to_string())
}

#[test]
fn rules_match_whole_paths() {
    let rules = ["/products/:id", "/orders/{id}/items", "/static/*", "/a/*/b", "/"];
    for (path, expected) in [
        ("/products/42", Some("/products/:id")),
        ("/products/42/", Some("/products/:id")),
        ("/products/", None),
        ("/products", None),
        ("/products/42/reviews", None),
        ("/orders/7/items", Some("/orders/{id}/items")),
        ("/orders//items", None),
        ("/static/css/a.css", Some("/static/*")),
        ("/static/", Some("/static/*")),
        ("/static", None),
        ("/a/x/b", Some("/a/*/b")),
        ("/a/x/y/b", None),
        ("/", Some("/")),
        ("", None),
        ("*", None),
        ("/Products/42", None),
    ] {
        assert_eq!(route(&rules, path).as_deref(), expected, "{path}");
    }
}

#[test]
fn the_first_rule_that_matches_wins() {
    assert_eq!(route(&["/users/me", "/users/:id"], "/users/me").unwrap(), "/users/me");
    assert_eq!(route(&["/users/:id", "/users/me"], "/users/me").unwrap(), "/users/:id");
    assert_eq!(route(&["/*"], "/").unwrap(), "/*");
    assert_eq!(route(&["/*"], "/any/thing").unwrap(), "/*");
}

#[test]
fn a_bad_rule_says_what_is_wrong() {
    let error = |rule: &str| rule.parse::<Rule>().unwrap_err().to_string();
    assert_eq!(error("products/:id"), "route `products/:id`: it must start with `/`");
    assert_eq!(error("/p?x=1"), "route `/p?x=1`: it is a path: no blanks, query or fragment");
    assert_eq!(error("/p/:"), "route `/p/:`: a parameter needs a name");
    for never in ["/p-*", "/p/<id>", "/a*b/c"] {
        assert!(error(never).contains("`:id` or `{id}`, or `*` alone"), "{never}");
    }
    assert_eq!("/p/:id".parse::<Rule>().unwrap().to_string(), "/p/:id");
}

#[test]
fn nothing_is_inferred_unless_asked_for() {
    assert_eq!(route(&[], "/products"), None);
}

#[test]
fn values_become_placeholders() {
    let mut router = router(&["/exact/:name"], true);
    for (path, expected) in [
        ("/products", "/products"),
        ("/products/", "/products"),
        ("/", "/"),
        ("/products/42", "/products/:id"),
        ("/exact/42", "/exact/:name"),
        ("/v1/users/550e8400-e29b-41d4-a716-446655440000", "/v1/users/:id"),
        ("/blobs/deadbeefdeadbeef", "/blobs/:id"),
        ("/feedface", "/feedface"),
        ("/orders/SKU-12345/items", "/orders/:id/items"),
        ("/days/2026-11-02", "/days/:id"),
        ("/oauth2/token", "/oauth2/token"),
        ("/mail/a@b.example", "/mail/:id"),
        ("/q/caf%C3%A9", "/q/:id"),
        ("/t/eyJhbGciOiJIUzIlNiIsInRvcCI6IkpXVCJ9xyz", "/t/:id"),
        ("/a/b/c/d/e/f/g/h/i/j", "/a/b/c/d/e/f/g/h/*"),
    ] {
        assert_eq!(router.route("shop", path, |path| path).as_deref(), Some(expected), "{path}");
    }
    assert_eq!(router.route("shop", "*", |path| path), None);
}

#[test]
fn a_service_has_so_many_inferred_routes_and_no_more() {
    let mut router = router(&["/known/:id"], true);
    let word = |n: usize| {
        format!("/{}{}", char::from(b'a' + (n / 26 % 26) as u8), char::from(b'a' + (n % 26) as u8))
    };
    for n in 0..MAX_ROUTES {
        assert!(router.route("shop", &word(n), |path| path).is_some());
    }
    assert_eq!(router.route("shop", "/zz/one-more", |path| path), None);
    assert_eq!(router.route("shop", &word(0), |path| path).as_deref(), Some("/aa"));
    assert_eq!(router.route("shop", "/known/1", |path| path).as_deref(), Some("/known/:id"));
    assert_eq!(router.route("other", "/zz/one-more", |path| path).as_deref(), Some("/zz/one-more"));
    for n in 0..2 * MAX_SERVICES {
        let _ = router.route(&format!("s{n}"), "/a", |path| path);
    }
    assert_eq!(router.inferred.len(), MAX_SERVICES);
}

#[test]
fn names() {
    assert_eq!(name("GET".into(), Some("/products/:id")), "GET /products/:id");
    assert_eq!(name("GET".into(), None), "GET");
    assert_eq!(name("_OTHER".into(), None), "HTTP");
    assert_eq!(name("_OTHER".into(), Some("/a")), "HTTP /a");
}

proptest! {
    #[test]
    fn never_panics_and_stays_short(path in "\\PC{0,2000}", rule in "/[a-z:{}*/]{0,20}") {
        let rules: Vec<Rule> = rule.parse().into_iter().collect();
        let mut router = Router::new(rules, true);
        for path in [path.clone(), format!("/{path}")] {
            let route = router.route("s", &path, |path| path);
            prop_assert!(route.is_none_or(|r| r.len() <= rule.len().max((MAX_DEPTH + 1) * (LONG + 1))));
        }
    }
}
