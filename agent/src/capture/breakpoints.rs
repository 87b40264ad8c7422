//! The breakpoints in the traced processes: how they are set, and those that are.
//!
//! In: [`Hook`]s of a process. Out: what is [`Attached`], until that is dropped.

use std::num::NonZeroU32;

use aya::{
    Ebpf,
    programs::{
        UProbe,
        uprobe::{UProbeAttachLocation, UProbeAttachPoint, UProbeScope},
    },
};

use super::{
    Error,
    attached::{Attached, Attachment},
    hooks::Hook,
    multi::Multi,
};

/// How they are set.
#[derive(Debug)]
pub enum Breakpoints {
    /// Not at all.
    Off,
    /// One by one, by programs that aya has loaded.
    Perf,
    /// All of a program and file at a time.
    Multi(Multi),
}

impl Breakpoints {
    /// Whether there are any.
    pub fn are_on(&self) -> bool {
        !matches!(self, Self::Off)
    }

    /// Sets all hooks of process `tgid`, or none.
    ///
    /// # Errors
    /// What the kernel said of the first that failed.
    pub fn set(&self, ebpf: &mut Ebpf, tgid: NonZeroU32, hooks: &[Hook]) -> Result<Attached, Error> {
        match self {
            Self::Off => Ok(Attached::default()),
            Self::Perf => one_by_one(ebpf, tgid, hooks),
            Self::Multi(multi) => together(multi, tgid, hooks),
        }
    }
}

fn one_by_one(ebpf: &mut Ebpf, tgid: NonZeroU32, hooks: &[Hook]) -> Result<Attached, Error> {
    let set = |hook: &Hook| {
        let wrong = |error| Error::program(hook.program, error);
        let program: &mut UProbe = ebpf
            .program_mut(hook.program)
            .ok_or(Error::NoProgram(hook.program))?
            .try_into()
            .map_err(wrong)?;
        let place = UProbeAttachPoint {
            location: UProbeAttachLocation::AbsoluteOffset(hook.offset),
            cookie: (hook.cookie != 0).then_some(hook.cookie),
        };
        let id = program.attach(place, &hook.file, UProbeScope::OneProcess(tgid)).map_err(wrong)?;
        program.take_link(id).map(Attachment::Breakpoint).map_err(wrong)
    };
    hooks.iter().map(set).collect()
}

fn together(multi: &Multi, tgid: NonZeroU32, hooks: &[Hook]) -> Result<Attached, Error> {
    let mut sorted: Vec<&Hook> = hooks.iter().collect();
    sorted.sort_unstable_by_key(|hook| (hook.program, &hook.file));
    let groups = sorted.chunk_by(|a, b| (a.program, &a.file) == (b.program, &b.file));
    let set = |group: &[&Hook]| {
        let Hook { program, file, .. } = group.first()?;
        let places: Vec<(u64, u64)> = group.iter().map(|hook| (hook.offset, hook.cookie)).collect();
        let wrong = |source| Error::Breakpoints { program, source };
        let link = multi.attach(program, file, &places, tgid.get());
        Some(link.map(Attachment::Breakpoints).map_err(wrong))
    };
    groups.filter_map(set).collect()
}
