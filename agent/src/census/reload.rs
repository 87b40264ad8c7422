//! Other rules for the processes there are.
//!
//! In: the rules that replace the ones before. Out: news of the processes that are let go, that are traced from now on,
//! and that have another name. What both rules select goes on without a gap.

use std::collections::HashSet;

use crate::process::{Listeners, Process, Runtime};

use super::{Arrival, Census, Entry, News, Rules};

/// A traced process under the new rules.
struct Subject {
    process: Process,
    ports: Vec<u16>,
}

/// Who is let go and taken up again by the same change goes on as if nothing had been.
fn keep_who_stays(news: Vec<News>) -> Vec<News> {
    let mut back = HashSet::new();
    let mut kept: Vec<News> = Vec::new();
    for one in news.into_iter().rev() {
        match &one {
            News::Departure(pid) if back.contains(pid) => continue,
            News::Arrival(arrival) => drop(back.insert(arrival.tgid)),
            _ => {}
        }
        kept.push(one);
    }
    kept.reverse();
    kept
}

impl Census {
    /// Goes by these rules from now on.
    pub fn reload(&mut self, rules: Rules) -> Vec<News> {
        let before = std::mem::replace(&mut self.rules, rules);
        let mut news = Vec::new();
        let treated = before.leave_instrumented != self.rules.leave_instrumented;
        if treated {
            news.extend(self.reconsider_instrumented());
        }
        if treated || before.selection != self.rules.selection || before.kubernetes != self.rules.kubernetes {
            self.forget_verdicts();
            news.extend(self.release());
            news.extend(self.scan());
            news = keep_who_stays(news);
        }
        news.extend(self.rename());
        news
    }

    fn traced_now(&self) -> Vec<u32> {
        self.lock().values().filter(|entry| entry.traced).map(|entry| entry.pid).collect()
    }

    /// Lets go of what no rule selects any more, neither itself nor one that it descends from.
    fn release(&mut self) -> Vec<News> {
        let mut listeners = Listeners::default();
        let mut staying = HashSet::new();
        let mut open = Vec::new();
        let mut news = Vec::new();
        for pid in self.traced_now() {
            if self.seat(pid).is_some() {
                self.forget_name(pid);
                news.extend(self.decide_anew(pid));
                continue;
            }
            // What has ended is found by the scan.
            let Ok(process) = self.procfs.process(pid) else { continue };
            let ports = self.ports(pid, &mut listeners);
            if self.rules.selection.may_select(pid, process.executable.as_deref(), &ports) {
                self.lineage.named(&process, &ports);
                self.keep(&process, &ports);
                staying.insert(pid);
            } else if self.lineage.is_selected(pid, &self.rules.selection) {
                staying.insert(pid);
            } else {
                open.push(Subject { process, ports });
            }
        }
        self.keep_descendants(&mut open, &mut staying);
        news.extend(open.into_iter().flat_map(|subject| self.let_go(&subject)));
        news
    }

    /// A process in a pod is traced for its id's sake no more, if its id and its parent's are not named any more.
    fn forget_name(&self, pid: u32) {
        let parent = self.procfs.glance(pid).map_or(0, |glance| glance.parent);
        let mut entries = self.lock();
        let named = |pid: u32| self.rules.selection.names(pid);
        let stays = named(pid) || named(parent) || entries.get(&parent).is_some_and(|e| e.named);
        if let Some(entry) = entries.get_mut(&pid).filter(|_| !stays) {
            entry.named = false;
        }
    }

    /// Takes from `open` the descendants of what stays.
    fn keep_descendants(&mut self, open: &mut Vec<Subject>, staying: &mut HashSet<u32>) {
        loop {
            let (stay, rest): (Vec<_>, Vec<_>) =
                std::mem::take(open).into_iter().partition(|s| staying.contains(&s.process.parent));
            *open = rest;
            for Subject { process, ports } in &stay {
                self.lineage.inherits(process.pid(), process.parent);
                self.keep(process, ports);
                staying.insert(process.pid());
            }
            if stay.is_empty() {
                return;
            }
        }
    }

    /// Says by which rule a process stays.
    fn keep(&self, process: &Process, ports: &[u16]) {
        let verdict = self.rules.selection.decide(process, true, ports);
        if let Some(entry) = self.lock().get_mut(&process.pid()).filter(|_| verdict.is_selected()) {
            verdict.reason().clone_into(&mut entry.reason);
        }
    }

    fn let_go(&mut self, Subject { process, ports }: &Subject) -> Vec<News> {
        let verdict = self.rules.selection.decide(process, false, ports);
        let (pid, reason) = (process.pid(), verdict.reason());
        tracing::info!(pid, reason, "process is let go");
        self.leave(Entry::left(process.identity, process.executable.clone(), reason))
    }

    /// Names every traced process anew.
    fn rename(&mut self) -> Vec<News> {
        let mut news = Vec::new();
        for pid in self.traced_now() {
            let Some(before) = self.lock().get(&pid).cloned() else { continue };
            let Some(process) = self.going_on(pid, before.identity) else { continue };
            let runtime = Runtime::detect(&self.procfs, &process);
            let resource = self.resource(&process, &runtime, before.facts.as_ref());
            let name = Some(&resource.service_name);
            if let Some(entry) = self.lock().get_mut(&pid).filter(|entry| entry.service.as_ref() != name) {
                entry.service = name.cloned();
                let complete = entry.is_complete();
                news.push(News::Arrival(Arrival { tgid: pid, resource, complete }));
            }
        }
        news
    }
}
