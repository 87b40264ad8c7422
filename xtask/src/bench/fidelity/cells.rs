//! What the program says: cells, and sums of them.
//!
//! In: lines of JSON. Out: [`Cells`] and [`Sum`]s.

use std::fmt;

use serde_json::Value;

/// Everything that was measured.
#[derive(Clone, Debug, Default)]
pub struct Cells {
    /// An object each.
    pub all: Vec<Value>,
    /// Runs that did not come to their end.
    pub failed: Vec<String>,
    /// What watchers say was lost, by run.
    pub drops: Vec<Value>,
    run: String,
}

/// What a line says that begins a run.
pub fn title(line: &Value) -> Option<String> {
    let run = line["run"].as_str()?;
    Some(format!("{run} ({} of {})", line["number"], line["of"]))
}

/// A text of a cell.
pub fn text<'a>(cell: &'a Value, key: &str) -> &'a str {
    cell[key].as_str().unwrap_or_default()
}

impl Cells {
    /// Takes a line.
    pub fn take(&mut self, line: Value) {
        if let Some(run) = line["run"].as_str() {
            self.run = run.to_owned();
        } else if let Some(run) = line["failed"].as_str() {
            self.failed.push(run.to_owned());
        } else if let Some(drops) = line["drops"].as_str() {
            self.drops.push(serde_json::json!({ "run": self.run, "drops": drops }));
        } else {
            self.all.push(line);
        }
    }

    /// The sum of all cells from that one on; `None` of none.
    pub fn sum(&self, from: usize) -> Option<Sum> {
        let cells = self.all.get(from..).filter(|cells| !cells.is_empty())?;
        Some(Sum::of(cells.iter()))
    }

    /// The sum of all cells that fit; `None` of none.
    pub fn sum_where(&self, fits: impl Fn(&Value) -> bool) -> Option<Sum> {
        let cells: Vec<_> = self.all.iter().filter(|cell| fits(cell)).collect();
        (!cells.is_empty()).then(|| Sum::of(cells.into_iter()))
    }

    /// The different values of a key, in the order in which they first came.
    pub fn values(&self, key: &str) -> Vec<&str> {
        let mut values = Vec::new();
        for cell in &self.all {
            let value = text(cell, key);
            if !values.contains(&value) {
                values.push(value);
            }
        }
        values
    }
}

/// Cells summed up.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sum {
    pub requests: u64,
    pub complete: u64,
    pub unlinked: u64,
    pub wrong: u64,
    pub dangling: u64,
    pub extra: u64,
    pub missing: u64,
    pub misstated: u64,
    pub unanswered: u64,
    pub pairs: u64,
    pub outside: u64,
    /// The farthest that a SERVER reaches out of its CLIENT, in microseconds.
    pub farthest_us: f64,
    /// The median of the cells' medians, in microseconds.
    pub shorter_us: Option<f64>,
    /// What the service took of the processors, in microseconds.
    pub cpu_us: u64,
    /// Cells that were to be complete and are not.
    pub broken: u64,
}

impl Sum {
    fn of<'a>(cells: impl Iterator<Item = &'a Value>) -> Self {
        let mut sum = Self::default();
        let mut shorter = Vec::new();
        for cell in cells {
            let number = |key: &str| cell[key].as_u64().unwrap_or(0);
            sum.requests += number("requests");
            sum.complete += number("complete");
            sum.unlinked += number("unlinked");
            sum.wrong += number("wrong");
            sum.dangling += number("dangling");
            sum.extra += number("extra");
            sum.missing += number("missing");
            sum.misstated += number("misstated");
            sum.unanswered += number("unanswered");
            sum.pairs += number("pairs");
            sum.outside += number("outside");
            sum.cpu_us += number("cpu_us");
            sum.farthest_us = sum.farthest_us.max(cell["farthest_us"].as_f64().unwrap_or(0.0));
            let whole = number("complete") == number("requests");
            sum.broken += u64::from(cell["promised"] == true && !whole);
            shorter.extend(cell["shorter_us"].as_f64());
        }
        shorter.sort_by(f64::total_cmp);
        sum.shorter_us = shorter.get(shorter.len() / 2).copied();
        sum
    }

    /// What the service took of the processors for a request, in microseconds.
    pub fn cpu_of_one(&self) -> f64 {
        self.cpu_us as f64 / self.requests.max(1) as f64
    }

    /// The share of complete requests, in percent, not rounded up to all.
    pub fn complete_percent(&self) -> f64 {
        if self.requests == 0 {
            100.0
        } else {
            (self.complete as f64 / self.requests as f64 * 1000.0).floor() / 10.0
        }
    }

    /// Spans and links that should not be as they are.
    pub fn false_ones(&self) -> u64 {
        self.wrong + self.dangling + self.extra
    }
}

impl fmt::Display for Sum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            requests, complete, unlinked, wrong, dangling, extra, missing, broken, unanswered, ..
        } = self;
        write!(
            f,
            "{complete} of {requests} complete, {unlinked} unlinked, {wrong} WRONG, {extra} extra, {missing} missing"
        )?;
        for (number, what) in
            [(dangling, "dangling"), (unanswered, "unanswered"), (broken, "promises broken")]
        {
            if *number > 0 {
                write!(f, ", {number} {what}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn cells_are_summed_by_what_they_have_in_common() {
        let mut cells = Cells::default();
        let cell = |route: &str, complete: u64, wrong: u64| {
            json!({ "route": route, "requests": 10, "complete": complete, "wrong": wrong, "promised": true,
                    "farthest_us": complete, "shorter_us": 7.0 })
        };
        cells.take(json!({ "run": "a", "number": 1, "of": 1 }));
        for line in [cell("one", 10, 0), cell("seq", 9, 1), cell("one", 10, 0)] {
            cells.take(line);
        }
        cells.take(json!({ "drops": "x" }));
        assert_eq!(cells.values("route"), ["one", "seq"]);
        let sum = cells.sum_where(|cell| text(cell, "route") == "one").unwrap();
        assert_eq!((sum.requests, sum.complete, sum.broken, sum.shorter_us), (20, 20, 0, Some(7.0)));
        let all = cells.sum(0).unwrap();
        assert_eq!((all.wrong, all.broken, all.complete_percent()), (1, 1, 96.6));
        assert_eq!(cells.sum(3), None);
        assert_eq!(cells.drops[0]["run"], "a");
    }
}
