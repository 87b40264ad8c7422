//! Everything that can be set, in one [`Settings`] value that is parsed whole before anything starts.
//!
//! In: the command line, the environment and at most one YAML file, in this order of precedence. Out: a verb and
//! settings of which each remembers its source, or all problems at once, each with its place. Nothing here has an
//! effect on anything else; the environment is given, not read.

mod cli;
mod file;
mod layers;
mod live;
mod otel;
mod resolve;
mod show;
mod source;
#[cfg(test)]
mod tests;
mod value;

pub use self::{
    cli::Verb,
    layers::{Entry, Shown},
    live::LIVE,
    source::{Problem, Source},
    value::{Color, ExeGlob, HeaderName, Hooked, Level, Probes, ServiceName, TextGlob, Treatment, Use},
};

use self::{
    otel::Otel,
    resolve::{named_file, read_file},
    value::Value,
};
use crate::{
    kubernetes::Rules,
    span::{redact::Expression, route::Rule},
};
use clap::ArgMatches;
use std::{
    collections::BTreeMap,
    ffi::OsString,
    fmt, io,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

/// The admin port: S-O-C-K on a telephone's keys.
pub const ADMIN_PORT: u16 = 7625;
/// What is left out unless other rules are set: the paths of probes, of scrapes, and of spans themselves, which a traced
/// collector would otherwise send on as spans about spans, without end.
pub const EXCLUDED_PATHS: [&str; 6] = ["/healthz", "/readyz", "/livez", "/health", "/metrics", "/v1/traces"];
/// What is left out unless other rules are set: the user agents of probes and scrapes.
pub const EXCLUDED_USER_AGENTS: [&str; 2] = ["kube-probe/*", "Prometheus/*"];
/// The headers in which applications hand on the ids of requests, unless others are named.
pub const CORRELATION_HEADERS: [&str; 2] = ["x-request-id", "x-correlation-id"];
/// The namespaces that are left alone unless others are named: Kubernetes' own.
pub const EXCLUDED_NAMESPACES: [&str; 1] = ["kube-*"];
/// Who exports an agent's telemetry, here and on other nodes. Left out whatever the rules: a traced receiver's span of
/// an export would be exported itself.
const OWN_USER_AGENT: &str = "sockspan/";

/// Where a kernel that was built with `CONFIG_DEBUG_INFO_BTF` describes its types.
pub const KERNEL_BTF: &str = "/sys/kernel/btf/vmlinux";

/// What to do, and how.
#[derive(Clone, Debug)]
pub struct Invocation {
    /// What to do.
    pub verb: Verb,
    /// How.
    pub settings: Settings,
    /// What the settings were made from.
    pub origin: Origin,
}

/// What settings are made from besides the file, so that they can be made anew when the file has changed.
#[derive(Clone, Debug)]
pub struct Origin {
    verb: Verb,
    flags: ArgMatches,
    environment: BTreeMap<String, String>,
}

/// All settings.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `btf`: a file with the running kernel's type information.
    pub btf: PathBuf,
    /// `probes`: how sockets are read.
    pub probes: Probes,
    /// False by `no-uprobes`: the runtimes get no uprobes.
    pub uprobes: bool,
    /// `no-hooks`: the runtimes of these languages get none either.
    pub no_hooks: Vec<Hooked>,
    /// `pid`, `exe`, `port`, `all`.
    pub selection: Selection,
    /// `instrumented`: what becomes of processes with a tracer of their own.
    pub instrumented: Treatment,
    /// `exclude-path`, `exclude-user-agent`.
    pub exclude: Exclude,
    /// `kubernetes` and all that is about it.
    pub kubernetes: Kubernetes,
    /// `head-limit`, bytes.
    pub head_limit: u32,
    /// `ring-buffer`, bytes; a power of two.
    pub ring_buffer: u32,
    /// `max-connections`.
    pub max_connections: u32,
    /// `max-processes`.
    pub max_processes: u32,
    /// `max-duration`: the longest that an exchange may go unanswered.
    pub max_duration: Duration,
    /// `bpf-log`.
    pub bpf_log: Level,
    /// `evidence`: set `sockspan.parent.evidence`.
    pub evidence: bool,
    /// `correlation-header`: in which applications hand on the ids of requests.
    pub correlation_headers: Vec<HeaderName>,
    /// `query-string`: report it.
    pub query_string: bool,
    /// `redact`: what is replaced in paths and queries.
    pub redact: Vec<Expression>,
    /// `route`, in order.
    pub routes: Vec<Rule>,
    /// `guess-routes`.
    pub guess_routes: bool,
    /// `service-name`, in order.
    pub service_names: Vec<ServiceName>,
    /// `admin-address`; `None` is off.
    pub admin_address: Option<SocketAddr>,
    /// `console-width`, columns; `None` is the terminal's.
    pub console_width: Option<u16>,
    /// `console-color`.
    pub console_color: Color,
    /// `log`.
    pub log: Level,
    /// What is worth saying at the start: values that were not taken as written, variables that say nothing.
    pub warnings: Vec<String>,
    entries: Vec<Entry>,
    otel: Otel,
}

/// Which processes to trace; a process that any rule names is traced.
#[derive(Clone, Debug)]
pub struct Selection {
    /// Process ids.
    pub pids: Vec<u32>,
    /// Executables.
    pub exes: Vec<ExeGlob>,
    /// Listening ports.
    pub ports: Vec<u16>,
    /// Every process.
    pub all: bool,
}

/// What is said of Kubernetes.
#[derive(Clone, Debug)]
pub struct Kubernetes {
    /// Its API is used: by `kubernetes`, or because the agent runs in a pod.
    pub enabled: bool,
    /// The agent runs in a pod.
    pub in_pod: bool,
    /// `kubeconfig`, for an agent outside of a pod.
    pub kubeconfig: Option<PathBuf>,
    /// `node-name`.
    pub node: Option<String>,
    /// `namespace-selector`, `pod-selector`, `exclude-namespace`, and what becomes attributes; the namespaces that are
    /// left alone for what they are to the agent are not in it.
    pub rules: Rules,
}

/// Which requests to leave out.
#[derive(Clone, Debug)]
pub struct Exclude {
    /// By path.
    pub paths: Vec<TextGlob>,
    /// By user agent.
    pub user_agents: Vec<TextGlob>,
}

impl Exclude {
    /// The rule that leaves out a request for `target` (of whatever form; its path counts) by `user_agent`.
    pub fn rule(&self, target: &[u8], user_agent: Option<&[u8]>) -> Option<&str> {
        let path = crate::span::conventions::path(target);
        let by_path = self.paths.iter().find(|glob| glob.matches(path));
        let by_agent = || {
            let agent = user_agent?;
            self.user_agents.iter().find(|glob| glob.matches(agent))
        };
        let own = || {
            user_agent.filter(|agent| agent.starts_with(OWN_USER_AGENT.as_bytes())).map(|_| OWN_USER_AGENT)
        };
        own().or_else(|| by_path.or_else(by_agent).map(TextGlob::text))
    }
}

/// Why there are no settings.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The command line is not understood, or asked for help; clap's own words.
    #[error(transparent)]
    Usage(#[from] clap::Error),
    /// The settings file can't be read.
    #[error("can't read the settings file {} ({named_by}): {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What named it.
        named_by: &'static str,
        /// Why.
        source: io::Error,
    },
    /// What is not understood, one line each.
    #[error("{}", lines(.0))]
    Invalid(Vec<Problem>),
    /// A verb that traces, and nothing to trace.
    #[error(
        "no process is selected: name some by --pid PID, --exe GLOB or --port PORT, or take all of them by --all; \
         outside of a pod, --kubeconfig FILE selects this node's pods (also as SOCKSPAN_PID, … in the environment, or pid:, … in a file named by --config)"
    )]
    NothingSelected,
}

fn lines(problems: &[Problem]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

impl Invocation {
    /// Parses `args` (the program's name first) and `environment`, and reads the file that either names.
    ///
    /// # Errors
    /// All that is not understood; a verb that traces without anything selected.
    pub fn parse(
        args: impl IntoIterator<Item = OsString>,
        environment: &BTreeMap<String, String>,
    ) -> Result<Self, Error> {
        let (verb, flags) = cli::parse(args)?;
        let origin = Origin { verb: verb.clone(), flags, environment: environment.clone() };
        Ok(Self { verb, settings: origin.settings()?, origin })
    }

    /// [`Invocation::parse`] with this process's command line and environment. Variables that are not UTF-8 are not
    /// the agent's and are passed over.
    ///
    /// # Errors
    /// As [`Invocation::parse`].
    pub fn of_process() -> Result<Self, Error> {
        let text =
            |(name, value): (OsString, OsString)| Some((name.into_string().ok()?, value.into_string().ok()?));
        Self::parse(std::env::args_os(), &std::env::vars_os().filter_map(text).collect())
    }
}

impl Origin {
    /// The settings, by what the file says now.
    ///
    /// # Errors
    /// As [`Invocation::parse`].
    pub fn settings(&self) -> Result<Settings, Error> {
        let file = read_file(&self.flags, &self.environment)?;
        let settings = Settings::resolve(&self.flags, &self.environment, file.as_ref())?;
        if matches!(self.verb, Verb::Run | Verb::Record { .. })
            && settings.selection.is_empty()
            && !settings.kubernetes.enabled
        {
            return Err(Error::NothingSelected);
        }
        Ok(settings)
    }

    /// The settings file, if one is named.
    pub fn file(&self) -> Option<PathBuf> {
        named_file(&self.flags, &self.environment).map(|(path, _)| path)
    }
}

impl Settings {
    /// The value of an `OTEL_*` variable: the environment's, else the file's.
    pub fn otel(&self, name: &str) -> Option<String> {
        self.otel.get(name)
    }

    /// All settings with their values and sources, for people to read.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The `service.name` that is set for the executable at `path`.
    pub fn service_name(&self, path: &Path) -> Option<&str> {
        self.service_names.iter().find(|rule| rule.exe.matches(path)).map(|rule| rule.name.as_str())
    }
}

impl Selection {
    /// Nothing is selected.
    pub fn is_empty(&self) -> bool {
        self.pids.is_empty() && self.exes.is_empty() && self.ports.is_empty() && !self.all
    }
}

impl fmt::Display for Selection {
    /// As flags: `--pid 1,2 --exe node`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |name: &str, items: Vec<String>| {
            (!items.is_empty()).then(|| format!("--{name} {}", items.join(",")))
        };
        let rules = [
            list("pid", self.pids.iter().map(Value::show).collect()),
            list("exe", self.exes.iter().map(Value::show).collect()),
            list("port", self.ports.iter().map(Value::show).collect()),
            self.all.then(|| "--all".to_owned()),
        ];
        f.write_str(&rules.into_iter().flatten().collect::<Vec<_>>().join(" "))
    }
}
