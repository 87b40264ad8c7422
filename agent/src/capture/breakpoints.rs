//! The breakpoints in the traced processes: how they are set, and those that are.
//!
//! In: [`Hook`]s of a process. Out: [`Held`], which is detached when it is dropped.

use std::num::NonZeroU32;

use aya::{
    Ebpf,
    programs::{
        UProbe,
        uprobe::{UProbeAttachLocation, UProbeAttachPoint, UProbeLink, UProbeScope},
    },
};

use super::{
    Error,
    hooks::Hook,
    multi::{Link, Multi},
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

/// What is attached in a process.
#[derive(Debug)]
#[allow(dead_code, reason = "held, not read")]
pub enum Held {
    /// One by one: that takes the kernel a tenth of a second for each when it is dropped.
    Perf(Vec<UProbeLink>),
    /// All of a program and file at a time.
    Multi(Vec<Link>),
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
    pub fn set(&self, ebpf: &mut Ebpf, tgid: NonZeroU32, hooks: &[Hook]) -> Result<Held, Error> {
        match self {
            Self::Off => Ok(Held::Perf(Vec::new())),
            Self::Perf => one_by_one(ebpf, tgid, hooks).map(Held::Perf),
            Self::Multi(multi) => together(multi, tgid, hooks).map(Held::Multi),
        }
    }
}

fn one_by_one(ebpf: &mut Ebpf, tgid: NonZeroU32, hooks: &[Hook]) -> Result<Vec<UProbeLink>, Error> {
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
        program.take_link(id).map_err(wrong)
    };
    hooks.iter().map(set).collect()
}

fn together(multi: &Multi, tgid: NonZeroU32, hooks: &[Hook]) -> Result<Vec<Link>, Error> {
    let mut sorted: Vec<&Hook> = hooks.iter().collect();
    sorted.sort_unstable_by_key(|hook| (hook.program, &hook.file));
    let groups = sorted.chunk_by(|a, b| (a.program, &a.file) == (b.program, &b.file));
    let set = |group: &[&Hook]| {
        let Hook { program, file, .. } = group.first()?;
        let places: Vec<(u64, u64)> = group.iter().map(|hook| (hook.offset, hook.cookie)).collect();
        let wrong = |source| Error::Breakpoints { program, source };
        Some(multi.attach(program, file, &places, tgid.get()).map_err(wrong))
    };
    groups.filter_map(set).collect()
}
