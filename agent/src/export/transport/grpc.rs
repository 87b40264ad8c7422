//! OTLP over gRPC: one HTTP/2 channel that connects when it is needed and again when it broke.

use super::{Outcome, Transport, accepted, codec::Encoded, status, timed_out, tls};
use crate::{
    chain::chain,
    export::{
        USER_AGENT,
        error::Error,
        settings::{Compression, Endpoint as Target, Header, Otlp},
    },
};
use bytes::Bytes;
use std::{
    error::Error as _,
    sync::{Mutex, PoisonError},
    time::Duration,
};
use tonic::{
    Code, Request, Status,
    client::Grpc as Client,
    codec::CompressionEncoding,
    codegen::http::uri::PathAndQuery,
    metadata::{Ascii, MetadataKey, MetadataMap, MetadataValue},
    transport::{Channel, Endpoint},
};

const METHOD: PathAndQuery =
    PathAndQuery::from_static("/opentelemetry.proto.collector.trace.v1.TraceService/Export");
/// The most that an answer may hold; OTLP's answers are tiny.
const MAX_ANSWER: usize = 64 * 1024;

/// The trace service of a server.
pub(in crate::export) struct Grpc {
    endpoint: Endpoint,
    channel: Mutex<Channel>,
    metadata: MetadataMap,
    compression: Compression,
}

impl Grpc {
    /// Prepares the channel; nothing is sent yet. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// Certificates that can't be read or used, and values that gRPC can't carry.
    pub(in crate::export) fn new(otlp: &Otlp) -> Result<Self, Error> {
        let endpoint = endpoint(otlp, &otlp.endpoint)?;
        Ok(Self {
            channel: Mutex::new(endpoint.connect_lazy()),
            endpoint,
            metadata: metadata(&otlp.headers)?,
            compression: otlp.compression,
        })
    }

    fn channel(&self) -> std::sync::MutexGuard<'_, Channel> {
        self.channel.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn call(&self, body: Bytes) -> Outcome {
        let channel = self.channel().clone();
        let mut client = Client::new(channel)
            .max_decoding_message_size(MAX_ANSWER)
            .accept_compressed(CompressionEncoding::Gzip);
        if self.compression == Compression::Gzip {
            client = client.send_compressed(CompressionEncoding::Gzip);
        }
        if let Err(error) = client.ready().await {
            return Outcome::Retry { reason: chain(&error), after: None };
        }
        let mut request = Request::new(body);
        request.metadata_mut().clone_from(&self.metadata);
        match client.unary(request, METHOD, Encoded).await {
            Ok(response) => accepted(response.into_inner()),
            Err(status) => failed(&status),
        }
    }
}

impl Transport for Grpc {
    async fn send(&self, body: Bytes, timeout: Duration) -> Outcome {
        match tokio::time::timeout(timeout, self.call(body)).await {
            Ok(outcome) => outcome,
            Err(_) => {
                // The peer may be gone without a word; TCP would hold on to it for a quarter of an hour.
                *self.channel() = self.endpoint.connect_lazy();
                timed_out(timeout)
            }
        }
    }
}

/// A channel that ends each request and each attempt to connect after the settings' limit itself, for clients that
/// don't. Nothing is sent yet. Must be called within a tokio runtime.
///
/// # Errors
/// Certificates that can't be read or used.
pub(crate) fn channel(otlp: &Otlp) -> Result<Channel, Error> {
    let mut endpoint = endpoint(otlp, &otlp.endpoint)?;
    if otlp.timeout != Duration::MAX {
        endpoint = endpoint.timeout(otlp.timeout).connect_timeout(otlp.timeout);
    }
    Ok(endpoint.connect_lazy())
}

fn endpoint(otlp: &Otlp, target: &Target) -> Result<Endpoint, Error> {
    let wrong = |error: tonic::transport::Error| Error::Transport(chain(&error));
    let endpoint = Endpoint::from_shared(target.url().to_string())
        .and_then(|endpoint| endpoint.user_agent(USER_AGENT))
        .map_err(wrong)?
        .tcp_keepalive(Some(Duration::from_secs(60)));
    if target.secure() { endpoint.tls_config(tls::for_grpc(otlp)?).map_err(wrong) } else { Ok(endpoint) }
}

/// The headers as gRPC has them.
///
/// # Errors
/// A header that gRPC can't carry.
pub(crate) fn metadata(headers: &[Header]) -> Result<MetadataMap, Error> {
    let mut map = MetadataMap::new();
    for header in headers {
        let key = MetadataKey::<Ascii>::from_bytes(header.name.as_bytes());
        let value = MetadataValue::<Ascii>::try_from(header.value.expose());
        match (key, value) {
            (Ok(key), Ok(value)) => map.append(key, value),
            _ => return Err(Error::Transport(format!("gRPC can't carry the header {}", header.name))),
        };
    }
    Ok(map)
}

/// OTLP's table of codes. A status with a source was made here of a connection that failed.
fn failed(status: &Status) -> Outcome {
    let reason = match status.source() {
        Some(source) => chain(source),
        None => format!("gRPC status {:?}: {}", status.code(), status.message()),
    };
    let after = status::retry_info(status.details());
    let transient = match status.code() {
        Code::Cancelled
        | Code::DeadlineExceeded
        | Code::Aborted
        | Code::OutOfRange
        | Code::Unavailable
        | Code::DataLoss => true,
        Code::ResourceExhausted => after.is_some(),
        _ => status.source().is_some(),
    };
    if transient { Outcome::Retry { reason, after } } else { Outcome::Refused { reason } }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_sorted_as_the_protocol_says() {
        let transient = |code| matches!(failed(&Status::new(code, "")), Outcome::Retry { .. });
        for code in (0..=16).map(Code::from) {
            let expected = [1, 4, 10, 11, 14, 15].contains(&(code as i32));
            assert_eq!(transient(code), expected, "{code:?}");
        }
    }

    #[test]
    fn exhausted_is_transient_only_with_retry_info() {
        let details = status::with_retry_info(2, 0);
        let status = Status::with_details(Code::ResourceExhausted, "later", details.into());
        let after = Some(Duration::from_secs(2));
        assert!(matches!(failed(&status), Outcome::Retry { after: asked, .. } if asked == after));
        let bare = failed(&Status::new(Code::ResourceExhausted, "too large"));
        assert_eq!(bare, Outcome::Refused { reason: "gRPC status ResourceExhausted: too large".into() });
    }
}
