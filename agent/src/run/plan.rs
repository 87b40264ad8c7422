//! What the settings and the standard variables come to, understood as a whole before anything starts.
//!
//! In: [`Settings`], whose `OTEL_*` variables are text. Out: a [`Plan`], or the first thing that is not understood. `run`
//! goes to work with it, `config` makes it to refuse what `run` would refuse.

use std::{path::Path, sync::Arc};

use anyhow::Context as _;

use crate::{
    export::{self, Counts, Exporter},
    metrics::otlp,
    process::{Host, Procfs, parse_attributes},
    sampler::Sampler,
    settings::Settings,
    span::conventions::KNOWN_METHODS,
};

use super::assemble;

const METHODS: &str = "OTEL_INSTRUMENTATION_HTTP_KNOWN_METHODS";
const ATTRIBUTES: &str = "OTEL_RESOURCE_ATTRIBUTES";

/// What the agent works by.
pub struct Plan {
    /// Where spans go.
    pub export: export::Settings,
    /// Which traces go there.
    pub sampler: Sampler,
    /// Resource attributes for everything that is traced.
    pub attributes: Vec<(String, String)>,
    /// The export of the agent's own metrics, if it is asked for.
    pub push: Option<otlp::Prepared>,
    /// The standard variables that are not set, each with what holds in its place.
    pub defaults: Vec<(&'static str, String)>,
}

impl Plan {
    /// Understands `settings`. Must be called within a tokio runtime. Nothing is sent.
    ///
    /// # Errors
    /// What is not understood, with its variable; files of the metrics' export that cannot be used.
    pub fn make(settings: &Settings) -> anyhow::Result<Self> {
        let lookup = |name: &str| settings.otel(name);
        let mut export = export::Settings::parse(lookup)?;
        export.console = assemble::console(settings);
        let sampler = Sampler::parse(lookup)?;
        let attributes = parse_attributes(&lookup(ATTRIBUTES).unwrap_or_default()).context(ATTRIBUTES)?;
        let procfs = Procfs::new("/proc").context("cannot read /proc")?;
        let push = otlp::prepare(lookup, &Host::read(&procfs, Path::new("/")))?;
        let defaults = defaults(settings, &export)?;
        Ok(Self { export, sampler, attributes, push, defaults })
    }
}

fn defaults(settings: &Settings, export: &export::Settings) -> anyhow::Result<Vec<(&'static str, String)>> {
    let lookup = |name: &str| settings.otel(name);
    let mut all = export.defaults(&|name| lookup(name).is_some());
    all.extend(Sampler::defaults(lookup));
    all.extend(otlp::defaults(lookup)?);
    if lookup(METHODS).is_none() {
        all.push((METHODS, KNOWN_METHODS.join(",")));
    }
    // The two signals have general variables in common.
    all.sort();
    all.dedup();
    Ok(all)
}

/// All settings in effect as YAML, each with its source.
///
/// # Errors
/// Whatever keeps [`super::run`] from its work for a setting's sake.
pub fn config(settings: &Settings) -> anyhow::Result<String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let _entered = runtime.enter();
    let plan = Plan::make(settings)?;
    // For the files that it reads; its task never runs, because nothing drives the runtime.
    Exporter::start(&plan.export, Arc::new(Counts::default()))?;
    Ok(settings.to_yaml(&plan.defaults))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{chain::chain, settings::Invocation};
    use std::{collections::BTreeMap, ffi::OsString};

    fn settings(variables: &[(&str, &str)], yaml: &str) -> Settings {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("settings.yaml");
        std::fs::write(&file, yaml).unwrap();
        let args = ["sockspan".into(), "config".into(), "--config".into(), OsString::from(file)];
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let environment: BTreeMap<_, _> = variables.iter().map(own).collect();
        Invocation::parse(args, &environment).unwrap().settings
    }

    fn error(variables: &[(&str, &str)]) -> String {
        chain(config(&settings(variables, "")).unwrap_err().as_ref())
    }

    #[test]
    fn what_run_refuses_config_refuses() {
        let metrics = ("OTEL_METRICS_EXPORTER", "otlp");
        let https = ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://localhost:4317");
        let table: [(&[(&str, &str)], &str); 9] = [
            (&[("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:port")], "OTEL_EXPORTER_OTLP_ENDPOINT=\"collector"),
            (&[("OTEL_TRACES_SAMPLER", "often")], "OTEL_TRACES_SAMPLER=\"often\" is not a sampler"),
            (&[("OTEL_BSP_MAX_QUEUE_SIZE", "many")], "OTEL_BSP_MAX_QUEUE_SIZE=\"many\": a whole number"),
            (&[("OTEL_RESOURCE_ATTRIBUTES", "team")], "OTEL_RESOURCE_ATTRIBUTES: resource attribute `team`"),
            (&[("OTEL_METRICS_EXPORTER", "prometheus")], "OTEL_METRICS_EXPORTER=\"prometheus\": accepted"),
            (
                &[metrics, ("OTEL_METRIC_EXPORT_INTERVAL", "1m")],
                "OTEL_METRIC_EXPORT_INTERVAL=\"1m\": a whole",
            ),
            (&[metrics, ("OTEL_EXPORTER_OTLP_METRICS_TIMEOUT", "1s")], "OTEL_EXPORTER_OTLP_METRICS_TIMEOUT="),
            (
                &[https, ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/none.pem")],
                "OTEL_EXPORTER_OTLP_CERTIFICATE: can't",
            ),
            (
                &[
                    ("OTEL_TRACES_EXPORTER", "none"),
                    metrics,
                    https,
                    ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/none.pem"),
                ],
                "OTEL_EXPORTER_OTLP_CERTIFICATE: can't read /none.pem: No such file or directory (os error 2)",
            ),
        ];
        for (variables, message) in table {
            let text = error(variables);
            assert!(text.starts_with(message) && text.matches("os error").count() <= 1, "{text}");
        }
    }

    #[test]
    fn every_standard_variable_in_effect_is_shown_with_its_source() {
        let variables = [("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"), ("OTEL_METRICS_EXPORTER", "otlp")];
        let printed = config(&settings(&variables, "otel:\n  OTEL_TRACES_SAMPLER: always_on\n")).unwrap();
        let lines = printed.lines().map(|l| l.split_whitespace().collect::<Vec<_>>().join(" "));
        let lines: Vec<_> = lines.collect();
        for line in [
            "OTEL_TRACES_EXPORTER: otlp # default",
            "OTEL_EXPORTER_OTLP_PROTOCOL: http/protobuf # environment",
            "OTEL_EXPORTER_OTLP_ENDPOINT: http://localhost:4318 # default",
            "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT: http://localhost:4318/v1/metrics # default",
            "OTEL_EXPORTER_OTLP_TIMEOUT: 10000 # default",
            "OTEL_BSP_MAX_QUEUE_SIZE: 2048 # default",
            "OTEL_METRIC_EXPORT_INTERVAL: 60000 # default",
            "OTEL_SERVICE_NAME: sockspan # default",
        ] {
            assert_eq!(lines.iter().filter(|l| *l == line).count(), 1, "{line:?} in\n{printed}");
        }
        let sampler = lines.iter().find(|line| line.starts_with("OTEL_TRACES_SAMPLER:")).unwrap();
        assert!(sampler.ends_with("settings.yaml:2"), "{sampler}");
    }

    /// Each way of leaving something out; what is printed must not change the outcome when it is read back.
    #[test]
    fn what_is_printed_reads_back_as_the_same_plan() {
        let metrics = ("OTEL_METRICS_EXPORTER", "otlp");
        let cases: [&[(&str, &str)]; 8] = [
            &[],
            &[("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")],
            &[metrics, ("OTEL_EXPORTER_OTLP_METRICS_PROTOCOL", "http/protobuf")],
            &[metrics, ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/protobuf")],
            &[
                metrics,
                ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:1/x"),
                ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
            ],
            &[("OTEL_TRACES_EXPORTER", "console"), ("OTEL_TRACES_SAMPLER", "traceidratio")],
            &[("OTEL_BSP_MAX_QUEUE_SIZE", "100"), ("OTEL_EXPORTER_OTLP_TIMEOUT", "0")],
            &[
                metrics,
                ("OTEL_RESOURCE_ATTRIBUTES", "service.name=a b,c=%20"),
                ("OTEL_TRACES_SAMPLER_ARG", "0.10"),
            ],
        ];
        for variables in cases {
            let first = settings(variables, "");
            let printed = config(&first).unwrap();
            let second = settings(&[], &printed);
            let outcome = |settings: &Settings| {
                let lookup = |name: &str| settings.otel(name);
                (
                    export::Settings::parse(lookup).unwrap(),
                    Sampler::parse(lookup).unwrap(),
                    export::Otlp::parse(export::Signal::Metrics, lookup).unwrap().endpoint,
                    lookup(ATTRIBUTES),
                )
            };
            let (a, b) = (outcome(&first), outcome(&second));
            // Metrics that are not sent go nowhere else.
            let sent = first.otel("OTEL_METRICS_EXPORTER").is_some();
            assert_eq!(
                (&a.0, &a.1, &a.3, sent.then_some(&a.2)),
                (&b.0, &b.1, &b.3, sent.then_some(&b.2)),
                "{printed}"
            );
            // Everything is set then, so nothing more is told.
            let names = |text: &str| text.lines().filter(|l| l.contains("OTEL_")).count();
            assert_eq!(names(&config(&second).unwrap()), names(&printed), "{printed}");
        }
    }

    #[test]
    fn secrets_are_neither_printed_nor_read_back() {
        let variables = [
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=hunter2"),
            ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://c/v1?key=hunter2"),
        ];
        let printed = config(&settings(&variables, "")).unwrap();
        assert!(!printed.contains("hunter2"), "{printed}");
        for line in ["  # OTEL_EXPORTER_OTLP_HEADERS: ", "  # OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: "] {
            assert!(printed.lines().any(|l| l.starts_with(line)), "{printed}");
        }
        let second = settings(&[], &printed);
        assert_eq!(second.otel("OTEL_EXPORTER_OTLP_HEADERS"), None);
        assert_eq!(second.otel("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"), None);
        config(&second).unwrap();
    }
}
