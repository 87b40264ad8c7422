//! From `/proc/PID/cgroup` to the container a process runs in.
//!
//! Every runtime names a container's cgroup by the container's id of 64 hexadecimal digits; what stands around it
//! depends on runtime and driver:
//!
//! | path ends in | from |
//! |---|---|
//! | `/docker/<id>`, `/kubepods/…/pod<uid>/<id>` | cgroupfs driver |
//! | `docker-<id>.scope`, `cri-containerd-<id>.scope`, `crio-<id>.scope`, `libpod-<id>.scope` | systemd driver |
//! | `…slice:cri-containerd:<id>` | a systemd path given to a cgroupfs driver |
//! | `/docker/<outer>/kubelet/kubepods/…/<id>`, `<id>/init.scope` | a container in a container, an init inside one |
//!
//! The innermost id is the container's. conmon, which watches over a container, runs beside it, not in it.

/// Digits of a container id.
const ID: usize = 64;

/// The paths of all hierarchies (v1 has several, v2 one), each once.
pub(super) fn paths(cgroup: &str) -> Vec<String> {
    let mut paths: Vec<String> = Vec::new();
    for line in cgroup.lines() {
        // hierarchy:controllers:path, and the path may hold colons.
        if let Some(path) = line.splitn(3, ':').nth(2)
            && !paths.iter().any(|known| known == path)
        {
            paths.push(path.to_owned());
        }
    }
    paths
}

/// The id of the innermost container that any of the paths names.
pub(super) fn container_id(paths: &[String]) -> Option<String> {
    paths.iter().find_map(|path| path.rsplit('/').find_map(component))
}

fn component(name: &str) -> Option<String> {
    let name = name.strip_suffix(".scope").unwrap_or(name);
    let (before, id) = name.rsplit_once(['-', ':']).unwrap_or(("", name));
    let hexadecimal = id.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    (id.len() == ID && hexadecimal && !before.ends_with("conmon")).then(|| id.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "7be92808767a667f35c8505cbf40d14e931ef6db5b0210329cf193b15ba9d605";
    const OUTER: &str = "c6ee372b0a5b1a6a9e1f0f9d6f4a3e6ea0d0a1f6a7b7c7d7e7f707172737475a";

    fn id(cgroup: &str) -> Option<String> {
        container_id(&paths(cgroup))
    }

    #[test]
    fn runtimes_and_drivers() {
        let pod = "kubepods-burstable-pod2c48913c_b29f_11e7_9350_020968147796.slice";
        for path in [
            format!("0::/docker/{ID}"),
            format!("0::/system.slice/docker-{ID}.scope"),
            format!("0::/kubepods.slice/kubepods-burstable.slice/{pod}/cri-containerd-{ID}.scope"),
            format!("0::/kubepods.slice/kubepods-burstable.slice/{pod}/crio-{ID}.scope"),
            format!("0::/kubepods.slice/kubepods-burstable.slice/{pod}/crio-{ID}.scope/container"),
            format!("0::/kubepods/besteffort/pod2c48913c-b29f-11e7-9350-020968147796/{ID}"),
            format!("0::/system.slice/containerd.service/{pod}:cri-containerd:{ID}"),
            format!("0::/machine.slice/libpod-{ID}.scope/container"),
            format!("0::/docker/{OUTER}/kubelet/kubepods/pod1/{ID}"),
            format!("0::/../../pod1/{ID}"),
            format!("0::/docker/{ID}/init.scope"),
            format!("12:pids:/\n4:cpu,cpuacct:/docker/{ID}\n1:name=systemd:/docker/{ID}"),
        ] {
            assert_eq!(id(&path).as_deref(), Some(ID), "{path}");
        }
    }

    #[test]
    fn no_container() {
        for path in [
            "",
            "0::/",
            "nonsense",
            "0::/user.slice/user-1000.slice/session-3.scope",
            "0::/system.slice/nginx.service",
            &format!("0::/machine.slice/libpod-conmon-{ID}.scope"),
            &format!("0::/kubepods.slice/crio-conmon-{ID}.scope"),
            &format!("0::/docker/{ID}0"),
            &format!("0::/docker/{}", ID.to_uppercase()),
        ] {
            assert_eq!(id(path), None, "{path}");
        }
    }

    #[test]
    fn paths_once() {
        assert_eq!(paths("3:cpu:/a:b\n2:memory:/a:b\n0::/c\n"), ["/a:b", "/c"]);
    }
}
