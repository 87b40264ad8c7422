//! Processes with a tracer of their own: left alone, unless the setting `instrumented` says otherwise.
//!
//! In: what loads a tracer at a process's start, and what the pipeline saw a process send. Out: entries that say so, and
//! news of those that are let go.

use crate::{
    exchange::Sign,
    process::{Process, Runtime, instrumentation},
};

use super::{Census, Entry, News};

impl Census {
    /// Why a process that the rules select is left alone, if it is.
    pub(super) fn instrumentation(&self, process: &Process, runtime: &Runtime) -> Option<String> {
        if !self.rules.leave_instrumented {
            return None;
        }
        let known = self.lock().get(&process.pid()).filter(|e| e.instrumented).cloned();
        let known = known.filter(|entry| entry.identity == process.identity).map(|entry| entry.reason);
        known.or_else(|| instrumentation(process, runtime).map(|found| reason(&found)))
    }

    /// Leaves a process alone for its own tracer's sake.
    pub(super) fn leave_instrumented(&mut self, left: Entry, why: &str) -> Vec<News> {
        let new = self.lock().get(&left.pid).is_none_or(|before| !before.instrumented);
        if new {
            tracing::info!(pid = left.pid, reason = why, "process");
        }
        self.leave(Entry { instrumented: true, reason: why.to_owned(), ..left })
    }

    /// The pipeline saw that a process has a tracer of its own.
    pub fn recognise(&mut self, pid: u32, sign: Sign) -> Vec<News> {
        let Some(entry) = self.lock().get(&pid).filter(|e| e.traced).cloned() else { return Vec::new() };
        if !self.rules.leave_instrumented {
            return Vec::new();
        }
        let left = Entry::left(entry.identity, entry.executable.clone(), &entry.reason);
        let left = Entry {
            pod: entry.pod,
            container: entry.container,
            rule: entry.rule,
            berth: entry.berth,
            ..left
        };
        self.leave_instrumented(left, &reason(sign.text()))
    }

    /// Those who were left for their tracers' sake are decided anew by other rules; those who have one are let go.
    pub(super) fn reconsider_instrumented(&mut self) -> Vec<News> {
        if !self.rules.leave_instrumented {
            self.lock().values_mut().for_each(|entry| entry.instrumented = false);
            return Vec::new();
        }
        let traced: Vec<Entry> = self.lock().values().filter(|entry| entry.traced).cloned().collect();
        let mut news = Vec::new();
        for entry in traced {
            let Ok(process) = self.procfs.process(entry.pid) else { continue };
            let runtime = Runtime::detect(&self.procfs, &process);
            if let Some(why) = self.instrumentation(&process, &runtime) {
                let left = Entry::left(entry.identity, entry.executable.clone(), &entry.reason);
                news.extend(self.leave_instrumented(left, &why));
            }
        }
        news
    }
}

fn reason(found: &str) -> String {
    format!("instrumented already: {found} (`instrumented: trace` traces it all the same)")
}
