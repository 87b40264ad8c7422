//! `google.rpc.Status` as OTLP uses it: the text of an HTTP error, and the pause that RetryInfo asks for.

use prost::Message;
use std::time::Duration;

const RETRY_INFO: &str = "google.rpc.RetryInfo";

/// `google.rpc.Status`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct RpcStatus {
    /// A `google.rpc.Code`.
    #[prost(int32, tag = "1")]
    pub(super) code: i32,
    /// For developers, in English.
    #[prost(string, tag = "2")]
    pub(super) message: String,
    /// More, by type.
    #[prost(message, repeated, tag = "3")]
    pub(super) details: Vec<Any>,
}

/// `google.protobuf.Any`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Any {
    /// Ends with the type's full name.
    #[prost(string, tag = "1")]
    pub(super) type_url: String,
    /// The message, encoded.
    #[prost(bytes = "vec", tag = "2")]
    pub(super) value: Vec<u8>,
}

/// `google.rpc.RetryInfo`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct RetryInfo {
    /// How long to wait.
    #[prost(message, optional, tag = "1")]
    pub(super) retry_delay: Option<ProtoDuration>,
}

/// `google.protobuf.Duration`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct ProtoDuration {
    /// Seconds.
    #[prost(int64, tag = "1")]
    pub(super) seconds: i64,
    /// And nanoseconds.
    #[prost(int32, tag = "2")]
    pub(super) nanos: i32,
}

/// The pause of the RetryInfo in an encoded `google.rpc.Status`; `None` without one.
pub(super) fn retry_info(encoded: &[u8]) -> Option<Duration> {
    let status = RpcStatus::decode(encoded).ok()?;
    let any = status.details.iter().find(|any| any.type_url.rsplit('/').next() == Some(RETRY_INFO))?;
    let delay = RetryInfo::decode(any.value.as_slice()).ok()?.retry_delay.unwrap_or_default();
    let seconds = u64::try_from(delay.seconds).unwrap_or(0);
    let nanos = u32::try_from(delay.nanos).unwrap_or(0).min(999_999_999);
    Some(Duration::new(seconds, nanos))
}

/// An encoded `google.rpc.Status` that asks for a pause, for tests.
#[cfg(test)]
pub(in crate::export) fn with_retry_info(seconds: i64, nanos: i32) -> Vec<u8> {
    let info = RetryInfo { retry_delay: Some(ProtoDuration { seconds, nanos }) };
    let any = Any { type_url: format!("type.googleapis.com/{RETRY_INFO}"), value: info.encode_to_vec() };
    RpcStatus { code: 8, message: "slow down".into(), details: vec![any] }.encode_to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_asked_pause_is_found() {
        assert_eq!(retry_info(&with_retry_info(1, 500_000_000)), Some(Duration::from_millis(1500)));
        assert_eq!(retry_info(&with_retry_info(-1, -5)), Some(Duration::ZERO));
    }

    #[test]
    fn nothing_is_found_in_other_bytes() {
        let bare = RpcStatus { code: 8, message: "no".into(), details: Vec::new() };
        assert_eq!(retry_info(&bare.encode_to_vec()), None);
        assert_eq!(retry_info(b"\xff\xff\xff"), None);
        assert_eq!(retry_info(b""), None);
    }
}
