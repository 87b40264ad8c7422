//! Which settings change while the agent runs.
//!
//! In: the settings in effect, and those that the changed file gives. Out: the settings in effect from now on, and the
//! names of those that wait for a restart.

use super::Settings;

/// The settings that are taken over from a changed file; all others, and `OTEL_*`, need a restart.
pub const LIVE: [&str; 23] = [
    "pid",
    "exe",
    "port",
    "all",
    "instrumented",
    "exclude-path",
    "exclude-user-agent",
    "evidence",
    "correlation-header",
    "query-string",
    "redact",
    "route",
    "guess-routes",
    "service-name",
    "namespace-selector",
    "pod-selector",
    "exclude-namespace",
    "namespace-label",
    "namespace-annotation",
    "pod-label",
    "pod-annotation",
    "service-name-from-labels",
    "log",
];

impl Settings {
    /// Takes over what can change. Gives the names of what has another value in `new` and waits for a restart.
    pub fn adopt(&mut self, new: Self) -> Vec<String> {
        let mut waiting = self.otel.adopt(new.otel);
        self.selection = new.selection;
        self.instrumented = new.instrumented;
        self.exclude = new.exclude;
        self.evidence = new.evidence;
        self.correlation_headers = new.correlation_headers;
        self.query_string = new.query_string;
        self.redact = new.redact;
        self.routes = new.routes;
        self.guess_routes = new.guess_routes;
        self.service_names = new.service_names;
        self.kubernetes.rules = new.kubernetes.rules;
        self.log = new.log;
        self.warnings = new.warnings;
        for (own, entry) in self.entries.iter_mut().zip(new.entries) {
            if own.value == entry.value || LIVE.contains(&entry.name) {
                *own = entry;
            } else {
                waiting.push(entry.name.to_owned());
            }
        }
        waiting
    }
}
