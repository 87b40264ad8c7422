//! The endpoint's rules: default ports, the signal's path, and gRPC targets without a scheme.

use super::{Protocol, Signal, reader::Reader};
use reqwest::Url;
use std::fmt;

/// A server's address, checked: http or https, with a host, without credentials.
#[derive(Clone, PartialEq, Eq)]
pub struct Endpoint(Url);

impl Endpoint {
    /// The server that is meant where none is named, as the general variable would have it.
    pub(super) fn server_of(protocol: Protocol) -> &'static str {
        match protocol {
            Protocol::Grpc => "http://localhost:4317",
            Protocol::HttpProtobuf => "http://localhost:4318",
        }
    }

    /// What is meant where no endpoint is named.
    ///
    /// # Panics
    /// Never: the texts are constants that the tests parse.
    pub(super) fn default_of(protocol: Protocol, signal: Signal) -> Self {
        let path = match protocol {
            Protocol::Grpc => "/",
            Protocol::HttpProtobuf => signal.path(),
        };
        let mut url = Url::parse(Self::server_of(protocol)).expect("a constant URL");
        url.set_path(path);
        Self(url)
    }

    /// The URL, query included.
    pub(crate) fn url(&self) -> &Url {
        &self.0
    }

    /// The connection is encrypted.
    pub fn secure(&self) -> bool {
        self.0.scheme() == "https"
    }

    /// Host (an IPv6 address without its brackets) and port.
    pub fn host_and_port(&self) -> (String, u16) {
        let host = self.0.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        (host, self.0.port_or_known_default().unwrap_or_default())
    }
}

impl fmt::Display for Endpoint {
    /// Without the query, where some vendors want a key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut url = self.0.clone();
        let hidden = if url.query().is_some() { "?[redacted]" } else { "" };
        url.set_query(None);
        write!(f, "{url}{hidden}")
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Endpoint({self})")
    }
}

/// Reads the first of `names`, `[signal's own, general]`.
pub(super) fn read(
    reader: &mut Reader<'_>,
    names: &[&'static str; 2],
    signal: Signal,
    protocol: Protocol,
    insecure: bool,
) -> Endpoint {
    let Some((name, value)) = reader.text(names) else { return Endpoint::default_of(protocol, signal) };
    let parsed = match protocol {
        Protocol::Grpc => grpc(&value, insecure),
        Protocol::HttpProtobuf => http(&value, (name == names[1]).then(|| signal.path())),
    };
    parsed.unwrap_or_else(|accepted| {
        // Whatever holds an @ or a query may hold a secret.
        let value = (!value.contains(['@', '?'])).then_some(value);
        reader.problem(name, value, accepted);
        Endpoint::default_of(protocol, signal)
    })
}

/// A gRPC target: a URL, or `host:port`, which is encrypted unless `insecure`. A word alone is more likely a mistake.
fn grpc(value: &str, insecure: bool) -> Result<Endpoint, &'static str> {
    let accepted = "accepted are http://host:port, https://host:port and host:port";
    let url = if value.contains("://") {
        parse(value, accepted)?
    } else {
        let scheme = if insecure { "http" } else { "https" };
        let url = parse(&format!("{scheme}://{value}"), accepted)?;
        if !names_port(value) {
            return Err(accepted);
        }
        url
    };
    if url.path() != "/" || url.query().is_some() {
        return Err("a gRPC endpoint has no path; for http/protobuf set OTEL_EXPORTER_OTLP_PROTOCOL");
    }
    Ok(Endpoint(url))
}

/// Whether `host:port` has a port. The URL does not tell: it leaves out a scheme's own.
fn names_port(value: &str) -> bool {
    let authority = value.split(['/', '?', '#']).next().unwrap_or_default();
    let after_address = authority.rsplit([']', '@']).next().unwrap_or_default();
    after_address.split_once(':').is_some_and(|(_, port)| !port.is_empty())
}

/// A URL; the general one gets the signal's path `appended`, the signal's own is used as it is.
fn http(value: &str, appended: Option<&str>) -> Result<Endpoint, &'static str> {
    let mut url =
        parse(value, "a URL is accepted: http://host:port or https://host:port, with or without a path")?;
    if let Some(appended) = appended {
        let path = format!("{}{appended}", url.path().trim_end_matches('/'));
        url.set_path(&path);
    }
    Ok(Endpoint(url))
}

fn parse(value: &str, accepted: &'static str) -> Result<Url, &'static str> {
    let mut url = Url::parse(value).map_err(|_| accepted)?;
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return Err(accepted);
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("credentials do not belong in the URL; send them by OTEL_EXPORTER_OTLP_HEADERS");
    }
    url.set_fragment(None);
    Ok(url)
}
