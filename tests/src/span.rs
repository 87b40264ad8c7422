//! A span as it arrived, flat and easy to compare.
//!
//! In: an OTLP request. Out: [`Span`]s. Values of attributes are texts here; ids are as they came.

use std::{collections::BTreeMap, sync::Arc};

use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest,
    common::v1::{AnyValue, KeyValue, any_value::Value},
    trace::v1::{Span as Wire, span::SpanKind, status::StatusCode},
};

/// Attributes by key.
pub type Attributes = BTreeMap<String, String>;

/// Which end of an exchange it tells of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// The process that answered.
    Server,
    /// The process that asked.
    Client,
    /// Something that this agent has no business to send.
    Other,
}

/// A span.
#[derive(Clone, Debug, PartialEq)]
pub struct Span {
    /// 16 bytes.
    pub trace: Vec<u8>,
    /// 8 bytes.
    pub id: Vec<u8>,
    /// 8 bytes, or none for a root.
    pub parent: Vec<u8>,
    /// W3C tracestate.
    pub state: String,
    /// Kind.
    pub kind: Kind,
    /// Name.
    pub name: String,
    /// Nanoseconds since the Unix epoch.
    pub start: u64,
    /// Nanoseconds since the Unix epoch.
    pub end: u64,
    /// Its status is ERROR.
    pub error: bool,
    /// Its attributes.
    pub attributes: Attributes,
    /// The process.
    pub resource: Arc<Attributes>,
}

impl Span {
    /// `service.name`.
    pub fn service(&self) -> &str {
        self.resource.get("service.name").map_or("", String::as_str)
    }

    /// An attribute, or the empty text.
    pub fn attribute(&self, key: &str) -> &str {
        self.attributes.get(key).map_or("", String::as_str)
    }

    /// The request's path: `url.path` of a server, the path of `url.full` of a client.
    pub fn path(&self) -> &str {
        match self.kind {
            Kind::Client => {
                let rest = self.attribute("url.full").split_once("://").map_or("", |(_, rest)| rest);
                rest.find('/').map_or("/", |at| &rest[at..])
            }
            _ => self.attribute("url.path"),
        }
    }

    /// The response's status code.
    pub fn status(&self) -> Option<u16> {
        self.attributes.get("http.response.status_code")?.parse().ok()
    }

    /// Whether it names no parent.
    pub fn is_root(&self) -> bool {
        self.parent.is_empty()
    }

    /// One line for people.
    pub fn line(&self) -> String {
        let hex = |id: &[u8]| id.iter().map(|b| format!("{b:02x}")).collect::<String>();
        format!(
            "{:?} {} {} {} -> {} {}[trace {} span {} parent {}] {} us from {} us",
            self.kind,
            self.service(),
            self.name,
            self.path(),
            self.status().map_or("?".to_owned(), |status| status.to_string()),
            if self.error { format!("ERROR {} ", self.attribute("error.type")) } else { String::new() },
            hex(&self.trace),
            hex(&self.id),
            hex(&self.parent),
            self.end.saturating_sub(self.start) / 1_000,
            self.start / 1_000,
        )
    }
}

/// All spans of a request.
pub fn from_otlp(request: ExportTraceServiceRequest) -> Vec<Span> {
    let mut spans = Vec::new();
    for resource_spans in request.resource_spans {
        let resource =
            Arc::new(attributes(resource_spans.resource.map(|r| r.attributes).unwrap_or_default()));
        let wires = resource_spans.scope_spans.into_iter().flat_map(|scope| scope.spans);
        spans.extend(wires.map(|wire| from_wire(wire, &resource)));
    }
    spans
}

fn from_wire(wire: Wire, resource: &Arc<Attributes>) -> Span {
    let kind = match wire.kind() {
        SpanKind::Server => Kind::Server,
        SpanKind::Client => Kind::Client,
        _ => Kind::Other,
    };
    Span {
        kind,
        error: wire.status.as_ref().is_some_and(|status| status.code() == StatusCode::Error),
        trace: wire.trace_id,
        id: wire.span_id,
        parent: wire.parent_span_id,
        state: wire.trace_state,
        name: wire.name,
        start: wire.start_time_unix_nano,
        end: wire.end_time_unix_nano,
        attributes: attributes(wire.attributes),
        resource: resource.clone(),
    }
}

fn attributes(pairs: Vec<KeyValue>) -> Attributes {
    pairs.into_iter().map(|pair| (pair.key, text(pair.value))).collect()
}

fn text(value: Option<AnyValue>) -> String {
    match value.and_then(|value| value.value) {
        Some(Value::StringValue(text)) => text,
        Some(Value::IntValue(number)) => number.to_string(),
        Some(Value::BoolValue(truth)) => truth.to_string(),
        Some(Value::DoubleValue(number)) => number.to_string(),
        other => format!("{other:?}"),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A span without attributes but path and status.
    pub(crate) fn span(service: &str, kind: Kind, path: &str, status: u16, ids: [u8; 3]) -> Span {
        let [trace, id, parent] = ids;
        let url = match kind {
            Kind::Client => ("url.full", format!("http://localhost:8080{path}")),
            _ => ("url.path", path.to_owned()),
        };
        let limit = if kind == Kind::Client { 400 } else { 500 };
        Span {
            trace: vec![trace; 16],
            id: vec![id; 8],
            parent: if parent == 0 { Vec::new() } else { vec![parent; 8] },
            state: String::new(),
            kind,
            name: "GET".to_owned(),
            start: u64::from(id) * 1_000,
            end: 10_000_000 - u64::from(id) * 1_000,
            error: status >= limit,
            attributes: Attributes::from([
                (url.0.to_owned(), url.1),
                ("http.response.status_code".to_owned(), status.to_string()),
            ]),
            resource: Arc::new(Attributes::from([("service.name".to_owned(), service.to_owned())])),
        }
    }

    #[test]
    fn paths_of_both_kinds() {
        assert_eq!(span("a", Kind::Client, "/x/1", 200, [1, 1, 0]).path(), "/x/1");
        let server = span("a", Kind::Server, "/x/1", 404, [1, 1, 0]);
        assert_eq!((server.path(), server.status(), server.service()), ("/x/1", Some(404), "a"));
        assert!(server.is_root() && server.line().contains("Server a GET /x/1 -> 404"), "{}", server.line());
    }
}
