//! `OTEL_EXPORTER_OTLP_*`: one server that speaks OTLP, for either signal.

use super::{Endpoint, Header, Problems, endpoint, header, reader::Reader};
use std::{fmt, path::PathBuf, time::Duration};

/// What is sent; each has variables of its own, which win over the general ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// Spans: `OTEL_EXPORTER_OTLP_TRACES_*`.
    Traces,
    /// The agent's own metrics: `OTEL_EXPORTER_OTLP_METRICS_*`.
    Metrics,
}

impl Signal {
    /// The path of its resource where an endpoint names only the server.
    pub(super) fn path(self) -> &'static str {
        match self {
            Self::Traces => "/v1/traces",
            Self::Metrics => "/v1/metrics",
        }
    }
}

/// A server that speaks OTLP, by `OTEL_EXPORTER_OTLP_*`.
#[derive(Clone, Debug, PartialEq)]
pub struct Otlp {
    /// Encoding and transport.
    pub protocol: Protocol,
    /// The server, with the whole path for `http/protobuf`.
    pub endpoint: Endpoint,
    /// Sent with every request; the values never print.
    pub headers: Vec<Header>,
    /// Of the request's body.
    pub compression: Compression,
    /// The limit of one attempt; [`Duration::MAX`] (the variable's 0) is none.
    pub timeout: Duration,
    /// The certificate authority to trust instead of the system's, PEM.
    pub certificate: Option<FileSetting>,
    /// This client's certificate chain and its private key, PEM.
    pub identity: Option<(FileSetting, FileSetting)>,
}

/// A file that a variable names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileSetting {
    /// The variable, for messages.
    pub variable: &'static str,
    /// Its value.
    pub path: PathBuf,
}

/// `OTEL_EXPORTER_OTLP_PROTOCOL`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// Protocol buffers over gRPC.
    Grpc,
    /// Protocol buffers over HTTP/1.1.
    HttpProtobuf,
}

/// `OTEL_EXPORTER_OTLP_COMPRESSION`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// As it is.
    None,
    /// gzip.
    Gzip,
}

/// A variable's two names, the signal's own first: it wins whole, nothing is merged.
macro_rules! names {
    ($signal:expr, $suffix:literal) => {
        [
            match $signal {
                Signal::Traces => concat!("OTEL_EXPORTER_OTLP_TRACES_", $suffix),
                Signal::Metrics => concat!("OTEL_EXPORTER_OTLP_METRICS_", $suffix),
            },
            concat!("OTEL_EXPORTER_OTLP_", $suffix),
        ]
    };
}

impl Otlp {
    /// Reads the server of `signal` through `lookup`, by the rules of [`super::Settings::parse`].
    ///
    /// # Errors
    /// Every value that is not understood, with its variable and what is accepted.
    pub fn parse(signal: Signal, lookup: impl Fn(&str) -> Option<String>) -> Result<Self, Problems> {
        let mut reader = Reader::new(&lookup);
        let otlp = Self::read(&mut reader, signal);
        reader.finish(otlp)
    }

    /// What no variable at all means.
    pub(super) fn default_of(signal: Signal) -> Self {
        Self {
            protocol: Protocol::Grpc,
            endpoint: Endpoint::default_of(Protocol::Grpc, signal),
            headers: Vec::new(),
            compression: Compression::None,
            timeout: Duration::from_secs(10),
            certificate: None,
            identity: None,
        }
    }

    pub(super) fn read(reader: &mut Reader<'_>, signal: Signal) -> Self {
        let default = Self::default_of(signal);
        let protocol = match reader.choice(&names!(signal, "PROTOCOL"), &["grpc", "http/protobuf"]) {
            Some("http/protobuf") => Protocol::HttpProtobuf,
            _ => default.protocol,
        };
        let compression = match reader.choice(&names!(signal, "COMPRESSION"), &["gzip", "none"]) {
            Some("gzip") => Compression::Gzip,
            _ => default.compression,
        };
        let insecure = reader.choice(&names!(signal, "INSECURE"), &["true", "false"]) == Some("true");
        Self {
            protocol,
            endpoint: endpoint::read(reader, &names!(signal, "ENDPOINT"), signal, protocol, insecure),
            headers: header::read(reader, &names!(signal, "HEADERS"), protocol),
            compression,
            timeout: reader.timeout(&names!(signal, "TIMEOUT"), default.timeout),
            certificate: reader.file(&names!(signal, "CERTIFICATE")),
            identity: identity(reader, signal),
        }
    }

    /// The variables of which neither name is set, by the general one, each with what holds in its place.
    pub(crate) fn defaults(
        &self,
        signal: Signal,
        is_set: &dyn Fn(&str) -> bool,
    ) -> Vec<(&'static str, String)> {
        let endpoint = names!(signal, "ENDPOINT");
        let endpoint = match signal {
            Signal::Traces => (endpoint, endpoint[1], Endpoint::server_of(self.protocol).to_owned()),
            // The general one holds for both signals, whose protocols may differ and with them the ports.
            Signal::Metrics => (endpoint, endpoint[0], self.endpoint.to_string()),
        };
        let general = |names: [&'static str; 2], value: String| (names, names[1], value);
        let all = [
            general(names!(signal, "PROTOCOL"), self.protocol.to_string()),
            endpoint,
            general(names!(signal, "COMPRESSION"), self.compression.to_string()),
            general(names!(signal, "INSECURE"), "false".to_owned()),
            general(names!(signal, "TIMEOUT"), self.timeout.as_millis().to_string()),
        ];
        let unset = all.into_iter().filter(|(names, ..)| !names.iter().any(|name| is_set(name)));
        unset.map(|(_, name, value)| (name, value)).collect()
    }
}

fn identity(reader: &mut Reader<'_>, signal: Signal) -> Option<(FileSetting, FileSetting)> {
    let certificate = reader.file(&names!(signal, "CLIENT_CERTIFICATE"));
    let key = reader.file(&names!(signal, "CLIENT_KEY"));
    match (certificate, key) {
        (Some(certificate), Some(key)) => Some((certificate, key)),
        (None, None) => None,
        (Some(alone), None) => {
            reader.problem(alone.variable, None, "needs OTEL_EXPORTER_OTLP_CLIENT_KEY beside it");
            None
        }
        (None, Some(alone)) => {
            reader.problem(alone.variable, None, "needs OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE beside it");
            None
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Grpc => "grpc",
            Self::HttpProtobuf => "http/protobuf",
        })
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "none",
            Self::Gzip => "gzip",
        })
    }
}
