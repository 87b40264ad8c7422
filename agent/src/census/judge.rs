//! How a process's requests are tied to those it serves: the policy that its runtime allows, judged by what it uses.
//!
//! A thread is evidence where it serves one request at a time. Whether it does so shows only in a process that serves.
//! So a program that has just started proves nothing; it is judged when it listens, again at its first request, and
//! then now and then.

mod hooked;

use sockspan_ebpf::{Layout, Policy};

use crate::process::{Process, PythonLoop, Runtime, event_loop, has_no_event_loop_modules, python_loop};

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

/// The words for threads of which the kernel side sees which of them serve several requests by turns.
const WAITS: &str = "threads: one that serves one request at a time, and waits for no others meanwhile";

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
            Runtime::Java | Runtime::Ruby if !moment.shows(runtime) => headers(BEGUN),
            Runtime::Java | Runtime::Ruby => {
                if *runtime == Runtime::Java && self.sees_waits(process.pid()) {
                    return judged(Policy::Thread, WAITS.into());
                }
                match event_loop(&self.procfs, process.pid(), runtime) {
                    Some(found) => headers(found),
                    None => threads(),
                }
            }
            // A tool that serves nobody is over before it could be hooked, and has nothing to link.
            Runtime::Go if moment != Moment::Found => headers(BEGUN),
            Runtime::Go => self.goroutines(process.pid()),
            other => headers(format_args!("nothing is known of how {} serves requests", other.language())),
        }
    }

    /// A Python with an event loop goes by its tasks, one without by its threads. A child that may come to run one has the
    /// hooks before it does: in one that serves by threads after all they prove nothing.
    fn python(&mut self, pid: u32, runtime: &Runtime, moment: Moment) -> Judgement {
        match (python_loop(&self.procfs, pid, runtime), runtime) {
            (Some(PythonLoop::Asyncio | PythonLoop::Uvloop), _) => self.asyncio(pid),
            (Some(PythonLoop::Greenlets), _) => self.greenlets(pid, runtime),
            (None, _) if moment.shows(runtime) => self.pools(pid),
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
