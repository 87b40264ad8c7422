//! What is known of this node's pods and of the namespaces, shared by the watches that fill it and by those who ask.
//!
//! In: the watches' events. Out: pods by what their cgroup is called, namespaces by name, and [`Changes`] since the census
//! last asked. A pod that is deleted is remembered for a while: its processes may end after it, and spans may wait.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant, SystemTime},
};

use tokio::sync::watch;

use super::{
    pod::{Namespace, Pod},
    rules::Kept,
    trouble::Trouble,
};
use crate::{metrics::Watched, process::Berth};

/// How long, and how many, deleted pods are remembered.
const MEMORY: Duration = Duration::from_secs(60);
const MEMORIES: usize = 512;

/// Called when there are [`Changes`].
pub type Waker = Box<dyn Fn() + Send + Sync>;

/// What changed since it was last asked.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// UIDs of pods that are new, different or forgotten.
    pub pods: HashSet<Arc<str>>,
    /// Names of namespaces that are new, different or gone.
    pub namespaces: HashSet<Arc<str>>,
}

impl Changes {
    /// Nothing changed.
    pub fn is_empty(&self) -> bool {
        self.pods.is_empty() && self.namespaces.is_empty()
    }
}

/// How a watch does.
#[derive(Clone, Debug, Default)]
pub struct Health {
    /// When it had everything for the first time since it last began anew.
    pub synced: Option<SystemTime>,
    /// Why it does not work at the moment.
    pub trouble: Option<Trouble>,
    /// Answers of the API server, for a list's page or for a watch that began.
    pub answers: u64,
}

/// The pods and the namespaces.
pub struct Cache {
    state: Mutex<State>,
    waker: Waker,
    kept: watch::Sender<Kept>,
}

#[derive(Default)]
struct State {
    pods: HashMap<Arc<str>, Arc<Pod>>,
    /// Static pods, by what their cgroup is called.
    hashes: HashMap<Box<str>, Arc<str>>,
    namespaces: HashMap<Arc<str>, Arc<Namespace>>,
    /// Deleted, the oldest first.
    departed: VecDeque<(Instant, Arc<str>)>,
    /// Told of since a watch began anew, until it has told everything.
    listed: [Option<HashSet<Arc<str>>>; 2],
    changes: Changes,
    health: [Health; 2],
}

impl Cache {
    /// An empty cache that keeps those annotations, and calls `waker` after changes.
    pub fn new(kept: Kept, waker: Waker) -> Arc<Self> {
        Arc::new(Self { state: Mutex::default(), waker, kept: watch::Sender::new(kept) })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes which annotations are kept; the watches begin anew if they are others.
    pub fn keep(&self, kept: Kept) {
        self.kept.send_if_modified(|now| {
            let changed = *now != kept;
            *now = kept;
            changed
        });
    }

    /// Which annotations are kept.
    pub fn kept(&self) -> watch::Receiver<Kept> {
        self.kept.subscribe()
    }

    /// The first of these places that is in a known pod.
    pub fn find<'a>(&self, berths: &'a [Berth]) -> Option<(Arc<Pod>, &'a Berth)> {
        let state = self.lock();
        berths.iter().find_map(|berth| Some((state.pod(&berth.pod)?, berth)))
    }

    /// The pod that has a container of this id.
    pub fn of_container(&self, id: &str) -> Option<Arc<Pod>> {
        self.lock().pods.values().find(|pod| pod.container(id).is_some()).cloned()
    }

    /// The pod of this UID.
    pub fn pod(&self, uid: &str) -> Option<Arc<Pod>> {
        self.lock().pod(uid)
    }

    /// A namespace.
    pub fn namespace(&self, name: &str) -> Option<Arc<Namespace>> {
        self.lock().namespaces.get(name).cloned()
    }

    /// What changed since the last call, with all pods of the namespaces that did.
    pub fn changes(&self) -> Changes {
        let mut state = self.lock();
        state.forget(Instant::now());
        let mut changes = std::mem::take(&mut state.changes);
        let concerned = state.pods.values().filter(|pod| changes.namespaces.contains(&pod.namespace));
        changes.pods.extend(concerned.map(|pod| pod.uid.clone()));
        changes
    }

    /// How many pods (without deleted ones) and namespaces there are.
    pub fn len(&self, what: Watched) -> usize {
        let state = self.lock();
        match what {
            Watched::Pods => state.pods.len().saturating_sub(state.departed.len()),
            Watched::Namespaces => state.namespaces.len(),
        }
    }

    /// How a watch does.
    pub fn health(&self, what: Watched) -> Health {
        self.lock().health[what as usize].clone()
    }

    /// Whether both watches have had everything.
    pub fn is_synced(&self) -> bool {
        self.lock().health.iter().all(|health| health.synced.is_some())
    }

    /// A pod is there.
    pub fn put_pod(&self, pod: Pod) {
        let mut state = self.lock();
        let uid = pod.uid.clone();
        state.tell(Watched::Pods, &uid);
        state.departed.retain(|(_, departed)| *departed != uid);
        if state.pods.get(&uid).is_some_and(|known| **known == pod) {
            return;
        }
        if let Some(hash) = &pod.hash {
            state.hashes.insert(hash.clone(), uid.clone());
        }
        state.pods.insert(uid.clone(), Arc::new(pod));
        state.changes.pods.insert(uid);
    }

    /// A pod is gone.
    pub fn drop_pod(&self, uid: &str) {
        self.lock().depart(uid, Instant::now());
    }

    /// A namespace is there.
    pub fn put_namespace(&self, namespace: Namespace) {
        let mut state = self.lock();
        let name = namespace.name.clone();
        state.tell(Watched::Namespaces, &name);
        if state.namespaces.get(&name).is_none_or(|known| **known != namespace) {
            state.namespaces.insert(name.clone(), Arc::new(namespace));
            state.changes.namespaces.insert(name);
        }
    }

    /// A namespace is gone.
    pub fn drop_namespace(&self, name: &str) {
        let mut state = self.lock();
        if let Some((name, _)) = state.namespaces.remove_entry(name) {
            state.changes.namespaces.insert(name);
        }
    }

    /// A watch begins anew: everything will be told again.
    pub fn begin(&self, what: Watched) {
        self.lock().listed[what as usize] = Some(HashSet::new());
    }

    /// A watch has told everything: what it did not tell of is gone.
    pub fn complete(&self, what: Watched) {
        let mut state = self.lock();
        let listed = state.listed[what as usize].take().unwrap_or_default();
        match what {
            Watched::Pods => {
                let departed: HashSet<_> = state.departed.iter().map(|(_, uid)| uid.clone()).collect();
                let gone = state.pods.keys().filter(|uid| !listed.contains(*uid) && !departed.contains(*uid));
                let gone: Vec<_> = gone.cloned().collect();
                gone.iter().for_each(|uid| state.depart(uid, Instant::now()));
            }
            Watched::Namespaces => {
                let gone: Vec<_> =
                    state.namespaces.keys().filter(|name| !listed.contains(*name)).cloned().collect();
                for name in gone {
                    state.namespaces.remove(&name);
                    state.changes.namespaces.insert(name);
                }
            }
        }
        let health = &mut state.health[what as usize];
        health.synced = Some(SystemTime::now());
        health.trouble = None;
        drop(state);
        self.wake();
    }

    /// The API server answered.
    pub fn answered(&self, what: Watched, well: bool) {
        let health = &mut self.lock().health[what as usize];
        health.answers += 1;
        if well {
            health.trouble = None;
        }
    }

    /// A watch failed; whether its trouble is another than before.
    pub fn failed(&self, what: Watched, trouble: Trouble) -> bool {
        let health = &mut self.lock().health[what as usize];
        let new = health.trouble.as_ref().is_none_or(|known| known.reason != trouble.reason);
        health.trouble = Some(trouble);
        new
    }

    /// Tells whoever waits for changes, if there are some.
    pub fn wake(&self) {
        if !self.lock().changes.is_empty() {
            (self.waker)();
        }
    }
}

impl State {
    /// Notes what a watch that began anew has told of.
    fn tell(&mut self, what: Watched, key: &Arc<str>) {
        if let Some(listed) = &mut self.listed[what as usize] {
            listed.insert(key.clone());
        }
    }

    fn pod(&self, name: &str) -> Option<Arc<Pod>> {
        let by_hash = || self.pods.get(self.hashes.get(name)?);
        self.pods.get(name).or_else(by_hash).cloned()
    }

    /// Its metadata are kept for now.
    fn depart(&mut self, uid: &str, now: Instant) {
        let again = self.departed.iter().any(|(_, departed)| **departed == *uid);
        if let Some((uid, _)) = self.pods.get_key_value(uid).filter(|_| !again) {
            self.departed.push_back((now, uid.clone()));
        }
    }

    fn forget(&mut self, now: Instant) {
        while let Some((since, _)) = self.departed.front() {
            if now.duration_since(*since) < MEMORY && self.departed.len() <= MEMORIES {
                break;
            }
            let Some((_, uid)) = self.departed.pop_front() else { break };
            self.pods.remove(&uid);
            self.hashes.retain(|_, pod| *pod != uid);
            self.changes.pods.insert(uid);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::WatchError;
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

    fn cache() -> (Arc<Cache>, Arc<AtomicUsize>) {
        let woken = Arc::new(AtomicUsize::new(0));
        let counted = woken.clone();
        (
            Cache::new(
                Kept::default(),
                Box::new(move || {
                    counted.fetch_add(1, Relaxed);
                }),
            ),
            woken,
        )
    }

    fn pod(uid: &str, namespace: &str) -> Pod {
        Pod { uid: uid.into(), namespace: namespace.into(), ..Pod::default() }
    }

    fn berth(pod: &str) -> Berth {
        Berth { pod: pod.into(), container: Some("c".into()) }
    }

    fn pods(changes: &Changes) -> Vec<&str> {
        let mut pods: Vec<&str> = changes.pods.iter().map(|uid| &**uid).collect();
        pods.sort_unstable();
        pods
    }

    #[test]
    fn what_is_known_already_changes_nothing() {
        let (cache, woken) = cache();
        cache.begin(Watched::Pods);
        cache.put_pod(pod("a", "shop"));
        assert!(!cache.is_synced());
        cache.complete(Watched::Pods);
        assert_eq!((pods(&cache.changes()), woken.load(Relaxed)), (vec!["a"], 1));
        cache.put_pod(pod("a", "shop"));
        cache.wake();
        assert!(cache.changes().is_empty());
        assert_eq!(woken.load(Relaxed), 1);
    }

    #[test]
    fn a_namespace_concerns_its_pods() {
        let (cache, _) = cache();
        for (uid, namespace) in [("a", "shop"), ("b", "shop"), ("c", "other")] {
            cache.put_pod(pod(uid, namespace));
        }
        cache.changes();
        cache.put_namespace(Namespace { name: "shop".into(), ..Namespace::default() });
        assert_eq!(pods(&cache.changes()), ["a", "b"]);
        cache.drop_namespace("shop");
        assert_eq!(pods(&cache.changes()), ["a", "b"]);
        assert_eq!(cache.namespace("shop"), None);
    }

    #[test]
    fn the_deleted_are_remembered_for_a_while_and_in_bounds() {
        let (cache, _) = cache();
        cache.put_pod(pod("a", "shop"));
        cache.drop_pod("a");
        assert_eq!(cache.len(Watched::Pods), 0);
        assert!(cache.find(&[berth("a")]).is_some());
        cache.lock().forget(Instant::now() + MEMORY);
        assert!(cache.find(&[berth("a")]).is_none());
        for n in 0..2 * MEMORIES {
            cache.put_pod(pod(&n.to_string(), "shop"));
            cache.drop_pod(&n.to_string());
        }
        cache.changes();
        assert_eq!(cache.lock().pods.len(), MEMORIES);
    }

    #[test]
    fn a_new_list_drops_what_it_does_not_name() {
        let (cache, _) = cache();
        for uid in ["a", "b"] {
            cache.put_pod(pod(uid, "shop"));
        }
        cache.put_namespace(Namespace { name: "shop".into(), ..Namespace::default() });
        cache.begin(Watched::Pods);
        cache.put_pod(pod("b", "shop"));
        cache.complete(Watched::Pods);
        cache.begin(Watched::Namespaces);
        cache.complete(Watched::Namespaces);
        assert_eq!((cache.len(Watched::Pods), cache.len(Watched::Namespaces)), (1, 0));
        assert!(cache.is_synced());
        cache.begin(Watched::Pods);
        cache.complete(Watched::Pods);
        assert_eq!((cache.len(Watched::Pods), cache.lock().departed.len()), (0, 2));
    }

    #[test]
    fn static_pods_are_found_by_their_hash_and_the_innermost_pod_first() {
        let (cache, _) = cache();
        cache.put_pod(Pod { hash: Some("h".into()), ..pod("a", "kube-system") });
        cache.put_pod(pod("outer", "shop"));
        let uid = |berths: &[Berth]| cache.find(berths).map(|(pod, _)| pod.uid.to_string());
        assert_eq!(uid(&[berth("h")]).as_deref(), Some("a"));
        assert_eq!(uid(&[berth("unknown"), berth("outer")]).as_deref(), Some("outer"));
        assert_eq!(uid(&[berth("a"), berth("outer")]).as_deref(), Some("a"));
        assert_eq!(uid(&[berth("x")]), None);
    }

    #[test]
    fn trouble_stays_until_the_server_answers() {
        let (cache, _) = cache();
        let trouble = |reason| Trouble { reason, text: String::new() };
        assert!(cache.failed(Watched::Pods, trouble(WatchError::Unreachable)));
        assert!(!cache.failed(Watched::Pods, trouble(WatchError::Unreachable)));
        assert!(cache.failed(Watched::Pods, trouble(WatchError::Forbidden)));
        cache.answered(Watched::Pods, false);
        assert!(cache.health(Watched::Pods).trouble.is_some());
        cache.answered(Watched::Pods, true);
        assert!(cache.health(Watched::Pods).trouble.is_none());
        assert_eq!(cache.health(Watched::Pods).answers, 2);
    }

    #[test]
    fn other_annotations_make_the_watches_begin_anew() {
        let (cache, _) = cache();
        let mut kept = cache.kept();
        cache.keep(Kept::default());
        assert!(!kept.has_changed().unwrap());
        cache.keep(Kept { pods: super::super::rules::Globs::of(&["a"]), ..Kept::default() });
        assert!(kept.has_changed().unwrap());
        kept.mark_unchanged();
    }
}
