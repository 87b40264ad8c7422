//! Where the cluster's things are: folders, addresses, names. Everything it writes is below one folder.

use std::path::{Path, PathBuf};

/// The folder of everything a cluster writes; `down` removes it.
pub const STATE: &str = "/var/lib/sockspan-k8s";
/// The cgroup of everything that runs: daemons in `daemons/NAME`, pods in `kubepods/…`.
pub const CGROUP: &str = "sockspan-k8s";
/// The host's end of the link to the node.
pub const LINK: &str = "sockspan0";
/// The host's address on that link.
pub const HOST_IP: &str = "10.123.0.1";
/// The node's name in the cluster.
pub const NODE: &str = "node1";
/// The node's address: `NodePort`s and the API server are there.
pub const NODE_IP: &str = "10.123.0.2";
/// The addresses of pods.
pub const POD_CIDR: &str = "10.244.0.0/16";
/// Those of them that this node gives out.
pub const NODE_POD_CIDR: &str = "10.244.0.0/24";
/// The addresses of Services.
pub const SERVICE_CIDR: &str = "10.96.0.0/16";
/// The Service `kubernetes`.
pub const API_SERVICE_IP: &str = "10.96.0.1";
/// The Service `kube-dns`.
pub const DNS_IP: &str = "10.96.0.10";
/// The API server's port on the node.
pub const API_PORT: u16 = 6443;

/// A path below [`STATE`].
pub fn state(path: &str) -> PathBuf {
    Path::new(STATE).join(path)
}

/// What an administrator's kubectl reads.
pub fn admin_kubeconfig() -> PathBuf {
    state("admin.kubeconfig")
}

/// The log of a daemon, or of a step of the start.
pub fn log(name: &str) -> PathBuf {
    state("log").join(format!("{name}.log"))
}

/// The program `name`: all of Kubernetes are links to one file.
pub fn program(name: &str) -> PathBuf {
    state("bin").join(name)
}
