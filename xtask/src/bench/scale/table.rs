//! The table: sizes of each dimension.
//!
//! In: measurements. Out: Markdown, and a picture.

use super::measure::Measured;
use crate::bench::{
    markdown::markdown,
    svg::{Chart, GREY, Part},
};

/// Fewer spans than this.
const FEW: f64 = 1_000.0;

const HEAD: [&str; 12] = [
    "what grows",
    "CPU µs/exchange alone",
    "CPU beside the agent",
    "time beside the agent",
    "agent's µs/span",
    "events/exchange",
    "idle, % of a core",
    "RSS, MiB",
    "maps, MiB",
    "ready after, ms",
    "lost",
    "missing",
];

/// In Markdown.
pub fn text(measured: &[Measured]) -> String {
    let row = |one: &Measured| {
        let [span, events, idle, rss, maps, ready, lost, missing] = one.figures().map(|(_, value)| value);
        vec![
            format!("{} {}", one.size, one.dimension.text()),
            format!("{:.1}", one.alone_us.median),
            format!("{:.3}", one.cpu),
            one.wall.as_ref().map(|wall| format!("{wall:.3}")).unwrap_or_default(),
            // Of a few spans, nothing can be said by a clock of 10 ms.
            if one.spans() < FEW { String::new() } else { format!("{span:.1}") },
            format!("{events:.1}"),
            format!("{idle:.2}"),
            format!("{rss:.0}"),
            format!("{maps:.0}"),
            format!("{ready:.0}"),
            format!("{lost:.0}"),
            format!("{missing:.0}"),
        ]
    };
    let head = [HEAD.map(str::to_owned).to_vec()];
    markdown(&head.into_iter().chain(measured.iter().map(row)).collect::<Vec<_>>(), 1)
}

/// As a picture: the agent's memory, in the kernel and its own.
pub fn draw(measured: &[Measured]) -> String {
    const HEADLINE: &str = "The agent's memory, in MiB: its own, and its maps in the kernel";
    let parts = |one: &Measured| {
        let [_, _, _, (_, rss), (_, maps), ..] = one.figures();
        (rss, maps)
    };
    let most = measured.iter().map(parts).map(|(rss, maps)| rss + maps).fold(1.0, f64::max);
    let mut chart = Chart::new(HEADLINE, 240.0, 200.0, most);
    for (place, dimension) in measured.chunk_by(|a, b| a.dimension == b.dimension).enumerate() {
        if place > 0 {
            chart.gap();
        }
        for one in dimension {
            let (rss, maps) = parts(one);
            let label = format!("{} {}", one.size, one.dimension.text());
            let bars = [Part::new(rss, "#2f81f7"), Part::new(maps, GREY)];
            chart.bar(&label, &bars, &format!("{rss:.0} + {maps:.0}"));
        }
    }
    chart.finish("The agent's memory as work grows")
}
