//! Request targets and authorities taken apart, URLs put together, secrets in query strings replaced.

use std::{borrow::Cow, ops::Range};

use smol_str::ToSmolStr as _;

use super::Facts;
use crate::span::redact::{Redaction, replace};

/// Query parameters whose values are replaced, in lower case: the ones the semantic conventions name, and the names
/// under which credentials commonly travel.
const SECRETS: [&str; 28] = [
    "access_token",
    "api-key",
    "api_key",
    "apikey",
    "auth",
    "authorization",
    "awsaccesskeyid",
    "client_secret",
    "code",
    "credential",
    "credentials",
    "id_token",
    "jwt",
    "key",
    "passwd",
    "password",
    "pwd",
    "refresh_token",
    "secret",
    "session",
    "sessionid",
    "sig",
    "signature",
    "token",
    "x-amz-credential",
    "x-amz-security-token",
    "x-amz-signature",
    "x-goog-signature",
];

/// What a URL has besides scheme, host and path: punctuation and a port.
const AROUND: usize = 12;

/// A request target's parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Target<'a> {
    /// Of an absolute URL or of CONNECT's `host:port`, user information cut off.
    pub authority: Option<&'a [u8]>,
    /// `/` where an absolute URL has none; `*` as sent; empty for CONNECT.
    pub path: &'a [u8],
    /// Without the question mark.
    pub query: Option<&'a [u8]>,
}

impl<'a> Target<'a> {
    pub(super) fn parse(target: &'a [u8]) -> Self {
        let target = split_at_byte(target, b'#').0;
        if let Some(rest) = after_scheme(target) {
            let end = rest.iter().position(|b| matches!(b, b'/' | b'?')).unwrap_or(rest.len());
            let (authority, rest) = rest.split_at_checked(end).unwrap_or((rest, b""));
            let (path, query) = split_at_byte(rest, b'?');
            let path = if path.is_empty() { b"/" } else { path };
            return Self { authority: Some(without_user(authority)), path, query };
        }
        // A path or a query can end like a port, too.
        let is_authority = !target.iter().any(|b| matches!(b, b'/' | b'?'));
        if is_authority && parse_port(target).is_some() {
            return Self { authority: Some(without_user(target)), path: b"", query: None };
        }
        let (path, query) = split_at_byte(target, b'?');
        Self { authority: None, path, query }
    }
}

/// What follows `scheme://`.
fn after_scheme(target: &[u8]) -> Option<&[u8]> {
    let colon = target.iter().position(|b| !b.is_ascii_alphanumeric())?;
    (colon > 0).then(|| target.get(colon..)?.strip_prefix(b"://")).flatten()
}

fn split_at_byte(bytes: &[u8], separator: u8) -> (&[u8], Option<&[u8]>) {
    let mut parts = bytes.splitn(2, |&b| b == separator);
    (parts.next().unwrap_or_default(), parts.next())
}

fn without_user(authority: &[u8]) -> &[u8] {
    authority.rsplit(|&b| b == b'@').next().unwrap_or(authority)
}

/// A `Host` header cut where a URL's authority would end: nothing else may enter a URL through it.
fn from_header(host: &[u8]) -> &[u8] {
    let authority = host.trim_ascii().split(|b| matches!(b, b'/' | b'?' | b'#')).next();
    without_user(authority.unwrap_or_default())
}

/// The port after the last colon, brackets of IPv6 addresses respected.
fn parse_port(authority: &[u8]) -> Option<u16> {
    let colon = authority.iter().rposition(|&b| b == b':')?;
    let digits = authority.get(colon + 1..).filter(|d| !d.is_empty() && d.iter().all(u8::is_ascii_digit))?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// Host (brackets cut off) and port that the request names: the target's own, else the `Host` header's.
pub(super) fn authority<'a>(target: &Target<'a>, host: Option<&'a [u8]>) -> Option<(&'a [u8], Option<u16>)> {
    let authority = target.authority.or(host.map(from_header)).filter(|a| !a.is_empty())?;
    if let Some(rest) = authority.strip_prefix(b"[") {
        let (address, port) = split_at_byte(rest, b']');
        return Some((address, port.and_then(parse_port)));
    }
    let (name, port) = split_at_byte(authority, b':');
    // More than one colon without brackets: an IPv6 address that is the whole of it.
    let whole = port.is_some_and(|p| p.contains(&b':'));
    Some(if whole { (authority, None) } else { (name, parse_port(authority)) })
}

/// The absolute URL, without user information, and without the query unless asked for. `None` if no host is known. The
/// `redaction` is asked of path, query and the whole, but leaves host and port as they are: an expression means the same in a
/// server's span and a client's.
pub(super) fn full(
    target: &Target<'_>,
    facts: &Facts<'_>,
    authority: Option<(&[u8], Option<u16>)>,
    with_query: bool,
    redaction: &Redaction,
) -> Option<String> {
    let (host, port) = match authority {
        Some((host, port)) => (String::from_utf8_lossy(host), port),
        None => facts.peer.map(|peer| (Cow::Borrowed(peer.address.as_str()), Some(peer.port)))?,
    };
    let mut url = String::with_capacity(facts.scheme.len() + host.len() + target.path.len() + AROUND);
    url.extend([facts.scheme, "://"]);
    let v6 = host.contains(':');
    url.extend([if v6 { "[" } else { "" }, &*host, if v6 { "]" } else { "" }]);
    if let Some(port) = port {
        url.extend([":", port.to_smolstr().as_str()]);
    }
    let path_at = url.len();
    let mut hidden = Vec::new();
    let mut push = |url: &mut String, text: &str, places: Vec<Range<usize>>| {
        let start = url.len();
        hidden.extend(places.into_iter().map(|place| start + place.start..start + place.end));
        url.push_str(text);
    };
    if target.path != b"*" {
        let path = String::from_utf8_lossy(target.path);
        push(&mut url, &path, redaction.find(&path));
    }
    if let Some(query) = target.query.filter(|_| with_query) {
        url.push('?');
        let query = String::from_utf8_lossy(query);
        push(&mut url, &query, in_query(&query, redaction));
    }
    let behind_host =
        |place: Range<usize>| (place.end > path_at).then(|| place.start.max(path_at)..place.end);
    hidden.extend(redaction.find(&url).into_iter().filter_map(behind_host));
    Some(if hidden.is_empty() { url } else { replace(&url, hidden) })
}

/// The query with the values of secret parameters replaced, their names kept, and what the user wants to be.
pub(super) fn redact(query: &str, redaction: &Redaction) -> String {
    replace(query, in_query(query, redaction))
}

/// The places in a query that are not told.
fn in_query(query: &str, redaction: &Redaction) -> Vec<Range<usize>> {
    let mut places = redaction.find(query);
    let mut start = 0;
    for parameter in query.split('&') {
        let end = start + parameter.len();
        if let Some((key, _)) = parameter.split_once('=').filter(|(key, _)| is_secret(key)) {
            places.push(start + key.len() + 1..end);
        }
        start = end + 1;
    }
    places
}

fn is_secret(key: &str) -> bool {
    let key = decode(key).to_ascii_lowercase();
    SECRETS.iter().any(|secret| key == secret.as_bytes())
}

/// Percent-encoding undone, so that `%74oken` hides nothing.
fn decode(key: &str) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(key.len());
    let mut rest = key.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let escaped = tail.get(..2).filter(|_| first == b'%').and_then(|hex| {
            let digits =
                std::str::from_utf8(hex).ok().filter(|h| h.bytes().all(|b| b.is_ascii_hexdigit()))?;
            u8::from_str_radix(digits, 16).ok()
        });
        decoded.push(escaped.unwrap_or(first));
        rest = if escaped.is_some() { tail.get(2..).unwrap_or_default() } else { tail };
    }
    decoded
}
