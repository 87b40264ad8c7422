//! Where in Kubernetes a process is: its cgroup's pod and container, as far as the API server has told of them.

use std::sync::Arc;

use crate::{
    kubernetes::{Cache, Pod},
    process::{Berth, Procfs, berths, container_id},
};

/// The place of a process in a pod.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Seat {
    /// Its cgroup names a pod that is not known.
    Unknown(Vec<Berth>),
    /// It is in a pod.
    Known {
        /// The pod.
        pod: Arc<Pod>,
        /// What the pod's cgroup is called.
        berth: Box<str>,
        /// The container's id.
        container: Option<String>,
    },
}

impl Seat {
    /// The place of `pid`; `None` if it is in no pod.
    pub fn find(procfs: &Procfs, cache: &Cache, pid: u32) -> Option<Self> {
        let paths = procfs.cgroups(pid);
        let berths = berths(&paths);
        if let Some((pod, berth)) = cache.find(&berths) {
            return Some(Self::Known {
                pod,
                berth: berth.pod.as_str().into(),
                container: berth.container.clone(),
            });
        }
        if !berths.is_empty() {
            return Some(Self::Unknown(berths));
        }
        // Seen from a container, the paths of its pod's other containers begin below the pod.
        let id = container_id(&paths).filter(|_| paths.iter().any(|path| path.starts_with("/../")))?;
        let pod = cache.of_container(&id)?;
        Some(Self::Known { berth: (&*pod.uid).into(), pod, container: Some(id) })
    }

    /// The same place, with what is known of its pod now; `None` if nothing is.
    pub fn now(&self, cache: &Cache) -> Option<Self> {
        match self {
            Self::Unknown(_) => None,
            Self::Known { pod, berth, container } => {
                let (berth, container) = (berth.clone(), container.clone());
                Some(Self::Known { pod: cache.pod(&pod.uid)?, berth, container })
            }
        }
    }

    /// The pod, if it is known.
    pub fn pod(&self) -> Option<&Pod> {
        match self {
            Self::Unknown(_) => None,
            Self::Known { pod, .. } => Some(pod),
        }
    }

    /// What the pod's cgroup is called, if the pod is known.
    pub fn berth(&self) -> Option<Box<str>> {
        match self {
            Self::Unknown(_) => None,
            Self::Known { berth, .. } => Some(berth.clone()),
        }
    }

    /// The container's name, if the pod's status has told it.
    pub fn container_name(&self) -> Option<String> {
        match self {
            Self::Unknown(_) => None,
            Self::Known { pod, container, .. } => {
                Some(pod.container(container.as_deref()?)?.0.name.to_string())
            }
        }
    }
}
