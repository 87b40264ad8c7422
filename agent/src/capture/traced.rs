//! The set of traced processes, as the kernel has it, and the hooks in each of them.

use std::{
    collections::HashMap as Table,
    num::NonZeroU32,
    sync::mpsc::{self, Sender},
    thread,
};

use aya::{
    Ebpf,
    maps::{HashMap, MapData},
};
use sockspan_ebpf::{Layout, Policy, Process, process_flag};

use super::{Error, attached::Attached, breakpoints::Breakpoints, hooks::Hook, pod::Plain};

/// Hooks that were set together.
type Set = (Vec<Hook>, Attached);

/// Whom the kernel side traces.
pub struct Traced {
    /// Keeps every program alive.
    ebpf: Ebpf,
    /// Keeps them attached.
    attached: Attached,
    map: HashMap<MapData, u32, Plain<Process>>,
    breakpoints: Breakpoints,
    held: Table<u32, Vec<Set>>,
    /// Takes what is to be detached: that can take the kernel seconds.
    leaving: Sender<Vec<Set>>,
}

impl Drop for Traced {
    fn drop(&mut self) {
        // All at once: so it takes the least time.
        let hooks = self.held.drain().flat_map(|(_, sets)| sets);
        hooks.for_each(|(_, attached)| self.attached.merge(attached));
    }
}

impl Traced {
    pub(super) fn take(mut ebpf: Ebpf, attached: Attached, breakpoints: Breakpoints) -> Result<Self, Error> {
        let map = ebpf.take_map("PROCESSES").ok_or(Error::NoMap("PROCESSES"))?;
        let map = HashMap::try_from(map).map_err(|e| Error::Map("PROCESSES", Box::new(e)))?;
        let (leaving, left) = mpsc::channel::<Vec<Set>>();
        let detach = move || left.into_iter().for_each(drop);
        thread::Builder::new().name("sockspan-detach".into()).spawn(detach).map_err(Error::Thread)?;
        Ok(Self { ebpf, attached, map, breakpoints, held: Table::new(), leaving })
    }

    /// How many instructions the verifier followed for each program; what makes loading take time.
    pub fn verified(&self) -> Vec<(String, u32)> {
        let count = |(name, program): (&str, &aya::programs::Program)| {
            let instructions = program.info().ok()?.verified_instruction_count()?;
            Some((name.to_string(), instructions))
        };
        self.ebpf.programs().filter_map(count).collect()
    }

    /// Whether hooks are allowed at all.
    pub fn has_uprobes(&self) -> bool {
        self.breakpoints.are_on()
    }

    /// Attaches those of a process's hooks that are not attached yet, all or none; call it before [`Traced::add`] so that
    /// no event comes first.
    ///
    /// # Errors
    /// What the kernel said of the first hook that failed.
    pub fn hook(&mut self, tgid: u32, hooks: &[Hook]) -> Result<(), Error> {
        let Some(pid) = NonZeroU32::new(tgid) else { return Ok(()) };
        let set = self.held.entry(tgid).or_default();
        let is_new = |hook: &&Hook| !set.iter().any(|(held, _)| held.contains(hook));
        let new: Vec<Hook> = hooks.iter().filter(is_new).cloned().collect();
        if !new.is_empty() {
            let held = self.breakpoints.set(&mut self.ebpf, pid, &new)?;
            set.push((new, held));
        }
        Ok(())
    }

    /// Whether a process has hooks.
    pub fn is_hooked(&self, tgid: u32) -> bool {
        self.held.get(&tgid).is_some_and(|held| !held.is_empty())
    }

    /// Whether a process has hooks, and none that run other programs than these.
    pub fn runs_only(&self, tgid: u32, programs: &[&str]) -> bool {
        let mut held = self.held.get(&tgid).into_iter().flatten().flat_map(|(held, _)| held);
        self.is_hooked(tgid) && held.all(|hook| programs.contains(&hook.program))
    }

    /// Detaches a process's hooks.
    pub fn unhook(&mut self, tgid: u32) {
        if let Some(held) = self.held.remove(&tgid) {
            // If that thread is gone, they are detached here.
            let _ = self.leaving.send(held);
        }
    }

    /// Traces a process under a policy from now on; `layout` says where its runtime keeps its tasks, for policies that
    /// go by those.
    ///
    /// # Errors
    /// The kernel's map is full or gone.
    pub fn add(&mut self, tgid: u32, policy: Policy, layout: Layout) -> Result<(), Error> {
        let process = Process { policy: policy as u32, flags: 0, layout };
        self.map.insert(tgid, Plain(process), 0).map_err(|e| Error::Map("PROCESSES", Box::new(e)))
    }

    /// Leaves a process alone, hooks included.
    pub fn remove(&mut self, tgid: u32) {
        self.unhook(tgid);
        let _ = self.map.remove(&tgid);
    }

    /// Whether the kernel side found that threads are no evidence in a process.
    pub fn is_multiplexed(&self, tgid: u32) -> bool {
        self.map.get(&tgid, 0).is_ok_and(|Plain(p)| p.flags & process_flag::MULTIPLEXED != 0)
    }

    /// The processes that the kernel side traces: those that were added, and children of theirs.
    pub fn pids(&self) -> Vec<u32> {
        self.map.keys().filter_map(Result::ok).collect()
    }
}
