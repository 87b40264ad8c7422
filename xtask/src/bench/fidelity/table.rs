//! The tables that people read: by service, by route, by load, and what the clocks say.
//!
//! In: cells. Out: Markdown.

use serde_json::Value;

use super::cells::{Cells, Sum, text as word};
use crate::bench::markdown::markdown;

/// All tables.
pub fn text(cells: &Cells) -> String {
    let tables =
        [(services(cells), 2), (routes(cells), 2), (loads(cells), 3), (clocks(cells), 2), (hooks(cells), 2)];
    // The last has a head alone where nothing was measured without hooks.
    let tables = tables.into_iter().filter(|(rows, _)| rows.len() > 1);
    let tables: Vec<_> = tables.map(|(rows, texts)| markdown(&rows, texts)).collect();
    let failed: String = cells.failed.iter().map(|run| format!("\nFAILED: {run}")).collect();
    let faults = faults(cells);
    format!("\n{}{failed}{faults}", tables.join("\n"))
}

fn row(words: &[&str]) -> Vec<String> {
    words.iter().map(|&word| word.to_owned()).collect()
}

/// Calls `line` for each service and each watcher that saw it.
fn each(cells: &Cells, mut line: impl FnMut(&str, &str, &Sum)) {
    for runtime in cells.values("runtime") {
        for watcher in cells.values("watcher") {
            let sum =
                cells.sum_where(|cell| word(cell, "runtime") == runtime && word(cell, "watcher") == watcher);
            if let Some(sum) = sum {
                line(runtime, watcher, &sum);
            }
        }
    }
}

fn services(cells: &Cells) -> Vec<Vec<String>> {
    let head =
        ["service", "spans by", "requests", "complete", "unlinked", "WRONG", "dangling", "extra", "missing"];
    let mut rows = vec![row(&head)];
    rows[0].extend(row(&["misstated", "unanswered", "promises broken"]));
    each(cells, |runtime, watcher, sum| {
        let mut line = row(&[runtime, watcher]);
        line.push(sum.requests.to_string());
        line.push(format!("{:.1} %", sum.complete_percent()));
        let counts = [sum.unlinked, sum.wrong, sum.dangling, sum.extra, sum.missing, sum.misstated];
        line.extend(counts.iter().map(u64::to_string));
        line.extend([sum.unanswered, sum.broken].map(|number| number.to_string()));
        rows.push(line);
    });
    rows
}

/// Complete requests, and what is wrong if anything is.
fn short(sum: Option<Sum>) -> String {
    match sum {
        None => String::new(),
        Some(sum) if sum.false_ones() + sum.missing == 0 => format!("{:.1} %", sum.complete_percent()),
        Some(sum) => {
            let faults = [
                (sum.wrong, "WRONG"),
                (sum.dangling, "dangling"),
                (sum.extra, "extra"),
                (sum.missing, "missing"),
            ];
            let faults: Vec<_> =
                faults.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{n} {what}")).collect();
            format!("{:.1} %, {}", sum.complete_percent(), faults.join(", "))
        }
    }
}

/// A line for all cells with the same values of `keys`, a column for each watcher.
fn by(cells: &Cells, titles: &[&str], keys: &[&str]) -> Vec<Vec<String>> {
    let watchers = cells.values("watcher");
    let values = |cell: &Value| -> Vec<String> {
        let value = |key: &&str| cell[*key].as_str().map_or_else(|| cell[*key].to_string(), str::to_owned);
        keys.iter().map(value).collect()
    };
    let mut seen: Vec<Vec<String>> = Vec::new();
    for cell in &cells.all {
        let values = values(cell);
        if !seen.contains(&values) {
            seen.push(values);
        }
    }
    let mut rows = vec![row(&[titles, &watchers].concat())];
    for line in seen {
        let sum = |watcher: &&str| {
            cells.sum_where(|cell| word(cell, "watcher") == *watcher && values(cell) == line)
        };
        let columns: Vec<_> = watchers.iter().map(|watcher| short(sum(watcher))).collect();
        rows.push(line.iter().cloned().chain(columns).collect());
    }
    rows
}

fn routes(cells: &Cells) -> Vec<Vec<String>> {
    by(cells, &["complete, by route", "route"], &["runtime", "route"])
}

fn loads(cells: &Cells) -> Vec<Vec<String>> {
    let titles = ["complete, by load", "client", "connections", "at a time"];
    by(cells, &titles, &["runtime", "client", "style", "concurrency"])
}

fn clocks(cells: &Cells) -> Vec<Vec<String>> {
    let head =
        ["clocks", "spans by", "calls seen from both ends", "SERVER outside of CLIENT", "farthest, µs"];
    let mut rows = vec![row(&head)];
    rows[0].push("SERVER shorter than the load's clock, µs (median)".to_owned());
    each(cells, |runtime, watcher, sum| {
        let share = if sum.pairs == 0 { 0.0 } else { sum.outside as f64 / sum.pairs as f64 * 100.0 };
        let mut line = row(&[runtime, watcher]);
        line.push(sum.pairs.to_string());
        line.push(format!("{share:.2} %"));
        line.push(format!("{:.0}", sum.farthest_us));
        line.push(sum.shorter_us.map_or_else(String::new, |us| format!("{us:.0}")));
        rows.push(line);
    });
    rows
}

/// What hooks gain, and what they cost the service.
fn hooks(cells: &Cells) -> Vec<Vec<String>> {
    let mut rows =
        vec![row(&["hooks", "mode", "complete without", "complete with", "CPU without, µs a request"])];
    rows[0].extend(row(&["CPU with", "ratio"]));
    let sum_of = |runtime: &str, watcher: &str| {
        cells.sum_where(|cell| word(cell, "runtime") == runtime && word(cell, "watcher") == watcher)
    };
    for runtime in cells.values("runtime") {
        for mode in ["sock", "syscalls"] {
            let (with, without) = (sum_of(runtime, mode), sum_of(runtime, &format!("{mode}-unhooked")));
            let (Some(with), Some(without)) = (with, without) else { continue };
            let mut line = row(&[runtime, mode]);
            line.extend([&without, &with].map(|sum| format!("{:.1} %", sum.complete_percent())));
            line.extend([&without, &with].map(|sum| format!("{:.0}", sum.cpu_of_one())));
            line.push(format!("{:.2}", with.cpu_of_one() / without.cpu_of_one()));
            rows.push(line);
        }
    }
    rows
}

/// Some of what is wrong, for who looks for the cause.
fn faults(cells: &Cells) -> String {
    const SHOWN: usize = 12;
    let mut lines = Vec::new();
    for cell in &cells.all {
        let shown = cell["shown"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let bad = shown.filter(|line| {
            ["WRONG", "extra", "missing", "dangling"].iter().any(|kind| line.starts_with(kind))
        });
        let name = ["runtime", "client", "style", "watcher", "route"].map(|key| word(cell, key)).join(" ");
        lines.extend(bad.map(|line| format!("\n{name} at {}: {line}", cell["concurrency"])));
    }
    lines.truncate(SHOWN);
    lines.concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_wrong_is_said_where_it_is() {
        let mut cells = Cells::default();
        let cell = |watcher: &str, wrong: u64| {
            json!({ "runtime": "node", "client": "http", "style": "pool", "concurrency": 50, "route": "one",
                    "watcher": watcher, "requests": 10, "complete": 10 - wrong, "wrong": wrong,
                    "shown": if wrong > 0 { vec!["WRONG: x"] } else { vec![] } })
        };
        cells.take(cell("sock", 0));
        cells.take(cell("syscalls", 1));
        let text = text(&cells);
        assert!(text.contains("| node               | one   | 100.0 % | 90.0 %, 1 WRONG |"), "{text}");
        assert!(text.contains("node http pool syscalls one at 50: WRONG: x"), "{text}");
    }
}
