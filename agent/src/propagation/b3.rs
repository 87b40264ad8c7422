//! Zipkin's b3: one header (`b3: trace-span-state-parent`) or several (`x-b3-traceid`, `x-b3-spanid`, …).
//!
//! A header may carry a sampling decision alone (`b3: 0` forbids sampling); that is no context, see [`decision`].

use super::{
    Context, Format, Found, Once,
    hex::{self, Case},
};
use crate::span::{SpanId, TraceId};

/// What `b3`'s third field, or the header that consists of it alone, says.
fn state(text: &[u8]) -> Option<bool> {
    match text {
        b"0" => Some(false),
        // `d` is debug: sample, whatever samplers say.
        b"1" | b"d" => Some(true),
        _ => None,
    }
}

fn trace_id(text: &[u8]) -> Option<TraceId> {
    matches!(text.len(), 16 | 32).then(|| hex::trace_id(text, Case::Any)).flatten()
}

fn span_id(text: &[u8]) -> Option<SpanId> {
    (text.len() == 16).then(|| hex::span_id(text, Case::Any)).flatten()
}

pub(super) fn parse_single(header: Once<'_>) -> Option<Context> {
    let mut fields = header.get()?.split(|&b| b == b'-');
    let trace_id = trace_id(fields.next()?)?;
    let parent = span_id(fields.next()?)?;
    // A field that is there must be well formed, or the header is not what it seems.
    let sampled = fields.next().map(|text| state(text).ok_or(())).transpose().ok()?;
    let grandparent_is_valid =
        fields.next().is_none_or(|text| text.len() == 16 && hex::number(text, Case::Any).is_some());
    (grandparent_is_valid && fields.next().is_none()).then_some(Context {
        trace_id,
        parent,
        sampled,
        state: String::new(),
        format: Format::B3Single,
    })
}

pub(super) fn parse_multi(found: &Found<'_>) -> Option<Context> {
    Some(Context {
        trace_id: trace_id(found.b3_trace.get()?)?,
        parent: span_id(found.b3_span.get()?)?,
        sampled: multi_decision(found),
        state: String::new(),
        format: Format::B3Multi,
    })
}

fn multi_decision(found: &Found<'_>) -> Option<bool> {
    if found.b3_flags.get() == Some(b"1") {
        return Some(true);
    }
    match found.b3_sampled.get()? {
        b"0" => Some(false),
        b"1" => Some(true),
        // Written by senders older than the present text of the format.
        old if old.eq_ignore_ascii_case(b"true") => Some(true),
        old if old.eq_ignore_ascii_case(b"false") => Some(false),
        _ => None,
    }
}

/// The decision of b3 headers that carry no ids.
pub(super) fn decision(found: &Found<'_>) -> Option<bool> {
    found.b3.get().and_then(state).or_else(|| {
        let without_ids = found.b3_trace == Once::Absent && found.b3_span == Once::Absent;
        without_ids.then(|| multi_decision(found)).flatten()
    })
}
