//! A span's bar, at a resolution of half a column.

use crate::span::SpanKind;

/// Glyphs for a whole column, its left half and its right half.
fn glyphs(kind: SpanKind) -> [char; 3] {
    match kind {
        SpanKind::Server => ['█', '▌', '▐'],
        SpanKind::Client => ['━', '╸', '╺'],
    }
}

/// `columns` columns that stand for `total` ns, filled from `start` to `end`; at least half a column is.
pub(super) fn bar(start: u64, end: u64, total: u64, columns: usize, kind: SpanKind) -> String {
    let halves = columns as u128 * 2;
    let total = u128::from(total.max(1));
    let from = (u128::from(start) * halves / total).min(halves.saturating_sub(1));
    let to = (u128::from(end) * halves).div_ceil(total).clamp(from + 1, halves.max(from + 1));
    let [whole, left, right] = glyphs(kind);
    let filled = |half: u128| (from..to).contains(&half);
    (0..columns as u128)
        .map(|column| match (filled(2 * column), filled(2 * column + 1)) {
            (true, true) => whole,
            (true, false) => left,
            (false, true) => right,
            (false, false) => ' ',
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_scaled_to_half_columns() {
        let server = |start, end| bar(start, end, 100, 10, SpanKind::Server);
        assert_eq!(server(0, 100), "██████████");
        assert_eq!(server(0, 45), "████▌     ");
        assert_eq!(server(55, 100), "     ▐████");
        assert_eq!(bar(55, 85, 100, 10, SpanKind::Client), "     ╺━━╸ ");
    }

    #[test]
    fn even_nothing_is_seen() {
        assert_eq!(bar(100, 100, 100, 4, SpanKind::Server), "   ▐");
        assert_eq!(bar(0, 0, 0, 4, SpanKind::Server), "▌   ");
        assert_eq!(bar(0, u64::MAX, u64::MAX, 2, SpanKind::Server), "██");
        assert_eq!(bar(0, 5, 5, 0, SpanKind::Server), "");
    }
}
