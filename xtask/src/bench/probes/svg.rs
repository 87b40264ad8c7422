//! The table as a picture: a bar a state, grouped by call, as long as its ratio to "nothing attached".
//!
//! In: the table. Out: an SVG.

use super::{
    super::svg::{Chart, GREY, Part},
    state::CALLS,
    table::Table,
};

/// A colour for each way of reading sockets; what is not traced is lighter.
const COLOURS: [(&str, f64); 5] =
    [(GREY, 1.0), ("#2f81f7", 0.55), ("#d9822b", 0.55), ("#2f81f7", 1.0), ("#d9822b", 1.0)];

/// Draws it.
pub fn draw(table: &Table) -> String {
    const HEADLINE: &str = "Time of a call, as a multiple of the same call with nothing attached (minimum)";
    let rows: Vec<_> = table.ratios().collect();
    let most = rows.iter().flat_map(|(_, ratios)| ratios).fold(1.0_f64, |a, b| a.max(*b));
    let mut chart = Chart::new(HEADLINE, 160.0, 60.0, most);
    for (call, (_, title)) in CALLS.iter().enumerate() {
        if call > 0 {
            chart.gap();
        }
        chart.heading(title);
        for ((state, ratios), (colour, opacity)) in rows.iter().zip(COLOURS) {
            let ratio = ratios.get(call).copied().unwrap_or(0.0);
            let part = Part { opacity, ..Part::new(ratio, colour) };
            chart.bar(state, &[part], &format!("{ratio:.2}"));
        }
    }
    chart.mark(1.0);
    chart.finish("Cost of a call beside the agent")
}
