//! From spans to the bytes of an OTLP request, straight: the spans of many resources, none of them copied on the way.
//!
//! In: spans. Out: an `opentelemetry.proto.collector.trace.v1.ExportTraceServiceRequest`, as
//! <https://github.com/open-telemetry/opentelemetry-proto> (1.9) numbers its fields. Those numbers never change; the tests
//! compare with what OpenTelemetry's generated types make of the same spans.

mod attribute;
#[cfg(test)]
mod expected;
mod protobuf;
#[cfg(test)]
mod tests;

use crate::span::{Attribute, Resource, Span, SpanKind, Status};
use protobuf::{begin, bytes, bytes_len, field_len, fixed32, fixed64, fixed64_len, varint, varint_len};
use std::{collections::HashMap, sync::Arc};

/// The version of the semantic conventions that the attributes follow.
pub const SCHEMA_URL: &str = "https://opentelemetry.io/schemas/1.42.0";
/// The instrumentation scope of every span.
pub const SCOPE_NAME: &str = "sockspan";

/// `Span.flags`: W3C's sampled bit (what is exported was sampled), and OTLP's two bits about the parent.
const SAMPLED: u32 = 0x01;
const HAS_IS_REMOTE: u32 = 0x100;
const IS_REMOTE: u32 = 0x200;

/// `ExportTraceServiceRequest.resource_spans`.
const RESOURCE_SPANS: u32 = 1;

/// Numbers of the fields of `ResourceSpans` and of the messages below it but the span.
mod resource_spans {
    pub(super) const RESOURCE: u32 = 1;
    pub(super) const RESOURCE_ATTRIBUTES: u32 = 1;
    pub(super) const SCOPE_SPANS: u32 = 2;
    pub(super) const SCOPE: u32 = 1;
    pub(super) const SCOPE_NAME: u32 = 1;
    pub(super) const SCOPE_VERSION: u32 = 2;
    pub(super) const SPANS: u32 = 2;
    /// Of `ResourceSpans` and `ScopeSpans` alike.
    pub(super) const SCHEMA_URL: u32 = 3;
}

/// Numbers of the fields of `Span`.
mod span {
    pub(super) const TRACE_ID: u32 = 1;
    pub(super) const SPAN_ID: u32 = 2;
    pub(super) const TRACE_STATE: u32 = 3;
    pub(super) const PARENT_SPAN_ID: u32 = 4;
    pub(super) const NAME: u32 = 5;
    pub(super) const KIND: u32 = 6;
    pub(super) const START: u32 = 7;
    pub(super) const END: u32 = 8;
    pub(super) const ATTRIBUTES: u32 = 9;
    pub(super) const STATUS: u32 = 15;
    pub(super) const STATUS_CODE: u32 = 3;
    pub(super) const FLAGS: u32 = 16;
    /// `SpanKind` and `StatusCode`.
    pub(super) const SERVER: u64 = 2;
    pub(super) const CLIENT: u64 = 3;
    pub(super) const ERROR: u64 = 2;
}

/// The spans as the bytes of one request, grouped by the identity of their resources, in order of first appearance.
#[inline(never)] // A stage: its instructions are budgeted.
pub fn encode(spans: &[Span]) -> Vec<u8> {
    let groups: Vec<Group<'_>> = groups(spans).into_iter().map(Group::measured).collect();
    let length = groups.iter().map(|group| field_len(RESOURCE_SPANS, group.length)).sum();
    let mut out = Vec::with_capacity(length);
    for group in &groups {
        begin(&mut out, RESOURCE_SPANS, group.length);
        group.write(&mut out);
    }
    debug_assert_eq!(out.len(), length);
    out
}

fn groups(spans: &[Span]) -> Vec<(&Resource, Vec<&Span>)> {
    let mut groups: Vec<(&Resource, Vec<&Span>)> = Vec::new();
    let mut index: HashMap<*const Resource, usize> = HashMap::new();
    for span in spans {
        let position = *index.entry(Arc::as_ptr(&span.resource)).or_insert(groups.len());
        match groups.get_mut(position) {
            Some((_, group)) => group.push(span),
            None => groups.push((&span.resource, vec![span])),
        }
    }
    groups
}

/// The spans of a resource, and how long what holds them will be.
struct Group<'a> {
    resource: &'a Resource,
    spans: Vec<(&'a Span, usize)>,
    resource_length: usize,
    scope_spans_length: usize,
    length: usize,
}

impl<'a> Group<'a> {
    fn measured((resource, spans): (&'a Resource, Vec<&'a Span>)) -> Self {
        let spans: Vec<_> = spans.into_iter().map(|span| (span, span_len(span))).collect();
        let resource_length = attributes_len(resource_spans::RESOURCE_ATTRIBUTES, &resource.attributes);
        let schema = bytes_len(resource_spans::SCHEMA_URL, SCHEMA_URL.as_bytes());
        let all: usize = spans.iter().map(|(_, length)| field_len(resource_spans::SPANS, *length)).sum();
        let scope_spans_length = field_len(resource_spans::SCOPE, scope_len()) + all + schema;
        let length = field_len(resource_spans::RESOURCE, resource_length)
            + field_len(resource_spans::SCOPE_SPANS, scope_spans_length)
            + schema;
        Self { resource, spans, resource_length, scope_spans_length, length }
    }

    fn write(&self, out: &mut Vec<u8>) {
        begin(out, resource_spans::RESOURCE, self.resource_length);
        attributes(out, resource_spans::RESOURCE_ATTRIBUTES, &self.resource.attributes);
        begin(out, resource_spans::SCOPE_SPANS, self.scope_spans_length);
        begin(out, resource_spans::SCOPE, scope_len());
        bytes(out, resource_spans::SCOPE_NAME, SCOPE_NAME.as_bytes());
        bytes(out, resource_spans::SCOPE_VERSION, VERSION.as_bytes());
        for (span, length) in &self.spans {
            begin(out, resource_spans::SPANS, *length);
            write_span(out, span);
        }
        bytes(out, resource_spans::SCHEMA_URL, SCHEMA_URL.as_bytes());
        bytes(out, resource_spans::SCHEMA_URL, SCHEMA_URL.as_bytes());
    }
}

const VERSION: &str = env!("CARGO_PKG_VERSION");

fn scope_len() -> usize {
    bytes_len(resource_spans::SCOPE_NAME, SCOPE_NAME.as_bytes())
        + bytes_len(resource_spans::SCOPE_VERSION, VERSION.as_bytes())
}

fn attributes_len(field: u32, all: &[Attribute]) -> usize {
    all.iter().map(|one| field_len(field, attribute::len(one))).sum()
}

fn attributes(out: &mut Vec<u8>, field: u32, all: &[Attribute]) {
    all.iter().for_each(|one| attribute::write(out, field, one, attribute::len(one)));
}

fn kind(span: &Span) -> u64 {
    match span.kind {
        SpanKind::Server => span::SERVER,
        SpanKind::Client => span::CLIENT,
    }
}

fn parent(span: &Span) -> &[u8] {
    span.parent_span_id.as_ref().map_or(&[], |id| id.0.as_slice())
}

fn span_len(span: &Span) -> usize {
    let status = match span.status {
        Status::Unset => 0,
        Status::Error => field_len(span::STATUS, varint_len(span::STATUS_CODE, span::ERROR)),
    };
    bytes_len(span::TRACE_ID, &span.trace_id.0)
        + bytes_len(span::SPAN_ID, &span.span_id.0)
        + bytes_len(span::TRACE_STATE, span.trace_state.as_bytes())
        + bytes_len(span::PARENT_SPAN_ID, parent(span))
        + bytes_len(span::NAME, span.name.as_bytes())
        + varint_len(span::KIND, kind(span))
        + fixed64_len(span::START, span.start_ns)
        + fixed64_len(span::END, span.end_ns)
        + attributes_len(span::ATTRIBUTES, &span.attributes)
        + status
        + protobuf::tag_len(span::FLAGS)
        + size_of::<u32>()
}

/// In the order of the fields' numbers, as all encoders write.
fn write_span(out: &mut Vec<u8>, span: &Span) {
    bytes(out, span::TRACE_ID, &span.trace_id.0);
    bytes(out, span::SPAN_ID, &span.span_id.0);
    bytes(out, span::TRACE_STATE, span.trace_state.as_bytes());
    bytes(out, span::PARENT_SPAN_ID, parent(span));
    bytes(out, span::NAME, span.name.as_bytes());
    varint(out, span::KIND, kind(span));
    fixed64(out, span::START, span.start_ns);
    fixed64(out, span::END, span.end_ns);
    attributes(out, span::ATTRIBUTES, &span.attributes);
    if span.status == Status::Error {
        begin(out, span::STATUS, varint_len(span::STATUS_CODE, span::ERROR));
        varint(out, span::STATUS_CODE, span::ERROR);
    }
    let remote = if span.parent_is_remote { IS_REMOTE } else { 0 };
    fixed32(out, span::FLAGS, SAMPLED | HAS_IS_REMOTE | remote);
}
