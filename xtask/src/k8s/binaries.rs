//! Kubernetes itself, built from its Go modules: no registry of images has to be reachable.
//!
//! In: the Go module proxy, a C compiler. Out: three programs in the cache, keyed by version: `kube` (all of
//! Kubernetes and etcd, chosen by the name it is called by), `coredns` and `pause`.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};

use crate::{
    cache, process,
    tools::{INSTALL_LIMIT, apt, go},
    ui::Step,
    workspace,
};

/// The version of Kubernetes.
pub const KUBERNETES: &str = "v1.34.4";
/// The version of `CoreDNS`.
pub const COREDNS: &str = "v1.14.7";
/// The version of the program that holds a pod's namespaces, as Kubernetes numbers it.
pub const PAUSE: &str = "3.10";
/// The names that `kube` answers to.
pub const NAMES: [&str; 7] = [
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "kubelet",
    "kube-proxy",
    "kubectl",
];

const KUBE_SOURCE: &str = include_str!("go/kube/main.go");
const COREDNS_SOURCE: &str = include_str!("go/coredns/main.go");

/// The programs.
#[derive(Clone, Debug)]
pub struct Programs {
    /// Kubernetes, etcd and kubectl.
    pub kube: PathBuf,
    /// Holds a pod's namespaces.
    pub pause: PathBuf,
    /// The cluster's DNS.
    pub coredns: PathBuf,
}

/// What [`ensure`] would build.
pub fn missing() -> Vec<String> {
    let absent = |kind: &str, key: &str| cache::find(kind, key).is_none();
    let kube = absent("kubernetes", &kube_key()).then(|| format!("Kubernetes {KUBERNETES}"));
    let coredns = absent("coredns", &coredns_key()).then(|| format!("CoreDNS {COREDNS}"));
    kube.into_iter().chain(coredns).map(|what| format!("{what}: built from its Go modules")).collect()
}

/// Finds or builds them.
pub fn ensure() -> Result<Programs> {
    let kube = cache::get("kubernetes", &kube_key(), build_kube)?;
    let coredns = cache::get("coredns", &coredns_key(), build_coredns)?;
    Ok(Programs { kube: kube.join("kube"), pause: kube.join("pause"), coredns: coredns.join("coredns") })
}

fn kube_key() -> String {
    format!("{KUBERNETES}-{}", cache::key(KUBE_SOURCE))
}

fn coredns_key() -> String {
    format!("{COREDNS}-{}", cache::key(COREDNS_SOURCE))
}

fn build_kube(dir: &Path) -> Result<()> {
    go::ensure(25, "Kubernetes")?;
    if process::which("cc").is_none() {
        apt::ensure(&["gcc", "libc6-dev"], "a C compiler")?;
    }
    let log = workspace::log("kubernetes-build");
    process::start_log(&log)?;
    Step::run(format!("building Kubernetes {KUBERNETES} from its Go modules (ten minutes or more)"), |step| {
        step.watch(&log);
        let module = go::download(&format!("k8s.io/kubernetes@{KUBERNETES}"), &log)?;
        let source = dir.join("source");
        fs::create_dir_all(source.join("kube"))?;
        fs::write(source.join("kube/main.go"), KUBE_SOURCE)?;
        let manifest = module.join("go.mod");
        let manifest =
            fs::read_to_string(&manifest).with_context(|| format!("cannot read {}", manifest.display()))?;
        fs::write(source.join("go.mod"), kube_manifest(&manifest, KUBERNETES)?)?;
        fs::write(source.join("go.sum"), fs::read(module.join("go.sum"))?)?;
        // Not `go mod tidy`: that wants what tests need too.
        let mut list = go::command(&source);
        process::run(list.args(["list", "-mod=mod", "-deps", "./kube"]), &log, INSTALL_LIMIT)?;
        go::build(&source, "./kube", &dir.join("kube"), &version_flags(KUBERNETES), &log)?;
        let mut compiler = Command::new("cc");
        compiler.args(["-Os", "-static", "-s", &format!("-DVERSION={PAUSE}"), "-o"]).arg(dir.join("pause"));
        process::run(compiler.arg(module.join("build/pause/linux/pause.c")), &log, INSTALL_LIMIT)?;
        fs::remove_dir_all(&source).context("cannot remove the source")
    })
}

fn build_coredns(dir: &Path) -> Result<()> {
    go::ensure(25, "CoreDNS")?;
    let log = workspace::log("coredns-build");
    process::start_log(&log)?;
    Step::run(format!("building CoreDNS {COREDNS} from its Go modules (some minutes)"), |step| {
        step.watch(&log);
        let source = dir.join("source");
        fs::create_dir_all(&source)?;
        fs::write(source.join("main.go"), COREDNS_SOURCE)?;
        let manifest =
            format!("module corednsbuild\n\ngo 1.25.0\n\nrequire github.com/coredns/coredns {COREDNS}\n");
        fs::write(source.join("go.mod"), manifest)?;
        let mut list = go::command(&source);
        process::run(list.args(["list", "-mod=mod", "-deps", "."]), &log, INSTALL_LIMIT)?;
        go::build(&source, ".", &dir.join("coredns"), "", &log)?;
        fs::remove_dir_all(&source).context("cannot remove the source")
    })
}

/// The go.mod of our main package, from that of Kubernetes. There its own libraries are replaced by folders which
/// the module does not carry; the same code is published as modules with the version v0.MINOR.PATCH.
fn kube_manifest(theirs: &str, version: &str) -> Result<String> {
    let library = version.strip_prefix("v1.").context("the version is no v1.MINOR.PATCH")?;
    let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let etcd =
        theirs.lines().map(words).find(|w| w.first().is_some_and(|w| w == "go.etcd.io/etcd/server/v3"));
    let etcd = etcd.and_then(|w| w.get(1).cloned()).context("Kubernetes names no version of etcd")?;
    let mut ours = String::from("module kubebuild\n");
    for line in theirs.lines().filter(|line| line.starts_with("go ") || line.starts_with("godebug ")) {
        ours += &format!("{line}\n");
    }
    ours += &format!(
        "require k8s.io/kubernetes {version}\nrequire go.etcd.io/etcd/server/v3 {etcd}\nreplace (\n"
    );
    for line in theirs.lines().map(words) {
        if let [name, arrow, folder] = line.as_slice()
            && arrow == "=>"
            && folder.starts_with("./staging/")
        {
            ours += &format!("  {name} => {name} v0.{library}\n");
        }
    }
    Ok(ours + ")\n")
}

/// Without these the server says that its version is v0.0.0-master.
fn version_flags(version: &str) -> String {
    let mut parts = version.trim_start_matches('v').split('.');
    let (major, minor) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let values = [
        ("gitVersion", version),
        ("gitMajor", major),
        ("gitMinor", minor),
        ("gitCommit", "unknown"),
        ("gitTreeState", "clean"),
        ("buildDate", "1970-01-01T00:00:00Z"),
    ];
    let packages = ["k8s.io/component-base/version", "k8s.io/client-go/pkg/version"];
    let flags = packages
        .iter()
        .flat_map(|package| values.iter().map(move |(name, value)| format!("-X {package}.{name}={value}")));
    flags.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_become_published_modules() {
        let theirs = "module k8s.io/kubernetes\n\ngo 1.24.0\n\ngodebug default=go1.24\n\nrequire (\n\
            \tgo.etcd.io/etcd/server/v3 v3.6.4 // indirect\n)\n\nreplace (\n\
            \tk8s.io/api => ./staging/src/k8s.io/api\n\tk8s.io/kubectl => ./staging/src/k8s.io/kubectl\n)\n";
        let ours = kube_manifest(theirs, "v1.34.4").expect("a manifest");
        assert_eq!(
            ours,
            "module kubebuild\ngo 1.24.0\ngodebug default=go1.24\nrequire k8s.io/kubernetes v1.34.4\n\
             require go.etcd.io/etcd/server/v3 v3.6.4\nreplace (\n  k8s.io/api => k8s.io/api v0.34.4\n  \
             k8s.io/kubectl => k8s.io/kubectl v0.34.4\n)\n"
        );
        assert!(kube_manifest("module a\n", "v1.34.4").is_err());
        assert!(version_flags("v1.34.4").contains("-X k8s.io/client-go/pkg/version.gitMinor=34 "));
    }
}
