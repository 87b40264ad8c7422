//! What framing reports: the [`Signal`]s of one connection, in the order in which they became certain.
//!
//! Each `RequestBegan { n }` is followed by exactly one end, `ResponseEnded { n }` or `Dropped { n }`, unless
//! the conversation is abandoned without [`close`](super::Conversation::close). `RequestHead { n }` and
//! `RequestEnded { n }` come at most once and before `ResponseEnded { n }`.

use bytes::Bytes;

use super::{Direction, Nanos, RequestHead, ResponseHead};

/// One finding about one connection; `n` counts its requests from 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Signal {
    /// The first byte of a request, reported with the chunk that holds it.
    RequestBegan {
        /// Running number of the request.
        n: u64,
        /// Stream offset of that byte.
        position: u64,
        /// When the call that moved it began.
        at: Nanos,
    },
    /// The request's head is complete, or as complete as it will be.
    RequestHead {
        /// Running number of the request.
        n: u64,
        /// The parsed head.
        head: RequestHead,
    },
    /// The last byte of the request.
    RequestEnded {
        /// Running number of the request.
        n: u64,
        /// When the call that moved it was done.
        at: Nanos,
        /// What its body measured. Not exact where the request was answered before it was complete.
        body: Body,
    },
    /// The first byte of the final response, reported when its head is known.
    ResponseBegan {
        /// Running number of the request.
        n: u64,
        /// When the call that moved it began.
        at: Nanos,
    },
    /// The final response's head.
    ResponseHead {
        /// Running number of the request.
        n: u64,
        /// The parsed head.
        head: ResponseHead,
    },
    /// An interim response (1xx other than 101).
    Informational {
        /// Running number of the request.
        n: u64,
        /// Its status code.
        status: u16,
    },
    /// The response is over, and with it the exchange. Comes without `ResponseHead` where the connection ended
    /// before there was a response.
    ResponseEnded {
        /// Running number of the request.
        n: u64,
        /// When the call that moved the last byte was done, or the connection ended.
        at: Nanos,
        /// What its body measured.
        body: Body,
        /// `false`: the connection ended before framing said so.
        complete: bool,
    },
    /// What follows on this connection is not HTTP. Comes after `ResponseEnded { n }`.
    Switched {
        /// Running number of the request that switched it.
        n: u64,
        /// What it switched to.
        protocol: Protocol,
    },
    /// The exchange is given up: what would follow can't be known for certain.
    Dropped {
        /// Running number of the request.
        n: u64,
        /// Why.
        reason: LossReason,
    },
    /// Framing was lost, or a message was passed over. Exchanges that this costs are `Dropped` one by one.
    Lost {
        /// The direction that lost it.
        direction: Direction,
        /// Why.
        reason: LossReason,
    },
}

/// Size of a message's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Body {
    /// Payload bytes that passed, without chunk framing; `None` where that could not be told.
    pub size: Option<u64>,
    /// `true`: the message was complete and this is its size. `false`: cut short, or framing was withdrawn.
    pub exact: bool,
}

/// What a connection switched to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// 101: the response's `Upgrade` header (empty where it had none).
    Upgrade(Bytes),
    /// A `CONNECT` that was granted.
    Tunnel,
}

/// Why framing was lost or an exchange dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LossReason {
    /// Bytes that were not captured hide a head or a boundary.
    Gap,
    /// The head is longer than the limit.
    HeadTooLong,
    /// The head has more header lines than are parsed.
    TooManyHeaders,
    /// The head is not valid HTTP/1.
    Malformed,
    /// What should start a message is not HTTP/1.
    NotHttp,
    /// `Content-Length` is invalid or contradicts itself.
    ContentLength,
    /// A request's `Transfer-Encoding` does not end in `chunked`.
    TransferEncoding,
    /// The chunked framing is invalid.
    Chunked,
    /// A response whose request was not seen. Comes once for each such response.
    RequestMissing,
    /// A response whose request had been given up.
    RequestDropped,
    /// A response came before its request's head was complete.
    RequestIncomplete,
    /// The end of the response was not seen.
    ResponseMissing,
    /// Which request a response belongs to is uncertain.
    Ambiguous,
    /// More requests wait for responses than the limit allows.
    TooManyPending,
    /// The stream offset went back too far to be a repetition.
    Position,
    /// The connection switched protocols.
    Switched,
    /// The connection ended in the middle of the request's head.
    Closed,
    /// The process is no longer traced.
    Released,
    /// The process has a tracer of its own.
    Instrumented,
}

impl LossReason {
    /// A short name for metrics, in snake case.
    pub fn name(self) -> &'static str {
        match self {
            Self::Gap => "gap",
            Self::HeadTooLong => "head_too_long",
            Self::TooManyHeaders => "too_many_headers",
            Self::Malformed => "malformed",
            Self::NotHttp => "not_http",
            Self::ContentLength => "content_length",
            Self::TransferEncoding => "transfer_encoding",
            Self::Chunked => "chunked",
            Self::RequestMissing => "request_missing",
            Self::RequestDropped => "request_dropped",
            Self::RequestIncomplete => "request_incomplete",
            Self::ResponseMissing => "response_missing",
            Self::Ambiguous => "ambiguous",
            Self::TooManyPending => "too_many_pending",
            Self::Position => "position",
            Self::Switched => "switched",
            Self::Closed => "closed",
            Self::Released => "released",
            Self::Instrumented => "instrumented",
        }
    }
}
