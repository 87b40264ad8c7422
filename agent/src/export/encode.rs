//! From spans to OTLP's protocol buffers: one request for the spans of many resources.

use crate::span::{Attribute, Resource, Span, SpanKind, Status, Value};
use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest,
    common::v1::{AnyValue, ArrayValue, InstrumentationScope, KeyValue, any_value},
    resource::v1::Resource as ProtoResource,
    trace::v1::{ResourceSpans, ScopeSpans, Span as ProtoSpan, Status as ProtoStatus, span, status},
};
use std::{collections::HashMap, sync::Arc};

/// The version of the semantic conventions that the attributes follow.
pub const SCHEMA_URL: &str = "https://opentelemetry.io/schemas/1.42.0";
/// The instrumentation scope of every span.
pub const SCOPE_NAME: &str = "sockspan";

/// `Span.flags`: W3C's sampled bit (what is exported was sampled), and OTLP's two bits about the parent.
const SAMPLED: u32 = 0x01;
const HAS_IS_REMOTE: u32 = 0x100;
const IS_REMOTE: u32 = 0x200;

/// The spans as one request, grouped by the identity of their resources, in order of first appearance.
pub fn request(spans: Vec<Span>) -> ExportTraceServiceRequest {
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
        Value::Str(text) => any_value::Value::StringValue(text.into_owned()),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::export::tests::sample::{resource, span};
    use crate::span::SpanId;

    #[test]
    fn many_resources_share_one_request() {
        let (shop, stock) = (resource("shop"), resource("stock"));
        let spans = [(1, &shop), (2, &stock), (3, &shop)]
            .map(|(id, resource)| Span { resource: Arc::clone(resource), ..span(1, id) });
        let request = request(spans.to_vec());
        assert_eq!(request.resource_spans.len(), 2);
        let counts: Vec<_> = request.resource_spans.iter().map(|r| r.scope_spans[0].spans.len()).collect();
        assert_eq!(counts, [2, 1]);
        let scope = request.resource_spans[1].scope_spans[0].scope.as_ref().unwrap();
        assert_eq!((scope.name.as_str(), scope.version.as_str()), ("sockspan", env!("CARGO_PKG_VERSION")));
        let attributes = &request.resource_spans[1].resource.as_ref().unwrap().attributes;
        assert_eq!(*attributes, [key_value(Attribute::str("service.name", "stock"))]);
    }

    #[test]
    fn every_field_of_a_span_is_carried() {
        let strs = Attribute { key: "list".into(), value: Value::Strs(vec!["a".into(), "b".into()]) };
        let span = Span {
            parent_span_id: Some(SpanId([9; 8])),
            parent_is_remote: true,
            trace_state: "vendor=1".into(),
            kind: SpanKind::Client,
            name: "GET".into(),
            start_ns: 5,
            end_ns: 7,
            status: Status::Error,
            attributes: vec![Attribute::int("http.response.status_code", 500), strs],
            ..span(1, 2)
        };
        let proto = proto_span(span);
        assert_eq!(proto.trace_id, 1u128.to_be_bytes());
        assert_eq!(proto.span_id, 2u64.to_be_bytes());
        assert_eq!(proto.parent_span_id, [9; 8]);
        assert_eq!(proto.flags, 0x301);
        assert_eq!((proto.name.as_str(), proto.trace_state.as_str()), ("GET", "vendor=1"));
        assert_eq!((proto.kind, proto.start_time_unix_nano, proto.end_time_unix_nano), (3, 5, 7));
        assert_eq!(proto.status.unwrap().code, 2);
        assert_eq!(proto.attributes.len(), 2);
    }

    #[test]
    fn what_is_not_known_is_left_out() {
        let proto = proto_span(span(1, 2));
        assert!(proto.parent_span_id.is_empty() && proto.status.is_none());
        assert_eq!(proto.flags, 0x101);
    }
}
