//! Which processes are traced, and why: the selection applied to every process there is and to every one that
//! comes, each with the policy that its runtime allows.
//!
//! In: `/proc`, and the turns that the kernel side tells of. Out: the kernel side's set of processes, and [`News`]
//! for the pipeline.

mod departed;
mod entry;
mod instrumented;
mod judge;
mod lineage;
mod pods;
mod reload;
mod seat;

use std::{
    collections::{HashMap, HashSet},
    fs,
    path::Path,
    sync::{Arc, MutexGuard, PoisonError},
    time::Instant,
};

use sockspan_ebpf::{EventKind, Layout, Lifecycle, Policy, process_flag};

use crate::{
    capture::{Traced, chain},
    kubernetes::{self, Cache, Decision},
    process::{Glance, Host, Identity, Listeners, Process, Procfs, Runtime, resource, selection::Selection},
    settings::Hooked,
    span::{Attribute, Resource, Value},
};

use departed::Departed;
use entry::Review;
pub use entry::{Entries, Entry};
use judge::{Judgement, Moment};
use lineage::Lineage;

/// A process that is traced from now on.
#[derive(Clone, Debug)]
pub struct Arrival {
    /// The process.
    pub tgid: u32,
    /// What its spans say of it.
    pub resource: Resource,
    /// Whether that is all; if not, its spans wait a while for the rest.
    pub complete: bool,
}

/// What the pipeline is told.
#[derive(Clone, Debug)]
pub enum News {
    /// A process is traced from now on, or more is known of it.
    Arrival(Arrival),
    /// The threads of this process were no evidence after all: what they seemed to prove is taken back.
    Distrust(u32),
    /// This process is no longer traced, though it goes on: what it has begun is not waited for.
    Departure(u32),
}

/// A user's rule for service.name, by executable.
pub type Naming = Box<dyn Fn(&Path) -> Option<String> + Send>;

/// What the census goes by.
pub struct Rules {
    /// Whom to trace.
    pub selection: Selection,
    /// service.name by executable, as the user set it.
    pub service_name: Naming,
    /// Leave processes alone that have a tracer of their own.
    pub leave_instrumented: bool,
    /// Languages whose runtimes get no hooks.
    pub no_hooks: Vec<Hooked>,
    /// Attributes for every resource.
    pub attributes: Vec<(String, String)>,
    /// Whom to trace in pods, where Kubernetes is used.
    pub kubernetes: Option<kubernetes::Rules>,
}

/// What the census knows the pods by.
pub struct Cluster {
    /// The pods.
    pub cache: Arc<Cache>,
    /// The node that this is.
    pub node: String,
    /// The agent runs in a pod.
    pub in_pod: bool,
}

/// The processes.
pub struct Census {
    procfs: Procfs,
    host: Host,
    rules: Rules,
    traced: Traced,
    entries: Entries,
    cluster: Option<Arc<Cache>>,
    /// What has been decided on each pod.
    verdicts: HashMap<Arc<str>, Decision>,
    /// Cgroup names of pods that processes were seen in and that are not known; `None` is too many to name.
    unknown: Option<HashSet<Box<str>>>,
    lineage: Lineage,
    departed: Departed,
}

impl Census {
    /// A census of nobody yet.
    ///
    /// # Errors
    /// `/proc` cannot be read.
    pub fn new(rules: Rules, traced: Traced, cluster: Option<Cluster>) -> std::io::Result<Self> {
        let procfs = Procfs::new("/proc")?;
        // In a pod, the files around are those of an image, and the host is seen through its first process.
        let root = if cluster.as_ref().is_some_and(|c| c.in_pod) { "/proc/1/root" } else { "/" };
        let mut host = Host::read(&procfs, Path::new(root));
        let cluster = cluster.map(|Cluster { cache, node, .. }| {
            host.name = Some(node);
            cache
        });
        let (verdicts, unknown) = (HashMap::new(), Some(HashSet::new()));
        let (entries, lineage, departed) = (Entries::default(), Lineage::default(), Departed::default());
        Ok(Self { procfs, host, rules, traced, entries, cluster, verdicts, unknown, lineage, departed })
    }

    /// The entries, for `/status`.
    pub fn entries(&self) -> Entries {
        self.entries.clone()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u32, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at every process there is. Parents come before their children: a process that is selected brings its
    /// descendants with it.
    pub fn scan(&mut self) -> Vec<News> {
        // Listed before `/proc` is: what is missing there has ended, it is not too young.
        let kept = self.traced.pids();
        let Ok(pids) = self.procfs.pids() else { return Vec::new() };
        let mut gone: Vec<u32> = self.lock().keys().copied().chain(kept).collect();
        gone.retain(|pid| pids.binary_search(pid).is_err());
        let mut news = Vec::new();
        for pid in gone {
            let traced = self.lock().get(&pid).is_some_and(|entry| entry.traced);
            self.forget(pid);
            // The kernel side has told of its end, if that was not lost.
            news.extend(traced.then_some(News::Departure(pid)));
        }
        let mut listeners = Listeners::default();
        // Process ids wrap around: a parent can have the higher one. So all are looked at twice.
        let twice = pids.iter().chain(&pids);
        news.extend(twice.flat_map(|pid| self.look(*pid, &mut listeners, Moment::Found)));
        news
    }

    /// Looks again, when it is due, at the processes whose threads are evidence: whether they still are; and at those that
    /// have not served yet.
    pub fn review(&mut self) -> Vec<News> {
        let now = Instant::now();
        let mut due = Vec::new();
        for entry in self.lock().values_mut().filter(|e| e.is_reviewed()) {
            if entry.review.is_due(now) {
                due.push((entry.pid, entry.settled));
            }
        }
        // One that has not served yet may still come to run an event loop: only that it does says something.
        due.retain(|(pid, settled)| *settled || self.runs_asyncio(*pid));
        due.into_iter().flat_map(|(pid, _)| self.reconsider(pid)).collect()
    }

    /// A process took a turn.
    pub fn turn(&mut self, kind: EventKind, turn: &Lifecycle) -> Vec<News> {
        let pid = turn.tgid;
        match kind {
            EventKind::Exit => {
                // The first thread can end before the others; the process is gone when /proc says so.
                if self.procfs.identity(pid).is_err() || self.is_zombie(pid) {
                    self.forget(pid);
                }
                Vec::new()
            }
            EventKind::Exec => {
                // A new program is the same process; another one with its id is not.
                let identity = self.procfs.identity(pid).ok();
                self.traced.unhook(pid);
                let before = self.lock().remove(&pid).filter(|e| Some(e.identity) == identity);
                let named = before.as_ref().is_some_and(|e| e.named);
                let inherits = before.is_some_and(|e| e.traced);
                let mut news = self.look(pid, &mut Listeners::default(), Moment::Exec { inherits, named });
                if inherits && !self.lock().get(&pid).is_some_and(|e| e.traced) {
                    news.push(News::Departure(pid));
                }
                news
            }
            // The kernel side tells of the children of traced processes only; the parent may be gone by now.
            EventKind::Fork => {
                let parent = self.lock().get(&turn.other).map(|parent| parent.traced);
                if turn.flags & process_flag::UNJUDGED != 0 && parent != Some(true) {
                    // The parent was not to be traced, or has ended before it was looked at; in a pod, that decides.
                    if self.seat(pid).is_some() {
                        return self.look(pid, &mut Listeners::default(), Moment::Found);
                    }
                    self.traced.remove(pid);
                    return Vec::new();
                }
                // Or have been let go.
                let moment = if parent == Some(false) { Moment::Found } else { Moment::Fork };
                // By the time it is looked at its parent may be another.
                self.lineage.forget(pid);
                self.lineage.inherits(pid, turn.other);
                self.look(pid, &mut Listeners::default(), moment)
            }
            EventKind::Listen => {
                // By now a server has loaded what it serves with.
                let mut news = self.reconsider(pid);
                news.extend(self.look(pid, &mut Listeners::default(), Moment::Found));
                news
            }
            // It serves its first request: now it shows with what.
            EventKind::Data => self.reconsider(pid),
            _ => Vec::new(),
        }
    }

    /// The process has ended.
    fn forget(&mut self, pid: u32) {
        self.traced.remove(pid);
        self.lineage.forget(pid);
        let entry = self.lock().remove(&pid);
        entry.into_iter().for_each(|entry| self.departed.remember(entry));
    }

    fn is_zombie(&self, pid: u32) -> bool {
        let threads = fs::read_dir(self.procfs.path(pid, "task")).map_or(0, Iterator::count);
        // A first thread that has ended while others go on shows as a zombie too.
        threads <= 1
            && fs::read_to_string(self.procfs.path(pid, "stat")).is_ok_and(|stat| {
                stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with(['Z', 'X']))
            })
    }

    /// Where a process listens, if any rule asks.
    fn ports(&self, pid: u32, listeners: &mut Listeners) -> Vec<u16> {
        let asked = self.rules.selection.needs_ports();
        if asked { listeners.ports(&self.procfs, pid).unwrap_or_default() } else { Vec::new() }
    }

    /// Decides on one process; gives news if it was not traced before.
    fn look(&mut self, pid: u32, listeners: &mut Listeners, moment: Moment) -> Vec<News> {
        let Ok(glance) = self.procfs.glance(pid) else { return Vec::new() };
        let known = self.lock().get(&pid).filter(|e| e.identity == glance.identity).map(|e| e.traced);
        if known == Some(true) {
            return Vec::new();
        }
        if let Some(seat) = self.seat(pid) {
            return self.look_in_pod(&glance, &seat, moment);
        }
        let ports = self.ports(pid, listeners);
        let parent_traced = moment.inherits() || self.lock().get(&glance.parent).is_some_and(|e| e.traced);
        // Most programs that start are nobody's business: no more is read of them, and nothing kept.
        let executable = glance.executable.as_deref();
        if !parent_traced
            && !self.rules.selection.may_select(pid, executable, &ports)
            && matches!(moment, Moment::Exec { .. })
        {
            self.traced.remove(pid);
            return Vec::new();
        }
        let Ok(process) = self.procfs.process(pid) else { return Vec::new() };
        let verdict = self.rules.selection.decide(&process, parent_traced, &ports);
        let entry = Entry::left(process.identity, process.executable.clone(), verdict.reason());
        if !verdict.is_selected() {
            return if process.shows_nothing() { self.pass_over(pid) } else { self.leave(entry) };
        }
        if self.rules.selection.may_select(pid, process.executable.as_deref(), &ports) {
            self.lineage.named(&process, &ports);
        } else if !moment.inherits() {
            self.lineage.inherits(pid, process.parent);
        }
        self.arrive(&process, entry, moment)
    }

    /// Leaves a process alone; tells of it if it was traced before.
    fn leave(&mut self, entry: Entry) -> Vec<News> {
        let pid = entry.pid;
        // The kernel side may have added it as a child.
        self.traced.remove(pid);
        self.lineage.forget(pid);
        let before = self.lock().insert(pid, entry);
        before.filter(|e| e.traced).map(|_| News::Departure(pid)).into_iter().collect()
    }

    /// The same of a kernel thread, or one that has ended: there is nothing to say of it.
    fn pass_over(&mut self, pid: u32) -> Vec<News> {
        self.traced.remove(pid);
        self.lineage.forget(pid);
        let before = self.lock().remove(&pid);
        before.filter(|e| e.traced).map(|_| News::Departure(pid)).into_iter().collect()
    }

    fn arrive(&mut self, process: &Process, left: Entry, moment: Moment) -> Vec<News> {
        let (pid, reason) = (process.pid(), left.reason.clone());
        if process.is_ending && moment == Moment::Fork {
            // What its parent is says more of it than what can still be read.
            return Vec::new();
        }
        let runtime = Runtime::detect(&self.procfs, process);
        if let Some(why) = self.instrumentation(process, &runtime) {
            return self.leave_instrumented(left, &why);
        }
        if moment != Moment::Fork {
            // Hooks take a while: until then it is traced without, so that its first requests are seen.
            let _ = self.traced.add(pid, Policy::None, Layout::default());
        }
        let Judgement { policy, layout, causality } = self.judge(process, &runtime, moment);
        let resource = self.resource(process, &runtime, left.facts.as_ref());
        let complete = left.is_complete();
        let mut entry = Entry {
            traced: true,
            service: Some(resource.service_name.clone()),
            runtime: runtime.language().to_owned(),
            causality,
            policy,
            layout,
            settled: moment.shows(&runtime),
            ..left
        };
        if let Err(error) = self.traced.add(pid, policy, layout) {
            tracing::warn!("process {pid} cannot be traced: {}", chain(&error));
            entry.traced = false;
            entry.reason = format!("{reason}, but it cannot be traced: {}", chain(&error));
        }
        let Entry { service, reason, causality, .. } = &entry;
        // A shell starts hundreds.
        match moment {
            Moment::Found => tracing::info!(pid, service, reason, causality, "process"),
            _ => tracing::debug!(pid, service, reason, causality, "process"),
        }
        let traced = entry.traced;
        self.lock().insert(pid, entry);
        let mut news = Vec::new();
        if traced {
            news.push(News::Arrival(Arrival { tgid: pid, resource, complete }));
        }
        // It may have ended before it was added: then the kernel side tells of no end.
        if self.procfs.identity(pid).ok() != Some(process.identity) {
            self.forget(pid);
            news.push(News::Departure(pid));
        }
        // Until now a child was what its parent is, or was.
        let parent = self.lock().get(&process.parent).map(|e| e.policy);
        if moment == Moment::Fork && policy != Policy::Thread && parent.is_none_or(|p| p == Policy::Thread) {
            news.push(News::Distrust(pid));
        }
        news
    }

    fn resource(&self, process: &Process, runtime: &Runtime, facts: Option<&kubernetes::Facts>) -> Resource {
        let parent = self.procfs.process(process.parent).ok();
        let (host, attributes) = (&self.host, &self.rules.attributes);
        let mut resource = resource(process, parent.as_ref(), runtime, host, attributes, facts);
        let set = process.executable.as_deref().and_then(|path| (self.rules.service_name)(path));
        if let Some(name) = set {
            for attribute in resource.attributes.iter_mut().filter(|a| a.key == "service.name") {
                *attribute = Attribute { key: "service.name".into(), value: Value::Str(name.clone().into()) };
            }
            resource.service_name = name;
        }
        resource
    }

    /// The process that is still the one it was, and goes on: of one that ends, more was known before.
    fn going_on(&self, pid: u32, identity: Identity) -> Option<Process> {
        let process = self.procfs.process(pid).ok()?;
        (process.identity == identity && !process.is_ending).then_some(process)
    }

    /// Judges a traced process anew. A runtime shows itself only when it is used: a Python that has begun to run
    /// asyncio since is no longer one whose threads prove anything, and never will be.
    fn reconsider(&mut self, pid: u32) -> Vec<News> {
        let Some(entry) = self.lock().get(&pid).filter(|e| e.may_change()).cloned() else {
            return Vec::new();
        };
        if self.traced.is_multiplexed(pid) {
            if let Some(entry) = self.lock().get_mut(&pid) {
                entry.causality = "headers only: its threads were seen to share requests".into();
            }
            return Vec::new();
        }
        let Some(process) = self.going_on(pid, entry.identity) else { return Vec::new() };
        let runtime = Runtime::detect(&self.procfs, &process);
        let Judgement { policy, layout, causality } = self.judge(&process, &runtime, Moment::Found);
        if entry.lapsed && policy == Policy::Thread {
            return Vec::new();
        }
        let mut news = Vec::new();
        if runtime.language() != entry.runtime {
            let resource = self.resource(&process, &runtime, entry.facts.as_ref());
            news.push(News::Arrival(Arrival { tgid: pid, resource, complete: entry.is_complete() }));
        }
        let changed = policy != entry.policy || layout != entry.layout;
        if changed && self.traced.add(pid, policy, layout).is_err() {
            return news;
        }
        let lapsed = changed && entry.policy == Policy::Thread;
        if changed {
            tracing::info!(pid, service = entry.service, reason = entry.reason, causality, "process");
        }
        if lapsed {
            news.push(News::Distrust(pid));
        }
        if let Some(entry) = self.lock().get_mut(&pid) {
            entry.lapsed |= lapsed;
            entry.runtime = runtime.language().to_owned();
            (entry.policy, entry.layout, entry.causality) = (policy, layout, causality);
            entry.settled = true;
            if changed {
                entry.review = Review::soon(Instant::now());
            }
        }
        news
    }

    /// How many processes are traced because they were looked at and selected.
    pub fn chosen(&self) -> usize {
        self.lock().values().filter(|entry| entry.traced).count()
    }
}
