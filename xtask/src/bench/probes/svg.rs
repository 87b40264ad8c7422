//! The table as a picture: a bar a state, grouped by call, as long as its ratio to "nothing attached".
//!
//! In: the table. Out: an SVG that is legible on light and dark pages.

use super::{
    super::svg::{self, GREY},
    state::CALLS,
    table::Table,
};

const WIDTH: f64 = 760.0;
/// Where bars begin, and how long the longest may be.
const LEFT: f64 = 160.0;
const LONGEST: f64 = WIDTH - LEFT - 60.0;
const BAR: f64 = 14.0;
const STEP: f64 = 18.0;
const GROUP_GAP: f64 = 34.0;
const TOP: f64 = 46.0;
/// A colour for each way of reading sockets; what is not traced is lighter.
const COLOURS: [(&str, f64); 5] =
    [(GREY, 1.0), ("#2f81f7", 0.55), ("#d9822b", 0.55), ("#2f81f7", 1.0), ("#d9822b", 1.0)];

/// Draws it.
pub fn draw(table: &Table) -> String {
    let rows: Vec<_> = table.ratios().collect();
    let most = rows.iter().flat_map(|(_, ratios)| ratios).fold(1.0_f64, |a, b| a.max(*b));
    let mut body = String::new();
    let mut y = TOP;
    for (call, (_, title)) in CALLS.iter().enumerate() {
        body += &format!("<text class=\"title\" x=\"12\" y=\"{:.0}\">{title}</text>\n", y + 11.0);
        y += STEP + 2.0;
        for ((state, ratios), (colour, opacity)) in rows.iter().zip(COLOURS) {
            let ratio = ratios.get(call).copied().unwrap_or(0.0);
            body += &bar(y, state, ratio, ratio / most * LONGEST, colour, opacity);
            y += STEP;
        }
        y += GROUP_GAP - STEP;
    }
    let one = LEFT + LONGEST / most;
    let body = format!(
        "<text class=\"title\" x=\"12\" y=\"22\">Time of a call, as a multiple of the same call with nothing attached \
         (minimum)</text>\n\
         <line x1=\"{one:.1}\" y1=\"{TOP:.0}\" x2=\"{one:.1}\" y2=\"{end:.0}\" stroke=\"{GREY}\" \
         stroke-dasharray=\"3 3\"/>\n{body}",
        end = y - GROUP_GAP + STEP,
    );
    svg::picture("Cost of a call beside the agent", WIDTH, y, &body)
}

fn bar(y: f64, state: &str, ratio: f64, length: f64, colour: &str, opacity: f64) -> String {
    let (base, end) = (y + 11.0, LEFT + length);
    format!(
        "<text x=\"{label:.0}\" y=\"{base:.0}\" text-anchor=\"end\">{state}</text>\
         <rect x=\"{LEFT:.0}\" y=\"{y:.0}\" width=\"{length:.1}\" height=\"{BAR:.0}\" rx=\"2\" fill=\"{colour}\" \
         fill-opacity=\"{opacity}\"/>\
         <text class=\"value\" x=\"{value:.1}\" y=\"{base:.0}\">{ratio:.2}</text>\n",
        label = LEFT - 8.0,
        value = end + 6.0,
    )
}
