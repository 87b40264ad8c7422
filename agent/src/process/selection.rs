//! Which processes are traced, and why: a verdict with a reason for each, shown by `/status`.
//!
//! In: the user's rules (`--pid`, `--exe`, `--port`, `--all`) and what is known of a process. Out: a [`Verdict`]. A rule
//! that matches selects; there is no order among them. What a selected process starts is selected too.

use std::{fmt, path::Path};

use globset::{Glob, GlobBuilder, GlobMatcher};

use super::Process;

/// Traced or not, with the reason in words that a person can act on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The process is traced.
    Selected(String),
    /// The process is left alone.
    Left(String),
}

impl Verdict {
    /// Whether the process is traced.
    pub fn is_selected(&self) -> bool {
        matches!(self, Self::Selected(_))
    }

    /// Why, or why not.
    pub fn reason(&self) -> &str {
        match self {
            Self::Selected(reason) | Self::Left(reason) => reason,
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = if self.is_selected() { "traced" } else { "left alone" };
        write!(f, "{word}: {}", self.reason())
    }
}

/// The rules.
#[derive(Clone, Debug)]
pub struct Selection {
    agent: u32,
    pids: Vec<u32>,
    executables: Vec<GlobMatcher>,
    ports: Vec<u16>,
    all: bool,
    pods: bool,
}

impl PartialEq for Selection {
    /// Whether both say the same.
    fn eq(&self, other: &Self) -> bool {
        let Self { agent, pids, executables, ports, all, pods } = self;
        let globs = |list: &[GlobMatcher]| list.iter().map(|glob| glob.glob().clone()).collect::<Vec<_>>();
        (agent, pids, ports, all, pods) == (&other.agent, &other.pids, &other.ports, &other.all, &other.pods)
            && globs(executables) == globs(&other.executables)
    }
}

impl Selection {
    /// Rules for an agent whose own process id is `agent`.
    ///
    /// A glob with a slash is matched against the executable's path (`*` stays within a directory, `**` does not), one
    /// without against its base name.
    ///
    /// # Errors
    /// If a glob is malformed.
    pub fn new(
        agent: u32,
        pids: &[u32],
        executables: &[String],
        ports: &[u16],
        all: bool,
    ) -> Result<Self, globset::Error> {
        let glob = |text: &String| GlobBuilder::new(text).literal_separator(true).build();
        let executables = executables
            .iter()
            .map(|text| Ok(glob(text)?.compile_matcher()))
            .collect::<Result<_, globset::Error>>()?;
        Ok(Self { agent, pids: pids.to_vec(), executables, ports: ports.to_vec(), all, pods: false })
    }

    /// The same rules beside those for pods, which are for all processes in pods.
    pub fn beside_pods(self) -> Self {
        Self { pods: true, ..self }
    }

    /// Whether `--pid` names it.
    pub fn names(&self, pid: u32) -> bool {
        self.pids.contains(&pid)
    }

    /// Whether any rule needs the ports that processes listen on, which are costly to find out.
    pub fn needs_ports(&self) -> bool {
        !self.ports.is_empty()
    }

    /// Whether any rule selects process `pid`, as far as its id, its executable and its `ports` tell: all that rules
    /// are about.
    pub fn may_select(&self, pid: u32, executable: Option<&Path>, ports: &[u16]) -> bool {
        self.rule(pid, executable, ports).is_some()
    }

    /// The verdict on `process`, which listens on `ports`.
    pub fn decide(&self, process: &Process, parent_selected: bool, ports: &[u16]) -> Verdict {
        if let Some(reason) = self.never(process) {
            return Verdict::Left(reason);
        }
        match self.rule(process.pid(), process.executable.as_deref(), ports) {
            Some(reason) => Verdict::Selected(reason),
            None if parent_selected => {
                Verdict::Selected(format!("started by process {}, which is traced", process.parent))
            }
            None => Verdict::Left(self.unmatched(process, ports)),
        }
    }

    /// Why `process` is never traced, if so.
    pub fn never(&self, process: &Process) -> Option<String> {
        if process.pid() == self.agent {
            return Some("it is the agent itself".to_owned());
        }
        if process.parent == self.agent {
            return Some("it was started by the agent".to_owned());
        }
        process.shows_nothing().then(|| "it is a kernel thread, or has ended".to_owned())
    }

    fn rule(&self, pid: u32, executable: Option<&Path>, ports: &[u16]) -> Option<String> {
        if self.pids.contains(&pid) {
            return Some(format!("--pid {pid}"));
        }
        let glob = self.executables.iter().find(|glob| executable.is_some_and(|path| matches(glob, path)));
        if let Some(glob) = glob {
            return Some(format!("--exe {} matches {}", glob.glob(), display(executable)));
        }
        if let Some(port) = self.ports.iter().find(|port| ports.contains(port)) {
            return Some(format!("--port {port}: it listens there"));
        }
        self.all.then(|| "--all".to_owned())
    }

    fn unmatched(&self, process: &Process, ports: &[u16]) -> String {
        if self.pids.is_empty() && self.executables.is_empty() && self.ports.is_empty() {
            if self.pods {
                return "it is in no pod, and no --pid, --exe, --port or --all selects it".to_owned();
            }
            return "nothing is selected: give --pid, --exe, --port or --all".to_owned();
        }
        let mut reason = format!("no rule matches process {}", process.pid());
        if !self.executables.is_empty() {
            reason.push_str(&format!(", executable {}", display(process.executable.as_deref())));
        }
        if self.needs_ports() {
            let list: Vec<String> = ports.iter().map(u16::to_string).collect();
            let list = if list.is_empty() { "none".to_owned() } else { list.join(", ") };
            reason.push_str(&format!(", listening ports: {list}"));
        }
        reason
    }
}

fn matches(glob: &GlobMatcher, path: &Path) -> bool {
    if has_slash(glob.glob()) {
        glob.is_match(path)
    } else {
        path.file_name().is_some_and(|name| glob.is_match(name))
    }
}

fn has_slash(glob: &Glob) -> bool {
    glob.glob().contains('/')
}

fn display(executable: Option<&Path>) -> String {
    executable.map_or_else(|| "not readable".to_owned(), |path| path.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::fixture::Fixture;

    const AGENT: u32 = 900;

    fn process(pid: u32, exe: &str) -> Process {
        let fixture = Fixture::new();
        fixture.process(pid, &[exe], "/");
        fixture.procfs().process(pid).unwrap()
    }

    fn selection(pids: &[u32], exe: &[&str], ports: &[u16], all: bool) -> Selection {
        let exe: Vec<String> = exe.iter().map(|s| (*s).to_owned()).collect();
        Selection::new(AGENT, pids, &exe, ports, all).unwrap()
    }

    #[test]
    fn each_rule_selects_and_says_so() {
        let node = process(7, "/usr/bin/node");
        let decide = |s: Selection| s.decide(&node, false, &[3000]).to_string();
        assert_eq!(decide(selection(&[6, 7], &[], &[], false)), "traced: --pid 7");
        assert_eq!(decide(selection(&[], &["nod?"], &[], false)), "traced: --exe nod? matches /usr/bin/node");
        assert_eq!(decide(selection(&[], &[], &[80, 3000], false)), "traced: --port 3000: it listens there");
        assert_eq!(decide(selection(&[], &[], &[], true)), "traced: --all");
    }

    #[test]
    fn rules_that_say_the_same_are_equal() {
        let rules = || selection(&[7], &["node", "/a/*"], &[80], false);
        assert_eq!(rules(), rules());
        for other in [
            selection(&[8], &["node", "/a/*"], &[80], false),
            selection(&[7], &["node", "/b/*"], &[80], false),
            selection(&[7], &["node", "/a/*"], &[], false),
            selection(&[7], &["node", "/a/*"], &[80], true),
        ] {
            assert_ne!(rules(), other);
        }
    }

    #[test]
    fn globs_on_names_and_on_paths() {
        let python = process(7, "/usr/bin/python3.11");
        for (glob, selected) in [
            ("python*", true),
            ("python", false),
            ("/usr/bin/*", true),
            ("/usr/*", false),
            ("/usr/**", true),
            ("**/python3.{11,12}", true),
            ("bin/*", false),
        ] {
            let rules = selection(&[], &[glob], &[], false);
            assert_eq!(rules.decide(&python, false, &[]).is_selected(), selected, "{glob}");
            assert_eq!(rules.may_select(7, python.executable.as_deref(), &[]), selected, "{glob}");
        }
        assert!(Selection::new(AGENT, &[], &["a[".to_owned()], &[], false).is_err());
    }

    #[test]
    fn what_is_left_hears_why() {
        let node = process(7, "/usr/bin/node");
        let none = selection(&[], &[], &[], false).decide(&node, false, &[]);
        assert_eq!(none.reason(), "nothing is selected: give --pid, --exe, --port or --all");
        let other = selection(&[8], &["java"], &[80], false);
        assert_eq!(
            other.decide(&node, false, &[3000]).to_string(),
            "left alone: no rule matches process 7, executable /usr/bin/node, listening ports: 3000"
        );
        assert!(other.needs_ports());
    }

    #[test]
    fn descendants_follow_but_never_the_agents() {
        let rules = selection(&[1], &[], &[], false);
        let child = process(7, "/bin/sh");
        assert_eq!(rules.decide(&child, true, &[]).reason(), "started by process 1, which is traced");
        let all = selection(&[AGENT], &["*"], &[], true);
        assert_eq!(all.decide(&process(AGENT, "/bin/x"), true, &[]).reason(), "it is the agent itself");
        let own_child = Process { parent: AGENT, ..child };
        assert_eq!(all.decide(&own_child, true, &[]).reason(), "it was started by the agent");
    }

    #[test]
    fn kernel_threads_are_left() {
        let mut thread = process(2, "/x");
        thread.executable = None;
        assert!(selection(&[], &[], &[], true).decide(&thread, false, &[]).is_selected());
        thread.arguments.clear();
        assert!(!selection(&[], &[], &[], true).decide(&thread, false, &[]).is_selected());
    }
}
