//! How a process's requests are tied to those it serves: the policy that its runtime allows, judged by what it uses.
//!
//! A thread is evidence where it serves one request at a time. Whether it does so shows only in a process that serves.
//! So a program that has just started proves nothing; it is judged when it listens, again at its first request, and
//! then now and then.

use std::{fs, path::PathBuf};

use sockspan_ebpf::{Layout, Policy};

use crate::{
    capture::{chain, hooks},
    process::{Process, Runtime, event_loop, has_no_event_loop_modules},
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
    fn shows(self, runtime: &Runtime) -> bool {
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

const BEGUN: &str = "it has only begun, and shows how it serves when it does";

fn headers(why: impl std::fmt::Display) -> Judgement {
    judged(Policy::None, format!("headers only: {why}"))
}

/// A policy that goes by no tasks.
fn judged(policy: Policy, causality: String) -> Judgement {
    Judgement { policy, layout: Layout::default(), causality }
}

impl Census {
    /// The policy a runtime allows, its hooks attached: before the process's first event counts.
    pub(super) fn judge(&mut self, process: &Process, runtime: &Runtime, moment: Moment) -> Judgement {
        match runtime {
            Runtime::Node { .. } => self.hook(process.pid()),
            Runtime::Java | Runtime::Python { .. } | Runtime::Ruby => {
                if !moment.shows(runtime) {
                    return headers(BEGUN);
                }
                match event_loop(&self.procfs, process.pid(), runtime) {
                    Some(found) => headers(found),
                    None => judged(Policy::Thread, "threads: a thread serves one request at a time".into()),
                }
            }
            // A tool that serves nobody is over before it could be hooked, and has nothing to link.
            Runtime::Go if moment != Moment::Found => headers(BEGUN),
            Runtime::Go => self.hook_goroutines(process.pid()),
            other => headers(format_args!("nothing is known of how {} serves requests", other.language())),
        }
    }

    fn hook(&mut self, pid: u32) -> Judgement {
        if !self.traced.has_uprobes() {
            return headers("Node's event loop needs uprobes, which are off");
        }
        let found = hooks::node(&self.binaries(pid));
        if !found.missing.is_empty() {
            return headers(format_args!("this Node does not export {}", found.missing.join(", ")));
        }
        if let Err(error) = self.traced.hook(pid, &found.hooks) {
            return headers(refused(&error));
        }
        let mut causality = format!("event loop, by {} hooks in libuv and Node", found.hooks.len());
        if !found.absent.is_empty() {
            causality.push_str(&format!("; it does not export {}", found.absent.join(", ")));
        }
        judged(Policy::Loop, causality)
    }

    fn hook_goroutines(&mut self, pid: u32) -> Judgement {
        if !self.traced.has_uprobes() {
            return headers(
                "goroutines move between threads, and to follow them needs uprobes, which are off",
            );
        }
        let found = match hooks::go(&self.procfs.path(pid, "exe")) {
            Ok(found) => found,
            Err(unfit) => return headers(format_args!("goroutines move between threads, and {unfit}")),
        };
        if let Err(error) = self.traced.hook(pid, &found.hooks) {
            return headers(refused(&error));
        }
        Judgement {
            policy: Policy::Goroutine,
            layout: Layout { go: found.layout, ..Layout::default() },
            causality: format!("goroutines of {}, by {} hooks", found.version, found.hooks.len()),
        }
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
