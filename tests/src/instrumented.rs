//! Services that OpenTelemetry's own SDKs trace, whose spans arrive where the agent's do.
//!
//! In: a language, how its tracer comes to it, a receiver. Out: services that answer, and what of both is in the receiver.

use std::{collections::BTreeMap, fmt, fs};

use crate::{
    otlp::Collector,
    services::{Application, Program, Service, free_port},
    span::{Kind, Span},
};

/// A service's language.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    /// Node.js.
    Node,
    /// Python: Flask, a thread a request.
    Python,
}

/// How a tracer comes to a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tracer {
    /// The runtime loads it before the program.
    Loaded,
    /// The program loads it, which does not show from outside.
    InCode,
    /// There is none.
    None,
}

/// Starts a service of this name, which asks `next` for all that it is asked for.
///
/// # Panics
/// If it does not answer in time.
pub fn start(
    name: &str,
    language: Language,
    tracer: Tracer,
    next: Option<u16>,
    collector: &Collector,
    more: &[(&str, &str)],
) -> Service {
    let program = Program::find(
        Application::Instrumented,
        if language == Language::Node { "sdk-node" } else { "sdk-python" },
    );
    let mut environment: Vec<(&str, String)> = [
        ("OTEL_SERVICE_NAME", name),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
        ("OTEL_METRICS_EXPORTER", "none"),
        ("OTEL_LOGS_EXPORTER", "none"),
        ("OTEL_BSP_SCHEDULE_DELAY", "500"),
        ("OTEL_SEMCONV_STABILITY_OPT_IN", "http"),
        ("OTEL_NODE_RESOURCE_DETECTORS", "env"),
        ("OTEL_NODE_ENABLED_INSTRUMENTATIONS", "http"),
    ]
    .map(|(name, value)| (name, value.to_owned()))
    .into();
    environment.push(("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint()));
    environment.extend(next.map(|port| ("NEXT", format!("http://127.0.0.1:{port}"))));
    match (tracer, language) {
        (Tracer::Loaded, Language::Node) => {
            let module = "@opentelemetry/auto-instrumentations-node/register";
            environment.push(("NODE_OPTIONS", format!("--require {module}")));
        }
        (Tracer::Loaded, Language::Python) => environment.push(("PYTHONPATH", loader(&program))),
        (Tracer::InCode, _) => environment.push(("TRACER", "code".to_owned())),
        (Tracer::None, _) => {}
    }
    environment.extend(more.iter().map(|(name, value)| (*name, (*value).to_owned())));
    Service::start(&program, free_port(), &environment)
}

/// The folder that `opentelemetry-instrument`, and Kubernetes' operator, put into PYTHONPATH.
fn loader(program: &Program) -> String {
    let lib = program.executable().ancestors().nth(2).expect("a virtual environment").join("lib");
    let mut versions =
        fs::read_dir(&lib).expect("a virtual environment").filter_map(|entry| Some(entry.ok()?.path()));
    let packages = versions.next().expect("a virtual environment has packages").join("site-packages");
    packages.join("opentelemetry/instrumentation/auto_instrumentation").display().to_string()
}

/// Whether the agent made this span.
pub fn is_ours(span: &Span) -> bool {
    span.resource.get("telemetry.sdk.name").is_some_and(|name| name == "sockspan")
}

/// The spans of one request, found by its path.
pub struct Told<'a>(BTreeMap<(&'a str, Kind), Vec<&'a Span>>);

impl fmt::Debug for Told<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines = self
            .0
            .values()
            .flatten()
            .map(|span| (if is_ours(span) { "ours " } else { "SDK's" }, span.line()));
        f.debug_list().entries(lines).finish()
    }
}

impl<'a> Told<'a> {
    /// Of the spans that arrived, those for `path`.
    pub fn of(spans: &'a [Span], path: &str) -> Self {
        let mut told = Self(BTreeMap::new());
        for span in spans.iter().filter(|span| span.path() == path) {
            told.0.entry((span.service(), span.kind)).or_default().push(span);
        }
        told
    }

    /// How many spans tell of this end of the request.
    pub fn count(&self, service: &str, kind: Kind) -> usize {
        self.0.get(&(service, kind)).map_or(0, Vec::len)
    }

    /// The only span that tells of this end of the request.
    ///
    /// # Panics
    /// If there is none, or another.
    pub fn one(&self, service: &str, kind: Kind) -> &'a Span {
        match self.0.get(&(service, kind)).map(Vec::as_slice) {
            Some([span]) => span,
            other => panic!("{service} {kind:?} is told {} times: {self:#?}", other.map_or(0, <[_]>::len)),
        }
    }
}
