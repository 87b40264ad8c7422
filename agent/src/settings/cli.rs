//! The command line: verbs, and one flag for each setting.
//!
//! A flag's long name is the setting's name everywhere: `--ring-buffer`, `SOCKSPAN_RING_BUFFER`, `ring-buffer:`.
//! Values are taken as text; [`super::layers`] parses them by the same rules as those of the other layers.

use clap::{ArgMatches, Args, CommandFactory, FromArgMatches, Parser, Subcommand};
use std::{ffi::OsString, path::PathBuf};

/// The settings' prefix in the environment.
pub(super) const PREFIX: &str = "SOCKSPAN_";

/// What the agent is to do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Subcommand)]
pub enum Verb {
    /// Trace the selected processes (the default)
    #[default]
    Run,
    /// Check what the kernel and the privileges allow, with a cure for what is missing
    Preflight {
        /// Print the checks as JSON
        #[arg(long)]
        json: bool,
    },
    /// Print all settings in effect and where each comes from, or refuse them as `run` would
    Config,
    /// Write the kernel's events to a file instead of making spans of them
    Record {
        /// The file to make, for its owner alone; or a pipe or device
        file: PathBuf,
    },
    /// Make spans of the events in a file that `record` wrote
    Replay {
        /// The file to read
        file: PathBuf,
    },
}

/// sockspan: sockets in, spans out. Traces of HTTP services that nobody instrumented.
#[derive(Debug, Parser)]
#[command(name = "sockspan", version, disable_help_subcommand = true, after_help = AFTER)]
struct Cli {
    #[command(subcommand)]
    verb: Option<Verb>,
    #[command(flatten)]
    flags: Flags,
}

const AFTER: &str = "Where spans go is said by the standard OTEL_* variables, such as OTEL_EXPORTER_OTLP_ENDPOINT and \
                     OTEL_TRACES_SAMPLER, or by `otel:` in the settings file.\n\n\
                     Example: sudo OTEL_TRACES_EXPORTER=console sockspan --exe node --port 8080";

/// One flag for each setting.
#[derive(Debug, Args)]
pub(super) struct Flags {
    /// Read settings from this YAML file, and again when it changes or at SIGHUP
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,

    /// Trace these processes and what they start
    #[arg(long, global = true, value_name = "PID,…", help_heading = "Selection")]
    pid: Vec<String>,
    /// Trace processes whose executable matches: by its path if the glob has a slash, else by its base name
    #[arg(long, global = true, value_name = "GLOB,…", help_heading = "Selection")]
    exe: Vec<String>,
    /// Trace processes that listen on these ports
    #[arg(long, global = true, value_name = "PORT,…", help_heading = "Selection")]
    port: Vec<String>,
    /// Trace every process but the agent
    #[arg(long, global = true, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true",
          require_equals = true, help_heading = "Selection")]
    all: Option<String>,
    /// Processes that a tracer of their own, such as OpenTelemetry's SDK, traces already: leave them alone, or trace them
    #[arg(long, global = true, value_name = "leave|trace", help_heading = "Selection")]
    instrumented: Option<String>,
    /// Leave out requests for these paths (globs); replaces the default list
    #[arg(long, global = true, value_name = "GLOB,…", help_heading = "Selection")]
    exclude_path: Vec<String>,
    /// Leave out requests by these user agents (globs); replaces the default list
    #[arg(long, global = true, value_name = "GLOB,…", help_heading = "Selection")]
    exclude_user_agent: Vec<String>,

    /// Whether the Kubernetes API is used: auto (in a pod, or with --kubeconfig), on or off
    #[arg(long, global = true, value_name = "WHEN", help_heading = "Kubernetes")]
    kubernetes: Option<String>,
    /// How to reach the Kubernetes API from outside of a pod
    #[arg(long, global = true, value_name = "FILE", help_heading = "Kubernetes")]
    kubeconfig: Option<String>,
    /// The node that the agent runs on; outside of a pod the host name if it is not set
    #[arg(long, global = true, value_name = "NAME", help_heading = "Kubernetes")]
    node_name: Option<String>,
    /// Trace pods in namespaces whose labels match
    #[arg(long, global = true, value_name = "SELECTOR", help_heading = "Kubernetes")]
    namespace_selector: Option<String>,
    /// Trace pods whose labels match
    #[arg(long, global = true, value_name = "SELECTOR", help_heading = "Kubernetes")]
    pod_selector: Option<String>,
    /// Leave alone the pods of these namespaces; replaces the default list. The agent's own and that of the OTLP
    /// endpoint's Service always are
    #[arg(long, global = true, value_name = "GLOB,…", help_heading = "Kubernetes")]
    exclude_namespace: Vec<String>,
    /// Labels of the namespace that become attributes, k8s.namespace.label.KEY
    #[arg(long, global = true, value_name = "GLOB,…", help_heading = "Kubernetes")]
    namespace_label: Vec<String>,
    /// Labels of the pod that become attributes, k8s.pod.label.KEY
    #[arg(long, global = true, value_name = "GLOB,…", help_heading = "Kubernetes")]
    pod_label: Vec<String>,
    /// Annotations of the namespace that become attributes, k8s.namespace.annotation.KEY
    #[arg(long, global = true, value_name = "GLOB,…", help_heading = "Kubernetes")]
    namespace_annotation: Vec<String>,
    /// Annotations of the pod that become attributes, k8s.pod.annotation.KEY
    #[arg(long, global = true, value_name = "GLOB,…", help_heading = "Kubernetes")]
    pod_annotation: Vec<String>,
    /// Take service.name and service.version from the pod's labels app.kubernetes.io/instance, name and version
    #[arg(long, global = true, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true",
          require_equals = true, help_heading = "Kubernetes")]
    service_name_from_labels: Option<String>,

    /// Type information of the running kernel (BTF), for kernels built without CONFIG_DEBUG_INFO_BTF
    #[arg(long, global = true, value_name = "FILE", help_heading = "Capture")]
    btf: Option<String>,
    /// How to read sockets: auto, sock or syscalls
    #[arg(long, global = true, value_name = "WAY", help_heading = "Capture")]
    probes: Option<String>,
    /// Do without uprobes, the hooks in Node.js, Python, Go and Java; what these do for a request is then linked to it by header or
    /// request id only, but for threads that serve one request at a time, of Python (a pool's not) and a JVM without event loops
    #[arg(long, global = true, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true",
          require_equals = true, help_heading = "Capture")]
    no_uprobes: Option<String>,
    /// Do without hooks in these runtimes: nodejs, python, go, java
    #[arg(long, global = true, value_name = "LANGUAGE,…", help_heading = "Capture")]
    no_hooks: Vec<String>,
    /// The most bytes of a message's head that are read
    #[arg(long, global = true, value_name = "SIZE", help_heading = "Capture")]
    head_limit: Option<String>,
    /// Memory between kernel and agent; rounded up to a power of two
    #[arg(long, global = true, value_name = "SIZE", help_heading = "Capture")]
    ring_buffer: Option<String>,
    /// The most connections that are followed at a time
    #[arg(long, global = true, value_name = "COUNT", help_heading = "Capture")]
    max_connections: Option<String>,
    /// The most processes that are traced at a time
    #[arg(long, global = true, value_name = "COUNT", help_heading = "Capture")]
    max_processes: Option<String>,
    /// End an exchange that is not answered for so long
    #[arg(long, global = true, value_name = "TIME", help_heading = "Capture")]
    max_duration: Option<String>,
    /// What the kernel programs say of themselves: off, error, warn, info, debug or trace
    #[arg(long, global = true, value_name = "LEVEL", help_heading = "Capture")]
    bpf_log: Option<String>,

    /// Set sockspan.parent.evidence: on what a span's parent is known
    #[arg(long, global = true, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true",
          require_equals = true, help_heading = "Spans")]
    evidence: Option<String>,
    /// Headers in which applications hand on the ids of requests: a call belongs to the one request that brought the same
    /// value. Replaces the default list
    #[arg(long, global = true, value_name = "NAME,…", help_heading = "Spans")]
    correlation_header: Vec<String>,
    /// Report query strings; they often hold secrets
    #[arg(long, global = true, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true",
          require_equals = true, help_heading = "Spans")]
    query_string: Option<String>,
    /// Replace what this regular expression (its groups, if it has some) matches in paths and queries by REDACTED; may
    /// be given several times
    #[arg(long, global = true, value_name = "REGEX", help_heading = "Spans")]
    redact: Vec<String>,
    /// Routes that name spans, such as /products/:id; the first that matches wins
    #[arg(long, global = true, value_name = "ROUTE,…", help_heading = "Spans")]
    route: Vec<String>,
    /// Infer routes from paths where no --route matches, a bounded number for each service
    #[arg(long, global = true, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true",
          require_equals = true, help_heading = "Spans")]
    guess_routes: Option<String>,
    /// service.name by executable, before all other rules
    #[arg(long, global = true, value_name = "GLOB=NAME,…", help_heading = "Spans")]
    service_name: Vec<String>,

    /// Where /healthz, /readyz, /status and /metrics are served, or off
    #[arg(long, global = true, value_name = "IP:PORT", help_heading = "Agent")]
    admin_address: Option<String>,
    /// Columns of the console exporter's waterfalls, or auto
    #[arg(long, global = true, value_name = "COLUMNS", help_heading = "Agent")]
    console_width: Option<String>,
    /// Colours of the console exporter: auto, always or never
    #[arg(long, global = true, value_name = "WHEN", help_heading = "Agent")]
    console_color: Option<String>,
    /// The agent's own log: off, error, warn, info, debug or trace
    #[arg(long, global = true, value_name = "LEVEL", help_heading = "Agent")]
    log: Option<String>,
}

/// The environment's name of a setting.
pub(super) fn variable(name: &str) -> String {
    format!("{PREFIX}{}", name.replace('-', "_").to_ascii_uppercase())
}

/// The identifier under which clap keeps a setting's flag.
pub(super) fn id(name: &str) -> String {
    name.replace('-', "_")
}

/// The names of all settings, as flags and the file have them, `config` left out.
pub(super) fn names() -> Vec<String> {
    let flags = Flags::augment_args(clap::Command::new("sockspan"));
    let names = flags.get_arguments().filter_map(|arg| arg.get_long()).filter(|name| *name != "config");
    names.map(str::to_owned).collect()
}

/// The parser; each flag's help names its default and its variable.
pub(super) fn command() -> clap::Command {
    let defaults = super::resolve::defaults();
    Cli::command().mut_args(|arg| {
        let Some(name) = arg.get_long().filter(|name| !matches!(*name, "help" | "version")) else {
            return arg;
        };
        let default =
            defaults.iter().find(|entry| entry.name == name).and_then(|entry| entry.value.in_help());
        let default = default.map_or(String::new(), |value| format!(" [default: {value}]"));
        let help =
            format!("{}{default} [env: {}]", arg.get_help().cloned().unwrap_or_default(), variable(name));
        arg.help(help)
    })
}

/// A command line that sets nothing.
pub(super) fn no_flags() -> ArgMatches {
    Flags::augment_args(clap::Command::new("sockspan")).get_matches_from(["sockspan"])
}

/// Parses the command line, the program's name first.
///
/// # Errors
/// What clap has to say; help and version are such errors too.
pub(super) fn parse(args: impl IntoIterator<Item = OsString>) -> Result<(Verb, ArgMatches), clap::Error> {
    let matches = command().try_get_matches_from(args)?;
    let cli = Cli::from_arg_matches(&matches)?;
    let _ = cli.flags;
    Ok((cli.verb.unwrap_or_default(), matches))
}
