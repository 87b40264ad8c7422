//! An HTTP exchange told in OpenTelemetry's words: the stable HTTP semantic conventions for SERVER and CLIENT spans.
//!
//! In: [`Facts`], what was seen on the wire. Out: [`Described`], a span's name, status and attributes. What was not seen
//! is not set: no status without a response, no port that the `Host` header does not name on a server (a proxy in
//! front may listen elsewhere). Forwarding headers are not believed: anyone can write them, so `client.address` is the
//! peer of the connection. Bytes that are not UTF-8 are replaced by U+FFFD, and values are cut at the `MAX_*` below.

mod url;

#[cfg(test)]
mod tests;

use std::{
    borrow::Cow,
    net::{IpAddr, Ipv4Addr, SocketAddr},
};

use smol_str::{SmolStr, SmolStrBuilder, ToSmolStr as _};

use super::{Attribute, SpanKind, Status, redact::Redaction, route};

/// Bytes kept of `url.path`, `url.query` and `url.full`.
pub const MAX_URL: usize = 2_048;
/// Bytes kept of `user_agent.original`.
pub const MAX_USER_AGENT: usize = 512;
/// Bytes kept of `server.address` (a DNS name has 253 at most).
pub const MAX_ADDRESS: usize = 255;
/// Bytes kept of `http.request.method_original`.
pub const MAX_METHOD: usize = 32;

/// The methods of RFC 9110 and PATCH (RFC 5789).
pub const KNOWN_METHODS: [&str; 9] =
    ["CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"];

/// One end of a connection, its address as it is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// An IPv4 peer of a dual-stack socket is still an IPv4 peer.
    pub address: SmolStr,
    /// The port.
    pub port: u16,
}

impl From<SocketAddr> for Endpoint {
    fn from(socket: SocketAddr) -> Self {
        let address = match socket.ip().to_canonical() {
            IpAddr::V4(address) => dotted(address),
            IpAddr::V6(address) => address.to_smolstr(),
        };
        Self { address, port: socket.port() }
    }
}

/// The address as text, without the machinery of formatting: a connection has two.
fn dotted(address: Ipv4Addr) -> SmolStr {
    let mut text = SmolStrBuilder::new();
    for (place, octet) in address.octets().into_iter().enumerate() {
        if place > 0 {
            text.push('.');
        }
        let digit = |value: u8| char::from(b'0' + value % 10);
        if octet >= 100 {
            text.push(digit(octet / 100));
        }
        if octet >= 10 {
            text.push(digit(octet / 10));
        }
        text.push(digit(octet));
    }
    text.finish()
}

/// What was seen of one exchange, from the side of `kind`.
#[derive(Clone, Debug)]
pub struct Facts<'a> {
    /// The side that is described.
    pub kind: SpanKind,
    /// The request's method as sent.
    pub method: &'a [u8],
    /// The request target as sent: `/path?query`, an absolute URL, `host:port` or `*`.
    pub target: &'a [u8],
    /// The `Host` header.
    pub host: Option<&'a [u8]>,
    /// `http`, or `https` where the plain text was seen inside TLS.
    pub scheme: &'static str,
    /// The request's protocol version: `1.0`, `1.1`.
    pub version: Option<&'static str>,
    /// The final response's status code, if a response was seen.
    pub status: Option<u16>,
    /// Bytes of the request's body as transferred, if counted to its end.
    pub request_size: Option<u64>,
    /// Bytes of the response's body as transferred, if counted to its end.
    pub response_size: Option<u64>,
    /// The other end of the connection; `None` for Unix sockets.
    pub peer: Option<&'a Endpoint>,
    /// This end of the connection; `None` for Unix sockets.
    pub local: Option<&'a Endpoint>,
    /// The `User-Agent` header.
    pub user_agent: Option<&'a [u8]>,
    /// What went wrong besides the status, of few kinds: `connection_closed`, `timeout`.
    pub error: Option<&'static str>,
    /// The route, if one is known: `http.route` of a server, `url.template` of a client.
    pub route: Option<&'a str>,
}

/// The parts of a span that the conventions decide.
#[derive(Clone, Debug, PartialEq)]
pub struct Described {
    /// `{method} {route}`, or the method alone.
    pub name: Cow<'static, str>,
    /// Error by the conventions' rule for the kind.
    pub status: Status,
    /// The attributes.
    pub attributes: Vec<Attribute>,
}

/// The choices that the conventions leave open.
#[derive(Clone, Debug)]
pub struct Conventions {
    /// Methods that are reported as they are; all others as `_OTHER`.
    known_methods: Vec<Cow<'static, str>>,
    /// Report query strings, the values of well-known secret parameters replaced.
    query: bool,
    /// What is replaced in paths and queries.
    redaction: Redaction,
}

impl Default for Conventions {
    fn default() -> Self {
        Self {
            known_methods: KNOWN_METHODS.map(Cow::Borrowed).to_vec(),
            query: false,
            redaction: Redaction::default(),
        }
    }
}

impl Conventions {
    /// Reports query strings or not; the default is not.
    #[must_use]
    pub fn with_query(self, query: bool) -> Self {
        Self { query, ..self }
    }

    /// Replaces what `redaction` finds in paths and queries; the default is nothing but well-known secrets in queries.
    #[must_use]
    pub fn with_redaction(self, redaction: Redaction) -> Self {
        Self { redaction, ..self }
    }

    /// A path as it may be told.
    pub fn told<'a>(&self, path: Cow<'a, str>) -> Cow<'a, str> {
        self.redaction.apply(path)
    }

    /// Replaces the list of known methods by the comma-separated, case-sensitive `list`, as the variable
    /// `OTEL_INSTRUMENTATION_HTTP_KNOWN_METHODS` carries it.
    #[must_use]
    pub fn with_known_methods(self, list: &str) -> Self {
        let known_methods = list
            .split(',')
            .map(str::trim)
            .filter(|m| !m.is_empty())
            .map(|m| Cow::Owned(m.to_owned()))
            .collect();
        Self { known_methods, ..self }
    }

    /// Name, status and attributes of the span of `facts`.
    pub fn describe(&self, facts: &Facts<'_>) -> Described {
        let mut attributes = Vec::with_capacity(16);
        let method = self.method(facts.method);
        attributes.push(Attribute::str("http.request.method", method.clone()));
        if method == "_OTHER" {
            attributes.push(Attribute::text("http.request.method_original", facts.method, MAX_METHOD));
        }
        match facts.kind {
            SpanKind::Server => self.server(facts, &mut attributes),
            SpanKind::Client => self.client(facts, &mut attributes),
        }
        common(facts, &mut attributes);
        let error = error_type(facts);
        let status = if error.is_some() { Status::Error } else { Status::Unset };
        attributes.extend(error.map(|kind| Attribute::str("error.type", kind)));
        Described { name: route::name(method, facts.route), status, attributes }
    }

    fn method(&self, method: &[u8]) -> Cow<'static, str> {
        let known = self.known_methods.iter().find(|known| known.as_bytes() == method);
        known.cloned().unwrap_or(Cow::Borrowed("_OTHER"))
    }

    fn server(&self, facts: &Facts<'_>, out: &mut Vec<Attribute>) {
        let target = url::Target::parse(facts.target);
        out.push(Attribute::str("url.scheme", facts.scheme));
        out.push(self.path(target.path));
        if let Some(query) = target.query.filter(|_| self.query) {
            let query = url::redact(&String::from_utf8_lossy(query), &self.redaction);
            out.push(Attribute::str("url.query", cut(query, MAX_URL)));
        }
        out.extend(facts.route.map(|route| Attribute::str("http.route", route.to_owned())));
        match url::authority(&target, facts.host) {
            Some((address, port)) => push_endpoint(out, "server.address", "server.port", address, port),
            None => push_socket(out, "server.address", "server.port", facts.local),
        }
        out.extend(facts.peer.map(|peer| Attribute::str("client.address", peer.address.clone())));
    }

    /// A path as it may be told, cut. What is to be redacted is looked for before the cut.
    fn path(&self, path: &[u8]) -> Attribute {
        if self.redaction.is_empty() {
            return Attribute::text("url.path", path, MAX_URL);
        }
        Attribute::str("url.path", bounded(&self.told(String::from_utf8_lossy(path)), MAX_URL))
    }

    fn client(&self, facts: &Facts<'_>, out: &mut Vec<Attribute>) {
        let target = url::Target::parse(facts.target);
        let authority = url::authority(&target, facts.host);
        // A URL without a port means its scheme's own.
        let default = Some(if facts.scheme == "https" { 443 } else { 80 });
        let full = url::full(&target, facts, authority, self.query, &self.redaction);
        out.extend(full.map(|full| Attribute::str("url.full", cut(full, MAX_URL))));
        out.extend(facts.route.map(|route| Attribute::str("url.template", route.to_owned())));
        match authority {
            Some((host, port)) => push_endpoint(out, "server.address", "server.port", host, port.or(default)),
            None => push_socket(out, "server.address", "server.port", facts.peer),
        }
    }
}

fn common(facts: &Facts<'_>, out: &mut Vec<Attribute>) {
    push_socket(out, "network.peer.address", "network.peer.port", facts.peer);
    out.extend(facts.version.map(|version| Attribute::str("network.protocol.version", version)));
    out.extend(facts.user_agent.map(|agent| Attribute::text("user_agent.original", agent, MAX_USER_AGENT)));
    let size =
        |key, size: Option<u64>| size.map(|n| Attribute::int(key, i64::try_from(n).unwrap_or(i64::MAX)));
    out.extend(size("http.request.body.size", facts.request_size));
    out.extend(size("http.response.body.size", facts.response_size));
    out.extend(facts.status.map(|status| Attribute::int("http.response.status_code", status.into())));
}

/// The status where it is an error to this kind of span (4xx is the client's error, not the server's), else what broke.
fn error_type(facts: &Facts<'_>) -> Option<Cow<'static, str>> {
    let least = match facts.kind {
        SpanKind::Server => 500,
        SpanKind::Client => 400,
    };
    let status = facts.status.filter(|&status| status >= least).map(|status| Cow::Owned(status.to_string()));
    status.or(facts.error.map(Cow::Borrowed))
}

fn push_endpoint(
    out: &mut Vec<Attribute>,
    address_key: &'static str,
    port_key: &'static str,
    address: &[u8],
    port: Option<u16>,
) {
    out.push(Attribute::text(address_key, address, MAX_ADDRESS));
    out.extend(port.map(|port| Attribute::int(port_key, port.into())));
}

fn push_socket(
    out: &mut Vec<Attribute>,
    address_key: &'static str,
    port_key: &'static str,
    socket: Option<&Endpoint>,
) {
    if let Some(socket) = socket {
        out.push(Attribute::str(address_key, socket.address.clone()));
        out.push(Attribute::int(port_key, socket.port.into()));
    }
}

/// The path of a request target, of whatever form: of an absolute URL too, without query and fragment.
pub fn path(target: &[u8]) -> &[u8] {
    url::Target::parse(target).path
}

impl Attribute {
    /// The bytes as text of at most `max` bytes.
    fn text(key: &'static str, bytes: &[u8], max: usize) -> Self {
        // Replacement characters are longer than what they replace: cut before and after.
        let bytes = bytes.get(..max.min(bytes.len())).unwrap_or(bytes);
        Self::str(key, bounded(&String::from_utf8_lossy(bytes), max))
    }
}

/// The text, cut to at most `max` bytes at the end of a character.
pub fn cut(mut text: String, max: usize) -> String {
    text.truncate(bounded(&text, max).len());
    text
}

/// The longest start of `text` that has at most `max` bytes and ends with a whole character.
pub fn bounded(text: &str, max: usize) -> &str {
    let end = (0..=max.min(text.len())).rfind(|&at| text.is_char_boundary(at));
    end.and_then(|end| text.get(..end)).unwrap_or_default()
}
