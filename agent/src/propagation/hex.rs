//! Hexadecimal text to the bytes of an id, and nothing else: no sign, no prefix, no blanks.

use crate::span::{SpanId, TraceId};

/// Which digits above nine a format writes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Case {
    /// Lower case only (W3C).
    Lower,
    /// Either: b3 and Jaeger senders exist that write upper case.
    Any,
}

fn digit(byte: u8, case: Case) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' if case == Case::Any => Some(byte - b'A' + 10),
        _ => None,
    }
}

/// The number that up to 32 digits write.
pub(super) fn number(text: &[u8], case: Case) -> Option<u128> {
    if text.is_empty() || text.len() > 32 {
        return None;
    }
    text.iter().try_fold(0u128, |n, &b| Some(n << 4 | u128::from(digit(b, case)?)))
}

/// A trace id of up to 32 digits, zeros put before it; `None` if all zero.
pub(super) fn trace_id(text: &[u8], case: Case) -> Option<TraceId> {
    number(text, case).filter(|&n| n != 0).map(|n| TraceId(n.to_be_bytes()))
}

/// A span id of up to 16 digits, zeros put before it; `None` if all zero.
pub(super) fn span_id(text: &[u8], case: Case) -> Option<SpanId> {
    let id = u64::try_from(number(text, case)?).ok()?;
    (text.len() <= 16 && id != 0).then(|| SpanId(id.to_be_bytes()))
}
