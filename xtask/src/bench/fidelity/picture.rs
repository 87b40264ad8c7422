//! The matrix as a picture: a line for each service and watcher, a column for each route.
//!
//! In: cells. Out: an SVG. A box is the fuller the more requests are complete, and red if any link is wrong.

use super::cells::{Cells, Sum, text as word};
use crate::bench::svg::{self, GREY};

const LEFT: f64 = 220.0;
const TOP: f64 = 64.0;
const WIDE: f64 = 50.0;
const HIGH: f64 = 20.0;
const GAP: f64 = 10.0;
/// The title's width.
const NARROWEST: f64 = 520.0;
const GOOD: &str = "#2f81f7";
const BAD: &str = "#d1242f";

/// Draws it.
pub fn draw(cells: &Cells) -> String {
    let routes: Vec<_> = cells.values("route").into_iter().filter(|route| !route.starts_with('(')).collect();
    let mut body = "<text class=\"title\" x=\"12\" y=\"22\">Complete traces in percent, by what a request does; red: wrong \
                    links</text>\n"
        .to_owned();
    for (column, route) in routes.iter().enumerate() {
        let x = LEFT + column as f64 * WIDE + WIDE / 2.0;
        body += &format!("<text x=\"{x:.0}\" y=\"{:.0}\" text-anchor=\"middle\">{route}</text>\n", TOP - 8.0);
    }
    let mut y = TOP;
    for runtime in cells.values("runtime") {
        body += &format!("<text class=\"title\" x=\"12\" y=\"{:.0}\">{runtime}</text>\n", y + 14.0);
        for watcher in cells.values("watcher") {
            let sum = |route: &str| {
                let fits = [("runtime", runtime), ("watcher", watcher), ("route", route)];
                cells.sum_where(|cell| fits.iter().all(|(key, value)| word(cell, key) == *value))
            };
            let sums: Vec<_> = routes.iter().map(|route| sum(route)).collect();
            if sums.iter().all(Option::is_none) {
                continue;
            }
            let (x, base) = (LEFT - 10.0, y + 14.0);
            body += &format!("<text x=\"{x:.0}\" y=\"{base:.0}\" text-anchor=\"end\">{watcher}</text>\n");
            for (column, sum) in sums.iter().enumerate() {
                body += &square(LEFT + column as f64 * WIDE, y, sum.as_ref());
            }
            y += HIGH;
        }
        y += GAP;
    }
    let width = (LEFT + routes.len() as f64 * WIDE + 12.0).max(NARROWEST);
    svg::picture("How true traces are", width, y + GAP, &body)
}

/// A box with its number.
fn square(x: f64, y: f64, sum: Option<&Sum>) -> String {
    let (width, height) = (WIDE - 2.0, HIGH - 2.0);
    let Some(sum) = sum else { return String::new() };
    let percent = sum.complete_percent();
    let (colour, opacity) = match sum.false_ones() {
        0 => (GOOD, 0.08 + 0.42 * percent / 100.0),
        _ => (BAD, 0.55),
    };
    let number = if percent >= 100.0 { "100".to_owned() } else { format!("{percent:.1}") };
    format!(
        "<rect x=\"{x:.0}\" y=\"{y:.0}\" width=\"{width:.0}\" height=\"{height:.0}\" rx=\"2\" fill=\"{colour}\" \
         fill-opacity=\"{opacity:.2}\" stroke=\"{GREY}\" stroke-opacity=\"0.3\"/>\
         <text class=\"value\" x=\"{middle:.0}\" y=\"{base:.0}\" text-anchor=\"middle\">{number}</text>\n",
        middle = x + width / 2.0,
        base = y + 13.5,
    )
}
