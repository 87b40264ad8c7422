//! What is encoded is what OpenTelemetry's own types would be, byte by byte.

use super::{encode, expected};
use crate::{
    export::tests::sample::{resource, span},
    span::{Attribute, Resource, Span, SpanId, SpanKind, Status, TraceId, Value},
};
use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest,
    common::v1::{AnyValue, KeyValue, any_value},
    trace::v1::Span as ProtoSpan,
};
use proptest::prelude::*;
use prost::Message as _;
use std::sync::Arc;

/// What a receiver reads.
fn request(spans: &[Span]) -> ExportTraceServiceRequest {
    ExportTraceServiceRequest::decode(encode(spans).as_slice()).unwrap()
}

fn proto_span(span: Span) -> ProtoSpan {
    request(&[span]).resource_spans.remove(0).scope_spans.remove(0).spans.remove(0)
}

#[test]
fn many_resources_share_one_request() {
    let (shop, stock) = (resource("shop"), resource("stock"));
    let spans = [(1, &shop), (2, &stock), (3, &shop)]
        .map(|(id, resource)| Span { resource: Arc::clone(resource), ..span(1, id) });
    let request = request(&spans);
    assert_eq!(request.resource_spans.len(), 2);
    let counts: Vec<_> = request.resource_spans.iter().map(|r| r.scope_spans[0].spans.len()).collect();
    assert_eq!(counts, [2, 1]);
    let scope = request.resource_spans[1].scope_spans[0].scope.as_ref().unwrap();
    assert_eq!((scope.name.as_str(), scope.version.as_str()), ("sockspan", env!("CARGO_PKG_VERSION")));
    let attributes = &request.resource_spans[1].resource.as_ref().unwrap().attributes;
    let value = AnyValue { value: Some(any_value::Value::StringValue("stock".into())) };
    assert_eq!(
        *attributes,
        [KeyValue { key: "service.name".into(), value: Some(value), ..Default::default() }]
    );
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

fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        ".{0,200}".prop_map(|text| Value::Str(text.into())),
        any::<i64>().prop_map(Value::Int),
        any::<bool>().prop_map(Value::Bool),
        prop::collection::vec(".{0,40}", 0..4).prop_map(Value::Strs),
    ]
}

fn attributes() -> impl Strategy<Value = Vec<Attribute>> {
    let one = (".{0,30}", value()).prop_map(|(key, value)| Attribute { key: key.into(), value });
    prop::collection::vec(one, 0..12)
}

prop_compose! {
    fn any_span(resources: Vec<Arc<Resource>>)(
        place in 0..resources.len(),
        trace_id in any::<[u8; 16]>(),
        span_id in any::<[u8; 8]>(),
        parent in any::<Option<[u8; 8]>>(),
        (remote, client, failed) in any::<(bool, bool, bool)>(),
        (start_ns, end_ns) in any::<(u64, u64)>(),
        (name, trace_state) in (".{0,20}", ".{0,20}"),
        attributes in attributes(),
    ) -> Span {
        Span {
            trace_id: TraceId(trace_id),
            span_id: SpanId(span_id),
            parent_span_id: parent.map(SpanId),
            parent_is_remote: remote,
            trace_state,
            parent_sampled: None,
            kind: if client { SpanKind::Client } else { SpanKind::Server },
            name: name.into(),
            start_ns,
            end_ns,
            status: if failed { Status::Error } else { Status::Unset },
            attributes,
            resource: resources[place].clone(),
        }
    }
}

prop_compose! {
    fn spans()(all in prop::collection::vec(attributes(), 1..4))(
        spans in prop::collection::vec(
            any_span(all.into_iter().map(|attributes| {
                Arc::new(Resource { service_name: String::new(), attributes })
            }).collect()),
            0..20,
        ),
    ) -> Vec<Span> {
        spans
    }
}

proptest! {
    #[test]
    fn bytes_are_those_of_the_generated_types(spans in spans()) {
        prop_assert_eq!(encode(&spans), expected::request(spans).encode_to_vec());
    }
}
