//! Where a span's time goes, as a picture: the agent's threads beside a real server, and the stages' instructions.
//!
//! In: measurements. Out: an SVG.

use super::{Measured, instructions::TOTAL, table};
use crate::bench::svg::{Chart, GREY, Part};

const COLOURS: [&str; 6] = ["#2f81f7", "#d9822b", "#3fb950", "#a371f7", "#db61a2", GREY];

/// Draws it.
pub fn draw(measured: &Measured) -> String {
    const HEADLINE: &str =
        "CPU time of the agent for a span, in microseconds, by thread; instructions, by stage";
    let most = measured.live.iter().map(super::live::Live::agent_us).fold(1.0, f64::max);
    let mut chart = Chart::new(HEADLINE, 110.0, 90.0, most);
    for live in &measured.live {
        bar(&mut chart, live.probes, &table::threads(live), |value| format!("{value:.1} µs"));
    }
    let stages = measured.instructions.iter().filter(|(stage, _)| *stage != TOTAL);
    let stages: Vec<_> = stages.map(|(stage, figure)| (stage.as_str(), *figure)).collect();
    chart.rescale(most, stages.iter().map(|(_, figure)| figure).sum());
    bar(&mut chart, "instructions", &stages, |value| format!("{value:.0}"));
    chart.finish("What a span takes of the agent")
}

fn bar(chart: &mut Chart, label: &str, parts: &[(&str, f64)], text: impl Fn(f64) -> String) {
    let captions: Vec<_> = parts.iter().map(|(name, value)| format!("{name} {}", text(*value))).collect();
    let drawn = parts.iter().zip(COLOURS).zip(&captions);
    let drawn: Vec<_> =
        drawn.map(|(((_, value), colour), caption)| Part { caption, ..Part::new(*value, colour) }).collect();
    let sum = parts.iter().map(|(_, value)| value).sum();
    chart.bar(label, &drawn, &text(sum));
}
