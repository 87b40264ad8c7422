//! Runtimes that tell their requests apart themselves: hooks in a runtime's own functions show how.
//!
//! In: a process and where its runtime's functions are. Out: its [`Judgement`], the hooks attached; headers only where
//! any of it is not to be had, with the reason.

use std::{fs, path::PathBuf};

use sockspan_ebpf::{Layout, Policy};

use crate::{
    capture::{
        chain,
        hooks::{self, Hook, Hooks},
    },
    process::{CPython, Runtime, may_run_asyncio},
    settings::Hooked,
};

use super::{super::Census, Judgement, headers, threads};

/// What was found in a process to tell its requests apart by.
struct Found {
    policy: Policy,
    layout: Layout,
    hooks: Vec<Hook>,
    /// In what the hooks are.
    place: String,
    /// What is not there and would have linked more.
    absent: Vec<String>,
}

impl Found {
    /// What a file's exported functions gave. An error where any that is needed is missing.
    fn exported(found: Hooks, policy: Policy, place: &str) -> Result<Self, String> {
        if !found.missing.is_empty() {
            return Err(format!("{place} do not export {}", found.missing.join(", ")));
        }
        let (layout, place) = (Layout::default(), place.to_owned());
        Ok(Self { policy, layout, hooks: found.hooks, place, absent: found.absent })
    }
}

impl Census {
    pub(super) fn node(&mut self, pid: u32) -> Judgement {
        self.hooked(pid, Hooked::Nodejs, "event loop", |census| {
            let found = hooks::node(&census.files(pid, &["libnode.so", "libuv.so"], true));
            Found::exported(found, Policy::Loop, "libuv and Node")
        })
    }

    pub(super) fn greenlets(&mut self, pid: u32, runtime: &Runtime) -> Judgement {
        self.hooked(pid, Hooked::Python, "greenlets", |census| {
            let modules = census.files(pid, &["_greenlet."], false);
            let mut found = Found::exported(hooks::greenlet(&modules), Policy::Greenlet, "greenlet")?;
            // To have loaded gevent says little: threads may serve. Unless one of them is asyncio's.
            found.layout.greenlet.threads = u32::from(!may_run_asyncio(&census.procfs, pid, runtime));
            Ok(found)
        })
    }

    pub(super) fn asyncio(&mut self, pid: u32) -> Judgement {
        self.hooked(pid, Hooked::Python, "asyncio's tasks", |census| {
            if !cfg!(target_arch = "x86_64") {
                return Err("that is known on x86-64 only".into());
            }
            let python = CPython::find(&census.procfs, pid)?;
            let found = hooks::python(&python);
            if !found.missing.is_empty() {
                return Err(format!("its Python's code is not understood: {}", found.missing.join(", ")));
            }
            let mut hooks = found.hooks;
            // What run_in_executor hands to threads is in no context.
            let queues = hooks::pools(&census.files(pid, &["_queue."], false));
            if queues.missing.is_empty() {
                hooks.extend(queues.hooks);
            }
            let uvloop = if python.uvloop.is_some() { " and uvloop" } else { "" };
            Ok(Found {
                policy: Policy::Asyncio,
                layout: Layout { python: python.layout, ..Layout::default() },
                hooks,
                place: format!("Python 3.{}{uvloop}", python.minor),
                absent: found.absent,
            })
        })
    }

    pub(super) fn goroutines(&mut self, pid: u32) -> Judgement {
        self.hooked(pid, Hooked::Go, "goroutines", |census| {
            let found = hooks::go(&census.procfs.path(pid, "exe")).map_err(|unfit| unfit.to_string())?;
            Ok(Found {
                policy: Policy::Goroutine,
                layout: Layout { go: found.layout, ..Layout::default() },
                hooks: found.hooks,
                place: found.version,
                absent: Vec::new(),
            })
        })
    }

    /// Hooks a process where its threads wait for many sockets, if that can be done: then what they are is seen as they
    /// serve, and need not be guessed beforehand.
    pub(super) fn sees_waits(&mut self, pid: u32) -> bool {
        if self.traced.is_hooked(pid) {
            return true;
        }
        if !self.traced.has_uprobes() || self.rules.no_hooks.contains(&Hooked::Java) {
            return false;
        }
        let found = hooks::waits(&self.files(pid, &["libc.", "libc-", "ld-musl"], false));
        if !found.missing.is_empty() {
            tracing::debug!(pid, "not found: {}", found.missing.join(", "));
            return false;
        }
        match self.traced.hook(pid, &found.hooks) {
            Ok(()) => true,
            Err(error) => {
                tracing::debug!(pid, "{}", refused(&error));
                false
            }
        }
    }

    /// A Python whose threads are evidence: hooks in the queue of its pools, if it has one, show whose work these do.
    pub(super) fn pools(&mut self, pid: u32) -> Judgement {
        let queues = self.files(pid, &["_queue."], false);
        let allowed = self.traced.has_uprobes() && !self.rules.no_hooks.contains(&Hooked::Python);
        if !allowed || queues.is_empty() || !cfg!(target_arch = "x86_64") {
            self.traced.unhook(pid);
            return threads();
        }
        let mut judgement = threads();
        let pooled = "; one of a pool, what it takes out of the queue";
        // It is judged every few seconds: the module is read once.
        if self.traced.runs_only(pid, &hooks::POOL_PROGRAMS) {
            judgement.causality.push_str(pooled);
            return judgement;
        }
        self.traced.unhook(pid);
        let found = hooks::pools(&queues);
        match self.traced.hook(pid, &found.hooks) {
            Ok(()) if found.missing.is_empty() => judgement.causality.push_str(pooled),
            Ok(()) => tracing::debug!(pid, "not found: {}", found.missing.join(", ")),
            Err(error) => tracing::debug!(pid, "{}", refused(&error)),
        }
        judgement
    }

    /// Sets the hooks that are found, and judges by that. `told`: what tells requests apart.
    fn hooked(
        &mut self,
        pid: u32,
        language: Hooked,
        told: &str,
        find: impl FnOnce(&Self) -> Result<Found, String>,
    ) -> Judgement {
        if !self.traced.has_uprobes() {
            return headers(format_args!("to tell {told} apart needs uprobes, which are off"));
        }
        if self.rules.no_hooks.contains(&language) {
            return headers(format_args!(
                "to tell {told} apart needs hooks, which no-hooks forbids in {language}"
            ));
        }
        let found = match find(self) {
            Ok(found) => found,
            Err(why) => return headers(format_args!("{told} cannot be told apart: {why}")),
        };
        if let Err(error) = self.traced.hook(pid, &found.hooks) {
            return headers(refused(&error));
        }
        let mut causality = format!("{told}, by {} hooks in {}", found.hooks.len(), found.place);
        if !found.absent.is_empty() {
            causality.push_str(&format!("; not found: {}", found.absent.join(", ")));
        }
        Judgement { policy: found.policy, layout: found.layout, causality }
    }

    /// The libraries a process has mapped whose names begin so, with its executable before them if that is `wanted`; as
    /// they are seen from here.
    fn files(&self, pid: u32, names: &[&str], wanted: bool) -> Vec<PathBuf> {
        let maps = fs::read_to_string(self.procfs.path(pid, "maps")).unwrap_or_default();
        let mut files = Vec::new();
        files.extend(wanted.then(|| self.procfs.path(pid, "exe")));
        for line in maps.lines() {
            let Some(path) = line.split_whitespace().nth(5) else { continue };
            let name = path.rsplit('/').next().unwrap_or_default();
            if name.contains(".so") && names.iter().any(|one| name.starts_with(one)) {
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
