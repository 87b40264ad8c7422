//! Whom a rule named, for every process that is traced: the process itself, or one that it descends from and that may
//! have ended since. So rules that change can be asked anew, for the orphans too.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::process::{Process, selection::Selection};

/// What rules looked at in the process that they named.
#[derive(Debug)]
struct Subject {
    pid: u32,
    executable: Option<PathBuf>,
    ports: Vec<u16>,
}

/// The named one for every traced process, by process id.
#[derive(Debug, Default)]
pub(super) struct Lineage(HashMap<u32, Arc<Subject>>);

impl Lineage {
    /// A rule names `process`, which listens on `ports`.
    pub(super) fn named(&mut self, process: &Process, ports: &[u16]) {
        let subject =
            Subject { pid: process.pid(), executable: process.executable.clone(), ports: ports.to_vec() };
        self.0.insert(process.pid(), Arc::new(subject));
    }

    /// No rule names `pid`; it is traced for its parent's sake.
    pub(super) fn inherits(&mut self, pid: u32, parent: u32) {
        if let Some(subject) = self.0.get(&parent).cloned() {
            self.0.insert(pid, subject);
        }
    }

    /// Whether these rules still name the one for whose sake `pid` is traced.
    pub(super) fn is_selected(&self, pid: u32, selection: &Selection) -> bool {
        self.0.get(&pid).is_some_and(|subject| {
            let executable: Option<&Path> = subject.executable.as_deref();
            selection.may_select(subject.pid, executable, &subject.ports)
        })
    }

    /// `pid` has ended or is not traced.
    pub(super) fn forget(&mut self, pid: u32) {
        self.0.remove(&pid);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::Procfs;

    #[test]
    fn who_was_named_is_asked_about_when_it_has_ended_too() {
        let own = Procfs::new("/proc").unwrap().process(std::process::id()).unwrap();
        let executable = own.executable.clone().unwrap().display().to_string();
        let selection = |pids: &[u32], exes: &[String], ports: &[u16]| {
            Selection::new(1, pids, exes, ports, false).unwrap()
        };
        let mut lineage = Lineage::default();
        lineage.named(&own, &[8080]);
        lineage.inherits(70, own.pid());
        lineage.inherits(71, 70);
        lineage.inherits(72, 9);
        lineage.forget(own.pid());
        lineage.forget(70);
        for named in [
            selection(&[own.pid()], &[], &[]),
            selection(&[], &[executable], &[]),
            selection(&[], &[], &[80, 8080]),
        ] {
            assert!(lineage.is_selected(71, &named));
            assert!(!lineage.is_selected(70, &named) && !lineage.is_selected(72, &named));
        }
        assert!(!lineage.is_selected(71, &selection(&[71], &["node".to_owned()], &[80])));
    }
}
