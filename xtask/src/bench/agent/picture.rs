//! Where a span's time goes, as a picture: the agent's threads beside a real server, and the stages' instructions.
//!
//! In: measurements. Out: an SVG that is legible on light and dark pages.

use super::{Measured, instructions::TOTAL, table};
use crate::bench::svg;

const WIDTH: f64 = 760.0;
const LEFT: f64 = 110.0;
const LONGEST: f64 = WIDTH - LEFT - 90.0;
const BAR: f64 = 16.0;
const STEP: f64 = 42.0;
const TOP: f64 = 46.0;
const COLOURS: [&str; 6] = ["#2f81f7", "#d9822b", "#3fb950", "#a371f7", "#db61a2", "#8b949e"];

/// Draws it.
pub fn draw(measured: &Measured) -> String {
    let most = measured.live.iter().map(super::live::Live::agent_us).fold(1.0, f64::max);
    let mut y = TOP;
    let mut body = "<text class=\"title\" x=\"12\" y=\"22\">CPU time of the agent for a span, in microseconds, by thread; \
                    instructions, by stage</text>\n"
        .to_owned();
    for live in &measured.live {
        let parts = table::threads(live);
        body += &bar(y, live.probes, &parts, most, |value| format!("{value:.1}"), "µs");
        y += STEP;
    }
    let stages = measured.instructions.iter().filter(|(stage, _)| *stage != TOTAL);
    let stages: Vec<_> = stages.map(|(stage, figure)| (stage.as_str(), *figure)).collect();
    let total: f64 = stages.iter().map(|(_, figure)| figure).sum();
    body += &bar(y, "instructions", &stages, total, |value| format!("{value:.0}"), "");
    svg::picture("What a span takes of the agent", WIDTH, y + STEP, &body)
}

fn bar(
    y: f64,
    title: &str,
    parts: &[(&str, f64)],
    most: f64,
    text: impl Fn(f64) -> String,
    unit: &str,
) -> String {
    let mut body =
        format!("<text x=\"{:.0}\" y=\"{:.0}\" text-anchor=\"end\">{title}</text>\n", LEFT - 8.0, y + 12.0);
    let mut x = LEFT;
    for ((name, value), colour) in parts.iter().zip(COLOURS) {
        let length = (value / most * LONGEST).max(0.0);
        body += &format!(
            "<rect x=\"{x:.1}\" y=\"{y:.0}\" width=\"{length:.1}\" height=\"{BAR:.0}\" fill=\"{colour}\"/>"
        );
        if length > 70.0 {
            body +=
                &format!("<text x=\"{:.1}\" y=\"{:.0}\">{name} {}</text>", x + 2.0, y + 30.0, text(*value));
        }
        x += length;
    }
    let sum: f64 = parts.iter().map(|(_, value)| value).sum();
    body + &format!(
        "<text class=\"value\" x=\"{:.1}\" y=\"{:.0}\">{} {unit}</text>\n",
        x + 6.0,
        y + 12.0,
        text(sum)
    )
}
