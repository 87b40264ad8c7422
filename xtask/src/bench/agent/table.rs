//! The tables: live, replayed, instructions.
//!
//! In: measurements. Out: Markdown.

use super::{Measured, instructions::TOTAL, live::Live, replayed::Replayed};
use crate::bench::markdown::markdown;

/// All of them.
pub fn text(measured: &Measured) -> String {
    let head = |cells: &[&str]| cells.iter().map(|cell| (*cell).to_owned()).collect::<Vec<_>>();
    let mut live = vec![head(&[
        "beside a server",
        "spans/s",
        "events/span",
        "kernel µs/span",
        "drain",
        "pipeline",
        "export",
        "other",
        "agent µs/span",
        "peak MiB",
        "lost",
    ])];
    live.extend(measured.live.iter().map(row_of_live));
    let mut replayed = vec![head(&[
        "replayed",
        "arrived",
        "behind, ms",
        "pipeline µs/span",
        "export µs/span",
        "together",
        "MiB",
    ])];
    replayed.extend(measured.replayed.iter().map(|one| row_of_replayed(format!("{}/s", one.rate), one)));
    replayed.extend(
        measured.highest.iter().map(|one| row_of_replayed(format!("{}/s, the highest", one.rate), one)),
    );
    let mut counted = vec![head(&["instructions", "a span", "share"])];
    let total = measured.instructions.get(TOTAL).copied().unwrap_or(1.0);
    let share = |(stage, figure): (&String, &f64)| {
        vec![stage.clone(), format!("{figure:.0}"), format!("{:.0} %", figure / total * 100.0)]
    };
    counted.extend(measured.instructions.iter().map(share));
    format!("\n{}\n{}\n{}", markdown(&live, 1), markdown(&replayed, 1), markdown(&counted, 1))
}

/// The agent's threads by what they are for.
pub fn threads(live: &Live) -> [(&'static str, f64); 4] {
    let of = |name: &str| live.threads.get(name).copied().unwrap_or(0.0);
    let (drain, pipeline, export) = (of("sockspan-drain"), of("sockspan-work"), of("sockspan-io"));
    let other = live.agent_us() - drain - pipeline - export;
    [("drain", drain), ("pipeline", pipeline), ("export", export), ("other", other)]
}

fn row_of_live(live: &Live) -> Vec<String> {
    let mut row = vec![
        live.probes.to_owned(),
        format!("{:.0}", live.rate),
        format!("{:.2}", live.events),
        format!("{:.2}", live.kernel_us),
    ];
    row.extend(threads(live).map(|(_, us)| format!("{us:.2}")));
    row.extend([
        format!("{:.2}", live.agent_us()),
        format!("{:.0}", live.peak_mib),
        format!("{:.0}", live.lost),
    ]);
    row
}

fn row_of_replayed(title: String, one: &Replayed) -> Vec<String> {
    vec![
        title,
        format!("{:.0} of {:.0}", one.arrived, one.offered),
        format!("{:.0}", one.behind_ms),
        format!("{:.2}", one.pipeline_us),
        format!("{:.2}", one.export_us),
        format!("{:.2}", one.pipeline_us + one.export_us),
        format!("{:.0}", one.rss_mib),
    ]
}
