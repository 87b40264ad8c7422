//! Spans to test with.

use crate::span::{Attribute, Resource, Span, SpanId, SpanKind, Status, TraceId};
use std::sync::Arc;

/// A process by its service name alone.
pub(in crate::export) fn resource(service: &str) -> Arc<Resource> {
    let attributes = vec![Attribute::str("service.name", service.to_owned())];
    Arc::new(Resource { service_name: service.to_owned(), attributes })
}

/// A root SERVER span with nothing in it.
pub(in crate::export) fn span(trace: u64, id: u64) -> Span {
    Span {
        trace_id: TraceId(u128::from(trace).to_be_bytes()),
        span_id: SpanId(id.to_be_bytes()),
        parent_span_id: None,
        parent_is_remote: false,
        trace_state: String::new(),
        parent_sampled: None,
        kind: SpanKind::Server,
        name: "GET".into(),
        start_ns: 0,
        end_ns: 0,
        status: Status::Unset,
        attributes: Vec::new(),
        resource: Arc::new(Resource { service_name: "shop".into(), attributes: Vec::new() }),
    }
}

/// `count` traces of one span each, `first` being the first one's number.
pub(in crate::export) fn traces(first: u64, count: u64) -> Vec<Span> {
    (first..first + count).map(|n| span(n, n)).collect()
}
