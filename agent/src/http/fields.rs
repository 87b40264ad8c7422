//! Header fields: which are kept, and what those that frame a body say.
//!
//! In: the fields of one parsed head. Out: [`Headers`] for the consumer and [`Framing`] for the lane.

use bytes::Bytes;

use super::LossReason;

/// Request headers that are always kept; the `x-b3-` family besides.
const KEPT: [&str; 7] =
    ["host", "user-agent", "content-length", "traceparent", "tracestate", "b3", "uber-trace-id"];

/// One header field, as it was on the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// Its name, in the sender's case.
    pub name: Bytes,
    /// Its value, without surrounding white space.
    pub value: Bytes,
}

/// The header fields that were kept, in their order. The bytes are slices of the captured chunk and keep it
/// alive.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Headers(pub(super) Vec<Header>);

impl Headers {
    /// Of these fields.
    pub fn new(fields: Vec<Header>) -> Self {
        Self(fields)
    }

    /// The first value of the header `name`, compared without case.
    pub fn get(&self, name: &str) -> Option<&Bytes> {
        let named = |h: &&Header| h.name.eq_ignore_ascii_case(name.as_bytes());
        self.0.iter().find(named).map(|h| &h.value)
    }
    /// All values of the header `name` in their order (`tracestate` may be split over several).
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Bytes> {
        self.0.iter().filter(move |h| h.name.eq_ignore_ascii_case(name.as_bytes())).map(|h| &h.value)
    }
    /// All kept fields in their order.
    pub fn iter(&self) -> impl Iterator<Item = &Header> + Clone {
        self.0.iter()
    }
}

/// Whether a request header is kept; `extra` are the configured names.
pub(super) fn kept(name: &str, extra: &[String]) -> bool {
    KEPT.iter().any(|k| name.eq_ignore_ascii_case(k))
        || name.get(..5).is_some_and(|p| p.eq_ignore_ascii_case("x-b3-"))
        || named(name, extra)
}

/// Whether `name` is among the configured names.
pub(super) fn named(name: &str, extra: &[String]) -> bool {
    extra.iter().any(|k| name.eq_ignore_ascii_case(k))
}

/// How the end of a body is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// After so many bytes.
    Length(u64),
    /// By the last chunk.
    Chunked,
    /// By the end of the connection.
    UntilClose,
    /// Not at all.
    Unknown(LossReason),
}

/// The fields of a head that frame its body, gathered one by one.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct FramingFields {
    /// The content length, if there is just one.
    pub length: Option<u64>,
    conflict: bool,
    coded: bool,
    chunked: bool,
}

impl FramingFields {
    /// Takes one header field into account.
    pub fn add(&mut self, name: &str, value: &[u8]) {
        if name.eq_ignore_ascii_case("content-length") {
            value.split(|b| *b == b',').for_each(|one| self.add_length(one.trim_ascii()));
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            value.split(|b| *b == b',').for_each(|one| self.add_coding(one.trim_ascii()));
        }
    }

    fn add_length(&mut self, value: &[u8]) {
        let digits = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
        let length = std::str::from_utf8(value).ok().filter(|_| digits).and_then(|v| v.parse().ok());
        self.conflict |= length.is_none() || self.length.is_some_and(|known| Some(known) != length);
        self.length = self.length.or(length);
    }

    fn add_coding(&mut self, value: &[u8]) {
        let name = value.split(|b| *b == b';').next().unwrap_or_default().trim_ascii();
        if !name.is_empty() && !name.eq_ignore_ascii_case(b"identity") {
            self.coded = true;
            self.chunked = name.eq_ignore_ascii_case(b"chunked");
        }
    }

    /// The content length, if it is valid and does not contradict itself.
    pub fn content_length(&self) -> Option<u64> {
        self.length.filter(|_| !self.conflict)
    }

    /// How the body ends, by RFC 9112 section 6.3; `without` where no field says so.
    pub fn framing(&self, without: Framing) -> Framing {
        match self.length {
            _ if self.coded && self.chunked => Framing::Chunked,
            _ if self.coded && without == Framing::UntilClose => Framing::UntilClose,
            _ if self.coded => Framing::Unknown(LossReason::TransferEncoding),
            _ if self.conflict => Framing::Unknown(LossReason::ContentLength),
            Some(length) => Framing::Length(length),
            None => without,
        }
    }
}
