//! The table: subjects and states by what was measured.
//!
//! In: measurements, round by round. Out: medians, and ratios to nothing within the same round, as text and as JSON.

use serde_json::{Value, json};

use super::{
    super::{markdown::markdown, spread::Spread},
    measure::Measured,
    state::State,
};

/// A subject in a state, over all rounds.
pub struct Row {
    /// Which subject.
    pub subject: &'static str,
    /// Which state.
    pub state: State,
    rounds: Vec<Measured>,
    /// The same rounds with nothing attached.
    base: Vec<Measured>,
}

impl Row {
    /// Of measurements, and those of the same rounds with nothing attached.
    pub fn new(subject: &'static str, state: State, rounds: Vec<Measured>, base: Vec<Measured>) -> Self {
        Self { subject, state, rounds, base }
    }

    fn of(&self, pick: impl Fn(&Measured) -> f64) -> Spread {
        Spread::of(self.rounds.iter().map(pick))
    }

    fn ratio(&self, pick: impl Fn(&Measured) -> f64) -> Spread {
        Spread::of(self.rounds.iter().zip(&self.base).map(|(own, base)| pick(own) / pick(base)))
    }

    /// Answers a second, as multiples of those with nothing attached.
    pub fn throughput(&self) -> Spread {
        self.ratio(|measured| measured.answered.rate)
    }

    /// The services' CPU time for a request, likewise.
    pub fn cpu(&self) -> Spread {
        self.ratio(|measured| measured.cpu_us)
    }

    fn seen(&self, pick: impl Fn(&super::measure::Seen) -> f64) -> Vec<f64> {
        self.rounds.iter().filter_map(|measured| measured.agent.as_ref()).map(pick).collect()
    }

    fn cells(&self) -> Vec<String> {
        let agent = self.seen(|seen| seen.cpu_us);
        let (spans, lost) =
            (self.of(|measured| measured.spans / measured.answered.requests), self.seen(|seen| seen.lost));
        vec![
            self.subject.to_owned(),
            self.state.text().to_owned(),
            format!("{:.0}", self.of(|measured| measured.answered.rate).median),
            format!("{:.2}", self.throughput()),
            format!("{:.1}", self.of(|measured| measured.answered.p50_ms).median),
            format!("{:.1}", self.of(|measured| measured.answered.p99_ms).median),
            format!("{:.0}", self.of(|measured| measured.cpu_us).median),
            format!("{:.3}", self.cpu()),
            format!("{:.2}", spans.median),
            if agent.is_empty() { String::new() } else { format!("{:.1}", Spread::of(agent).median) },
            if lost.is_empty() { String::new() } else { format!("{:.0}", lost.iter().sum::<f64>()) },
        ]
    }

    fn to_json(&self) -> Value {
        let seen = self.seen(|seen| seen.cpu_us);
        json!({
            "subject": self.subject,
            "state": self.state.text(),
            "rounds": self.rounds.len(),
            "requests_per_second": self.of(|measured| measured.answered.rate).to_json(),
            "throughput_ratio": self.throughput().to_json(),
            "p50_ms": self.of(|measured| measured.answered.p50_ms).to_json(),
            "p99_ms": self.of(|measured| measured.answered.p99_ms).to_json(),
            "cpu_us_per_request": self.of(|measured| measured.cpu_us).to_json(),
            "cpu_ratio": self.cpu().to_json(),
            "spans_per_request": self.of(|measured| measured.spans / measured.answered.requests).to_json(),
            "unanswered": self.of(|measured| measured.answered.errors).to_json(),
            "agent_cpu_us_per_span": Spread::of(seen).to_json(),
            "agent_lost": self.seen(|seen| seen.lost).iter().sum::<f64>(),
            "agent_peak_mib": Spread::of(self.seen(|seen| seen.peak_mib)).to_json(),
        })
    }
}

const HEAD: [&str; 11] = [
    "service",
    "watched by",
    "requests/s",
    "ratio",
    "p50, ms",
    "p99, ms",
    "CPU µs/request",
    "ratio",
    "spans/request",
    "agent's µs/span",
    "lost",
];

/// In Markdown. Ratios are medians (least-most) of the rounds' own.
pub fn text(rows: &[Row]) -> String {
    let head = [HEAD.map(str::to_owned).to_vec()];
    markdown(&head.into_iter().chain(rows.iter().map(Row::cells)).collect::<Vec<_>>(), 2)
}

/// An object a row.
pub fn json(rows: &[Row]) -> Value {
    rows.iter().map(Row::to_json).collect()
}
