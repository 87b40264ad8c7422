//! Trace context read from HTTP headers: evidence of the kind `header`.
//!
//! In: the headers of a request head, incoming or outgoing, as the parser left them. Out: the [`Context`] they carry,
//! if any. Read only: nothing here writes a header. Where several formats are present the first that is valid wins, in
//! the order W3C Trace Context, b3 single, b3 multi, `uber-trace-id`; what is malformed is passed over, since a wrong
//! parent is worse than none. A header that occurs twice with different values is malformed.

mod b3;
mod hex;
mod jaeger;
mod w3c;

use crate::span::{SpanId, TraceId};

/// Which header format a context was read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// `traceparent` and `tracestate`.
    W3c,
    /// `b3`.
    B3Single,
    /// `x-b3-traceid` and its companions.
    B3Multi,
    /// `uber-trace-id`.
    Jaeger,
}

/// What a request says of the trace it belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Context {
    /// The trace; ids of 64 bits are padded with zeros on the left.
    pub trace_id: TraceId,
    /// The span that sent the request.
    pub parent: SpanId,
    /// The sender's sampling decision; `None` where it left the decision to the receiver.
    pub sampled: Option<bool>,
    /// `tracestate` as it arrived, empty where there was none or it broke the specification's grammar or limits.
    pub state: String,
    /// The format that won.
    pub format: Format,
}

/// The context that `headers` carry. Names are compared without regard to case.
pub fn extract<'a>(headers: impl Iterator<Item = (&'a str, &'a [u8])> + Clone) -> Option<Context> {
    let found = Found::collect(headers.clone());
    w3c::parse(found.traceparent, headers)
        .or_else(|| b3::parse_single(found.b3))
        .or_else(|| b3::parse_multi(&found))
        .or_else(|| jaeger::parse(found.uber))
}

/// A sampling decision that came without ids (`b3: 0`, or `x-b3-sampled` alone): the receiver is to start a trace of
/// its own and to follow the decision. `None` where [`extract`] finds a context.
pub fn decision<'a>(headers: impl Iterator<Item = (&'a str, &'a [u8])> + Clone) -> Option<bool> {
    let decision = b3::decision(&Found::collect(headers.clone()))?;
    extract(headers).is_none().then_some(decision)
}

/// A header that may occur once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Once<'a> {
    Absent,
    Value(&'a [u8]),
    /// Several values that contradict each other.
    Conflict,
}

impl<'a> Once<'a> {
    fn add(&mut self, value: &'a [u8]) {
        let value = value.trim_ascii();
        *self = match *self {
            Self::Absent => Self::Value(value),
            Self::Value(first) if first == value => Self::Value(first),
            _ => Self::Conflict,
        };
    }

    fn get(self) -> Option<&'a [u8]> {
        match self {
            Self::Value(v) => Some(v),
            Self::Absent | Self::Conflict => None,
        }
    }
}

/// The headers that matter here, gathered in one pass.
struct Found<'a> {
    traceparent: Once<'a>,
    b3: Once<'a>,
    b3_trace: Once<'a>,
    b3_span: Once<'a>,
    b3_sampled: Once<'a>,
    b3_flags: Once<'a>,
    uber: Once<'a>,
}

impl<'a> Found<'a> {
    fn collect(headers: impl Iterator<Item = (&'a str, &'a [u8])>) -> Self {
        let mut found = Self {
            traceparent: Once::Absent,
            b3: Once::Absent,
            b3_trace: Once::Absent,
            b3_span: Once::Absent,
            b3_sampled: Once::Absent,
            b3_flags: Once::Absent,
            uber: Once::Absent,
        };
        for (name, value) in headers {
            if let Some(slot) = found.slot(name) {
                slot.add(value);
            }
        }
        found
    }

    fn slot(&mut self, name: &str) -> Option<&mut Once<'a>> {
        // All names of interest start with one of four letters: most headers go no further.
        if !matches!(name.as_bytes().first().map(u8::to_ascii_lowercase), Some(b't' | b'b' | b'x' | b'u')) {
            return None;
        }
        let slots = [
            ("traceparent", &mut self.traceparent),
            ("b3", &mut self.b3),
            ("x-b3-traceid", &mut self.b3_trace),
            ("x-b3-spanid", &mut self.b3_span),
            ("x-b3-sampled", &mut self.b3_sampled),
            ("x-b3-flags", &mut self.b3_flags),
            ("uber-trace-id", &mut self.uber),
        ];
        slots.into_iter().find(|(known, _)| name.eq_ignore_ascii_case(known)).map(|(_, slot)| slot)
    }
}

#[cfg(test)]
mod tests;
