//! What the daemons are told in files.
//!
//! In: addresses and folders from `layout`. Out: the files' texts; JSON where YAML is asked for, since it is that too.

use serde_json::{Value, json};

use super::layout::{self, CGROUP, DNS_IP, NODE, NODE_POD_CIDR, POD_CIDR, state};

/// containerd's; `plugins` is the folder of the CNI plugins, `pause` the image that holds a pod's namespaces.
pub fn containerd(plugins: &str, pause: &str) -> String {
    format!(
        r#"version = 2
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{pause}"
  # Without CAP_SYS_RESOURCE a negative oom_score_adj, which pause has, keeps a container from starting.
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
      SystemdCgroup = false
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{plugins}"
    conf_dir = "/etc/cni/net.d"
[plugins."io.containerd.internal.v1.opt"]
  path = "/var/lib/containerd/opt"
"#
    )
}

/// The pods' network: a bridge on the node.
pub fn network() -> Value {
    json!({"cniVersion": "0.4.0", "name": "bridge", "plugins": [
        {"type": "bridge", "bridge": "cni0", "isGateway": true, "ipMasq": true, "hairpinMode": true,
         "ipam": {"type": "host-local", "ranges": [[{"subnet": NODE_POD_CIDR}]], "routes": [{"dst": "0.0.0.0/0"}]}},
        {"type": "portmap", "capabilities": {"portMappings": true}},
    ]})
}

/// The kubelet's.
pub fn kubelet() -> Value {
    let pki = |name: &str| state("pki").join(name);
    json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "containerRuntimeEndpoint": "unix:///run/containerd/containerd.sock",
        "cgroupDriver": "cgroupfs",
        // Pods are in a group of ours: their paths are nested, as where a node is itself a container.
        "cgroupRoot": format!("/{CGROUP}"),
        "failCgroupV1": false,
        "failSwapOn": false,
        "authentication": {
            "anonymous": {"enabled": false}, "webhook": {"enabled": true}, "x509": {"clientCAFile": pki("ca.crt")},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": pki("node.crt"),
        "tlsPrivateKeyFile": pki("node.key"),
        "clusterDomain": "cluster.local",
        "clusterDNS": [DNS_IP],
        "resolvConf": state("resolv.conf"),
        "staticPodPath": state("static-pods"),
        "fileCheckFrequency": "2s",
        "volumePluginDir": state("kubelet-plugins"),
        // A changed ConfigMap is in its pods' volumes after seconds; the default is a minute.
        "syncFrequency": "5s",
        // No registry can give back what is collected here, and a full disk is no reason to evict what is tested.
        "imageGCHighThresholdPercent": 100,
        "imageGCLowThresholdPercent": 99,
        "evictionHard": {
            "memory.available": "100Mi", "nodefs.available": "1%", "nodefs.inodesFree": "1%", "imagefs.available": "1%",
        },
        "nodeStatusUpdateFrequency": "4s",
    })
}

/// kube-proxy's.
pub fn proxy() -> Value {
    json!({
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "iptables",
        "clusterCIDR": POD_CIDR,
        "hostnameOverride": NODE,
        "clientConnection": {"kubeconfig": layout::admin_kubeconfig()},
        // nf_conntrack_max can't be written outside of the first network namespace.
        "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
    })
}

/// The API server's audit: who asked for what and when, without bodies; a line each in `log/audit.log`.
pub fn audit() -> Value {
    json!({
        "apiVersion": "audit.k8s.io/v1",
        "kind": "Policy",
        "omitStages": ["RequestReceived"],
        "rules": [{"level": "Metadata"}],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pods_are_nested_and_images_stay() {
        let kubelet = kubelet();
        assert_eq!(kubelet["cgroupRoot"], "/sockspan-k8s");
        assert_eq!(kubelet["imageGCHighThresholdPercent"], 100);
        assert_eq!(kubelet["staticPodPath"], "/var/lib/sockspan-k8s/static-pods");
        assert_eq!(kubelet["clusterDNS"][0], DNS_IP);
    }

    #[test]
    fn containerd_is_told_plugins_and_pause() {
        let text = containerd("/opt/cni/bin", "registry.k8s.io/pause:3.10");
        assert!(text.contains(r#"bin_dir = "/opt/cni/bin""#), "{text}");
        assert!(text.contains(r#"sandbox_image = "registry.k8s.io/pause:3.10""#), "{text}");
    }

    #[test]
    fn the_network_gives_out_the_nodes_addresses() {
        assert_eq!(network()["plugins"][0]["ipam"]["ranges"][0][0]["subnet"], NODE_POD_CIDR);
        assert_eq!(proxy()["clusterCIDR"], POD_CIDR);
        assert_eq!(audit()["rules"][0]["level"], "Metadata");
    }
}
