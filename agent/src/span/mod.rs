//! The finished product: a span as OpenTelemetry defines it, and the resource it belongs to.
//!
//! In: exchanges with their evidence (`crate::exchange`). Out: [`Span`] values for `crate::export`.
//! Everything here is plain data and pure; `clock::sample` alone reads a clock.

pub mod assemble;
pub mod clock;
pub mod conventions;
pub mod redact;
pub mod route;

use smol_str::SmolStr;
use std::{borrow::Cow, fmt, sync::Arc};

/// A W3C trace id: 16 bytes, not all zero.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TraceId(pub [u8; 16]);

/// A W3C span (parent) id: 8 bytes, not all zero.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SpanId(pub [u8; 8]);

fn hex(bytes: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    bytes.iter().try_for_each(|b| write!(f, "{b:02x}"))
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hex(&self.0, f)
    }
}
impl fmt::Display for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hex(&self.0, f)
    }
}
impl fmt::Debug for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hex(&self.0, f)
    }
}
impl fmt::Debug for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hex(&self.0, f)
    }
}

/// Which end of the exchange the span tells of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SpanKind {
    /// The process that received the request.
    Server,
    /// The process that sent the request.
    Client,
}

/// The span's status. `Ok` is never set: that is the application's word, and it did not speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Nothing wrong was seen.
    Unset,
    /// An error by the HTTP semantic conventions (or a connection that broke).
    Error,
}

/// An attribute's value.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Text; a short one is held in place.
    Str(SmolStr),
    /// An integer.
    Int(i64),
    /// A truth value.
    Bool(bool),
    /// A list of texts (`process.command_args`).
    Strs(Vec<String>),
}

/// A key of the semantic conventions with its value.
#[derive(Clone, Debug, PartialEq)]
pub struct Attribute {
    /// The attribute's name, e.g. `http.request.method`.
    pub key: Cow<'static, str>,
    /// Its value.
    pub value: Value,
}

/// What produced the spans: one traced process, described by OpenTelemetry's resource conventions.
#[derive(Clone, Debug, PartialEq)]
pub struct Resource {
    /// `service.name`, also among the attributes; kept apart for names and logs.
    pub service_name: String,
    /// All attributes, `service.name` included, sorted by key.
    pub attributes: Vec<Attribute>,
}

/// A finished span, ready for export.
#[derive(Clone, Debug, PartialEq)]
pub struct Span {
    /// The trace it belongs to.
    pub trace_id: TraceId,
    /// Its own id.
    pub span_id: SpanId,
    /// Its parent, if there is evidence for one.
    pub parent_span_id: Option<SpanId>,
    /// The parent was read from a header, so it may not have been exported by this agent.
    pub parent_is_remote: bool,
    /// W3C `tracestate` that arrived with the request, unchanged.
    pub trace_state: String,
    /// The W3C sampled flag that arrived with the trace; `None` where the trace starts here.
    pub parent_sampled: Option<bool>,
    /// Server or client.
    pub kind: SpanKind,
    /// Low-cardinality name, e.g. `GET /products/:id`.
    pub name: Cow<'static, str>,
    /// Start, nanoseconds since the Unix epoch.
    pub start_ns: u64,
    /// End, nanoseconds since the Unix epoch; never before `start_ns`.
    pub end_ns: u64,
    /// Status by the HTTP semantic conventions.
    pub status: Status,
    /// Attributes in the order they were set.
    pub attributes: Vec<Attribute>,
    /// The process that produced it.
    pub resource: Arc<Resource>,
}

impl Attribute {
    /// A text attribute.
    pub fn str(key: &'static str, value: impl Into<SmolStr>) -> Self {
        Self { key: Cow::Borrowed(key), value: Value::Str(value.into()) }
    }
    /// An integer attribute.
    pub fn int(key: &'static str, value: i64) -> Self {
        Self { key: Cow::Borrowed(key), value: Value::Int(value) }
    }
}

impl Span {
    /// The value of the attribute `key`, if it is set.
    pub fn attribute(&self, key: &str) -> Option<&Value> {
        self.attributes.iter().find(|a| a.key == key).map(|a| &a.value)
    }
    /// An upper estimate of the memory this span holds, in bytes; the queues are bounded by it.
    pub fn cost(&self) -> usize {
        let attribute = |a: &Attribute| match &a.value {
            Value::Str(text) if text.is_heap_allocated() => text.len(),
            Value::Strs(v) => v.iter().map(String::capacity).sum(),
            _ => 0,
        };
        size_of::<Self>()
            + self.attributes.capacity() * size_of::<Attribute>()
            + self.attributes.iter().map(attribute).sum::<usize>()
            + self.trace_state.capacity()
            + self.name.len()
    }
}
