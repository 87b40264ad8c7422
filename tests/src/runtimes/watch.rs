//! Who makes the spans of a run, and where they arrive.
//!
//! In: a watcher, and the processes to watch. Out: all spans, once nothing more comes.

use std::{collections::HashMap, path::Path, time::Duration};

use super::{
    cell::Watcher,
    route::{LEAF, MID},
};
use crate::{
    agent::{Agent, Launch},
    given,
    otlp::Collector,
    span::{Kind, Span},
    stage,
};

/// How long spans may be under way.
const ARRIVAL: Duration = Duration::from_secs(5);

/// A watcher and its receiver.
#[derive(Debug)]
pub struct Watch {
    /// Who watches.
    pub watcher: Watcher,
    receiver: Collector,
    agent: Option<Agent>,
}

impl Watch {
    /// A receiver that listens; nobody watches yet.
    pub fn new(watcher: Watcher) -> Self {
        Self { watcher, receiver: Collector::start(), agent: None }
    }

    /// What an SDK must be told: where its spans go, soon, and by which names.
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        vec![
            ("OTEL_EXPORTER_OTLP_ENDPOINT", self.receiver.endpoint()),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf".to_owned()),
            ("OTEL_TRACES_EXPORTER", "otlp".to_owned()),
            ("OTEL_METRICS_EXPORTER", "none".to_owned()),
            ("OTEL_LOGS_EXPORTER", "none".to_owned()),
            ("OTEL_BSP_SCHEDULE_DELAY", "200".to_owned()),
            ("OTEL_BSP_MAX_QUEUE_SIZE", "65536".to_owned()),
            ("OTEL_SEMCONV_STABILITY_OPT_IN", "http".to_owned()),
        ]
    }

    /// Begins to watch these processes, unless they watch themselves. Spans have names by program, for a process may
    /// write over the environment that it started with (nginx does).
    pub fn attach(&mut self, pids: &[u32], leaf: &Path) {
        let (mode, hooks) = match self.watcher {
            Watcher::Agent(mode) => (mode, "--no-uprobes=false"),
            Watcher::Unhooked(mode) => (mode, "--no-uprobes"),
            Watcher::Reference => return,
        };
        let names = format!("{}={LEAF},*={MID}", leaf.display());
        let launch = Launch::run(mode).pids(pids).args(&["--service-name", &names, hooks]);
        self.agent = Some(launch.export(&self.receiver).start());
    }

    /// Waits until `expected` spans have arrived, and no more come.
    pub fn settle(&self, expected: usize) {
        self.receiver.settle(expected, given::limit(ARRIVAL));
    }

    /// Ends it; all spans that ever arrived, and what was lost, for people.
    pub fn finish(mut self) -> (Vec<Span>, String) {
        let mut drops = String::new();
        if let Some(agent) = self.agent.take() {
            drops = agent.drops();
            stage::stop(agent);
        }
        (ends_only(self.receiver.take()), drops)
    }
}

/// Only SERVER and CLIENT spans, each below the nearest such: an SDK has others between them. And it was there when the
/// service was asked whether it is ready.
fn ends_only(spans: Vec<Span>) -> Vec<Span> {
    let between: HashMap<_, _> = spans
        .iter()
        .filter(|span| span.kind == Kind::Other)
        .map(|span| (span.id.clone(), span.parent.clone()))
        .collect();
    let is_end = |span: &Span| span.kind != Kind::Other && span.path() != "/";
    let mut ends: Vec<_> = spans.into_iter().filter(is_end).collect();
    for span in &mut ends {
        // A chain without an end would be a loop of ids: no longer than there are spans.
        for _ in 0..=between.len() {
            match between.get(&span.parent) {
                Some(above) => span.parent.clone_from(above),
                None => break,
            }
        }
    }
    ends
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::span::tests::span;

    #[test]
    fn what_stands_between_two_ends_is_passed_over() {
        let spans = vec![
            span(MID, Kind::Server, "/one/1", 200, [1, 1, 0]),
            span(MID, Kind::Other, "", 200, [1, 2, 1]),
            span(MID, Kind::Other, "", 200, [1, 3, 2]),
            span(MID, Kind::Client, "/leaf/1/0", 200, [1, 4, 3]),
            span(MID, Kind::Server, "/", 200, [2, 5, 0]),
        ];
        let ends = ends_only(spans);
        assert_eq!(ends.len(), 2);
        assert_eq!((ends[1].path(), &ends[1].parent), ("/leaf/1/0", &ends[0].id));
    }
}
