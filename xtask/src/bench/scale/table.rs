//! The table: sizes of each dimension.
//!
//! In: measurements. Out: Markdown, and a picture.

use super::measure::Measured;
use crate::bench::{
    markdown::markdown,
    svg::{self, GREY},
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

const WIDTH: f64 = 760.0;
const LEFT: f64 = 240.0;
const LONGEST: f64 = WIDTH - LEFT - 200.0;
const STEP: f64 = 20.0;
const TOP: f64 = 46.0;

/// As a picture: the agent's memory, in the kernel and its own.
pub fn draw(measured: &[Measured]) -> String {
    let parts = |one: &Measured| {
        let [_, _, _, (_, rss), (_, maps), ..] = one.figures();
        (rss, maps)
    };
    let most = measured.iter().map(parts).map(|(rss, maps)| rss + maps).fold(1.0, f64::max);
    let mut y = TOP;
    let mut body = "<text class=\"title\" x=\"12\" y=\"22\">The agent's memory, in MiB: its own, and its maps in the kernel\
                    </text>\n"
        .to_owned();
    let mut before = None;
    for one in measured {
        if before.is_some_and(|dimension| dimension != one.dimension) {
            y += STEP / 2.0;
        }
        before = Some(one.dimension);
        let (rss, maps) = parts(one);
        let (own, kernel) = (rss / most * LONGEST, maps / most * LONGEST);
        body += &format!(
            "<text x=\"{:.0}\" y=\"{:.0}\" text-anchor=\"end\">{} {}</text>\
             <rect x=\"{LEFT:.0}\" y=\"{y:.0}\" width=\"{own:.1}\" height=\"14\" fill=\"#2f81f7\"/>\
             <rect x=\"{:.1}\" y=\"{y:.0}\" width=\"{kernel:.1}\" height=\"14\" fill=\"{GREY}\"/>\
             <text class=\"value\" x=\"{:.1}\" y=\"{:.0}\">{rss:.0} + {maps:.0}</text>\n",
            LEFT - 8.0,
            y + 11.0,
            one.size,
            one.dimension.text(),
            LEFT + own,
            LEFT + own + kernel + 6.0,
            y + 11.0,
        );
        y += STEP;
    }
    svg::picture("The agent's memory as work grows", WIDTH, y + 12.0, &body)
}
