//! From layers to [`Settings`]: every setting is named, bounded and given its default here.

use super::{
    ADMIN_PORT, CORRELATION_HEADERS, Color, EXCLUDED_NAMESPACES, EXCLUDED_PATHS, EXCLUDED_USER_AGENTS, Entry,
    Error, Exclude, KERNEL_BTF, Kubernetes, Level, Probes, Problem, Selection, Settings, Treatment, Use, cli,
    file::{Document, NotYaml},
    layers::{File, Layers},
    otel::{self, Otel},
    source::hint,
    value::{Maybe, Size, Value},
};
use crate::kubernetes::{Chosen, Globs, Rules, Selector};
use clap::ArgMatches;
use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

impl Settings {
    /// All settings, or all problems.
    pub(super) fn resolve(
        flags: &ArgMatches,
        environment: &BTreeMap<String, String>,
        file: Option<&File>,
    ) -> Result<Self, Error> {
        let mut layers = Layers::new(flags, environment, file);
        let mut settings = Self::read(&mut layers);
        let Layers { entries, mut problems, warnings, .. } = layers;
        file.iter().for_each(|file| unknown_keys(file, &mut problems));
        settings.otel = Otel::collect(environment, file, &mut problems);
        if !problems.is_empty() {
            return Err(Error::Invalid(problems));
        }
        settings.entries = entries;
        settings.warnings = warnings;
        settings.warnings.extend(unknown_variables(environment));
        Ok(settings)
    }

    /// Each setting once, in the order in which they are shown.
    fn read(layers: &mut Layers<'_>) -> Self {
        let local = SocketAddr::from((Ipv4Addr::LOCALHOST, ADMIN_PORT));
        let time = Duration::from_secs;
        Self {
            selection: Selection {
                pids: layers.list("pid", &[]),
                exes: layers.list("exe", &[]),
                ports: layers.list("port", &[]),
                all: layers.one("all", false),
            },
            instrumented: layers.one("instrumented", Treatment::Leave),
            exclude: Exclude {
                paths: layers.list("exclude-path", &EXCLUDED_PATHS),
                user_agents: layers.list("exclude-user-agent", &EXCLUDED_USER_AGENTS),
            },
            kubernetes: kubernetes(layers),
            btf: layers.one("btf", KERNEL_BTF.into()),
            probes: layers.one("probes", Probes::Auto),
            uprobes: !layers.one("no-uprobes", false),
            no_hooks: layers.list("no-hooks", &[]),
            head_limit: narrow(layers.size("head-limit", 8 << 10, 256..=32 << 10)),
            ring_buffer: ring_buffer(layers),
            max_connections: narrow(layers.count("max-connections", 16_384, 16..=1 << 20)),
            max_processes: narrow(layers.count("max-processes", 4_096, 1..=1 << 16)),
            max_duration: layers.within("max-duration", time(300), &(time(1)..=time(86_400))),
            bpf_log: layers.one("bpf-log", Level::Off),
            evidence: layers.one("evidence", false),
            correlation_headers: layers.list("correlation-header", &CORRELATION_HEADERS),
            query_string: layers.one("query-string", false),
            redact: layers.list("redact", &[]),
            routes: layers.list("route", &[]),
            guess_routes: layers.one("guess-routes", false),
            service_names: layers.list("service-name", &[]),
            admin_address: layers.one("admin-address", Some(local)),
            console_width: layers.one("console-width", None),
            console_color: layers.one("console-color", Color::Auto),
            log: layers.one("log", Level::Info),
            warnings: Vec::new(),
            entries: Vec::new(),
            otel: Otel::default(),
        }
    }
}

fn kubernetes(layers: &mut Layers<'_>) -> Kubernetes {
    let used = layers.one("kubernetes", Use::Auto);
    let kubeconfig = layers.one("kubeconfig", Maybe::default()).0.map(PathBuf::from);
    let in_pod = layers.is_set("KUBERNETES_SERVICE_HOST");
    Kubernetes {
        enabled: used == Use::On || (used == Use::Auto && (in_pod || kubeconfig.is_some())),
        in_pod,
        kubeconfig,
        node: layers.one("node-name", Maybe::default()).0,
        rules: Rules {
            namespaces: layers.one("namespace-selector", Selector::default()),
            pods: layers.one("pod-selector", Selector::default()),
            excluded: Globs(layers.list("exclude-namespace", &EXCLUDED_NAMESPACES)),
            kin: Vec::new(),
            chosen: Chosen {
                namespace_labels: Globs(layers.list("namespace-label", &[])),
                pod_labels: Globs(layers.list("pod-label", &[])),
                namespace_annotations: Globs(layers.list("namespace-annotation", &[])),
                pod_annotations: Globs(layers.list("pod-annotation", &[])),
                service_labels: layers.one("service-name-from-labels", false),
            },
        },
    }
}

/// Every bound that is narrowed here is far below 4 GiB.
fn narrow(n: u64) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

/// The kernel takes powers of two that are whole pages.
fn ring_buffer(layers: &mut Layers<'_>) -> u32 {
    let asked = layers.size("ring-buffer", 8 << 20, 64 << 10..=1 << 30);
    let taken = asked.next_power_of_two();
    if taken != asked {
        let (asked, taken) = (Size(asked).show(), Size(taken).show());
        layers.amend(
            taken.clone(),
            format_args!("{asked} is rounded up to {taken}, the kernel takes powers of two"),
        );
    }
    narrow(taken)
}

/// All settings as they are where nobody said anything.
pub(super) fn defaults() -> Vec<Entry> {
    let (flags, environment) = (cli::no_flags(), BTreeMap::new());
    let mut layers = Layers::new(&flags, &environment, None);
    Settings::read(&mut layers);
    layers.entries
}

/// The file that the command line or else the environment names, and which of them does.
pub(super) fn named_file(
    flags: &ArgMatches,
    environment: &BTreeMap<String, String>,
) -> Option<(PathBuf, &'static str)> {
    let flag = flags.get_one::<PathBuf>("config").map(|path| (path.clone(), "--config"));
    let variable = || {
        let path = environment.get("SOCKSPAN_CONFIG").filter(|path| !path.trim().is_empty())?;
        Some((PathBuf::from(path), "SOCKSPAN_CONFIG"))
    };
    flag.or_else(variable)
}

/// That file, read and understood as YAML.
pub(super) fn read_file(
    flags: &ArgMatches,
    environment: &BTreeMap<String, String>,
) -> Result<Option<File>, Error> {
    let Some((path, named_by)) = named_file(flags, environment) else { return Ok(None) };
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(source) => return Err(Error::Unreadable { path, named_by, source }),
    };
    let document = Document::parse(&text).map_err(|NotYaml { line, message }| {
        Error::Invalid(vec![Problem(format!("{}:{line}: {message}", path.display()))])
    })?;
    Ok(Some(File { path: Arc::new(path), document }))
}

fn unknown_keys(file: &File, problems: &mut Vec<Problem>) {
    let mut known = cli::names();
    known.push(otel::KEY.to_owned());
    for (key, _) in file.document.0.iter().filter(|(key, _)| !known.contains(&key.text)) {
        let hint = match key.text.as_str() {
            name if name.starts_with("OTEL_") => format!("OTEL_* variables stand under `{}:`", otel::KEY),
            "config" => "a settings file can't name another".to_owned(),
            name => hint(name, known.iter().map(String::as_str)),
        };
        problems.push(Problem(format!(
            "{}:{}: unknown setting {}; {hint}",
            file.path.display(),
            key.line,
            key.text
        )));
    }
}

/// Warnings only: Kubernetes sets variables of this prefix where there is a Service named sockspan.
fn unknown_variables(environment: &BTreeMap<String, String>) -> Vec<String> {
    let names = cli::names();
    let known: Vec<String> = names.iter().map(|name| cli::variable(name)).collect();
    let by_kubernetes = |name: &str| {
        name.contains("_SERVICE_HOST") || name.contains("_SERVICE_PORT") || name.contains("_PORT_")
    };
    let unknown = environment.keys().filter(|name| {
        name.starts_with(cli::PREFIX)
            && *name != "SOCKSPAN_CONFIG"
            && !known.contains(name)
            && !by_kubernetes(name)
    });
    unknown
        .map(|name| {
            format!(
                "{name} is no setting and has no effect; {}",
                hint(name, known.iter().map(String::as_str))
            )
        })
        .collect()
}
