//! W3C Trace Context: `traceparent` decides, `tracestate` goes along unchanged or not at all.

use super::{
    Context, Format, Once,
    hex::{self, Case},
};
use crate::span::{SpanId, TraceId};

/// Length of a version 00 `traceparent`; later versions may only add to it after a dash.
const LENGTH: usize = 55;
/// List members the specification allows in `tracestate`.
const MAX_MEMBERS: usize = 32;
/// Bytes of `tracestate` kept. The specification asks for 512 at least.
const MAX_STATE: usize = 2048;
/// Members longer than this are the first to go when the whole is too long (the specification's order).
const LONG_MEMBER: usize = 128;

pub(super) fn parse<'a>(
    traceparent: Once<'a>,
    headers: impl Iterator<Item = (&'a str, &'a [u8])>,
) -> Option<Context> {
    let (trace_id, parent, sampled) = parse_parent(traceparent.get()?)?;
    let lines = headers.filter(|(name, _)| name.eq_ignore_ascii_case("tracestate")).map(|(_, value)| value);
    let state = parse_state(lines).unwrap_or_default();
    Some(Context { trace_id, parent, sampled: Some(sampled), state, format: Format::W3c })
}

fn parse_parent(value: &[u8]) -> Option<(TraceId, SpanId, bool)> {
    let (known, rest) = value.split_at_checked(LENGTH)?;
    let mut fields = known.split(|&b| b == b'-');
    let version = fields.next().filter(|f| f.len() == 2)?;
    let trace_id = fields.next().filter(|f| f.len() == 32)?;
    let parent = fields.next().filter(|f| f.len() == 16)?;
    let flags = fields.next().filter(|f| f.len() == 2)?;
    match hex::number(version, Case::Lower)? {
        0xff => return None,
        0 if !rest.is_empty() => return None,
        _ if rest.first().is_some_and(|&b| b != b'-') => return None,
        _ => {}
    }
    let flags = hex::number(flags, Case::Lower)?;
    Some((hex::trace_id(trace_id, Case::Lower)?, hex::span_id(parent, Case::Lower)?, flags & 1 == 1))
}

/// The lines joined as one list; `None` where the list breaks the grammar, which voids all of it.
fn parse_state<'a>(lines: impl Iterator<Item = &'a [u8]>) -> Option<String> {
    let mut joined = String::new();
    for line in lines {
        let line = std::str::from_utf8(line.trim_ascii()).ok()?;
        if !joined.is_empty() && !line.is_empty() {
            joined.push(',');
        }
        joined.push_str(line);
    }
    let members: Vec<&str> = joined.split(',').map(trim).filter(|m| !m.is_empty()).collect();
    if members.len() > MAX_MEMBERS {
        return None;
    }
    let keys = members.iter().map(|m| key(m)).collect::<Option<Vec<_>>>()?;
    let unique = keys.iter().enumerate().all(|(i, key)| !keys.iter().take(i).any(|other| other == key));
    if !unique {
        return None;
    }
    Some(if joined.len() <= MAX_STATE { joined } else { shorten(members) })
}

fn trim(text: &str) -> &str {
    text.trim_matches([' ', '\t'])
}

/// The key of a well-formed list member.
fn key(member: &str) -> Option<&str> {
    let (key, value) = member.split_once('=')?;
    let mut letters = key.bytes();
    let starts = letters.next().is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    let goes_on = letters.all(|b| {
        b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'_' | b'-' | b'*' | b'/' | b'@')
    });
    let printable = value.bytes().all(|b| matches!(b, 0x20..=0x7e) && !matches!(b, b',' | b'='));
    let sizes = key.len() <= 256 && (1..=256).contains(&value.len());
    (starts && goes_on && printable && sizes).then_some(key)
}

/// Whole members only: the long ones go first, then the last (the oldest).
fn shorten(mut members: Vec<&str>) -> String {
    let length = |members: &[&str]| members.iter().map(|m| m.len() + 1).sum::<usize>();
    while length(&members) > MAX_STATE + 1 {
        match members.iter().rposition(|m| m.len() > LONG_MEMBER) {
            Some(long) => drop(members.remove(long)),
            None => drop(members.pop()),
        }
    }
    members.join(",")
}
