//! How many instructions the pipeline takes for a span, stage by stage, counted by callgrind: what a clock on a shared
//! machine can't tell.
//!
//! In: the pipeline's benchmark, and the budgets beside its source. Out: figures, and which of them are over.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::{process, tools::INSTALL_LIMIT, ui::Step, workspace};

/// Two runs: their difference is the work itself, without the start.
const CASTINGS: [u64; 2] = [100, 300];
/// Above its budget by more than this factor, a figure fails: what a compiler puts where differs from build to build, by
/// eight in a hundred for one stage.
const TOLERANCE: f64 = 1.1;
/// All stages and what is between them.
pub const TOTAL: &str = "total";

/// The stages and the functions that are theirs; what those call is counted with them.
const STAGES: [(&str, &[&str]); 6] = [
    ("events", &["sockspan::event::events"]),
    ("connections", &["sockspan::connection::Connections::take"]),
    ("exchanges", &["sockspan::exchange::Exchanges::take", "sockspan::exchange::Exchanges::settle"]),
    ("spans", &["sockspan::span::assemble::Assembler::span"]),
    ("encode", &["sockspan::export::encode::encode"]),
    ("replay", &["pipeline::stream::Told::until"]),
];
/// The work of the benchmark, not of the pipeline.
const REPLAY: &str = "replay";

/// Instructions for a span, by stage.
pub type Figures = BTreeMap<String, f64>;

/// Counts.
pub fn count(program: &Path) -> Result<Figures> {
    Step::run("counting the pipeline's instructions", |_| {
        let [few, many] = CASTINGS;
        let (few, many) = (run(program, few)?, run(program, many)?);
        let spans = many.spans - few.spans;
        let mut figures = Figures::new();
        for (stage, _) in STAGES {
            let of = |run: &Run| run.stages.get(stage).copied().unwrap_or(0.0);
            figures.insert(stage.to_owned(), (of(&many) - of(&few)) / spans);
        }
        let replay = figures.remove(REPLAY).unwrap_or(0.0);
        figures.insert(TOTAL.to_owned(), (many.all - few.all) / spans - replay);
        if let Some((stage, _)) = figures.iter().find(|(_, figure)| **figure <= 0.0) {
            bail!("callgrind saw nothing of the stage `{stage}`: have its functions been renamed?");
        }
        Ok(figures)
    })
}

struct Run {
    spans: f64,
    all: f64,
    stages: BTreeMap<&'static str, f64>,
}

fn run(program: &Path, castings: u64) -> Result<Run> {
    let log = workspace::log("callgrind");
    process::start_log(&log)?;
    let out = workspace::output().join("callgrind.out");
    let mut valgrind = Command::new("valgrind");
    valgrind.args(["--tool=callgrind", "-q"]).arg(format!("--callgrind-out-file={}", out.display()));
    valgrind.arg(program).args(["instructions", &castings.to_string()]);
    process::run(&mut valgrind, &log, INSTALL_LIMIT)?;
    let said = process::read_log(&log)?;
    let line = said.lines().rfind(|line| line.starts_with('{')).context("the benchmark said nothing")?;
    let spans = serde_json::from_str::<Value>(line)?["spans"].as_f64().context("no spans")?;
    let mut annotate = Command::new("callgrind_annotate");
    let annotated = process::output(annotate.args(["--inclusive=yes", "--threshold=100"]).arg(&out));
    let annotated = annotated.context("callgrind_annotate failed")?;
    let (all, stages) = read(&annotated).context("callgrind_annotate is not understood")?;
    Ok(Run { spans, all, stages })
}

/// Lines are `1,234 (5.00%)  file:function [object]`; a function may have several, one for each file it has code of.
fn read(annotated: &str) -> Option<(f64, BTreeMap<&'static str, f64>)> {
    let mut functions: BTreeMap<&str, f64> = BTreeMap::new();
    let mut all = None;
    for line in annotated.lines() {
        let Some((count, rest)) = line.trim_start().split_once(" (") else { continue };
        let Ok(count) = count.replace(',', "").parse::<f64>() else { continue };
        let Some((_, name)) = rest.split_once("%)") else { continue };
        if name.contains("PROGRAM TOTALS") {
            all = Some(count);
        }
        let name = name.trim().split(" [").next().unwrap_or_default();
        let Some((_, function)) = name.split_once(':') else { continue };
        let known = functions.entry(function).or_default();
        *known = known.max(count);
    }
    let of = |names: &[&str]| names.iter().filter_map(|name| functions.get(name)).sum();
    Some((all?, STAGES.iter().map(|(stage, names)| (*stage, of(names))).collect()))
}

/// Where the budgets are.
pub fn budget_file() -> PathBuf {
    workspace::root().join("agent/benches/pipeline/budgets.json")
}

/// The budgets.
pub fn budgets() -> Result<Figures> {
    let path = budget_file();
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    serde_json::from_str(&text)
        .with_context(|| format!("{}: an object of numbers is expected", path.display()))
}

/// What is over its budget, or has none, in words.
pub fn excess(figures: &Figures, budgets: &Figures) -> Vec<String> {
    let over = |(stage, figure): (&String, &f64)| match budgets.get(stage) {
        None => Some(format!("{stage}: {figure:.0} instructions a span, and no budget")),
        Some(budget) if *figure > budget * TOLERANCE => {
            Some(format!("{stage}: {figure:.0} instructions a span, {budget:.0} are budgeted"))
        }
        Some(_) => None,
    };
    figures.iter().filter_map(over).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_callgrind_are_read() {
        let text = "Ir\n1,000 (100.0%)  PROGRAM TOTALS\n\n  600 (60.00%)  /a/b.rs:sockspan::export::encode::encode [/x]\n\
                    50 ( 5.00%)  /c.rs:sockspan::export::encode::encode\nnonsense (x\n";
        let (all, stages) = read(text).unwrap();
        assert_eq!((all, stages["encode"], stages["spans"]), (1000.0, 600.0, 0.0));
        assert!(read("").is_none());
    }

    #[test]
    fn what_is_over_its_budget_is_named() {
        let figures =
            Figures::from([("a".to_owned(), 100.0), ("b".to_owned(), 120.0), ("c".to_owned(), 1.0)]);
        let budgets = Figures::from([("a".to_owned(), 96.0), ("b".to_owned(), 100.0)]);
        let excess = excess(&figures, &budgets);
        assert_eq!(excess.len(), 2, "{excess:?}");
        assert!(excess[0].starts_with("b: 120") && excess[1].starts_with("c: 1 "));
    }
}
