//! The fidelity matrix, for `cargo xtask bench fidelity`; and, with the argument `leaf`, the service called in it.
//!
//! In: a filter as JSON, and the environment as for the tests. Out: a line of JSON for each cell on standard output,
//! preceded for each run by one that says what begins.

use std::{
    env,
    panic::{AssertUnwindSafe, catch_unwind},
};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use sockspan_tests::runtimes::{
    leaf,
    plan::{Filter, Run},
    registration::Runtime,
    run,
};

/// Requests a cell, unless said.
const REQUESTS: usize = 200;

fn main() -> Result<()> {
    let argument = env::args().nth(1).context("an argument: a filter as JSON, or `leaf`")?;
    if argument == leaf::VERB {
        return Ok(leaf::serve()?);
    }
    let mut filter: Filter = serde_json::from_str(&argument).context("the filter")?;
    if filter.requests == 0 {
        filter.requests = REQUESTS;
    }
    let runtimes: Vec<_> =
        Runtime::all().into_iter().filter(|runtime| filter.wants(&runtime.registration.name)).collect();
    let runs: Vec<_> = runtimes
        .iter()
        .flat_map(|runtime| filter.runs(runtime).into_iter().map(move |run| (runtime, run)))
        .collect();
    if runs.is_empty() {
        bail!("nothing is wanted: the filter names what no service has");
    }
    let leaf = env::current_exe()?;
    for (place, (runtime, run)) in runs.iter().enumerate() {
        say(&json!({ "run": title(runtime, run), "number": place + 1, "of": runs.len() }));
        // One service that does not start must not end the measurement of all others.
        let watched = catch_unwind(AssertUnwindSafe(|| run::perform(runtime, run, filter.requests, &leaf)));
        let Ok(watched) = watched else {
            say(&json!({ "failed": title(runtime, run) }));
            continue;
        };
        for watched in watched {
            watched.outcomes.iter().for_each(|outcome| say(&outcome.to_json()));
            say(&json!({ "drops": watched.drops }));
        }
    }
    Ok(())
}

fn title(runtime: &Runtime, run: &Run) -> String {
    let watchers: Vec<_> = run.watchers.iter().map(|watcher| watcher.text()).collect();
    format!("{} {} {} {}", runtime.registration.name, run.client, run.style.text(), watchers.join("+"))
}

fn say(line: &Value) {
    println!("{line}");
}
