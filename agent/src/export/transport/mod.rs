//! One attempt to hand an encoded request to a server, and what came of it.
//!
//! In: an encoded `ExportTraceServiceRequest`. Out: an [`Outcome`], by which the worker counts, repeats or
//! gives up. A request is encoded (and for HTTP compressed) once, however often it is sent.

mod codec;
mod grpc;
mod http;
mod status;
mod tls;

pub(super) use self::{grpc::Grpc, http::Http};
pub(crate) use self::{
    grpc::{channel, metadata},
    http::{client, header_map},
};
use bytes::Bytes;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use std::{future::Future, time::Duration};

/// What came of one attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The server has the request, but for `rejected` spans of it; `message` is a warning of its own.
    Accepted { rejected: u64, message: String },
    /// It may work later; `after` is the pause that the server asked for.
    Retry { reason: String, after: Option<Duration> },
    /// It will not work with this request, whenever it is sent.
    Refused { reason: String },
}

/// A way to the server, with one connection that is kept.
pub(super) trait Transport: Send + Sync + 'static {
    /// Makes the body that [`Self::send`] takes, once for all attempts.
    fn prepare(&self, encoded: Vec<u8>) -> Bytes {
        encoded.into()
    }

    /// Sends a prepared body and waits for the answer, `timeout` at most.
    fn send(&self, body: Bytes, timeout: Duration) -> impl Future<Output = Outcome> + Send;
}

/// A server's answer as an outcome.
fn accepted(response: ExportTraceServiceResponse) -> Outcome {
    let partial = response.partial_success.unwrap_or_default();
    Outcome::Accepted {
        rejected: u64::try_from(partial.rejected_spans).unwrap_or(0),
        message: partial.error_message,
    }
}

fn timed_out(timeout: Duration) -> Outcome {
    Outcome::Retry { reason: format!("no answer within {timeout:.1?}"), after: None }
}
