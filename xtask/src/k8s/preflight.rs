//! Whether this machine can run the cluster, and what is missing if not: all of it at once.
//!
//! In: the kernel, the privileges, the programs of this machine. Out: nothing, or an error that lists every lack with
//! its cure.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Result, bail};

use super::{binaries, cgroup, layout, store};
use crate::{process, tools::apt};

/// Programs, and Debian's packages for them.
const PROGRAMS: [(&str, &str); 10] = [
    ("bash", "bash"),
    ("containerd", "containerd"),
    ("ctr", "containerd"),
    ("runc", "runc"),
    ("conntrack", "conntrack"),
    ("iptables", "iptables"),
    ("ip", "iproute2"),
    ("mount", "mount"),
    ("nsenter", "util-linux"),
    ("modprobe", "kmod"),
];
const PLUGINS: &str = "containernetworking-plugins";
/// What the cluster needs with the sample, Jaeger and room to work, in MiB.
const MEMORY_MIB: u64 = 3 * 1024;

/// Debian's packages that are missing here. A program that came otherwise counts: docker's containerd does it too.
pub fn packages() -> Vec<&'static str> {
    let mut missing: Vec<_> = PROGRAMS
        .into_iter()
        .filter(|(program, _)| process::which(program).is_none())
        .map(|(_, package)| package)
        .collect();
    if store::network_plugins().is_err() {
        missing.push(PLUGINS);
    }
    missing.dedup();
    missing
}

/// What a start would install or build, a line each.
pub fn missing() -> Vec<String> {
    let packages = packages();
    let packages = (!packages.is_empty()).then(|| format!("containers: Debian's {}", packages.join(" ")));
    packages.into_iter().chain(binaries::missing()).collect()
}

/// Installs what is missing, then checks that the machine can do it.
pub fn ensure() -> Result<()> {
    let mut lacks = privileges();
    if lacks.is_empty() {
        apt::ensure(&packages(), "what runs containers")?;
        lacks = [cgroups(), kernel(), memory()].concat();
    }
    if lacks.is_empty() {
        return Ok(());
    }
    let list: String = lacks.iter().map(|lack| format!("\n          - {lack}")).collect();
    bail!("this machine can't run the test cluster:{list}");
}

/// What the user lacks.
pub fn privileges() -> Vec<String> {
    let mut lacks = Vec::new();
    if !nix::unistd::geteuid().is_root() {
        lacks.push("it must be root's: namespaces, mounts and cgroups are made (try sudo)".to_owned());
    }
    if !matches!(std::env::consts::ARCH, "x86_64" | "aarch64") {
        lacks.push(format!("its processor ({}) is none that images are made for", std::env::consts::ARCH));
    }
    lacks
}

fn cgroups() -> Vec<String> {
    if cgroup::hierarchies().is_empty() {
        return vec!["no cgroups below /sys/fs/cgroup: mount them (cgroup2 there is enough)".to_owned()];
    }
    let missing = cgroup::missing_controllers();
    if missing.is_empty() {
        Vec::new()
    } else {
        vec![format!("the cgroup controllers {} are not below /sys/fs/cgroup", missing.join(", "))]
    }
}

/// Each ability is tried, in namespaces that are gone again at once.
fn kernel() -> Vec<String> {
    for module in ["overlay", "br_netfilter", "veth", "nf_conntrack"] {
        // Built in, loaded already or not there at all: what counts is what follows.
        let _ = process::output(Command::new("modprobe").arg(module).stderr(Stdio::null()));
    }
    let tries = [
        ("true", "mount and network namespaces can't be made (CAP_SYS_ADMIN, CONFIG_NET_NS)"),
        ("ip link add probe0 type veth peer name probe1", "no veth links (CONFIG_VETH)"),
        ("ip link add probe0 type bridge", "no bridges (CONFIG_BRIDGE)"),
        (
            "iptables -t nat -A POSTROUTING -m comment --comment x -j MASQUERADE",
            "no address translation by iptables (CONFIG_NF_NAT, CONFIG_NFT_COMPAT)",
        ),
        ("test -e /proc/sys/net/bridge/bridge-nf-call-iptables", "no br_netfilter (CONFIG_BRIDGE_NETFILTER)"),
    ];
    let works = |script: &str| {
        let mut command = Command::new("unshare");
        command.args(["--mount", "--net", "/bin/sh", "-c", script]).stdout(Stdio::null());
        command.stdin(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
    };
    let mut lacks: Vec<_> =
        tries.into_iter().filter(|(script, _)| !works(script)).map(|(_, lack)| lack.to_owned()).collect();
    let systems = fs::read_to_string("/proc/filesystems").unwrap_or_default();
    if !systems.lines().any(|line| line.split_whitespace().last() == Some("overlay")) {
        lacks.push("no overlay file system (CONFIG_OVERLAY_FS)".to_owned());
    }
    if !Path::new("/dev/kmsg").exists() {
        lacks.push("no /dev/kmsg, which the kubelet reads".to_owned());
    }
    lacks.extend(taken());
    lacks
}

/// Addresses of ours that something else has.
fn taken() -> Option<String> {
    let routes = process::output(Command::new("ip").args(["-4", "route", "show"]))?;
    let networks = [layout::POD_CIDR, layout::SERVICE_CIDR, "10.123.0.0/30"];
    let clash = |line: &&str| {
        let other = !line.contains(&format!("dev {}", layout::LINK));
        other && networks.iter().any(|network| line.starts_with(&format!("{network} ")))
    };
    let line = routes.lines().find(clash)?;
    Some(format!("its routes lead elsewhere with the cluster's addresses: `{}`", line.trim()))
}

fn memory() -> Vec<String> {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    let kib = line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
    match kib.map(|kib| kib / 1024) {
        Some(mib) if mib < MEMORY_MIB => {
            vec![format!("{mib} MiB of memory are free, {MEMORY_MIB} are needed")]
        }
        _ => Vec::new(),
    }
}
