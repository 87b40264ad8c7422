//! OTLP's requests as they came: counted without being decoded.
//!
//! In: bytes. Out: how many spans are in them; and a gRPC call that takes such bytes.

use std::future::{Ready, ready};

use axum::{body::Body, body::Bytes, http};
use prost::{
    bytes::{Buf as _, BufMut as _},
    encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field},
};
use tonic::{
    Request, Response, Status,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    server::{Grpc, UnaryService},
};

/// Where gRPC asks for it.
pub const PATH: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";

/// `ExportTraceServiceRequest.resource_spans`, `ResourceSpans.scope_spans`, `ScopeSpans.spans`.
const WAY: [u32; 3] = [1, 2, 2];

/// The spans of an `ExportTraceServiceRequest`; of one that is damaged, those before the damage.
pub fn spans(request: &[u8]) -> u64 {
    below(request, &WAY)
}

fn below(mut message: &[u8], way: &[u32]) -> u64 {
    let Some((field, rest)) = way.split_first() else { return 1 };
    let mut sum = 0;
    while message.has_remaining() {
        let Ok((tag, wire)) = decode_key(&mut message) else { break };
        if tag == *field && wire == WireType::LengthDelimited {
            let Some(part) = length(&mut message).and_then(|length| message.get(..length)) else { break };
            sum += below(part, rest);
            message.advance(part.len());
        } else if skip_field(wire, tag, &mut message, DecodeContext::default()).is_err() {
            break;
        }
    }
    sum
}

fn length(message: &mut &[u8]) -> Option<usize> {
    usize::try_from(decode_varint(message).ok()?).ok()
}

/// A gRPC call: its message is given to `take`, and answered that all was well.
pub async fn call(request: http::Request<Body>, take: impl Fn(Bytes)) -> http::Response<tonic::body::Body> {
    Grpc::new(Raw).unary(Take(take), request).await
}

struct Take<F>(F);

impl<F: Fn(Bytes)> UnaryService<Bytes> for Take<F> {
    type Response = ();
    type Future = Ready<Result<Response<()>, Status>>;

    fn call(&mut self, request: Request<Bytes>) -> Self::Future {
        (self.0)(request.into_inner());
        ready(Ok(Response::new(())))
    }
}

/// Bytes in; an empty message out, which says that nothing was rejected.
#[derive(Clone, Copy, Debug)]
struct Raw;

impl Codec for Raw {
    type Encode = ();
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = ();
    type Error = Status;

    fn encode(&mut self, (): (), out: &mut EncodeBuf<'_>) -> Result<(), Status> {
        out.put_slice(&[]);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, message: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(message.copy_to_bytes(message.remaining())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use opentelemetry_proto::tonic::{
        collector::trace::v1::ExportTraceServiceRequest,
        trace::v1::{ResourceSpans, ScopeSpans, Span},
    };
    use prost::Message as _;

    #[test]
    fn spans_are_counted_wherever_they_are() {
        let scope = |spans| ScopeSpans {
            spans: vec![Span { name: "GET".to_owned(), ..Span::default() }; spans],
            ..ScopeSpans::default()
        };
        let resource = |scopes: &[usize]| ResourceSpans {
            scope_spans: scopes.iter().map(|spans| scope(*spans)).collect(),
            schema_url: "x".to_owned(),
            ..ResourceSpans::default()
        };
        let request = ExportTraceServiceRequest {
            resource_spans: vec![resource(&[2, 3]), resource(&[]), resource(&[4])],
        };
        let bytes = request.encode_to_vec();
        assert_eq!((spans(&bytes), spans(&[])), (9, 0));
        for end in 0..bytes.len() {
            assert!(spans(&bytes[..end]) <= 9, "cut at {end}");
        }
    }
}
