//! Which processes are traced, and why: the selection applied to every process there is and to every one that
//! comes, each with the policy that its runtime allows.
//!
//! In: `/proc`, and the turns that the kernel side tells of. Out: the kernel side's set of processes, and
//! [`Arrival`]s for the pipeline.

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use serde::Serialize;
use sockspan_ebpf::{EventKind, Lifecycle, Policy};

use crate::{
    capture::{Traced, chain, hooks},
    process::{
        Host, Identity, Listeners, Process, Procfs, Runtime, resource,
        selection::{Selection, Verdict},
    },
    span::{Attribute, Resource, Value},
};

/// How the threads of Netty, Reactor and Vert.x are called, as far as the kernel keeps a name.
const LOOPS: [&str; 7] = [
    "nioEventLoop",
    "epollEventLoop",
    "multiThreadIoEv",
    "reactor-http",
    "vert.x-eventloo",
    "vert.x-eventLoo",
    "XNIO-1 I/O",
];

/// A process that is traced from now on.
#[derive(Clone, Debug)]
pub struct Arrival {
    /// The process.
    pub tgid: u32,
    /// What its spans say of it.
    pub resource: Resource,
}

/// A process, as `/status` tells of it.
#[derive(Clone, Debug, Serialize)]
pub struct Entry {
    /// Process id.
    pub pid: u32,
    /// Its executable.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub executable: Option<PathBuf>,
    /// Whether it is traced.
    pub traced: bool,
    /// Why, or why not.
    pub reason: String,
    /// Its spans' service.name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// Its runtime.
    pub runtime: String,
    /// How its outgoing requests are tied to those it serves.
    pub causality: String,
    #[serde(skip)]
    identity: Identity,
    #[serde(skip)]
    policy: Policy,
}

/// What all readers of the census share.
pub type Entries = Arc<Mutex<HashMap<u32, Entry>>>;

/// A user's rule for service.name, by executable.
pub type Naming = Box<dyn Fn(&Path) -> Option<String> + Send>;

/// What the census goes by.
pub struct Rules {
    /// Whom to trace.
    pub selection: Selection,
    /// service.name by executable, as the user set it.
    pub service_name: Naming,
    /// Attributes for every resource.
    pub attributes: Vec<(String, String)>,
}

/// The processes.
pub struct Census {
    procfs: Procfs,
    host: Host,
    rules: Rules,
    traced: Traced,
    entries: Entries,
}

impl Census {
    /// A census of nobody yet.
    ///
    /// # Errors
    /// `/proc` cannot be read.
    pub fn new(rules: Rules, traced: Traced) -> std::io::Result<Self> {
        let procfs = Procfs::new("/proc")?;
        let host = Host::read(&procfs, Path::new("/"));
        Ok(Self { procfs, host, rules, traced, entries: Entries::default() })
    }

    /// The entries, for `/status`.
    pub fn entries(&self) -> Entries {
        self.entries.clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<u32, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at every process there is. Parents come before their children: a process that is selected brings its
    /// descendants with it.
    pub fn scan(&mut self) -> Vec<Arrival> {
        let Ok(mut pids) = self.procfs.pids() else { return Vec::new() };
        pids.sort_unstable();
        let gone: Vec<u32> =
            self.lock().keys().copied().filter(|pid| pids.binary_search(pid).is_err()).collect();
        for pid in gone {
            self.traced.remove(pid);
            self.lock().remove(&pid);
        }
        let mut listeners = Listeners::default();
        let mut arrivals: Vec<_> =
            pids.iter().filter_map(|pid| self.look(*pid, &mut listeners, false)).collect();
        // Process ids wrap around: a parent can have the higher one.
        arrivals.extend(pids.iter().filter_map(|pid| self.look(*pid, &mut listeners, false)));
        arrivals
    }

    /// Looks again at the processes whose threads are evidence: whether they still are.
    pub fn review(&mut self) {
        let threads: Vec<u32> =
            self.lock().values().filter(|e| e.policy == Policy::Thread).map(|e| e.pid).collect();
        for pid in threads {
            if self.traced.is_multiplexed(pid)
                && let Some(entry) = self.lock().get_mut(&pid)
            {
                entry.causality = "headers only: its threads were seen to share requests".into();
            }
            if let Ok(process) = self.procfs.process(pid) {
                self.reconsider(&process);
            }
        }
    }

    /// A process took a turn.
    pub fn turn(&mut self, kind: EventKind, turn: &Lifecycle) -> Option<Arrival> {
        match kind {
            EventKind::Exit => {
                // The first thread can end before the others; the process is gone when /proc says so.
                if self.procfs.identity(turn.tgid).is_err() || self.is_zombie(turn.tgid) {
                    self.traced.remove(turn.tgid);
                    self.lock().remove(&turn.tgid);
                }
                None
            }
            EventKind::Exec => {
                let before = self.lock().remove(&turn.tgid).is_some_and(|e| e.traced);
                self.look(turn.tgid, &mut Listeners::default(), before)
            }
            // The kernel side tells of the children of traced processes only; the parent may be gone by now.
            EventKind::Fork => self.look(turn.tgid, &mut Listeners::default(), true),
            EventKind::Listen => {
                // By now a server has loaded what it serves with.
                if let Ok(process) = self.procfs.process(turn.tgid) {
                    self.reconsider(&process);
                }
                self.look(turn.tgid, &mut Listeners::default(), false)
            }
            _ => None,
        }
    }

    fn is_zombie(&self, pid: u32) -> bool {
        let threads = fs::read_dir(self.procfs.path(pid, "task")).map_or(0, Iterator::count);
        // A first thread that has ended while others go on shows as a zombie too.
        threads <= 1
            && fs::read_to_string(self.procfs.path(pid, "stat")).is_ok_and(|stat| {
                stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with(['Z', 'X']))
            })
    }

    /// Decides on one process; gives an arrival if it was not traced before. `inherits`: it descends from a
    /// traced one, whatever /proc says of its parent.
    fn look(&mut self, pid: u32, listeners: &mut Listeners, inherits: bool) -> Option<Arrival> {
        let process = self.procfs.process(pid).ok()?;
        let known = self.lock().get(&pid).filter(|e| e.identity == process.identity).cloned();
        if known.as_ref().is_some_and(|e| e.traced) {
            return None;
        }
        let ports = if self.rules.selection.needs_ports() {
            listeners.ports(&self.procfs, pid).unwrap_or_default()
        } else {
            Vec::new()
        };
        let parent_traced = inherits || self.lock().get(&process.parent).is_some_and(|e| e.traced);
        let verdict = self.rules.selection.decide(&process, parent_traced, &ports);
        if !verdict.is_selected() {
            self.leave(&process, &verdict);
            return None;
        }
        self.arrive(&process, verdict.reason())
    }

    fn leave(&mut self, process: &Process, verdict: &Verdict) {
        // The kernel side may have added it as a child.
        self.traced.remove(process.pid());
        let entry = Entry {
            pid: process.pid(),
            executable: process.executable.clone(),
            traced: false,
            reason: verdict.reason().to_owned(),
            service: None,
            runtime: String::new(),
            causality: String::new(),
            identity: process.identity,
            policy: Policy::None,
        };
        self.lock().insert(process.pid(), entry);
    }

    fn arrive(&mut self, process: &Process, reason: &str) -> Option<Arrival> {
        let pid = process.pid();
        let runtime = Runtime::detect(&self.procfs, process);
        let (policy, causality) = self.prepare(process, &runtime);
        let resource = self.resource(process, &runtime);
        let mut entry = Entry {
            pid,
            executable: process.executable.clone(),
            traced: true,
            reason: reason.to_owned(),
            service: Some(resource.service_name.clone()),
            runtime: runtime.language().to_owned(),
            causality,
            identity: process.identity,
            policy,
        };
        if let Err(error) = self.traced.add(pid, policy) {
            tracing::warn!("process {pid} cannot be traced: {}", chain(&error));
            entry.traced = false;
            entry.reason = format!("{reason}, but it cannot be traced: {}", chain(&error));
        }
        tracing::info!(
            pid,
            service = entry.service,
            reason = entry.reason,
            causality = entry.causality,
            "process"
        );
        let traced = entry.traced;
        self.lock().insert(pid, entry);
        traced.then_some(Arrival { tgid: pid, resource })
    }

    fn resource(&self, process: &Process, runtime: &Runtime) -> Resource {
        let parent = self.procfs.process(process.parent).ok();
        let mut resource = resource(process, parent.as_ref(), runtime, &self.host, &self.rules.attributes);
        let set = process.executable.as_deref().and_then(|path| (self.rules.service_name)(path));
        if let Some(name) = set {
            for attribute in resource.attributes.iter_mut().filter(|a| a.key == "service.name") {
                *attribute = Attribute { key: "service.name".into(), value: Value::Str(name.clone().into()) };
            }
            resource.service_name = name;
        }
        resource
    }

    /// A runtime shows itself only when it is used: a Python that has imported asyncio since is no longer one
    /// whose threads prove anything.
    fn reconsider(&mut self, process: &Process) {
        let pid = process.pid();
        let policy = self.lock().get(&pid).map(|e| e.policy);
        if policy != Some(Policy::Thread) {
            return;
        }
        let runtime = Runtime::detect(&self.procfs, process);
        let (policy, causality) = self.by_threads(pid, &runtime);
        if policy == Policy::None && self.traced.add(pid, policy).is_ok() {
            tracing::info!(pid, causality, "process");
            if let Some(entry) = self.lock().get_mut(&pid) {
                (entry.policy, entry.causality) = (policy, causality);
            }
        }
    }

    /// The policy a runtime allows, its hooks attached: before the process's first event counts.
    fn prepare(&mut self, process: &Process, runtime: &Runtime) -> (Policy, String) {
        let Runtime::Node { .. } = runtime else { return self.by_threads(process.pid(), runtime) };
        if !self.traced.has_uprobes() {
            return (Policy::None, "headers only: Node's event loop needs uprobes, which are off".into());
        }
        let files = self.binaries(process.pid());
        let found = hooks::node(&files);
        if !found.missing.is_empty() {
            let missing = found.missing.join(", ");
            return (Policy::None, format!("headers only: this Node does not export {missing}"));
        }
        match self.traced.hook(process.pid(), &found.hooks) {
            Ok(()) => (Policy::Loop, format!("event loop, by {} hooks in libuv and Node", found.hooks.len())),
            Err(error) => (Policy::None, format!("headers only: {}", refused(&error))),
        }
    }

    /// The policy of a runtime without hooks: threads where a thread serves one request at a time.
    fn by_threads(&self, pid: u32, runtime: &Runtime) -> (Policy, String) {
        let headers = |why: String| (Policy::None, format!("headers only: {why}"));
        match runtime {
            Runtime::Java => match self.event_loop(pid) {
                Some(thread) => headers(format!("an event loop (thread {thread})")),
                None => threads(),
            },
            Runtime::Python { asyncio: false, gevent: false, uvloop: false } | Runtime::Ruby => threads(),
            Runtime::Python { .. } => headers("an event loop (asyncio, gevent, uvloop)".into()),
            Runtime::Go => headers("goroutines move between threads".into()),
            other => headers(format!("nothing is known of how {} serves requests", other.language())),
        }
    }

    /// A thread whose name says that it is one of a JVM's event loops.
    fn event_loop(&self, pid: u32) -> Option<String> {
        let tasks = fs::read_dir(self.procfs.path(pid, "task")).ok()?;
        let names = tasks.filter_map(|task| fs::read_to_string(task.ok()?.path().join("comm")).ok());
        names
            .map(|name| name.trim().to_owned())
            .find(|name| LOOPS.iter().any(|loop_| name.starts_with(loop_)))
    }

    /// The files in which a Node process can have libuv and itself, as they are seen from here.
    fn binaries(&self, pid: u32) -> Vec<PathBuf> {
        let maps = fs::read_to_string(self.procfs.path(pid, "maps")).unwrap_or_default();
        let mut files = vec![self.procfs.path(pid, "exe")];
        for line in maps.lines() {
            let Some(path) = line.split_whitespace().nth(5) else { continue };
            let name = path.rsplit('/').next().unwrap_or_default();
            if name.starts_with("libnode.so") || name.starts_with("libuv.so") {
                let file = self.procfs.path(pid, "root").join(path.trim_start_matches('/'));
                if !files.contains(&file) {
                    files.push(file);
                }
            }
        }
        files
    }

    /// How many processes the kernel side traces.
    pub fn traced(&self) -> usize {
        self.traced.len()
    }
}

/// Why a hook was refused. Some kernels ask for more than CAP_PERFMON before they set a breakpoint.
fn refused(error: &crate::capture::Error) -> String {
    let cause = chain(error);
    let cure = if cause.contains("os error 1)") || cause.contains("os error 13)") {
        "; this kernel wants CAP_SYS_ADMIN for uprobes: grant it, or say --no-uprobes to do without"
    } else {
        ""
    };
    format!("uprobes failed: {cause}{cure}")
}

fn threads() -> (Policy, String) {
    (Policy::Thread, "threads: a thread serves one request at a time".to_owned())
}
