//! What the standard OpenTelemetry variables say about the export of spans.
//!
//! In: a lookup from a variable's name to its value (the environment, or anything layered above it).
//! Out: [`Settings`], or every [`Problem`] at once. Nothing here reads the environment or a file:
//! certificates are named here and read by the transport when the exporter starts.

mod endpoint;
mod header;
mod reader;
#[cfg(test)]
mod tests;

use self::reader::Reader;
pub use self::{
    endpoint::Endpoint,
    header::{Header, Secret},
    reader::{Problem, Problems},
};
use std::{fmt, path::PathBuf, time::Duration};

/// The most bytes of spans that wait for export, where nothing else is said.
pub const DEFAULT_QUEUE_BYTES: usize = 32 << 20;

/// Where finished spans go, and in what portions.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// `OTEL_TRACES_EXPORTER`.
    pub target: Target,
    /// `OTEL_BSP_*`.
    pub batch: Batch,
    /// How long to wait after an attempt that may be repeated.
    pub retry: Retry,
}

/// What takes the spans.
#[derive(Clone, Debug, PartialEq)]
pub enum Target {
    /// A server that speaks OTLP.
    Otlp(Box<Otlp>),
    /// The terminal.
    Console,
    /// Nothing: spans are discarded, uncounted.
    None,
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

/// How spans wait, by `OTEL_BSP_*` (the batch span processor's variables).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// The longest that a span waits for others to be sent with.
    pub schedule_delay: Duration,
    /// A second limit of one attempt beside [`Otlp::timeout`]: the smaller holds.
    pub export_timeout: Duration,
    /// The most spans that wait; one more batch can be on its way.
    pub max_queue_size: usize,
    /// The most spans of one request.
    pub max_export_batch_size: usize,
    /// The most bytes of waiting spans, by [`crate::span::Span::cost`]. No variable of its own.
    pub max_queue_bytes: usize,
}

/// Exponential backoff. No variable of its own: the specification leaves it to the exporter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retry {
    /// Before the first repetition.
    pub initial: Duration,
    /// The most, before jitter takes some of it.
    pub max: Duration,
}

impl Default for Batch {
    fn default() -> Self {
        Self {
            schedule_delay: Duration::from_secs(5),
            export_timeout: Duration::from_secs(30),
            max_queue_size: 2048,
            max_export_batch_size: 512,
            max_queue_bytes: DEFAULT_QUEUE_BYTES,
        }
    }
}

impl Default for Retry {
    fn default() -> Self {
        Self { initial: Duration::from_millis(500), max: Duration::from_secs(15) }
    }
}

impl Default for Settings {
    /// What no variable at all means: OTLP over gRPC to `http://localhost:4317`.
    fn default() -> Self {
        let otlp = Otlp {
            protocol: Protocol::Grpc,
            endpoint: Endpoint::default_of(Protocol::Grpc),
            headers: Vec::new(),
            compression: Compression::None,
            timeout: Duration::from_secs(10),
            certificate: None,
            identity: None,
        };
        Self { target: Target::Otlp(Box::new(otlp)), batch: Batch::default(), retry: Retry::default() }
    }
}

impl Settings {
    /// Reads the settings through `lookup`. An empty value counts as unset, as the specification has it.
    ///
    /// # Errors
    /// Every value that is not understood, with its variable and what is accepted. The specification would
    /// have most of them ignored with a warning; spans sent to the wrong place are worse than a refusal.
    pub fn parse(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, Problems> {
        let mut reader = Reader::new(&lookup);
        let batch = batch(&mut reader);
        let target = match reader.choice(&["OTEL_TRACES_EXPORTER"], &["otlp", "console", "none"]) {
            Some("console") => Target::Console,
            Some("none") => Target::None,
            _ => otlp(&mut reader),
        };
        reader.finish(Self { target, batch, retry: Retry::default() })
    }

    /// The settings as names and printable values, without secrets.
    pub fn describe(&self) -> Vec<(&'static str, String)> {
        let mut all = vec![("exporter", self.target.to_string())];
        if let Target::Otlp(otlp) = &self.target {
            all.extend(otlp.describe());
        }
        all.extend([
            ("schedule_delay", format!("{:?}", self.batch.schedule_delay)),
            ("export_timeout", limit(self.batch.export_timeout)),
            ("max_queue_size", self.batch.max_queue_size.to_string()),
            ("max_queue_bytes", self.batch.max_queue_bytes.to_string()),
            ("max_export_batch_size", self.batch.max_export_batch_size.to_string()),
        ]);
        all
    }
}

impl Otlp {
    fn describe(&self) -> Vec<(&'static str, String)> {
        let file = |f: &FileSetting| f.path.display().to_string();
        let headers: Vec<String> = self.headers.iter().map(|h| format!("{}={}", h.name, h.value)).collect();
        let mut all = vec![
            ("protocol", self.protocol.to_string()),
            ("endpoint", self.endpoint.to_string()),
            ("headers", headers.join(",")),
            ("compression", self.compression.to_string()),
            ("timeout", limit(self.timeout)),
        ];
        all.extend(self.certificate.iter().map(|f| ("certificate", file(f))));
        if let Some((certificate, key)) = &self.identity {
            all.extend([("client_certificate", file(certificate)), ("client_key", file(key))]);
        }
        all
    }
}

fn limit(duration: Duration) -> String {
    if duration == Duration::MAX { "none".into() } else { format!("{duration:?}") }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Otlp(_) => "otlp",
            Self::Console => "console",
            Self::None => "none",
        })
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

/// A variable's two names, the signal's own first: it wins whole, nothing is merged.
macro_rules! names {
    ($suffix:literal) => {
        [concat!("OTEL_EXPORTER_OTLP_TRACES_", $suffix), concat!("OTEL_EXPORTER_OTLP_", $suffix)]
    };
}

fn otlp(reader: &mut Reader<'_>) -> Target {
    let protocol = match reader.choice(&names!("PROTOCOL"), &["grpc", "http/protobuf"]) {
        Some("http/protobuf") => Protocol::HttpProtobuf,
        _ => Protocol::Grpc,
    };
    let compression = match reader.choice(&names!("COMPRESSION"), &["gzip", "none"]) {
        Some("gzip") => Compression::Gzip,
        _ => Compression::None,
    };
    let insecure = reader.choice(&names!("INSECURE"), &["true", "false"]) == Some("true");
    Target::Otlp(Box::new(Otlp {
        protocol,
        endpoint: endpoint::read(reader, &names!("ENDPOINT"), protocol, insecure),
        headers: header::read(reader, &names!("HEADERS"), protocol),
        compression,
        timeout: reader.timeout(&names!("TIMEOUT"), Duration::from_secs(10)),
        certificate: reader.file(&names!("CERTIFICATE")),
        identity: identity(reader),
    }))
}

fn identity(reader: &mut Reader<'_>) -> Option<(FileSetting, FileSetting)> {
    let certificate = reader.file(&names!("CLIENT_CERTIFICATE"));
    let key = reader.file(&names!("CLIENT_KEY"));
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

fn batch(reader: &mut Reader<'_>) -> Batch {
    let default = Batch::default();
    let queue = reader.count("OTEL_BSP_MAX_QUEUE_SIZE").unwrap_or(default.max_queue_size);
    let size = reader.count("OTEL_BSP_MAX_EXPORT_BATCH_SIZE");
    if let Some(size) = size.filter(|size| *size > queue) {
        let accepted = format!("at most the queue's size (OTEL_BSP_MAX_QUEUE_SIZE), {queue}");
        reader.problem("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", Some(size.to_string()), &accepted);
    }
    Batch {
        schedule_delay: reader
            .milliseconds(&["OTEL_BSP_SCHEDULE_DELAY"])
            .map_or(default.schedule_delay, |(_, delay)| delay),
        export_timeout: reader.timeout(&["OTEL_BSP_EXPORT_TIMEOUT"], default.export_timeout),
        max_queue_size: queue,
        max_export_batch_size: size.unwrap_or(default.max_export_batch_size).min(queue),
        max_queue_bytes: default.max_queue_bytes,
    }
}
