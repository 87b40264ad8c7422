//! A Kubernetes cluster as its user meets it: `kubectl`, and addresses that this machine can reach.
//!
//! In: `KUBECONFIG`, `SOCKSPAN_KUBECTL`, `SOCKSPAN_XTASK`. Out: [`Cluster`], and [`Namespace`]s that go with their
//! value. What is refused ends the test with kubectl's own words.

use std::{
    fs,
    io::Write,
    net::{SocketAddr, TcpStream},
    path::PathBuf,
    process::{Command, Output, Stdio},
    thread,
    time::Duration,
};

use serde_json::Value;

use crate::{
    given,
    load::{self, Load},
    wait_until,
};

/// How long pods may take to run.
const ROLLOUT: &str = "--timeout=180s";

/// The cluster that `cargo xtask k8s test` brought up.
#[derive(Clone, Debug)]
pub struct Cluster {
    kubectl: PathBuf,
    xtask: PathBuf,
}

impl Cluster {
    /// The one that the environment names.
    pub fn given() -> Self {
        Self { kubectl: given::kubectl(), xtask: given::xtask() }
    }

    /// What `kubectl ARGUMENTS` prints, with `input` on its standard input; else what it complains of.
    ///
    /// # Errors
    /// kubectl's words.
    pub fn attempt(&self, arguments: &[&str], input: &str) -> Result<String, String> {
        let mut command = Command::new(&self.kubectl);
        command.args(arguments).env_remove("LD_LIBRARY_PATH");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("kubectl can be started");
        let mut stdin = child.stdin.take().expect("its standard input is a pipe");
        // What it has no use for it does not read.
        let _ = stdin.write_all(input.as_bytes());
        drop(stdin);
        text_of(&child.wait_with_output().expect("a child can be waited for"))
    }

    /// What `kubectl ARGUMENTS` prints.
    ///
    /// # Panics
    /// If it fails.
    pub fn kubectl(&self, arguments: &[&str]) -> String {
        match self.attempt(arguments, "") {
            Ok(output) => output,
            Err(error) => panic!("kubectl {}: {error}", arguments.join(" ")),
        }
    }

    /// `kubectl get ARGUMENTS` as JSON.
    ///
    /// # Panics
    /// If it fails.
    pub fn get(&self, arguments: &[&str]) -> Value {
        let all = [&["get"], arguments, &["--output=json"]].concat();
        serde_json::from_str(&self.kubectl(&all)).expect("kubectl prints JSON")
    }

    /// Applies manifests.
    ///
    /// # Panics
    /// If they are refused.
    pub fn apply(&self, manifests: &str) {
        if let Err(error) = self.attempt(&["apply", "--filename=-"], manifests) {
            panic!("kubectl apply: {error}\n{manifests}");
        }
    }

    /// Applies a file of the repository, as its README says.
    ///
    /// # Panics
    /// If it is refused.
    pub fn apply_file(&self, file: &str) {
        self.kubectl(&["apply", "--filename", &given::repository(file).display().to_string()]);
    }

    /// Waits until `what` (`deployment/x`, `daemonset/y`) has rolled out.
    ///
    /// # Panics
    /// If it does not; its pods are shown.
    pub fn rolled_out(&self, namespace: &str, what: &str) {
        let status = ["rollout", "status", what, "--namespace", namespace, ROLLOUT];
        if let Err(error) = self.attempt(&status, "") {
            let pods = self.attempt(&["describe", "pods", "--namespace", namespace], "");
            panic!("{what} in {namespace}: {error}\n{}", pods.unwrap_or_default());
        }
    }

    /// A Service's address and its first port, which this machine reaches.
    ///
    /// # Panics
    /// If there is none.
    pub fn service(&self, namespace: &str, name: &str, port: &str) -> SocketAddr {
        let service = self.get(&["service", name, "--namespace", namespace]);
        let ports = service["spec"]["ports"].as_array().cloned().unwrap_or_default();
        let number = port.parse::<u16>().ok();
        let named = ports
            .iter()
            .find(|each| each["name"] == port || number.is_some_and(|number| each["port"] == number));
        let port = named.and_then(|each| each["port"].as_u64());
        let ip = service["spec"]["clusterIP"].as_str().and_then(|ip| ip.parse().ok());
        match (ip, port.and_then(|port| u16::try_from(port).ok())) {
            (Some(ip), Some(port)) => SocketAddr::new(ip, port),
            _ => panic!("no such port of Service {namespace}/{name}: {service:#}"),
        }
    }

    /// All running pods with these labels, as the API server tells of them.
    ///
    /// # Panics
    /// If it does not answer.
    pub fn pods(&self, namespace: &str, labels: &str) -> Vec<Value> {
        let list = self.get(&["pods", "--namespace", namespace, "--selector", labels]);
        let pods = list["items"].as_array().cloned().unwrap_or_default();
        pods.into_iter().filter(|pod| pod["metadata"]["deletionTimestamp"].is_null()).collect()
    }

    /// Stops one of the cluster's own daemons for as long as the value lives.
    ///
    /// # Panics
    /// If it can't be stopped.
    pub fn without(&self, daemon: &str) -> Stopped<'_> {
        self.daemon("stop", daemon);
        Stopped { cluster: self, daemon: daemon.to_owned() }
    }

    fn daemon(&self, what: &str, daemon: &str) {
        let output = Command::new(&self.xtask).args(["k8s", "daemon", what, daemon]).output();
        if let Err(error) = text_of(&output.expect("xtask can be started")) {
            panic!("cannot {what} {daemon}: {error}");
        }
    }
}

fn text_of(output: &Output) -> Result<String, String> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

/// A daemon that is away; started again when dropped.
#[derive(Debug)]
pub struct Stopped<'a> {
    cluster: &'a Cluster,
    daemon: String,
}

impl Drop for Stopped<'_> {
    fn drop(&mut self) {
        self.cluster.daemon("start", &self.daemon);
        let answers = || self.cluster.attempt(&["get", "--raw", "/readyz"], "").is_ok();
        let back = wait_until(Duration::from_secs(60), answers);
        // Pods reach it by its Service. kube-proxy learns that it is back when it next asks: client-go's watches try again
        // after up to a minute.
        let reached = || {
            let address = self.cluster.service("default", "kubernetes", "443");
            TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_ok()
        };
        let back = back && wait_until(Duration::from_secs(180), reached);
        // A second panic would hide the first.
        assert!(back || thread::panicking(), "the API server does not answer again");
    }
}

/// A namespace that goes, with all in it, when this value does.
#[derive(Debug)]
pub struct Namespace {
    /// The cluster.
    pub cluster: Cluster,
    /// Its name.
    pub name: String,
}

impl Namespace {
    /// Makes it; `labels` as `key: value` lines of YAML, separated by commas.
    ///
    /// # Panics
    /// If it is refused.
    pub fn new(cluster: &Cluster, name: &str, labels: &str) -> Self {
        let made = Self { cluster: cluster.clone(), name: name.to_owned() };
        // One of an earlier run that was killed may be on its way out.
        let gone = || cluster.attempt(&["delete", "namespace", name, "--ignore-not-found"], "").is_ok();
        assert!(wait_until(Duration::from_secs(120), gone), "namespace {name} does not go");
        cluster.apply(&format!(
            "apiVersion: v1\nkind: Namespace\nmetadata: {{name: {name}, labels: {{{labels}}}}}\n"
        ));
        made
    }

    /// Applies manifests that name no namespace.
    ///
    /// # Panics
    /// If they are refused.
    pub fn apply(&self, manifests: &str) {
        let arguments = ["apply", "--namespace", &self.name, "--filename=-"];
        if let Err(error) = self.cluster.attempt(&arguments, manifests) {
            panic!("kubectl apply: {error}\n{manifests}");
        }
    }

    /// Deploys the sample application, as its manifest has it, here; waits until it serves.
    ///
    /// # Panics
    /// If it does not.
    pub fn deploy_shop(&self) {
        self.apply(&shop_in(&self.name));
        for service in ["frontend", "product", "order"] {
            self.cluster.rolled_out(&self.name, &format!("deployment/{service}"));
            // A pod is ready before every node's kube-proxy knows it: until then, its Service refuses connections.
            let address = self.service(service);
            let taken = || TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_ok();
            assert!(wait_until(Duration::from_secs(60), taken), "{service} at {address} takes no connection");
        }
        // Until the cluster's DNS knows its Services, a request waits 10 s for a name, or fails. It too may have lost the API
        // server a moment ago, and ask again in a minute.
        let load = Load::post(0, "/checkout").to(self.service("frontend")).connecting();
        let mut last = String::new();
        let serves = wait_until(Duration::from_secs(180), || {
            let answers = load.run(1);
            last = load::statuses(&answers);
            answers.iter().all(|a| a.status == Some(200) && a.end - a.start < 2_000_000_000)
        });
        assert!(serves, "a checkout takes more than 2 s, or fails: {last}; {}", self.logs());
    }

    /// The last that its pods wrote, for people.
    pub fn logs(&self) -> String {
        let logs = |pod: &Value| {
            let name = pod["metadata"]["name"].as_str().unwrap_or_default();
            let arguments = ["logs", "--namespace", &self.name, "--tail=10", name];
            format!("--- {name}\n{}", self.cluster.attempt(&arguments, "").unwrap_or_else(|error| error))
        };
        self.pods("").iter().map(logs).collect::<Vec<_>>().join("\n")
    }

    /// Where a Service answers.
    ///
    /// # Panics
    /// If there is none.
    pub fn service(&self, name: &str) -> SocketAddr {
        self.cluster.service(&self.name, name, "8080")
    }

    /// Waits until a Deployment, DaemonSet, … has rolled out.
    ///
    /// # Panics
    /// If it does not.
    pub fn rolled_out(&self, what: &str) {
        self.cluster.rolled_out(&self.name, what);
    }

    /// Its running pods with these labels.
    ///
    /// # Panics
    /// If the API server does not answer.
    pub fn pods(&self, labels: &str) -> Vec<Value> {
        self.cluster.pods(&self.name, labels)
    }

    /// `kubectl ARGUMENTS` here.
    ///
    /// # Panics
    /// If it fails.
    pub fn kubectl(&self, arguments: &[&str]) -> String {
        self.cluster.kubectl(&[arguments, &["--namespace", &self.name]].concat())
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let quick =
            ["delete", "pods", "--all", "--namespace", &self.name, "--grace-period=1", "--wait=false"];
        let _ = self.cluster.attempt(&["delete", "namespace", &self.name, "--wait=false"], "");
        let _ = self.cluster.attempt(&quick, "");
    }
}

/// The sample application's manifest without its Namespace object, for namespace `name`.
fn shop_in(name: &str) -> String {
    let file = given::repository("deploy/e-commerce/e-commerce.yaml");
    let text = fs::read_to_string(&file).expect("the repository has the sample's manifest");
    let documents = text.split("\n---\n").filter(|document| !document.contains("kind: Namespace"));
    let moved =
        documents.map(|document| document.replace("namespace: e-commerce", &format!("namespace: {name}")));
    moved.collect::<Vec<_>>().join("\n---\n")
}
