//! The node: one process that holds a mount and a network namespace, and a link from this machine to it.
//!
//! In: the folders of the state. Out: a place where daemons run without touching this machine's mounts, routes and
//! packet filters. Process ids and cgroups are this machine's, so eBPF sees what it sees on any node.

use std::{
    fs,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

use super::{
    cgroup::Group,
    daemon,
    layout::{self, HOST_IP, LINK, NODE_IP, POD_CIDR, SERVICE_CIDR, state},
};
use crate::process;

/// The holder's name among the cgroups and logs.
pub const HOLDER: &str = "node";

/// Folders that the daemons want under these names, and where they are kept below the state.
const BOUND: [(&str, &str); 6] = [
    ("kubelet", "/var/lib/kubelet"),
    ("containerd", "/var/lib/containerd"),
    ("cni-state", "/var/lib/cni"),
    ("cni", "/etc/cni/net.d"),
    ("pod-logs", "/var/log/pods"),
    ("container-logs", "/var/log/containers"),
];
/// Folders that need not outlive the node.
const VOLATILE: [&str; 2] = ["/run/containerd", "/run/netns"];

/// Whether its namespaces are there.
pub fn running() -> bool {
    holder().is_ok()
}

/// The process that holds the namespaces.
fn holder() -> Result<i32> {
    let processes = Group::daemon(HOLDER).processes();
    processes.first().copied().context("the cluster is not up (`cargo xtask k8s up`)")
}

/// A command on the node: its arguments are the program there and the program's own.
pub fn enter() -> Result<Command> {
    let mut command = Command::new("nsenter");
    command.args(["--target", &holder()?.to_string(), "--mount", "--net", "--"]);
    Ok(command)
}

/// Makes the namespaces and the link.
pub fn create() -> Result<()> {
    make_folders()?;
    let (script, done) = (state("node.sh"), state("node.done"));
    fs::write(&script, init(&done))?;
    let mut command = Command::new("unshare");
    command.args(["--mount", "--net", "--propagation", "private", "--", "/bin/sh"]).arg(&script);
    daemon::spawn(HOLDER, &command)?;
    let started = Instant::now();
    while !done.exists() {
        process::check_interrupted()?;
        if started.elapsed() > Duration::from_secs(10) || !running() {
            bail!("the node's namespaces cannot be made; {}", crate::ui::excerpt(&layout::log(HOLDER)));
        }
        process::sleep(Duration::from_millis(10));
    }
    link()
}

/// Removes the link, which takes the routes with it. It goes by itself with the namespace of its other end, some time after
/// the node's last process: perhaps just now.
pub fn unlink() -> Result<()> {
    let is_there = || Path::new("/sys/class/net").join(LINK).exists();
    if !is_there() {
        return Ok(());
    }
    let mut command = Command::new("ip");
    command.args(["link", "delete", LINK]);
    match process::run(&mut command, &layout::log("network"), Duration::from_secs(10)) {
        Err(error) if is_there() => Err(error),
        _ => Ok(()),
    }
}

/// Removes the folders that [`create`] made outside of the state; those that are in use by others stay.
pub fn remove_folders() {
    let text = fs::read_to_string(state("folders-made")).unwrap_or_default();
    let mut folders: Vec<_> = text.lines().collect();
    folders.sort_unstable();
    for folder in folders.into_iter().rev() {
        // Someone else's file in it keeps it.
        let _ = fs::remove_dir(folder);
    }
}

/// The places to mount on must exist on this machine too, empty; those that do not are noted before they are made.
fn make_folders() -> Result<()> {
    let mut missing = Vec::new();
    for folder in BOUND.iter().map(|(_, folder)| *folder).chain(VOLATILE) {
        let absent = Path::new(folder).ancestors().take_while(|path| !path.exists());
        missing.extend(absent.map(|path| path.display().to_string()));
    }
    fs::write(state("folders-made"), missing.join("\n"))?;
    for (kept, folder) in BOUND {
        fs::create_dir_all(state(kept))?;
        fs::create_dir_all(folder)?;
    }
    for folder in VOLATILE {
        fs::create_dir_all(folder)?;
    }
    Ok(())
}

/// What the holder does before it sleeps for good.
fn init(done: &Path) -> String {
    // Pods with mount propagation need a shared root; this machine's own is not touched. Each folder gets a peer group
    // of its own, so that nothing mounted in it shows elsewhere.
    let mut script = String::from("set -e\nmount --make-rshared /\n");
    for (kept, folder) in BOUND {
        let kept = state(kept);
        let kept = kept.display();
        script += &format!(
            "mount --bind {kept} {folder}\nmount --make-private {folder}\nmount --make-shared {folder}\n"
        );
    }
    for folder in VOLATILE {
        script += &format!("mount -t tmpfs tmpfs {folder}\nmount --make-shared {folder}\n");
    }
    script += "mountpoint -q /sys/fs/bpf || mount -t bpf bpf /sys/fs/bpf || true\n";
    script += "mountpoint -q /sys/kernel/tracing || mount -t tracefs tracefs /sys/kernel/tracing || true\n";
    script + &format!("ip link set lo up\ntouch {}\nexec sleep infinity\n", done.display())
}

fn link() -> Result<()> {
    let log = layout::log("network");
    let run = |command: &mut Command| process::run(command, &log, Duration::from_secs(10));
    let holder = holder()?.to_string();
    let here = |words: &str| run(Command::new("ip").args(words.split_whitespace()));
    here(&format!("link add {LINK} type veth peer name eth0 netns {holder}"))?;
    here(&format!("address add {HOST_IP}/30 dev {LINK}"))?;
    here(&format!("link set {LINK} up"))?;
    // Pods and Services are reached from here by these; they go with the link.
    here(&format!("route add {POD_CIDR} via {NODE_IP}"))?;
    here(&format!("route add {SERVICE_CIDR} via {NODE_IP}"))?;
    let script = format!(
        "set -e
ip address add {NODE_IP}/30 dev eth0
ip link set eth0 up
ip route add default via {HOST_IP}
echo 1 > /proc/sys/net/ipv4/ip_forward
echo 1 > /proc/sys/net/bridge/bridge-nf-call-iptables"
    );
    run(enter()?.args(["/bin/sh", "-c", &script]))
}
