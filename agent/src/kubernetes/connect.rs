//! The way to the API server: who the agent is there, on which node, and the clients that the watches use.
//!
//! In: settings, and in a pod what Kubernetes mounts there. Out: [`Link`], or what is missing with its cure.

use std::{fs, path::Path, time::Duration};

use anyhow::{Context as _, bail};
use axum::http;
use kube::{
    Client, Config,
    client::ClientBuilder,
    config::{KubeConfigOptions, Kubeconfig},
};
use tower::util::MapResponseLayer;

use crate::settings::Kubernetes;

/// Before a connection that does not come about is a failed one.
const CONNECT: Duration = Duration::from_secs(5);
/// Longer than a watch is ever silent: its server ends it after 290 s.
const READ: Duration = Duration::from_secs(300);
/// Where a pod's ServiceAccount is mounted.
const ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
const AGENT: &str = concat!("sockspan/", env!("CARGO_PKG_VERSION"));
const HOSTNAME: &str = "/proc/sys/kernel/hostname";

/// How the API server is reached.
#[derive(Clone)]
pub struct Link {
    config: Config,
    /// The node whose pods are watched.
    pub node: String,
    /// The agent's own namespace, if it runs in a pod.
    pub namespace: Option<String>,
}

impl Link {
    /// Reads what the way to the API server needs. Nothing is sent.
    ///
    /// # Errors
    /// What is missing, and where it comes from.
    pub async fn open(settings: &Kubernetes) -> anyhow::Result<Self> {
        let own = || fs::read_to_string(Path::new(ACCOUNT).join("namespace")).ok();
        let (mut config, namespace) = match &settings.kubeconfig {
            Some(path) => (outside(path).await?, None),
            None => (inside()?, own().map(|name| name.trim().to_owned()).filter(|name| !name.is_empty())),
        };
        config.connect_timeout = Some(CONNECT);
        config.read_timeout = Some(READ);
        config.reset_reader_on_write = true;
        // By this the server's audit tells whose requests they are.
        config.headers.push((http::header::USER_AGENT, http::HeaderValue::from_static(AGENT)));
        // The watches repeat with pauses of their own.
        config.default_retry = false;
        let node = match &settings.node {
            Some(node) => node.clone(),
            None if settings.in_pod => bail!(
                "node-name is not set: the agent watches the pods of its own node alone; set the variable \
                 SOCKSPAN_NODE_NAME from the pod's field spec.nodeName (valueFrom: {{fieldRef: {{fieldPath: spec.nodeName}}}})"
            ),
            None => hostname()?,
        };
        Ok(Self { config, node, namespace })
    }

    /// The server's address.
    pub fn server(&self) -> String {
        self.config.cluster_url.to_string()
    }

    /// A client; `answered` hears of each answer, and whether it was a good one.
    ///
    /// # Errors
    /// Certificates that cannot be used.
    pub fn client(&self, answered: impl Fn(bool) + Clone + Send + Sync + 'static) -> anyhow::Result<Client> {
        let heard = move |response: http::Response<_>| {
            answered(response.status().is_success());
            response
        };
        let builder = ClientBuilder::try_from(self.config.clone())
            .with_context(|| format!("cannot prepare a connection to the API server {}", self.server()))?;
        Ok(builder.with_layer(&MapResponseLayer::new(heard)).build())
    }
}

async fn outside(path: &Path) -> anyhow::Result<Config> {
    let cause = || format!("kubeconfig {}", path.display());
    let file = Kubeconfig::read_from(path).with_context(cause)?;
    Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await.with_context(cause)
}

fn inside() -> anyhow::Result<Config> {
    Config::incluster().with_context(|| {
        format!(
            "the agent is to use Kubernetes and cannot: it needs KUBERNETES_SERVICE_HOST and _PORT, and a ServiceAccount \
             mounted at {ACCOUNT} (automountServiceAccountToken: true); outside of a pod name a file by --kubeconfig, \
             and to do without say --kubernetes off"
        )
    })
}

/// A node is called what its kubelet finds as host name, unless it was told otherwise.
fn hostname() -> anyhow::Result<String> {
    let name = fs::read_to_string(HOSTNAME).context("cannot read the host name; set node-name")?;
    Ok(name.trim().to_ascii_lowercase())
}
