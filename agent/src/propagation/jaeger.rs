//! Jaeger's `uber-trace-id: trace:span:parent:flags`, plain or percent-encoded (`%3A` for the colons).
//!
//! Ids are written without leading zeros by some clients, so any length up to the full one is read.

use super::{
    Context, Format, Once,
    hex::{self, Case},
};

/// Bits of the flags field.
const SAMPLED: u128 = 1;
const DEBUG: u128 = 2;

pub(super) fn parse(header: Once<'_>) -> Option<Context> {
    let mut fields = Fields { rest: Some(header.get()?) };
    let trace_id = hex::trace_id(fields.next()?, Case::Any)?;
    let parent = hex::span_id(fields.next()?, Case::Any)?;
    // The parent's parent is deprecated and not used; clients write 0.
    let grandparent = fields.next()?;
    let flags = fields.next().filter(|f| f.len() <= 2).and_then(|f| hex::number(f, Case::Any))?;
    let well_formed =
        grandparent.is_empty() || (grandparent.len() <= 16 && hex::number(grandparent, Case::Any).is_some());
    (well_formed && fields.next().is_none()).then_some(Context {
        trace_id,
        parent,
        sampled: Some(flags & (SAMPLED | DEBUG) != 0),
        state: String::new(),
        format: Format::Jaeger,
    })
}

/// Splits at `:` and at its percent-encoded form. Ids are hexadecimal, so nothing else needs decoding.
struct Fields<'a> {
    rest: Option<&'a [u8]>,
}

impl<'a> Iterator for Fields<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let rest = self.rest?;
        let encoded = rest.windows(3).position(|w| w.eq_ignore_ascii_case(b"%3a")).map(|at| (at, 3));
        let plain = rest.iter().position(|&b| b == b':').map(|at| (at, 1));
        let Some((at, width)) = plain.into_iter().chain(encoded).min() else {
            self.rest = None;
            return Some(rest);
        };
        self.rest = rest.get(at + width..);
        rest.get(..at)
    }
}
