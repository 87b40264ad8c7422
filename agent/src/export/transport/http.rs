//! OTLP over HTTP/1.1 with protocol buffers: one connection that is kept alive.

use super::{Outcome, Transport, accepted, status::RpcStatus, timed_out, tls};
use crate::{
    chain::chain,
    export::{
        USER_AGENT,
        error::Error,
        settings::{Compression, Header, Otlp},
    },
};
use bytes::Bytes;
use flate2::{Compression as Level, write::GzEncoder};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use prost::Message;
use reqwest::{
    Client, Response, StatusCode, Url,
    header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER},
    redirect,
};
use std::{
    io::Write,
    time::{Duration, SystemTime},
};

const PROTOBUF: HeaderValue = HeaderValue::from_static("application/x-protobuf");
/// The most that is read of an answer; OTLP's answers are tiny.
const MAX_ANSWER: usize = 64 * 1024;

/// The trace resource of a server.
pub(in crate::export) struct Http {
    client: Client,
    url: Url,
    headers: HeaderMap,
    compression: Compression,
}

impl Http {
    /// Prepares the client; nothing is sent yet.
    ///
    /// # Errors
    /// Certificates that can't be read or used, and values that HTTP can't carry.
    pub(in crate::export) fn new(otlp: &Otlp) -> Result<Self, Error> {
        Ok(Self {
            client: client(otlp)?,
            url: otlp.endpoint.url().clone(),
            headers: headers(otlp)?,
            compression: otlp.compression,
        })
    }

    async fn call(&self, body: Bytes) -> Outcome {
        let request = self.client.post(self.url.clone()).headers(self.headers.clone()).body(body);
        match request.send().await {
            Ok(response) => judge(response).await,
            Err(error) => {
                let permanent = error.is_builder();
                let reason = chain(&error.without_url());
                if permanent { Outcome::Refused { reason } } else { Outcome::Retry { reason, after: None } }
            }
        }
    }
}

impl Transport for Http {
    fn prepare(&self, encoded: Vec<u8>) -> Bytes {
        match self.compression {
            Compression::None => encoded.into(),
            Compression::Gzip => gzip(&encoded).into(),
        }
    }

    async fn send(&self, body: Bytes, timeout: Duration) -> Outcome {
        tokio::time::timeout(timeout, self.call(body)).await.unwrap_or_else(|_| timed_out(timeout))
    }
}

/// A client that keeps one connection. Nothing is sent yet; a request's limit is for the caller to set.
///
/// # Errors
/// Certificates that can't be read or used.
pub(crate) fn client(otlp: &Otlp) -> Result<Client, Error> {
    let tls = if otlp.endpoint.secure() { tls::for_http(otlp)? } else { tls::none()? };
    // Spans go where the endpoint says: neither a proxy of the environment nor a redirect takes them elsewhere.
    Client::builder()
        .http1_only()
        .no_proxy()
        .redirect(redirect::Policy::none())
        .pool_max_idle_per_host(1)
        .user_agent(USER_AGENT)
        .tls_backend_preconfigured(tls)
        .build()
        .map_err(|error| Error::Transport(chain(&error)))
}

/// The headers as HTTP has them.
///
/// # Errors
/// A header that HTTP can't carry.
pub(crate) fn header_map(headers: &[Header]) -> Result<HeaderMap, Error> {
    let mut map = HeaderMap::new();
    for header in headers {
        let name = HeaderName::from_bytes(header.name.as_bytes());
        let value = HeaderValue::from_str(header.value.expose());
        let (Ok(name), Ok(mut value)) = (name, value) else {
            return Err(Error::Transport(format!("HTTP can't carry the header {}", header.name)));
        };
        value.set_sensitive(true);
        map.append(name, value);
    }
    Ok(map)
}

fn headers(otlp: &Otlp) -> Result<HeaderMap, Error> {
    let mut map = header_map(&otlp.headers)?;
    map.insert(CONTENT_TYPE, PROTOBUF);
    if otlp.compression == Compression::Gzip {
        map.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    Ok(map)
}

/// Compresses in memory.
///
/// # Panics
/// Never: a vector takes all that is written.
fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(bytes.len() / 4), Level::fast());
    encoder.write_all(bytes).and_then(|()| encoder.finish()).expect("a vector takes all that is written")
}

async fn judge(response: Response) -> Outcome {
    let status = response.status();
    let after = response.headers().get(RETRY_AFTER).and_then(|value| retry_after(value, SystemTime::now()));
    let protobuf = response.headers().get(CONTENT_TYPE).is_some_and(|kind| kind == PROTOBUF);
    let body = read(response).await;
    if status.is_success() {
        // The request has arrived, whatever the answer looks like.
        let decoded = protobuf.then(|| ExportTraceServiceResponse::decode(body.as_slice()).ok()).flatten();
        return accepted(decoded.unwrap_or_default());
    }
    let reason = reason(status, protobuf, &body);
    match status.as_u16() {
        429 | 502 | 503 | 504 => Outcome::Retry { reason, after },
        _ => Outcome::Refused { reason },
    }
}

/// Reads the answer up to the limit; what breaks off is what was read.
async fn read(mut response: Response) -> Vec<u8> {
    let mut body = Vec::new();
    while let Ok(Some(chunk)) = response.chunk().await {
        let room = MAX_ANSWER.saturating_sub(body.len());
        body.extend(chunk.iter().take(room));
        if room == 0 {
            break;
        }
    }
    body
}

/// The status, with the server's own words if it has any.
fn reason(status: StatusCode, protobuf: bool, body: &[u8]) -> String {
    let words = if protobuf {
        RpcStatus::decode(body).map(|status| status.message).unwrap_or_default()
    } else {
        String::from_utf8_lossy(body).into_owned()
    };
    let words: String = words.trim().chars().filter(|c| !c.is_control()).take(200).collect();
    match words.as_str() {
        "" => format!("HTTP status {status}"),
        words => format!("HTTP status {status}: {words}"),
    }
}

/// Seconds, or a date.
fn retry_after(value: &HeaderValue, now: SystemTime) -> Option<Duration> {
    let text = value.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    httpdate::parse_http_date(text).ok().map(|date| date.duration_since(now).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_770);
        let parse = |text| retry_after(&HeaderValue::from_static(text), now);
        assert_eq!(parse("120"), Some(Duration::from_secs(120)));
        assert_eq!(parse("Sun, 06 Nov 1994 08:49:37 GMT"), Some(Duration::from_secs(7)));
        assert_eq!(parse("Sun, 06 Nov 1994 08:49:00 GMT"), Some(Duration::ZERO));
        assert_eq!(parse("soon"), None);
    }

    #[test]
    fn a_refusal_tells_the_servers_words() {
        let status = RpcStatus { code: 3, message: "bad \x1bspan".into(), details: Vec::new() };
        let text = reason(StatusCode::BAD_REQUEST, true, &status.encode_to_vec());
        assert_eq!(text, "HTTP status 400 Bad Request: bad span");
        assert_eq!(reason(StatusCode::NOT_FOUND, false, b""), "HTTP status 404 Not Found");
    }
}
