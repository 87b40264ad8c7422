//! `cargo xtask k8s up`: a cluster of one node on this machine.
//!
//! In: built programs, made images. Out: an API server that answers, a node that is ready, a DNS that serves, with
//! everything it writes below one folder and everything it runs in one cgroup.

use std::{
    fs,
    net::{SocketAddr, TcpStream},
    os::unix::fs::symlink,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow};

use super::{
    binaries::{self, Programs},
    cgroup::Group,
    config,
    daemon::{self, Daemon},
    down, image, kubeconfig, kubectl,
    layout::{self, API_PORT, NODE, NODE_IP, state},
    node, pki, preflight, status, store, sysctl,
};
use crate::{
    process,
    ui::{self, Step},
    workspace,
};

const COREDNS: &str = include_str!("manifests/coredns.yaml");

/// What goes with the cluster.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Only the images that the cluster itself needs.
    pub without_images: bool,
}

/// Brings it up; if it is up, brings its images up to date.
pub fn run(options: Options) -> Result<()> {
    announce(options);
    preflight::ensure()?;
    let programs = binaries::ensure()?;
    let archives = archives(&programs, options)?;
    // Not before: builds take minutes, and have locks of their own.
    let _lock = down::lock()?;
    let started = Instant::now();
    if status::up() {
        let given = store::import(&archives)?;
        let images =
            if given.is_empty() { String::new() } else { format!("; new images: {}", given.join(", ")) };
        ui::heading(format!("the cluster is already up{images}"));
    } else {
        if down::anything_left() {
            ui::say("something of a cluster that is not whole is here: it goes first");
            down::run_locked()?;
        }
        start(&programs, &archives).context(
            "the cluster is not up; its logs are in /var/lib/sockspan-k8s/log, `cargo xtask k8s down` removes what is there",
        )?;
        ui::heading(format!("the cluster is up ({})", ui::seconds(started.elapsed())));
    }
    ui::say(format!("export KUBECONFIG={}", layout::admin_kubeconfig().display()));
    ui::say(format!("export PATH={}:$PATH   # kubectl {}", state("bin").display(), binaries::KUBERNETES));
    Ok(())
}

/// Says what will be installed or built before anything is.
fn announce(options: Options) {
    let images = if options.without_images { Vec::new() } else { image::missing() };
    let missing = [preflight::missing(), images].concat();
    if !missing.is_empty() {
        ui::say(format!("will install or build first (cache: {}):", workspace::cache().display()));
        missing.iter().for_each(|what| ui::say(format!("  {what}")));
    }
}

fn archives(programs: &Programs, options: Options) -> Result<Vec<image::Archive>> {
    let mut sets = vec![image::system(programs)?];
    if !options.without_images {
        sets.extend(image::all()?);
    }
    sets.iter().map(image::Set::archive).collect()
}

fn start(programs: &Programs, archives: &[image::Archive]) -> Result<()> {
    Step::run("making the node", |_| {
        prepare(programs)?;
        node::create()
    })?;
    Step::run("starting containerd and etcd", |_| {
        Daemon::Containerd.start()?;
        Daemon::Etcd.start()?;
        daemon::wait("containerd", Duration::from_secs(60), &[Daemon::Containerd], || {
            on_node(&["ctr", "version"])
        })
    })?;
    // Images take as long as the API server: both at once.
    thread::scope(|scope| {
        let images = scope.spawn(|| {
            let step = Step::begin("giving containerd the images");
            let result = store::import(archives);
            match &result {
                Ok(given) => step.done(given.join(", ")),
                Err(_) => step.fail(""),
            };
            result
        });
        let server = Step::run("starting the API server", |_| control_plane());
        images.join().map_err(|_| anyhow!("the import of images panicked"))??;
        server
    })?;
    Step::run("starting the node's daemons", |_| node_daemons())?;
    Step::run("starting the cluster's DNS", |_| dns())?;
    Ok(fs::write(state(status::READY), "")?)
}

/// Folders, links to programs, certificates and configuration.
fn prepare(programs: &Programs) -> Result<()> {
    for folder in ["log", "bin", "etcd", "static-pods", "kubelet-plugins", "cni"] {
        let folder = state(folder);
        fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    sysctl::save()?;
    Group::cluster().create()?;
    for name in binaries::NAMES {
        symlink(&programs.kube, layout::program(name))?;
    }
    let containerd = process::which("containerd").context("containerd is missing")?;
    symlink(containerd, layout::program("containerd"))?;
    let pki = pki::create(&state("pki"))?;
    pki::write(&layout::admin_kubeconfig(), &kubeconfig::render("admin", &pki.authority, &pki.admin))?;
    pki::write(&state("node.kubeconfig"), &kubeconfig::render("node", &pki.authority, &pki.node))?;
    let containerd = config::containerd(store::network_plugins()?, &image::pause_name());
    fs::write(state("containerd.toml"), containerd)?;
    fs::write(state("cni/10-bridge.conflist"), config::network().to_string())?;
    fs::write(state("kubelet.yaml"), config::kubelet().to_string())?;
    fs::write(state("kube-proxy.yaml"), config::proxy().to_string())?;
    fs::write(state("audit.yaml"), config::audit().to_string())?;
    // Pods that use the node's own names get none: nothing outside can be reached.
    fs::write(state("resolv.conf"), "")?;
    Ok(())
}

fn on_node(arguments: &[&str]) -> bool {
    node::enter().is_ok_and(|mut command| process::output(command.args(arguments)).is_some())
}

fn control_plane() -> Result<()> {
    let limit = Duration::from_secs(120);
    Daemon::ApiServer.start()?;
    api_ready(limit)?;
    Daemon::ControllerManager.start()?;
    Daemon::Scheduler.start()
}

/// Waits until the API server says that it is ready.
pub fn api_ready(limit: Duration) -> Result<()> {
    let address: SocketAddr = format!("{NODE_IP}:{API_PORT}").parse()?;
    let needed = [Daemon::Etcd, Daemon::ApiServer];
    daemon::wait("the API server", limit, &needed, || {
        TcpStream::connect_timeout(&address, Duration::from_millis(200)).is_ok()
            && kubectl::run(&["get", "--raw", "/readyz"]).is_ok()
    })
}

fn node_daemons() -> Result<()> {
    Daemon::Kubelet.start()?;
    Daemon::KubeProxy.start()?;
    let needed = [Daemon::ApiServer, Daemon::ControllerManager, Daemon::Kubelet, Daemon::KubeProxy];
    let limit = Duration::from_secs(90);
    daemon::wait("the node", limit, &needed, || {
        let path = r#"jsonpath={.status.conditions[?(@.type=="Ready")].status}"#;
        kubectl::run(&["get", "node", NODE, "-o", path]).is_ok_and(|ready| ready == "True")
    })
}

fn dns() -> Result<()> {
    let manifest = state("coredns.yaml");
    fs::write(&manifest, COREDNS.replace("VERSION", binaries::COREDNS))?;
    kubectl::run(&["apply", "-f", &manifest.display().to_string()])?;
    let needed = [Daemon::ApiServer, Daemon::ControllerManager, Daemon::Scheduler, Daemon::Kubelet];
    daemon::wait("CoreDNS", Duration::from_secs(90), &needed, || {
        let path = "jsonpath={.status.readyReplicas}";
        kubectl::run(&["-n", "kube-system", "get", "deployment", "coredns", "-o", path])
            .is_ok_and(|n| n == "1")
    })?;
    // Pods of this namespace are refused until its account is there.
    daemon::wait("the default service account", Duration::from_secs(60), &needed, || {
        kubectl::run(&["get", "serviceaccount", "default"]).is_ok()
    })
}
