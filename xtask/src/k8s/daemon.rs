//! The daemons: how each is started, and whether it runs. Each has a cgroup of its own, which tells its processes.
//!
//! In: the node's namespaces, the files that `up` wrote. Out: processes that outlive this one, with their logs.

use std::{
    collections::BTreeSet,
    fs::{self, OpenOptions},
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use super::{
    cgroup::Group,
    layout::{self, API_PORT, NODE, NODE_IP, SERVICE_CIDR, state},
    node,
};
use crate::process;

/// The PATH of every daemon: runc, the shim and iptables are looked for.
pub const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A daemon of the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Daemon {
    /// Runs containers
    Containerd,
    /// Stores the API server's objects
    Etcd,
    /// Answers everybody's questions
    #[value(name = "kube-apiserver")]
    ApiServer,
    /// Turns deployments into pods
    #[value(name = "kube-controller-manager")]
    ControllerManager,
    /// Gives pods to nodes
    #[value(name = "kube-scheduler")]
    Scheduler,
    /// Runs the node's pods
    Kubelet,
    /// Makes Services' addresses work
    KubeProxy,
}

impl Daemon {
    /// In the order in which they are stopped: first who would start things anew.
    pub const ALL: [Self; 7] = [
        Self::Kubelet,
        Self::KubeProxy,
        Self::Scheduler,
        Self::ControllerManager,
        Self::ApiServer,
        Self::Etcd,
        Self::Containerd,
    ];

    /// Its program's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Containerd => "containerd",
            Self::Etcd => "etcd",
            Self::ApiServer => "kube-apiserver",
            Self::ControllerManager => "kube-controller-manager",
            Self::Scheduler => "kube-scheduler",
            Self::Kubelet => "kubelet",
            Self::KubeProxy => "kube-proxy",
        }
    }

    /// Its own processes; the shims that containerd started live beside it and are none.
    pub fn processes(self) -> BTreeSet<i32> {
        let mut found = Group::daemon(self.name()).processes();
        found.retain(|pid| !name_of(*pid).is_some_and(|name| name.starts_with("containerd-shim")));
        found
    }

    /// Whether it runs.
    pub fn running(self) -> bool {
        !self.processes().is_empty()
    }

    /// Starts it on the node, its output at the end of its log.
    pub fn start(self) -> Result<()> {
        if self.running() {
            bail!("{} is already running", self.name());
        }
        let program = layout::program(self.name());
        let mut command = node::enter()?;
        command.arg(program).args(self.arguments());
        spawn(self.name(), &command)
    }

    /// Ends it: SIGTERM, after 10 s SIGKILL.
    pub fn stop(self) -> Result<()> {
        let started = Instant::now();
        let signal = |signal| {
            for pid in self.processes() {
                let _ = kill(Pid::from_raw(pid), signal);
            }
        };
        signal(Signal::SIGTERM);
        while self.running() {
            let waited = started.elapsed();
            if waited > Duration::from_secs(15) {
                bail!("{} did not end", self.name());
            }
            if waited > Duration::from_secs(10) {
                signal(Signal::SIGKILL);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    fn arguments(self) -> Vec<String> {
        let path = |name: &str| state(name).display().to_string();
        let kubeconfig = format!("--kubeconfig={}", layout::admin_kubeconfig().display());
        let local = ["--leader-elect=false", "--bind-address=127.0.0.1"].map(str::to_owned);
        match self {
            Self::Containerd => vec!["--config".to_owned(), path("containerd.toml")],
            Self::Etcd => ["--data-dir", &path("etcd"), "--unsafe-no-fsync", "--log-level", "warn"]
                .map(str::to_owned)
                .into(),
            Self::ApiServer => api_server(),
            Self::ControllerManager => {
                let own = [
                    kubeconfig,
                    format!("--cert-dir={}", path("pki")),
                    format!("--service-account-private-key-file={}", path("pki/sa.key")),
                    format!("--root-ca-file={}", path("pki/ca.crt")),
                    format!("--cluster-signing-cert-file={}", path("pki/ca.crt")),
                    format!("--cluster-signing-key-file={}", path("pki/ca.key")),
                    "--use-service-account-credentials=true".to_owned(),
                ];
                own.into_iter().chain(local).collect()
            }
            Self::Scheduler => {
                [kubeconfig, format!("--cert-dir={}", path("pki"))].into_iter().chain(local).collect()
            }
            Self::Kubelet => vec![
                format!("--config={}", path("kubelet.yaml")),
                format!("--kubeconfig={}", path("node.kubeconfig")),
                format!("--hostname-override={NODE}"),
                format!("--node-ip={NODE_IP}"),
            ],
            Self::KubeProxy => vec![format!("--config={}", path("kube-proxy.yaml"))],
        }
    }
}

fn api_server() -> Vec<String> {
    let pki = |name: &str| state("pki").join(name).display().to_string();
    let files = [
        ("cert-dir", state("pki").display().to_string()),
        ("tls-cert-file", pki("apiserver.crt")),
        ("tls-private-key-file", pki("apiserver.key")),
        ("client-ca-file", pki("ca.crt")),
        ("kubelet-client-certificate", pki("admin.crt")),
        ("kubelet-client-key", pki("admin.key")),
        ("kubelet-certificate-authority", pki("ca.crt")),
        ("service-account-key-file", pki("sa.pub")),
        ("service-account-signing-key-file", pki("sa.key")),
        ("audit-policy-file", state("audit.yaml").display().to_string()),
        ("audit-log-path", layout::log("audit").display().to_string()),
    ];
    let port = API_PORT.to_string();
    let values = [
        ("etcd-servers", "http://127.0.0.1:2379"),
        ("bind-address", "0.0.0.0"),
        ("secure-port", &port),
        ("advertise-address", NODE_IP),
        ("kubelet-preferred-address-types", "InternalIP"),
        ("service-account-issuer", "https://kubernetes.default.svc.cluster.local"),
        ("service-cluster-ip-range", SERVICE_CIDR),
        ("authorization-mode", "Node,RBAC"),
        ("enable-admission-plugins", "NodeRestriction"),
        ("allow-privileged", "true"),
        ("audit-log-maxsize", "200"),
        ("audit-log-maxbackup", "2"),
    ];
    let files = files.iter().map(|(flag, value)| format!("--{flag}={value}"));
    files.chain(values.iter().map(|(flag, value)| format!("--{flag}={value}"))).collect()
}

/// Starts `command` in the cgroup of `name`, so that it outlives us, and in a session of its own, so that no key on
/// our terminal reaches it.
pub fn spawn(name: &str, command: &Command) -> Result<()> {
    /// The shell enters the group, then forks: when it has ended, the child is inside. Files that we were started with
    /// stay behind: a lock or a pipe of somebody's must not live as long as the cluster.
    const ENTER: &str = r#"for file in /proc/$$/fd/*; do
  number=${file##*/}
  if [ "$number" -gt 2 ]; then eval "exec $number>&-"; fi
done
for folder in $FOLDERS; do echo $$ > "$folder/cgroup.procs" || exit 1; done
unset FOLDERS
exec setsid --fork "$@""#;
    let group = Group::daemon(name);
    group.create()?;
    let folders: Vec<_> = group.folders().iter().map(|f| f.display().to_string()).collect();
    let log = layout::log(name);
    fs::create_dir_all(log.parent().unwrap_or(Path::new("/")))?;
    let file = OpenOptions::new().create(true).append(true).open(&log);
    let file = file.with_context(|| format!("cannot write {}", log.display()))?;
    let mut shell = Command::new("bash");
    // Other shells close no file with a number above nine.
    shell.args(["-c", ENTER, "bash"]).arg(command.get_program()).args(command.get_args());
    // Nothing of what cargo or a person's shell has set is a daemon's business, proxies above all.
    shell.env_clear().env("PATH", PATH).env("HOME", "/root").env("FOLDERS", folders.join(" "));
    shell.current_dir("/").stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
    let status = shell.status().context("cannot start a shell")?;
    if status.success() { Ok(()) } else { bail!("cannot start {name}; {}", crate::ui::excerpt(&log)) }
}

/// The base name of a process's executable.
fn name_of(pid: i32) -> Option<String> {
    let path = fs::read_link(format!("/proc/{pid}/exe")).ok()?;
    Some(path.file_name()?.to_string_lossy().into_owned())
}

/// Waits until `done` says so; what ends meanwhile of `needed` is an error that shows its log.
pub fn wait(what: &str, limit: Duration, needed: &[Daemon], mut done: impl FnMut() -> bool) -> Result<()> {
    let started = Instant::now();
    while !done() {
        process::check_interrupted()?;
        if let Some(daemon) = needed.iter().find(|daemon| !daemon.running()) {
            bail!("{} ended; {}", daemon.name(), crate::ui::excerpt(&layout::log(daemon.name())));
        }
        if started.elapsed() > limit {
            let logs = needed.iter().map(|d| crate::ui::excerpt(&layout::log(d.name()))).collect::<Vec<_>>();
            bail!("{what}: not after {}; {}", crate::ui::seconds(limit), logs.join("\n"));
        }
        process::sleep(Duration::from_millis(100));
    }
    Ok(())
}
