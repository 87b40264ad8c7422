//! The table: states by calls.
//!
//! In: measurements. Out: for each state and call the minimum of all minima and the median of all medians, with ratios to
//! the first state, as text and as JSON.

use serde_json::{Value, json};

use super::{
    super::{markdown::markdown, spread::Spread},
    measure::{Cost, Measured, Seen},
    state::{CALLS, State},
};

/// All states' figures.
pub struct Table {
    rows: Vec<Row>,
}

struct Row {
    state: State,
    costs: [Cost; CALLS.len()],
    seen: Vec<Seen>,
}

impl Table {
    /// Sums up the measurements of each state of [`State::ALL`].
    pub fn new(measured: &[Vec<Measured>]) -> Self {
        let row = |(state, all): (State, &Vec<Measured>)| {
            let each = |pick: &dyn Fn(&Cost) -> f64, call: usize| -> Vec<f64> {
                all.iter().map(|one| pick(&one.calls[call])).collect()
            };
            let costs = std::array::from_fn(|call| Cost {
                min: each(&|cost| cost.min, call).into_iter().fold(f64::INFINITY, f64::min),
                median: median(each(&|cost| cost.median, call)),
            });
            Row { state, costs, seen: all.iter().filter_map(|one| one.agent).collect() }
        };
        Self { rows: State::ALL.into_iter().zip(measured).map(row).collect() }
    }

    /// The states' titles with the ratios of their minima to the first state's, in the order of [`CALLS`].
    pub fn ratios(&self) -> impl Iterator<Item = (String, [f64; CALLS.len()])> + '_ {
        self.rows.iter().map(|row| (row.state.text(), std::array::from_fn(|call| self.ratio(row, call).min)))
    }

    fn ratio(&self, row: &Row, call: usize) -> Cost {
        let (base, own) = (self.rows[0].costs[call], row.costs[call]);
        Cost { min: own.min / base.min, median: own.median / base.median }
    }

    /// Three tables in Markdown: nanoseconds, ratios, and the agent's side.
    pub fn text(&self) -> String {
        let absolute = self.grid("ns per call: minimum / median", |row, call| {
            format!("{:.0} / {:.0}", row.costs[call].min, row.costs[call].median)
        });
        let relative = self.grid("times nothing attached: minimum / median", |row, call| {
            let ratio = self.ratio(row, call);
            format!("{:.2} / {:.2}", ratio.min, ratio.median)
        });
        let mut agent = vec![
            ["the agent meanwhile", "ready after, ms (median, most)", "exchanges seen", "dropped"]
                .map(str::to_owned)
                .to_vec(),
        ];
        agent.extend(self.rows.iter().filter(|row| !row.seen.is_empty()).map(Row::agent));
        format!("\n{absolute}\n{relative}\n{}", markdown(&agent, 1))
    }

    fn grid(&self, title: &str, cell: impl Fn(&Row, usize) -> String) -> String {
        let head = [title.to_owned()].into_iter().chain(CALLS.map(|(_, text)| text.to_owned())).collect();
        let line = |row: &Row| {
            [row.state.text()].into_iter().chain((0..CALLS.len()).map(|call| cell(row, call))).collect()
        };
        markdown(&[head].into_iter().chain(self.rows.iter().map(line)).collect::<Vec<Vec<_>>>(), 1)
    }

    /// An object a state.
    pub fn to_json(&self) -> Value {
        let row = |row: &Row| {
            let call = |(index, (name, _)): (usize, (&str, &str))| {
                let (cost, ratio) = (row.costs[index], self.ratio(row, index));
                let value = json!({
                    "min_ns": rounded(cost.min, 10.0),
                    "median_ns": rounded(cost.median, 10.0),
                    "min_ratio": rounded(ratio.min, 1000.0),
                    "median_ratio": rounded(ratio.median, 1000.0),
                });
                (name.to_owned(), value)
            };
            let calls: serde_json::Map<_, _> = CALLS.into_iter().enumerate().map(call).collect();
            json!({ "state": row.state.text(), "calls": calls, "agent": row.agent_json() })
        };
        self.rows.iter().map(row).collect()
    }
}

impl Row {
    fn ready_ms(&self) -> (f64, f64) {
        let all: Vec<_> = self.seen.iter().map(|seen| seen.ready.as_secs_f64() * 1000.0).collect();
        (median(all.clone()), all.into_iter().fold(0.0, f64::max))
    }

    fn sum(&self, pick: impl Fn(&Seen) -> f64) -> f64 {
        self.seen.iter().map(pick).sum()
    }

    fn agent(&self) -> Vec<String> {
        let (median, most) = self.ready_ms();
        let (seen, expected) = (self.sum(|seen| seen.exchanges), self.sum(|seen| seen.expected));
        vec![
            self.state.text(),
            format!("{median:.0}, {most:.0}"),
            format!("{seen} of {expected}"),
            self.sum(|seen| seen.dropped).to_string(),
        ]
    }

    fn agent_json(&self) -> Value {
        let (median, most) = self.ready_ms();
        if self.seen.is_empty() {
            return Value::Null;
        }
        json!({
            "ready_ms": { "median": rounded(median, 1.0), "most": rounded(most, 1.0) },
            "exchanges": self.sum(|seen| seen.exchanges),
            "exchanges_expected": self.sum(|seen| seen.expected),
            "dropped": self.sum(|seen| seen.dropped),
        })
    }
}

fn rounded(value: f64, parts: f64) -> f64 {
    (value * parts).round() / parts
}

/// The middle one of `values`, or the mean of the two there; 0 of none.
fn median(values: Vec<f64>) -> f64 {
    Spread::of(values).median
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(min: f64, median: f64) -> Measured {
        Measured { calls: [Cost { min, median }; CALLS.len()], agent: None }
    }

    #[test]
    fn the_least_and_the_middle_are_compared_to_the_first_state() {
        let twice = |min, median| vec![measured(min, median), measured(min + 1.0, median + 2.0)];
        let base = twice(100.0, 109.0);
        let all = [base, twice(150.0, 164.0), twice(100.0, 109.0), twice(100.0, 109.0), twice(200.0, 219.0)];
        let table = Table::new(&all);
        let json = table.to_json();
        assert_eq!(json[0]["calls"]["getppid"]["min_ns"], 100.0);
        assert_eq!(json[0]["calls"]["getppid"]["median_ns"], 110.0);
        assert_eq!(json[1]["calls"]["http_exchange"]["min_ratio"], 1.5);
        assert_eq!(json[4]["calls"]["http_exchange"]["median_ratio"], 2.0);
        assert!(table.text().contains("| sock, not traced "));
    }

    #[test]
    fn the_median_of_few_is_right() {
        assert_eq!(median(vec![]), 0.0);
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(vec![4.0, 1.0]), 2.5);
    }
}
