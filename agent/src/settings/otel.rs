//! The standard `OTEL_*` variables: from the environment, or from the file's `otel:` map where it has none.
//!
//! What they mean is decided by those who use them; here they are only looked up, and shown without secrets.

use super::{
    file::Node,
    layers::File,
    source::{Problem, Source, nearest},
};
use std::{collections::BTreeMap, sync::Arc};

/// What is shown instead of a secret.
const HIDDEN: &str = "[redacted]";

/// The key of the map in the file.
pub(super) const KEY: &str = "otel";

/// The variables that the agent reads.
pub(super) const KNOWN: &[&str] = &[
    "OTEL_BSP_EXPORT_TIMEOUT",
    "OTEL_BSP_MAX_EXPORT_BATCH_SIZE",
    "OTEL_BSP_MAX_QUEUE_SIZE",
    "OTEL_BSP_SCHEDULE_DELAY",
    "OTEL_EXPORTER_OTLP_CERTIFICATE",
    "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE",
    "OTEL_EXPORTER_OTLP_CLIENT_KEY",
    "OTEL_EXPORTER_OTLP_COMPRESSION",
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "OTEL_EXPORTER_OTLP_HEADERS",
    "OTEL_EXPORTER_OTLP_INSECURE",
    "OTEL_EXPORTER_OTLP_METRICS_CERTIFICATE",
    "OTEL_EXPORTER_OTLP_METRICS_CLIENT_CERTIFICATE",
    "OTEL_EXPORTER_OTLP_METRICS_CLIENT_KEY",
    "OTEL_EXPORTER_OTLP_METRICS_COMPRESSION",
    "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT",
    "OTEL_EXPORTER_OTLP_METRICS_HEADERS",
    "OTEL_EXPORTER_OTLP_METRICS_INSECURE",
    "OTEL_EXPORTER_OTLP_METRICS_PROTOCOL",
    "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE",
    "OTEL_EXPORTER_OTLP_METRICS_TIMEOUT",
    "OTEL_EXPORTER_OTLP_PROTOCOL",
    "OTEL_EXPORTER_OTLP_TIMEOUT",
    "OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE",
    "OTEL_EXPORTER_OTLP_TRACES_CLIENT_CERTIFICATE",
    "OTEL_EXPORTER_OTLP_TRACES_CLIENT_KEY",
    "OTEL_EXPORTER_OTLP_TRACES_COMPRESSION",
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
    "OTEL_EXPORTER_OTLP_TRACES_HEADERS",
    "OTEL_EXPORTER_OTLP_TRACES_INSECURE",
    "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL",
    "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT",
    "OTEL_INSTRUMENTATION_HTTP_KNOWN_METHODS",
    "OTEL_METRICS_EXPORTER",
    "OTEL_METRIC_EXPORT_INTERVAL",
    "OTEL_RESOURCE_ATTRIBUTES",
    "OTEL_SERVICE_NAME",
    "OTEL_TRACES_EXPORTER",
    "OTEL_TRACES_SAMPLER",
    "OTEL_TRACES_SAMPLER_ARG",
];

/// The variables that are set, with their sources.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Otel(BTreeMap<String, (String, Source)>);

impl Otel {
    /// Collects them; `environment` wins. An empty value counts as unset.
    pub(super) fn collect(
        environment: &BTreeMap<String, String>,
        file: Option<&File>,
        problems: &mut Vec<Problem>,
    ) -> Self {
        let mut all = file.map(|file| from_file(file, problems)).unwrap_or_default();
        let set =
            environment.iter().filter(|(name, value)| name.starts_with("OTEL_") && !value.trim().is_empty());
        all.extend(set.map(|(name, value)| (name.clone(), (value.clone(), Source::Environment))));
        refuse_redacted(&all, problems);
        Self(all)
    }

    pub(super) fn get(&self, name: &str) -> Option<String> {
        self.0.get(name).map(|(value, _)| value.clone())
    }

    /// Takes over where in a changed file the values stand. Gives the names of those that `new` has otherwise.
    pub(super) fn adopt(&mut self, mut new: Self) -> Vec<String> {
        let mut waiting = Vec::new();
        for (name, (value, source)) in &mut self.0 {
            match new.0.remove(name) {
                Some((same, now)) if same == *value => *source = now,
                _ => waiting.push(name.clone()),
            }
        }
        waiting.extend(new.0.into_keys());
        waiting
    }

    /// Those that the agent reads, without secrets, and `defaults`, which are not set; sorted by name.
    pub(super) fn shown<'a>(&'a self, defaults: &'a [(&'static str, String)]) -> Vec<Variable<'a>> {
        let known = self.0.iter().filter(|(name, _)| KNOWN.contains(&name.as_str()));
        let set = known.map(|(name, (text, source))| {
            let value = redact(name, text);
            Variable { name, redacted: value != *text, value, source: source.clone() }
        });
        let unset = defaults.iter().map(|(name, value)| Variable {
            name,
            redacted: false,
            value: value.clone(),
            source: Source::Default,
        });
        let mut all: Vec<_> = set.chain(unset).collect();
        all.sort_by_key(|variable| variable.name);
        all
    }
}

/// A variable for people to read.
pub(super) struct Variable<'a> {
    pub name: &'a str,
    /// Without secrets.
    pub value: String,
    /// It holds a secret.
    pub redacted: bool,
    pub source: Source,
}

/// What was shown instead of a secret is not taken for one.
fn refuse_redacted(all: &BTreeMap<String, (String, Source)>, problems: &mut Vec<Problem>) {
    let known =
        all.iter().filter(|(name, (text, _))| KNOWN.contains(&name.as_str()) && text.contains(HIDDEN));
    problems.extend(known.map(|(name, (_, source))| {
        Problem(format!(
            "{source}: {name}: {HIDDEN} stands for a secret that `sockspan config` does not print; write the secret itself"
        ))
    }));
}

fn from_file(file: &File, problems: &mut Vec<Problem>) -> BTreeMap<String, (String, Source)> {
    let place = |line| Source::File { path: Arc::clone(&file.path), line };
    let Some((key, node)) = file.document.0.iter().find(|(key, _)| key.text == KEY) else {
        return BTreeMap::new();
    };
    let pairs = match node {
        Node::Nothing => return BTreeMap::new(),
        Node::Map(pairs) => pairs,
        Node::One(_) | Node::Many(_) => {
            let message = "a map of OTEL_* variables is expected, such as `OTEL_TRACES_EXPORTER: console`";
            problems.push(Problem(format!("{}: {KEY}: {message}", place(key.line))));
            return BTreeMap::new();
        }
    };
    let mut all = BTreeMap::new();
    for (name, value) in pairs {
        if !KNOWN.contains(&name.text.as_str()) {
            let hint = nearest(&name.text, KNOWN.iter().copied()).map_or_else(
                || "the agent reads no such variable".into(),
                |near| format!("did you mean {near}?"),
            );
            problems.push(Problem(format!(
                "{}: {KEY}: unknown variable {}; {hint}",
                place(name.line),
                name.text
            )));
        } else if !value.text.trim().is_empty() {
            all.insert(name.text.clone(), (value.text.clone(), place(value.line)));
        }
    }
    all
}

/// Hides the values of headers, and what endpoints hide before an `@` or after a `?`.
fn redact(name: &str, value: &str) -> String {
    if name.ends_with("_HEADERS") {
        let names = value.split(',').map(|member| match member.split_once('=') {
            Some((name, _)) => format!("{}={HIDDEN}", name.trim()),
            None => HIDDEN.to_owned(),
        });
        return names.collect::<Vec<_>>().join(",");
    }
    if !name.ends_with("_ENDPOINT") {
        return value.to_owned();
    }
    let (value, query) = value.split_once('?').map_or((value, ""), |(url, _)| (url, "?[redacted]"));
    let (scheme, rest) = value.split_once("://").map_or(("", value), |(scheme, rest)| (scheme, rest));
    let separator = if scheme.is_empty() { "" } else { "://" };
    match rest.rsplit_once('@') {
        Some((_, host)) => format!("{scheme}{separator}{HIDDEN}@{host}{query}"),
        None => format!("{value}{query}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_not_shown() {
        let table = [
            (
                "OTEL_EXPORTER_OTLP_HEADERS",
                "authorization=Bearer x,k=v,odd",
                "authorization=[redacted],k=[redacted],[redacted]",
            ),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://u:p@host:4318/x", "https://[redacted]@host:4318/x"),
            ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "https://host/v1?key=s", "https://host/v1?[redacted]"),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "u@host:4317", "[redacted]@host:4317"),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://localhost:4317", "http://localhost:4317"),
            ("OTEL_RESOURCE_ATTRIBUTES", "a=b@c", "a=b@c"),
        ];
        for (name, value, shown) in table {
            assert_eq!(redact(name, value), shown);
        }
    }

    #[test]
    fn known_variables_are_sorted_and_there_once() {
        assert!(KNOWN.is_sorted_by(|a, b| a < b));
    }
}
