//! The same request by OpenTelemetry's own generated types, at their cost: what the encoder is compared with.

use super::{SCHEMA_URL, SCOPE_NAME};
use crate::span::{Attribute, Resource, Span, SpanKind, Status, Value};
use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest,
    common::v1::{AnyValue, ArrayValue, InstrumentationScope, KeyValue, any_value},
    resource::v1::Resource as ProtoResource,
    trace::v1::{ResourceSpans, ScopeSpans, Span as ProtoSpan, Status as ProtoStatus, span, status},
};
use std::{collections::HashMap, sync::Arc};

const SAMPLED: u32 = 0x01;
const HAS_IS_REMOTE: u32 = 0x100;
const IS_REMOTE: u32 = 0x200;

/// The spans as one request, grouped by the identity of their resources, in order of first appearance.
pub(super) fn request(spans: Vec<Span>) -> ExportTraceServiceRequest {
    let mut groups: Vec<(Arc<Resource>, Vec<ProtoSpan>)> = Vec::new();
    let mut index: HashMap<*const Resource, usize> = HashMap::new();
    for span in spans {
        let resource = Arc::clone(&span.resource);
        let position = *index.entry(Arc::as_ptr(&resource)).or_insert(groups.len());
        if position == groups.len() {
            groups.push((resource, Vec::new()));
        }
        if let Some((_, group)) = groups.get_mut(position) {
            group.push(proto_span(span));
        }
    }
    let resource_spans =
        groups.into_iter().map(|(resource, spans)| resource_spans(&resource, spans)).collect();
    ExportTraceServiceRequest { resource_spans }
}

fn resource_spans(resource: &Resource, spans: Vec<ProtoSpan>) -> ResourceSpans {
    let scope = InstrumentationScope {
        name: SCOPE_NAME.to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ..Default::default()
    };
    ResourceSpans {
        resource: Some(ProtoResource {
            attributes: resource.attributes.iter().cloned().map(key_value).collect(),
            ..Default::default()
        }),
        scope_spans: vec![ScopeSpans { scope: Some(scope), spans, schema_url: SCHEMA_URL.to_owned() }],
        schema_url: SCHEMA_URL.to_owned(),
    }
}

fn proto_span(span: Span) -> ProtoSpan {
    let remote = if span.parent_is_remote { IS_REMOTE } else { 0 };
    let kind = match span.kind {
        SpanKind::Server => span::SpanKind::Server,
        SpanKind::Client => span::SpanKind::Client,
    };
    ProtoSpan {
        trace_id: span.trace_id.0.to_vec(),
        span_id: span.span_id.0.to_vec(),
        trace_state: span.trace_state,
        parent_span_id: span.parent_span_id.map(|id| id.0.to_vec()).unwrap_or_default(),
        flags: SAMPLED | HAS_IS_REMOTE | remote,
        name: span.name.into_owned(),
        kind: kind.into(),
        start_time_unix_nano: span.start_ns,
        end_time_unix_nano: span.end_ns,
        attributes: span.attributes.into_iter().map(key_value).collect(),
        status: (span.status == Status::Error)
            .then(|| ProtoStatus { code: status::StatusCode::Error.into(), message: String::new() }),
        ..Default::default()
    }
}

fn key_value(attribute: Attribute) -> KeyValue {
    let value = match attribute.value {
        Value::Str(text) => any_value::Value::StringValue(text.into()),
        Value::Int(number) => any_value::Value::IntValue(number),
        Value::Bool(truth) => any_value::Value::BoolValue(truth),
        Value::Strs(texts) => any_value::Value::ArrayValue(ArrayValue {
            values: texts.into_iter().map(|text| any(any_value::Value::StringValue(text))).collect(),
        }),
    };
    KeyValue { key: attribute.key.into_owned(), value: Some(any(value)), ..Default::default() }
}

fn any(value: any_value::Value) -> AnyValue {
    AnyValue { value: Some(value) }
}
