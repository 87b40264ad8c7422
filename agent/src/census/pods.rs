//! Processes in pods: decided by what the API server says of their pods, and decided anew when it says something else.
//!
//! In: the cache's changes, the rules. Out: processes that are traced or left from then on, and resources that say more.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use super::{Arrival, Census, Entry, Glance, Moment, News, departed::Memory, seat::Seat};
use crate::{
    kubernetes::{Decision, Facts, Pod, facts},
    metrics::Watched,
    process::{Process, Runtime},
};

/// Processes that are left alone are listed up to this number; more are not worth their memory.
const LISTED: usize = 4_096;
/// Names of unknown pods that are remembered.
const UNKNOWN: usize = 4_096;

impl Entry {
    /// Whether its resource says all that its pod will.
    pub(super) fn is_complete(&self) -> bool {
        self.facts.as_ref().is_none_or(|facts| facts.complete)
    }
}

impl Census {
    /// Where in Kubernetes `pid` is; `None` if it is in no pod, or nobody asks for pods.
    pub(super) fn seat(&self, pid: u32) -> Option<Seat> {
        Seat::find(&self.procfs, self.cluster.as_deref()?, pid)
    }

    /// Decides on a process in a pod that was not traced before.
    pub(super) fn look_in_pod(&mut self, glance: &Glance, seat: &Seat, moment: Moment) -> Vec<News> {
        let pid = glance.identity.pid;
        let decision = self.decide(seat);
        let by_moment = matches!(moment, Moment::Exec { named: true, .. });
        let by_parent = || self.lock().get(&glance.parent).is_some_and(|parent| parent.named);
        let named = self.rules.selection.names(pid) || by_moment || by_parent();
        let rule = match (named, self.rules.selection.names(pid)) {
            (true, true) => format!("--pid {pid}"),
            (true, false) => format!("started by process {}, which --pid names", glance.parent),
            (false, _) => decision.rule,
        };
        let left = |executable, rule: &str| Entry::left(glance.identity, executable, rule).seated(seat, rule);
        if !named && !decision.traced {
            return self.leave_in_pod(left(glance.executable.clone(), &rule));
        }
        let Ok(process) = self.procfs.process(pid) else { return Vec::new() };
        if process.identity != glance.identity {
            return Vec::new();
        }
        if process.executable.is_none() && process.arguments.is_empty() {
            self.traced.remove(pid);
            return Vec::new(); // It has ended.
        }
        if let Some(never) = self.rules.selection.never(&process) {
            return self.leave_in_pod(left(process.executable.clone(), &never));
        }
        let mut entry = left(process.executable.clone(), &rule);
        entry.named = named;
        entry.facts = self.facts(seat);
        if !entry.is_complete() {
            entry.memory = Some(Memory::new(&process, &Runtime::detect(&self.procfs, &process), seat));
        }
        self.arrive(&process, entry, moment)
    }

    fn leave_in_pod(&mut self, entry: Entry) -> Vec<News> {
        let pid = entry.pid;
        let listed = self.lock().contains_key(&pid) || self.lock().len() < LISTED;
        if listed {
            return self.leave(entry);
        }
        self.traced.remove(pid);
        Vec::new()
    }

    /// The rule for a pod; what is not known is not traced.
    fn decide(&mut self, seat: &Seat) -> Decision {
        let no = |rule: String| Decision { traced: false, rule };
        match seat {
            Seat::Unknown(berths) => {
                self.miss(berths.iter().map(|berth| berth.pod.as_str().into()));
                let name = berths.first().map_or("", |berth| &berth.pod);
                no(format!("nothing is known yet of its pod {name}{}", self.trouble(Watched::Pods)))
            }
            Seat::Known { pod, .. } => match self.verdicts.get(&pod.uid) {
                Some(decision) => decision.clone(),
                None => {
                    let decision = self.decide_pod(pod);
                    let decision = decision.unwrap_or_else(|| {
                        let (name, trouble) = (&pod.namespace, self.trouble(Watched::Namespaces));
                        no(format!("nothing is known yet of namespace {name}{trouble}"))
                    });
                    self.verdicts.insert(pod.uid.clone(), decision.clone());
                    decision
                }
            },
        }
    }

    fn decide_pod(&self, pod: &Pod) -> Option<Decision> {
        let namespace = self.cluster.as_ref()?.namespace(&pod.namespace)?;
        Some(self.rules.kubernetes.as_ref()?.decide(pod, &namespace))
    }

    fn trouble(&self, what: Watched) -> String {
        let trouble = self.cluster.as_ref().and_then(|cache| cache.health(what).trouble);
        trouble.map_or_else(String::new, |trouble| format!(": {}", trouble.text))
    }

    fn miss(&mut self, names: impl Iterator<Item = Box<str>>) {
        if let Some(unknown) = &mut self.unknown {
            unknown.extend(names);
        }
        if self.unknown.as_ref().is_some_and(|unknown| unknown.len() > UNKNOWN) {
            self.unknown = None;
        }
    }

    /// What is known of a process by its pod; `None` while nothing is.
    pub(super) fn facts(&self, seat: &Seat) -> Option<Facts> {
        let Seat::Known { pod, container, .. } = seat else { return None };
        let namespace = self.cluster.as_ref().and_then(|cache| cache.namespace(&pod.namespace));
        let chosen = self.rules.kubernetes.as_ref().map(|rules| rules.chosen.clone()).unwrap_or_default();
        Some(facts(pod, namespace.as_deref(), container.as_deref(), &chosen))
    }

    /// The API server has told something: the processes that it concerns are decided anew.
    pub fn pods_changed(&mut self) -> Vec<News> {
        let Some(cache) = self.cluster.clone() else { return Vec::new() };
        let mut names: HashSet<Box<str>> = HashSet::new();
        let mut search = false;
        for uid in cache.changes().pods {
            let Some(pod) = cache.pod(&uid) else {
                self.verdicts.remove(&uid);
                // Who goes on in it is nobody's any more.
                names.insert((&*uid).into());
                continue;
            };
            let before = self.verdicts.remove(&uid);
            let mine = [Some(&*pod.uid), pod.hash.as_deref()].into_iter().flatten().map(Box::from);
            let mine: Vec<Box<str>> = mine.collect();
            search |= self.is_to_search(&pod, before.as_ref(), &mine);
            names.extend(mine);
        }
        if names.is_empty() {
            return Vec::new();
        }
        let mut pids: Vec<u32> = {
            let entries = self.lock();
            let concerned = |e: &&Entry| e.berth.as_ref().is_some_and(|berth| names.contains(berth));
            entries.values().filter(concerned).map(|e| e.pid).collect()
        };
        if search {
            pids.extend(self.inhabitants(&names));
        }
        pids.sort_unstable();
        pids.dedup();
        let mut news: Vec<News> = pids.into_iter().flat_map(|pid| self.decide_anew(pid)).collect();
        news.extend(self.tell_of_departed(&names));
        news
    }

    /// Whether a pod can have processes that nobody has listed and that are to be traced now.
    fn is_to_search(&mut self, pod: &Pod, before: Option<&Decision>, names: &[Box<str>]) -> bool {
        let missed = match &mut self.unknown {
            Some(unknown) => names.iter().filter(|name| unknown.remove(*name)).count() > 0,
            None => true,
        };
        let now = self.decide_pod(pod);
        if let Some(now) = &now {
            self.verdicts.insert(pod.uid.clone(), now.clone());
        }
        let begins = now.is_some_and(|now| now.traced) && before.is_some_and(|before| !before.traced);
        missed || begins
    }

    /// The processes in pods whose cgroups have these names.
    fn inhabitants(&self, names: &HashSet<Box<str>>) -> Vec<u32> {
        let pids = self.procfs.pids().unwrap_or_default();
        let lives =
            |pid: &u32| self.seat(*pid).and_then(|seat| seat.berth()).is_some_and(|b| names.contains(&b));
        pids.into_iter().filter(lives).collect()
    }

    /// Decides on a process that may be traced already.
    pub(super) fn decide_anew(&mut self, pid: u32) -> Vec<News> {
        let Ok(glance) = self.procfs.glance(pid) else { return Vec::new() };
        let known = self.lock().get(&pid).filter(|e| e.identity == glance.identity).cloned();
        let Some(seat) = self.seat(pid) else { return Vec::new() };
        let Some(entry) = known.filter(|e| e.traced) else {
            return self.look_in_pod(&glance, &seat, Moment::Found);
        };
        let decision = self.decide(&seat);
        if !decision.traced && !entry.named {
            let left = Entry::left(glance.identity, glance.executable, &decision.rule);
            tracing::info!(pid, service = entry.service, reason = decision.rule, "process is traced no more");
            return self.leave(left.seated(&seat, &decision.rule));
        }
        let rule = if entry.named { entry.reason.clone() } else { decision.rule };
        self.refresh(entry, &seat, &rule)
    }

    /// Brings a traced process's entry up to date, and its resource if its pod says something new.
    fn refresh(&mut self, entry: Entry, seat: &Seat, rule: &str) -> Vec<News> {
        let (pid, facts) = (entry.pid, self.facts(seat));
        let changed = entry.facts != facts;
        let known = changed.then(|| self.known_of(&entry)).flatten();
        let mut entry = Entry { reason: rule.to_owned(), ..entry }.seated(seat, rule);
        let mut news = Vec::new();
        if let Some((process, runtime)) = known {
            let resource = self.resource(&process, &runtime, facts.as_ref());
            entry.service = Some(resource.service_name.clone());
            entry.facts = facts;
            let complete = entry.is_complete();
            entry.memory = entry.memory.filter(|_| !complete);
            news.push(News::Arrival(Arrival { tgid: pid, resource, complete }));
        }
        self.lock().insert(pid, entry);
        news
    }

    /// What can be read of a process; of one that ends, what is remembered.
    fn known_of(&self, entry: &Entry) -> Option<(Process, Runtime)> {
        let read = |process: Process| {
            let runtime = Runtime::detect(&self.procfs, &process);
            (process, runtime)
        };
        let remembered = || entry.memory.as_ref().map(|memory| memory.process());
        self.going_on(entry.pid, entry.identity).map(read).or_else(remembered)
    }

    /// Other rules are in effect: every pod is decided anew, and what they need is kept of each.
    pub(super) fn forget_verdicts(&mut self) {
        self.verdicts = HashMap::new();
        if let (Some(cache), Some(rules)) = (&self.cluster, &self.rules.kubernetes) {
            cache.keep(rules.kept());
        }
    }

    /// Whether everything is known that the first decisions need.
    pub fn is_prepared(&self) -> bool {
        self.cluster.as_ref().is_none_or(|cache: &Arc<_>| cache.is_synced())
    }
}
