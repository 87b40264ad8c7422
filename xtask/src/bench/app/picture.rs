//! The table as a picture: the services' CPU time for a request, as a multiple of that with nothing attached.
//!
//! In: rows. Out: an SVG that is legible on light and dark pages.

use super::{
    super::svg::{self, GREY},
    state::State,
    table::Row,
};

const WIDTH: f64 = 760.0;
/// Where bars begin, and how long the longest may be.
const LEFT: f64 = 170.0;
const LONGEST: f64 = WIDTH - LEFT - 150.0;
const BAR: f64 = 14.0;
const STEP: f64 = 18.0;
const GROUP_GAP: f64 = 14.0;
const TOP: f64 = 46.0;

fn colour(state: State) -> &'static str {
    match state {
        State::Nothing => GREY,
        State::Agent { hooks: false, .. } => "#79c0ff",
        State::Agent { probes: "sock", .. } => "#2f81f7",
        State::Agent { .. } => "#d9822b",
        State::Sdk => "#a371f7",
    }
}

/// Draws it.
pub fn draw(rows: &[Row]) -> String {
    let most = rows.iter().map(|row| row.cpu().median).fold(1.0_f64, f64::max);
    let mut body = String::new();
    let mut y = TOP;
    let mut subject = "";
    for row in rows.iter().filter(|row| row.state != State::Nothing) {
        if row.subject != subject {
            y += if subject.is_empty() { 0.0 } else { GROUP_GAP };
            subject = row.subject;
            body += &format!("<text class=\"title\" x=\"12\" y=\"{:.0}\">{subject}</text>\n", y + 11.0);
            y += STEP + 2.0;
        }
        let (cpu, throughput) = (row.cpu().median, row.throughput().median);
        let length = cpu / most * LONGEST;
        let (base, end) = (y + 11.0, LEFT + length);
        body += &format!(
            "<text x=\"{:.0}\" y=\"{base:.0}\" text-anchor=\"end\">{}</text>\
             <rect x=\"{LEFT:.0}\" y=\"{y:.0}\" width=\"{length:.1}\" height=\"{BAR:.0}\" fill=\"{}\"/>\
             <text class=\"value\" x=\"{:.0}\" y=\"{base:.0}\">{cpu:.2} · {throughput:.2} of requests/s</text>\n",
            LEFT - 8.0,
            row.state.text(),
            colour(row.state),
            end + 6.0,
        );
        y += STEP;
    }
    let one = LEFT + LONGEST / most;
    let body = format!(
        "<text class=\"title\" x=\"12\" y=\"22\">The services' CPU time for a request, as a multiple of that with nothing \
         attached</text>\n\
         <line x1=\"{one:.1}\" y1=\"{TOP:.0}\" x2=\"{one:.1}\" y2=\"{y:.0}\" stroke=\"{GREY}\" \
         stroke-dasharray=\"3 3\"/>\n{body}"
    );
    svg::picture("Cost to services beside the agent", WIDTH, y + 14.0, &body)
}
