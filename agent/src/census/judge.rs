//! How a process's requests are tied to those it serves: the policy that its runtime allows, judged by what it uses.
//!
//! A thread is evidence where it serves one request at a time. Whether it does so shows only in a process that serves.
//! So a program that has just started proves nothing; it is judged when it listens, again at its first request, and
//! then now and then.

use std::{fs, path::PathBuf};

use sockspan_ebpf::{Layout, Policy};

use crate::{
    capture::{
        chain,
        hooks::{self, Hooks},
    },
    process::{CPython, Process, PythonLoop, Runtime, event_loop, has_no_event_loop_modules, python_loop},
};

use super::Census;

/// When a process is judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Moment {
    /// It was there, or listens, or serves.
    Found,
    /// Its parent, which is traced, has just made it.
    Fork,
    /// It has just begun another program.
    Exec {
        /// Whether it was traced before.
        inherits: bool,
        /// Whether it was named by its id, or descends from such a process.
        named: bool,
    },
}

impl Moment {
    /// Whether it descends from a traced process, whatever /proc says of its parent.
    pub(super) fn inherits(self) -> bool {
        matches!(self, Self::Fork | Self::Exec { inherits: true, .. })
    }

    /// Whether a process on `runtime` can be judged already. A child that has loaded nothing but what threads need
    /// serves as its parent was made to.
    pub(super) fn shows(self, runtime: &Runtime) -> bool {
        match (self, runtime) {
            (Self::Found, _) | (Self::Fork, Runtime::Ruby | Runtime::Java) => true,
            (Self::Fork, Runtime::Python { .. }) => has_no_event_loop_modules(runtime),
            _ => false,
        }
    }
}

/// A policy, and the words for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Judgement {
    pub(super) policy: Policy,
    /// Where its runtime keeps its tasks, for policies that go by those.
    pub(super) layout: Layout,
    pub(super) causality: String,
}

fn headers(why: impl std::fmt::Display) -> Judgement {
    judged(Policy::None, format!("headers only: {why}"))
}

/// What is said of a process before it shows with what it serves.
const BEGUN: &str = "it has only begun, and shows how it serves when it does";

fn threads() -> Judgement {
    judged(Policy::Thread, "threads: a thread serves one request at a time".into())
}

/// A policy that goes by no tasks.
fn judged(policy: Policy, causality: String) -> Judgement {
    Judgement { policy, layout: Layout::default(), causality }
}

impl Census {
    /// The policy a runtime allows, its hooks attached: before the process's first event counts.
    pub(super) fn judge(&mut self, process: &Process, runtime: &Runtime, moment: Moment) -> Judgement {
        match runtime {
            Runtime::Node { .. } => self.node(process.pid()),
            Runtime::Python { .. } => self.python(process.pid(), runtime, moment),
            Runtime::Java | Runtime::Ruby => {
                if !moment.shows(runtime) {
                    return headers(BEGUN);
                }
                match event_loop(&self.procfs, process.pid(), runtime) {
                    Some(found) => headers(found),
                    None => threads(),
                }
            }
            Runtime::Go => headers("goroutines move between threads"),
            other => headers(format_args!("nothing is known of how {} serves requests", other.language())),
        }
    }

    /// A Python with an event loop goes by its tasks, one without by its threads. A child that may come to run one has the
    /// hooks before it does: in one that serves by threads after all they prove nothing.
    fn python(&mut self, pid: u32, runtime: &Runtime, moment: Moment) -> Judgement {
        match (python_loop(&self.procfs, pid, runtime), runtime) {
            (Some(PythonLoop::Asyncio | PythonLoop::Uvloop), _) => self.asyncio(pid),
            (Some(PythonLoop::Greenlets), _) => self.greenlets(pid),
            (None, _) if moment.shows(runtime) => {
                self.traced.unhook(pid);
                threads()
            }
            (None, Runtime::Python { asyncio: true, gevent: false, .. }) if moment == Moment::Fork => {
                self.asyncio(pid)
            }
            (None, _) => headers(BEGUN),
        }
    }

    /// Whether a process waits with asyncio now.
    pub(super) fn runs_asyncio(&self, pid: u32) -> bool {
        let Ok(process) = self.procfs.process(pid) else { return false };
        let runtime = Runtime::detect(&self.procfs, &process);
        let found = python_loop(&self.procfs, pid, &runtime);
        matches!(found, Some(PythonLoop::Asyncio | PythonLoop::Uvloop))
    }

    fn asyncio(&mut self, pid: u32) -> Judgement {
        if !cfg!(target_arch = "x86_64") {
            return headers("asyncio's tasks are told on x86-64 only");
        }
        if !self.traced.has_uprobes() {
            return headers("asyncio's tasks need uprobes, which are off");
        }
        let python = match CPython::find(&self.procfs, pid) {
            Ok(python) => python,
            Err(why) => return headers(format_args!("asyncio, but {why}")),
        };
        let found = hooks::python(&python);
        if !found.missing.is_empty() {
            let missing = found.missing.join(", ");
            return headers(format_args!("asyncio, but the code of its Python is not understood: {missing}"));
        }
        if let Err(error) = self.traced.hook(pid, &found.hooks) {
            return headers(refused(&error));
        }
        let uvloop = if python.uvloop.is_some() { " and uvloop" } else { "" };
        let (count, minor) = (found.hooks.len(), python.minor);
        let mut causality = format!("asyncio's tasks, by {count} hooks in Python 3.{minor}{uvloop}");
        if !found.absent.is_empty() {
            causality.push_str(&format!("; not found: {}", found.absent.join(", ")));
        }
        let layout = Layout { python: python.layout, ..Layout::default() };
        Judgement { policy: Policy::Asyncio, layout, causality }
    }

    fn node(&mut self, pid: u32) -> Judgement {
        let found = hooks::node(&self.files(pid, &["libnode.so", "libuv.so"], true));
        self.hook(pid, &found, Policy::Loop, "Node", "event loop", "libuv and Node")
    }

    fn greenlets(&mut self, pid: u32) -> Judgement {
        let modules = self.files(pid, &["_greenlet."], false);
        let found = hooks::greenlet(&modules, &self.files(pid, &["libpython"], true));
        self.hook(pid, &found, Policy::Greenlet, "greenlet", "greenlets", "greenlet and CPython")
    }

    /// Sets the hooks by which requests are told apart in what is `told`.
    fn hook(
        &mut self,
        pid: u32,
        found: &Hooks,
        policy: Policy,
        of: &str,
        told: &str,
        places: &str,
    ) -> Judgement {
        if !self.traced.has_uprobes() {
            return headers(format_args!("to tell {told} apart needs uprobes, which are off"));
        }
        if !found.missing.is_empty() {
            return headers(format_args!("this {of} does not export {}", found.missing.join(", ")));
        }
        if let Err(error) = self.traced.hook(pid, &found.hooks) {
            return headers(refused(&error));
        }
        let mut causality = format!("{told}, by {} hooks in {places}", found.hooks.len());
        if !found.absent.is_empty() {
            causality.push_str(&format!("; it does not export {}", found.absent.join(", ")));
        }
        judged(policy, causality)
    }

    /// The libraries a process has mapped whose names begin so, with its executable before them if that is `wanted`; as
    /// they are seen from here.
    fn files(&self, pid: u32, names: &[&str], executable: bool) -> Vec<PathBuf> {
        let maps = fs::read_to_string(self.procfs.path(pid, "maps")).unwrap_or_default();
        let mut files = Vec::new();
        files.extend(executable.then(|| self.procfs.path(pid, "exe")));
        for line in maps.lines() {
            let Some(path) = line.split_whitespace().nth(5) else { continue };
            let name = path.rsplit('/').next().unwrap_or_default();
            if name.contains(".so") && names.iter().any(|wanted| name.starts_with(wanted)) {
                let file = self.procfs.path(pid, "root").join(path.trim_start_matches('/'));
                if !files.contains(&file) {
                    files.push(file);
                }
            }
        }
        files
    }
}

/// Why a hook was refused. Some kernels ask for more than CAP_PERFMON before they set a breakpoint.
fn refused(error: &crate::capture::Error) -> String {
    let cause = chain(error);
    let cure = if cause.contains("os error 1)") || cause.contains("os error 13)") {
        "; kernels before 6.10 can want CAP_SYS_ADMIN for uprobes: grant it, or say --no-uprobes to do without"
    } else {
        ""
    };
    format!("uprobes failed: {cause}{cure}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn python(asyncio: bool) -> Runtime {
        Runtime::Python { asyncio, greenlet: false, gevent: false, uvloop: false }
    }

    #[test]
    fn what_has_just_begun_shows_nothing() {
        for runtime in [python(false), python(true), Runtime::Java, Runtime::Ruby] {
            assert!(!Moment::Exec { inherits: true, named: false }.shows(&runtime), "{runtime:?}");
            assert!(Moment::Found.shows(&runtime), "{runtime:?}");
        }
    }

    #[test]
    fn a_child_shows_itself_when_it_has_loaded_no_event_loop() {
        assert!(Moment::Fork.shows(&python(false)));
        // gunicorn has imported its class of workers when it forks them; asyncio's run only afterwards.
        assert!(!Moment::Fork.shows(&python(true)));
    }
}
