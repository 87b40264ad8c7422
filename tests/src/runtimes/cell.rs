//! A cell of the matrix, and what came of it.
//!
//! In: a verdict and the load's answers. Out: figures, as JSON for who draws tables.

use std::{fmt, time::Duration};

use serde_json::{Value, json};

use crate::{given::Mode, judge::Verdict};

/// How connections are used, on both sides of the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// Connections are kept: `KEEPALIVE=1`.
    Pool,
    /// A connection for each request and call: `KEEPALIVE=0`.
    New,
    /// The service keeps fewer connections than it has requests: `LIMIT`.
    Limit,
    /// The load sends several requests in a row on each connection.
    Pipelined,
    /// A job calls the leaf beside the requests: `JOB_MS`.
    Job,
}

impl Style {
    /// All, the base one first.
    pub const ALL: [Self; 5] = [Self::Pool, Self::New, Self::Limit, Self::Pipelined, Self::Job];

    /// Its name in tables and rules.
    pub fn text(self) -> &'static str {
        match self {
            Self::Pool => "pool",
            Self::New => "new",
            Self::Limit => "limit",
            Self::Pipelined => "pipelined",
            Self::Job => "job",
        }
    }

    /// What it tells the service.
    pub fn environment(self) -> Vec<(&'static str, String)> {
        let keep = ("KEEPALIVE", u8::from(self != Self::New).to_string());
        match self {
            Self::Limit => vec![keep, ("LIMIT", "5".to_owned())],
            Self::Job => vec![keep, ("JOB_MS", "20".to_owned())],
            _ => vec![keep],
        }
    }
}

/// Who makes the spans.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Watcher {
    /// The agent, in this mode.
    Agent(Mode),
    /// The agent, in this mode, without hooks in any runtime.
    Unhooked(Mode),
    /// OpenTelemetry's own SDK, inside the service.
    Reference,
}

impl Watcher {
    /// Its name in tables and rules.
    pub fn text(self) -> &'static str {
        match self {
            Self::Agent(mode) => mode.text(),
            Self::Unhooked(Mode::Sock) => "sock-unhooked",
            Self::Unhooked(Mode::Syscalls) => "syscalls-unhooked",
            Self::Reference => "sdk",
        }
    }
}

/// A cell.
#[derive(Clone, Debug)]
pub struct Cell {
    /// The service's name.
    pub runtime: String,
    /// Its client library.
    pub client: String,
    /// How connections are used.
    pub style: Style,
    /// Who watches.
    pub watcher: Watcher,
    /// Connections of the load.
    pub concurrency: usize,
    /// The route; in parentheses what is beside all routes.
    pub route: String,
}

/// What came of it.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The cell.
    pub cell: Cell,
    /// Every request was to be complete.
    pub promised: bool,
    /// Requests that got no answer.
    pub unanswered: usize,
    /// The judge's.
    pub verdict: Verdict,
    /// By how much the load's own clock says more than the SERVER span, in nanoseconds: the median.
    pub shorter: Option<u64>,
    /// What the service's processes took of the processors for it.
    pub cpu: Duration,
}

impl Outcome {
    /// Nothing is wrong, missing or invented, and what was promised is complete. Requests are answered, but for those in
    /// a row: a server may close after the first.
    pub fn is_as_promised(&self) -> bool {
        let Verdict { complete, requests, .. } = self.verdict;
        let answered = self.unanswered == 0 || (self.cell.style == Style::Pipelined && !self.promised);
        self.is_true() && answered && (!self.promised || complete == requests)
    }

    /// Nothing is wrong, missing or invented.
    pub fn is_true(&self) -> bool {
        let Verdict { wrong, dangling, extra, missing, .. } = self.verdict;
        wrong + dangling + extra + missing == 0
    }

    /// One object of figures.
    pub fn to_json(&self) -> Value {
        let Cell { runtime, client, style, watcher, concurrency, route } = &self.cell;
        let v = &self.verdict;
        json!({
            "runtime": runtime, "client": client, "style": style.text(), "watcher": watcher.text(),
            "concurrency": concurrency, "route": route, "promised": self.promised,
            "requests": v.requests, "unanswered": self.unanswered, "complete": v.complete, "right": v.right,
            "unlinked": v.unlinked, "wrong": v.wrong, "dangling": v.dangling, "extra": v.extra,
            "missing": v.missing, "misstated": v.misstated,
            "pairs": v.nesting.pairs, "outside": v.nesting.outside,
            "farthest_us": v.nesting.farthest as f64 / 1e3,
            "shorter_us": self.shorter.map(|ns| ns as f64 / 1e3),
            "cpu_us": self.cpu.as_micros(),
            "shown": v.shown,
        })
    }
}

impl fmt::Display for Outcome {
    /// With some of what is not as it must be only where it is asked for by `{:#}`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Cell { runtime, client, style, watcher, concurrency, route } = &self.cell;
        let promise = if self.promised { " (promised complete)" } else { "" };
        let verdict = self.verdict.to_string();
        let verdict = if f.alternate() { &verdict } else { verdict.lines().next().unwrap_or_default() };
        let (style, watcher) = (style.text(), watcher.text());
        write!(f, "{runtime} {client} {style} {watcher} at {concurrency} /{route}{promise}: {verdict}")
    }
}
