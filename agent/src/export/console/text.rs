//! Text that fits a terminal: cleaned, measured by display width, cut and padded; durations and dates.

use std::fmt::Write;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Stands for what a terminal must not be sent: names come from the traced processes and from the network.
const REPLACEMENT: char = '\u{fffd}';

/// Replaces control characters and those that change the direction of text.
pub(super) fn clean(text: &str) -> String {
    let hostile = |c: char| {
        c.is_control()
            || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    text.chars().map(|c| if hostile(c) { REPLACEMENT } else { c }).collect()
}

/// Columns on the screen.
pub(super) fn width(text: &str) -> usize {
    text.width()
}

/// At most `limit` columns, the end replaced by an ellipsis.
pub(super) fn cut(text: &str, limit: usize) -> String {
    if width(text) <= limit {
        return text.to_owned();
    }
    let mut kept = String::new();
    let mut used = 0;
    for c in text.chars() {
        let columns = c.width().unwrap_or(0);
        if used + columns + 1 > limit {
            break;
        }
        used += columns;
        kept.push(c);
    }
    if limit > 0 {
        kept.push('…');
    }
    kept
}

/// Exactly `columns` columns, text to the left.
pub(super) fn left(text: &str, columns: usize) -> String {
    let text = cut(text, columns);
    let padding = columns.saturating_sub(width(&text));
    text + &" ".repeat(padding)
}

/// Exactly `columns` columns, text to the right.
pub(super) fn right(text: &str, columns: usize) -> String {
    let text = cut(text, columns);
    " ".repeat(columns.saturating_sub(width(&text))) + &text
}

/// A duration in the unit that keeps it short.
pub(super) fn duration(ns: u64) -> String {
    let value = ns as f64;
    match ns {
        0 => "0".to_owned(),
        1..1_000 => format!("{ns} ns"),
        1_000..1_000_000 => format!("{:.1} µs", value / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} ms", value / 1e6),
        1_000_000_000..60_000_000_000 => format!("{:.2} s", value / 1e9),
        _ => format!("{} min {:02} s", ns / 60_000_000_000, ns / 1_000_000_000 % 60),
    }
}

/// A point in time as date and time of day in UTC.
pub(super) fn date(unix_ns: u64) -> String {
    let (seconds, milliseconds) = (unix_ns / 1_000_000_000, unix_ns / 1_000_000 % 1000);
    let (year, month, day) = civil(seconds / 86_400);
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    format!("{year}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}.{milliseconds:03}Z")
}

/// Year, month and day of a day since 1970-01-01: whole years first, then whole months.
fn civil(mut day: u64) -> (u64, u64, u64) {
    let leap = |year: u64| year.is_multiple_of(4) && !year.is_multiple_of(100) || year.is_multiple_of(400);
    let mut year = 1970;
    while day >= 365 + u64::from(leap(year)) {
        day -= 365 + u64::from(leap(year));
        year += 1;
    }
    let february = 28 + u64::from(leap(year));
    let mut month = 1;
    for length in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
        if day < length {
            break;
        }
        day -= length;
        month += 1;
    }
    (year, month, day + 1)
}

/// Adds text, between escape codes if it is to be `painted`.
pub(super) fn paint(out: &mut String, text: &str, code: &str, painted: bool) {
    if painted && !text.trim().is_empty() {
        // Writing to a string does not fail.
        write!(out, "\x1b[{code}m{text}\x1b[0m").ok();
    } else {
        out.push_str(text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_cut_by_display_width() {
        assert_eq!(cut("GET /products", 8), "GET /pr…");
        assert_eq!(cut("GET", 3), "GET");
        assert_eq!(cut("商品一覧", 6), "商品…");
        assert_eq!(width(&left("商品一覧", 6)), 6);
        assert_eq!((cut("abc", 0), right("7", 3)), (String::new(), "  7".to_owned()));
    }

    #[test]
    fn what_would_drive_the_terminal_is_replaced() {
        assert_eq!(clean("GET /\x1b[2J\r\n\u{202e}x"), "GET /\u{fffd}[2J\u{fffd}\u{fffd}\u{fffd}x");
    }

    #[test]
    fn durations_are_short() {
        let cases = [
            (0, "0"),
            (999, "999 ns"),
            (1_500, "1.5 µs"),
            (178_240_000, "178.2 ms"),
            (1_234_000_000, "1.23 s"),
            (125_000_000_000, "2 min 05 s"),
        ];
        cases.iter().for_each(|(ns, text)| assert_eq!(duration(*ns), *text));
    }

    #[test]
    fn dates_are_right_across_leap_years() {
        assert_eq!(date(0), "1970-01-01 00:00:00.000Z");
        assert_eq!(date(951_782_400_000_000_000), "2000-02-29 00:00:00.000Z");
        assert_eq!(date(1_795_366_991_123_000_000), "2026-11-22 17:03:11.123Z");
        assert!(date(u64::MAX).starts_with("2554-07-21"));
    }
}
