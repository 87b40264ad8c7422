//! The table as a picture: the services' CPU time for a request, as a multiple of that with nothing attached.
//!
//! In: rows. Out: an SVG.

use super::{
    super::svg::{Chart, GREY, Part},
    state::State,
    table::Row,
};

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
    const HEADLINE: &str =
        "The services' CPU time for a request, as a multiple of that with nothing attached";
    let most = rows.iter().map(|row| row.cpu().median).fold(1.0_f64, f64::max);
    let mut chart = Chart::new(HEADLINE, 170.0, 150.0, most);
    let rows: Vec<_> = rows.iter().filter(|row| row.state != State::Nothing).collect();
    for (place, subject) in rows.chunk_by(|a, b| a.subject == b.subject).enumerate() {
        if place > 0 {
            chart.gap();
        }
        chart.heading(subject[0].subject);
        for row in subject {
            let (cpu, throughput) = (row.cpu().median, row.throughput().median);
            let behind = format!("{cpu:.2} · {throughput:.2} of requests/s");
            chart.bar(row.state.text(), &[Part::new(cpu, colour(row.state))], &behind);
        }
    }
    chart.mark(1.0);
    chart.finish("Cost to services beside the agent")
}
