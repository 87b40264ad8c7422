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
//!
//! A pod's cgroup is named by its UID: `pod<uid>`, or `…-pod<uid with _ for ->.slice`, below any prefix. Of a static pod
//! it is the hash of its manifest, which the API server does not know as a UID. Pods can be nested too (a cluster whose
//! nodes are pods): all that a path names are told, the innermost first, and whoever knows the pods picks its own.

/// Digits of a container id.
const ID: usize = 64;
/// Characters of a pod's UID, and of the hash that stands for it in a static pod's cgroup.
const UID: usize = 36;
const HASH: usize = 32;

/// A pod that a cgroup path names, and the container in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Berth {
    /// The pod's UID; a static pod's hash.
    pub pod: String,
    /// The container's id; `None` in the pod's own cgroup.
    pub container: Option<String>,
}

/// The pods that the paths name, the innermost first.
pub fn berths(paths: &[String]) -> Vec<Berth> {
    let mut berths: Vec<Berth> = Vec::new();
    for path in paths {
        let mut container = None;
        for name in path.rsplit('/') {
            // A systemd path given to a cgroupfs driver names both in one component.
            let here = component(name);
            if let Some(pod) = pod(name) {
                let berth = Berth { pod, container: here.or(container.take()) };
                match berths.iter_mut().find(|known| known.pod == berth.pod) {
                    Some(known) => known.container = known.container.take().or(berth.container),
                    None => berths.push(berth),
                }
                container = None;
            } else if here.is_some() {
                container = here;
            }
        }
    }
    berths
}

/// The UID in a pod's component.
fn pod(name: &str) -> Option<String> {
    let name = name.split(':').next().unwrap_or(name);
    let uid = match name.strip_suffix(".slice") {
        Some(slice) => slice.rsplit('-').next()?.strip_prefix("pod")?.replace('_', "-"),
        None => name.strip_prefix("pod")?.to_owned(),
    };
    let digits = |text: &str| text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    let is_uid =
        uid.len() == UID && uid.split('-').map(str::len).eq([8, 4, 4, 4, 12]) && uid.split('-').all(digits);
    (is_uid || (uid.len() == HASH && digits(&uid))).then_some(uid)
}

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
pub fn container_id(paths: &[String]) -> Option<String> {
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

    const POD: &str = "2c48913c-b29f-11e7-9350-020968147796";
    const HASH_OF_STATIC: &str = "0a1b2c3d4e5f60718293a4b5c6d7e8f9";

    fn named(path: &str) -> Vec<(String, Option<String>)> {
        berths(&paths(&format!("0::{path}"))).into_iter().map(|b| (b.pod, b.container)).collect()
    }

    #[test]
    fn pods_of_all_drivers_runtimes_and_prefixes() {
        let slice = "kubepods-burstable-pod2c48913c_b29f_11e7_9350_020968147796.slice";
        for path in [
            format!("/kubepods/burstable/pod{POD}/{ID}"),
            format!("/kubepods/pod{POD}/{ID}"),
            format!("/sockspan/kubepods/besteffort/pod{POD}/{ID}"),
            format!("/kubepods.slice/kubepods-burstable.slice/{slice}/cri-containerd-{ID}.scope"),
            format!("/kubepods.slice/kubepods-burstable.slice/{slice}/crio-{ID}.scope"),
            format!("/kubepods.slice/kubepods-burstable.slice/{slice}/crio-{ID}.scope/container"),
            format!("/kubepods.slice/kubepods-burstable.slice/{slice}/docker-{ID}.scope"),
            format!(
                "/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-burstable.slice/kubelet-{slice}/cri-containerd-{ID}.scope"
            ),
            format!("/docker/{OUTER}/kubelet/kubepods/burstable/pod{POD}/{ID}"),
            format!("/system.slice/containerd.service/{slice}:cri-containerd:{ID}"),
            format!("/../../{slice}/cri-containerd-{ID}.scope"),
            format!("/../../burstable/pod{POD}/{ID}/init.scope"),
        ] {
            assert_eq!(named(&path), [(POD.to_owned(), Some(ID.to_owned()))], "{path}");
        }
    }

    #[test]
    fn static_pods_by_their_hash_and_pods_without_a_container() {
        let slice = format!("kubepods-pod{HASH_OF_STATIC}.slice");
        for path in [
            format!("/kubepods/burstable/pod{HASH_OF_STATIC}/{ID}"),
            format!("/kubepods.slice/{slice}/crio-{ID}.scope"),
        ] {
            assert_eq!(named(&path), [(HASH_OF_STATIC.to_owned(), Some(ID.to_owned()))], "{path}");
        }
        assert_eq!(
            named(&format!(
                "/kubepods.slice/kubepods-pod{}.slice/crio-conmon-{ID}.scope",
                POD.replace('-', "_")
            )),
            [(POD.to_owned(), None)]
        );
        assert_eq!(named(&format!("/kubepods/pod{POD}")), [(POD.to_owned(), None)]);
    }

    #[test]
    fn nested_pods_the_innermost_first_each_with_its_own_container() {
        let path = format!("/kubepods/pod{OTHER}/{OUTER}/kubelet/kubepods/pod{POD}/{ID}");
        let inner = (POD.to_owned(), Some(ID.to_owned()));
        assert_eq!(named(&path), [inner, (OTHER.to_owned(), Some(OUTER.to_owned()))]);
        // A container in a container of a pod: the pod's own is the outer one.
        let docker = format!("/kubepods/pod{POD}/{OUTER}/docker/{ID}");
        assert_eq!(named(&docker), [(POD.to_owned(), Some(OUTER.to_owned()))]);
        let v1 = format!("4:cpu:/kubepods/pod{POD}\n2:pids:/kubepods/pod{POD}/{ID}\n1:name=systemd:/");
        assert_eq!(berths(&paths(&v1)), [Berth { pod: POD.into(), container: Some(ID.into()) }]);
    }

    #[test]
    fn what_names_no_pod() {
        for path in [
            "/",
            "/pod1/x",
            "/podman/x",
            "/machine.slice/libpod-x.scope",
            "/kubepods/podXYZ",
            "/kubepods.slice/kubepods-pod1.slice",
            "",
        ] {
            assert_eq!(named(path), [], "{path}");
        }
        assert_eq!(named(&format!("/docker/{ID}")), []);
        assert_eq!(named(&format!("/kubepods/pod{}", POD.to_uppercase())), []);
    }

    const OTHER: &str = "9d1c2b3a-0000-4000-8000-0123456789ab";

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
