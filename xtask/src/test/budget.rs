//! The pipeline's instructions for a span against their budgets.
//!
//! In: the sources. Out: a verdict; figures that are far below their budget are worth a word, too.

use anyhow::Result;

use super::{Count, Verdict};
use crate::{
    bench::agent::{instructions, pipeline},
    tools::valgrind,
    ui, workspace,
};

/// Below its budget by more than this factor, a budget protects nothing any more.
const SLACK: f64 = 0.85;

/// Why this machine can't be asked to.
pub fn obstacle() -> Option<String> {
    (std::env::consts::ARCH != "x86_64").then(|| "the budgets are of x86-64's instructions".to_owned())
}

/// Counts, and compares.
pub fn instructions() -> Result<Verdict> {
    if let Some(obstacle) = obstacle() {
        return Ok(Verdict::Impossible(obstacle));
    }
    if let Err(error) = valgrind::ensure() {
        return Ok(Verdict::Impossible(format!("{error:#}")));
    }
    let program = pipeline::ensure()?;
    let (figures, budgets) = (instructions::count(&program)?, instructions::budgets()?);
    for (stage, figure) in &figures {
        ui::say(format!("{stage}: {figure:.0} instructions a span"));
    }
    let generous =
        |(stage, budget): &(&String, &f64)| figures.get(*stage).is_some_and(|f| f < &(**budget * SLACK));
    for (stage, budget) in budgets.iter().filter(generous) {
        ui::warn(format!("{stage} takes much less than its budget of {budget:.0}: lower it"));
    }
    let excess = instructions::excess(&figures, &budgets);
    if excess.is_empty() {
        return Ok(Verdict::Ran(Count::PASSED));
    }
    excess.iter().for_each(ui::warn);
    let file = instructions::budget_file();
    ui::say(format!("if that is worth its instructions, say so in {}", workspace::display(&file)));
    Ok(Verdict::Ran(Count::FAILED))
}
