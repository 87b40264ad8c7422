//! Reads one process out of `/proc`. Sizes are bounded: a process chooses what stands in its `cmdline` and `environ`.

use std::{
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
};

use super::{Environment, Identity, Loads, Process, cgroup};

/// Bytes read of one file; `cmdline` of a JVM with a long class path is the largest that matters.
const MAX_FILE: u64 = 2 << 20;
/// Of a task's flags: it ends, and its memory, files and executable are gone or about to go.
const PF_EXITING: u32 = 0x4;
/// A variable with a value of more bytes counts as not set.
const MAX_VARIABLE: usize = 16 << 10;

/// Why a process could not be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It ended, or its pid was given to another process meanwhile.
    #[error("process {0} is gone")]
    Gone(u32),
    /// The kernel refused.
    #[error("process {pid}: cannot read {}: {source}", path.display())]
    Read {
        /// The process.
        pid: u32,
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// `stat` is not what proc(5) describes.
    #[error("process {0}: stat is malformed")]
    Malformed(u32),
}

/// The little of a process that says whether more needs to be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Glance {
    /// Which process it is.
    pub identity: Identity,
    /// The parent's process id.
    pub parent: u32,
    /// The executable, as the process sees its file system.
    pub executable: Option<PathBuf>,
}

/// A mounted `/proc`.
#[derive(Clone, Debug)]
pub struct Procfs {
    root: PathBuf,
    boot_id: u128,
}

impl Procfs {
    /// The procfs mounted at `root`, usually `/proc`.
    ///
    /// # Errors
    /// If its boot id cannot be read: it is no procfs.
    pub fn new(root: impl Into<PathBuf>) -> io::Result<Self> {
        let root = root.into();
        let text = fs::read_to_string(root.join("sys/kernel/random/boot_id"))?;
        let boot_id =
            uuid::Uuid::try_parse(text.trim()).map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))?;
        Ok(Self { root, boot_id: boot_id.as_u128() })
    }

    /// Where it is mounted.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The ids of all processes, in ascending order.
    ///
    /// # Errors
    /// If the folder cannot be listed.
    pub fn pids(&self) -> io::Result<Vec<u32>> {
        let entries = fs::read_dir(&self.root)?;
        let mut pids: Vec<u32> = entries.filter_map(|e| e.ok()?.file_name().to_str()?.parse().ok()).collect();
        pids.sort_unstable();
        Ok(pids)
    }

    /// The path of a file of process `pid`.
    pub fn path(&self, pid: u32, file: &str) -> PathBuf {
        self.root.join(pid.to_string()).join(file)
    }

    /// Which process has `pid` now.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn identity(&self, pid: u32) -> Result<Identity, Error> {
        Ok(self.stat(pid)?.identity)
    }

    /// The first look at the process that has `pid` now.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn glance(&self, pid: u32) -> Result<Glance, Error> {
        let Stat { identity, parent, .. } = self.stat(pid)?;
        Ok(Glance { identity, parent, executable: self.link(pid, "exe").map(without_deleted) })
    }

    /// The paths of `pid` in the cgroup hierarchies, each once; none if it is gone.
    pub fn cgroups(&self, pid: u32) -> Vec<String> {
        cgroup::paths(&lossy(&self.read(pid, "cgroup").unwrap_or_default()))
    }

    /// What is known of the process that has `pid` now. Without the right to read some of it, the rest.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn process(&self, pid: u32) -> Result<Process, Error> {
        let Stat { identity, parent, comm, .. } = self.stat(pid)?;
        let cgroups = self.cgroups(pid);
        let process = Process {
            identity,
            parent,
            comm,
            executable: self.link(pid, "exe").map(without_deleted),
            arguments: strings(&self.read(pid, "cmdline").unwrap_or_default()),
            directory: self.link(pid, "cwd").map(without_deleted),
            environment: environment(&self.read(pid, "environ").unwrap_or_default()),
            container_id: cgroup::container_id(&cgroups),
            cgroups,
            network_namespace: self.network_namespace(pid),
            is_ending: false,
        };
        // What was read in between belongs to this process only if it still is this process, and is all there is to read only
        // if it was not about to end.
        let after = self.stat(pid)?;
        let process = Process { is_ending: after.is_ending, ..process };
        if after.identity == identity { Ok(process) } else { Err(Error::Gone(pid)) }
    }

    /// Inode of the network namespace of `pid`.
    pub(super) fn network_namespace(&self, pid: u32) -> Option<u64> {
        let link = self.link(pid, "ns/net")?;
        link.to_str()?.strip_prefix("net:[")?.strip_suffix(']')?.parse().ok()
    }

    /// A file of `pid` to its end or [`MAX_FILE`].
    pub(super) fn read(&self, pid: u32, file: &str) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        File::open(self.path(pid, file))?.take(MAX_FILE).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn link(&self, pid: u32, file: &str) -> Option<PathBuf> {
        fs::read_link(self.path(pid, file)).ok()
    }

    fn stat(&self, pid: u32) -> Result<Stat, Error> {
        let bytes = self.read(pid, "stat").map_err(|source| match source.raw_os_error() {
            // ENOENT before the file is opened, ESRCH when the process ends before it is read.
            Some(2 | 3) => Error::Gone(pid),
            _ => Error::Read { pid, path: self.path(pid, "stat"), source },
        })?;
        parse_stat(&bytes, pid, self.boot_id).ok_or(Error::Malformed(pid))
    }
}

#[derive(Debug, PartialEq)]
struct Stat {
    identity: Identity,
    parent: u32,
    comm: String,
    is_ending: bool,
}

/// `pid (comm) state ppid … starttime …`, where comm may hold blanks and parentheses.
fn parse_stat(bytes: &[u8], pid: u32, boot_id: u128) -> Option<Stat> {
    let text = lossy(bytes);
    let (head, fields) = text.rsplit_once(')')?;
    let (_, comm) = head.split_once('(')?;
    let mut fields = fields.split_ascii_whitespace();
    let parent = fields.nth(1)?.parse().ok()?;
    // Fields 9 and 22 by proc(5)'s count; the parent was field 4.
    let flags: u32 = fields.nth(4)?.parse().ok()?;
    let start_ticks = fields.nth(12)?.parse().ok()?;
    let identity = Identity { pid, start_ticks, boot_id };
    Some(Stat { identity, parent, comm: comm.to_owned(), is_ending: flags & PF_EXITING != 0 })
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// NUL-terminated strings. A process that writes its own title leaves empty ones behind.
fn strings(bytes: &[u8]) -> Vec<String> {
    bytes.split(|&b| b == 0).map(lossy).filter(|s| !s.is_empty()).collect()
}

fn environment(bytes: &[u8]) -> Environment {
    let value = |name: &[u8]| {
        let mut variables = bytes.split(|&b| b == 0);
        let value = variables.find_map(|v| v.strip_prefix(name)?.strip_prefix(b"="))?;
        // Half a list of attributes would be a wrong one.
        (1..=MAX_VARIABLE).contains(&value.len()).then(|| lossy(value))
    };
    let text = |name: &[u8]| value(name).unwrap_or_default();
    let is = |name: &[u8], what: &str| value(name).is_some_and(|v| v.trim().eq_ignore_ascii_case(what));
    let java: [&[u8]; 3] = [b"JAVA_TOOL_OPTIONS", b"JDK_JAVA_OPTIONS", b"_JAVA_OPTIONS"];
    let loads = Loads {
        node: text(b"NODE_OPTIONS"),
        java: java.map(text).join(" "),
        python: text(b"PYTHONPATH"),
        dotnet: text(b"DOTNET_STARTUP_HOOKS"),
        ruby: text(b"RUBYOPT"),
        is_off: is(b"OTEL_SDK_DISABLED", "true")
            || is(b"OTEL_TRACES_EXPORTER", "none")
            || is(b"OTEL_JAVAAGENT_ENABLED", "false"),
    };
    Environment {
        loads,
        service_name: value(b"OTEL_SERVICE_NAME"),
        resource_attributes: value(b"OTEL_RESOURCE_ATTRIBUTES"),
        flask_app: value(b"FLASK_APP"),
    }
}

/// The kernel's note on a file that was replaced or removed since it was opened.
fn without_deleted(path: PathBuf) -> PathBuf {
    match path.to_str().and_then(|p| p.strip_suffix(" (deleted)")) {
        Some(clean) => clean.into(),
        None => path,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::fixture::Fixture;

    #[test]
    fn stat_with_any_comm() {
        let rest = "S 7 1 1 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 88123 9 9";
        let stat = parse_stat(format!("42 (a) b (c)) {rest}").as_bytes(), 42, 1).unwrap();
        assert_eq!((stat.comm.as_str(), stat.parent, stat.identity.start_ticks), ("a) b (c)", 7, 88123));
        assert!(!stat.is_ending);
        for bad in ["", "42", "42 (a", "42 (a) S", "42 (a) S x 1 1", "42 (a) S 7 1 1 0 -1 4194560 1 2 3 4"] {
            assert_eq!(parse_stat(bad.as_bytes(), 42, 1), None, "{bad}");
        }
    }

    #[test]
    fn a_process_is_read() {
        let fixture = Fixture::new();
        fixture.process(42, &["/usr/bin/shop", "--fast"], "/srv/shop");
        fixture.write(42, "environ", b"SECRET=x\0OTEL_SERVICE_NAME=orders\0OTEL_RESOURCE_ATTRIBUTES=\0");
        fixture.write(42, "cgroup", format!("0::/docker/{}\n", "ab".repeat(32)).as_bytes());
        let process = fixture.procfs().process(42).unwrap();
        assert_eq!((process.pid(), process.parent, process.comm.as_str()), (42, 1, "shop"));
        assert_eq!(process.executable.as_deref(), Some(Path::new("/usr/bin/shop")));
        assert_eq!(process.arguments, ["/usr/bin/shop", "--fast"]);
        assert_eq!(process.directory.as_deref(), Some(Path::new("/srv/shop")));
        assert_eq!(process.environment.service_name.as_deref(), Some("orders"));
        assert_eq!(process.environment.resource_attributes, None);
        assert_eq!(process.container_id, Some("ab".repeat(32)));
        assert_eq!(process.network_namespace, Some(4_026_531_840));
        assert_eq!(fixture.procfs().pids().unwrap(), [42]);
    }

    #[test]
    fn what_cannot_be_read_is_none() {
        let fixture = Fixture::new();
        fixture.write(2, "stat", b"2 (kthreadd) S 0 0 0 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 13 0");
        let process = fixture.procfs().process(2).unwrap();
        assert_eq!((process.executable, process.arguments.len(), process.container_id), (None, 0, None));
        assert!(matches!(fixture.procfs().process(3), Err(Error::Gone(3))));
        fixture.write(4, "stat", b"nonsense");
        assert_eq!(fixture.procfs().process(4).unwrap_err().to_string(), "process 4: stat is malformed");
    }

    #[test]
    fn who_has_ended_is_known_by_it() {
        let procfs = Procfs::new("/proc").unwrap();
        let mut child = std::process::Command::new("true").spawn().unwrap();
        // Nobody has waited for it: its last state stays.
        let ended = || procfs.process(child.id()).unwrap().is_ending;
        assert!((0..500).any(|_| {
            std::thread::sleep(std::time::Duration::from_millis(10));
            ended()
        }));
        child.wait().unwrap();
    }

    #[test]
    fn a_replaced_executable_keeps_its_name() {
        assert_eq!(without_deleted("/usr/bin/node (deleted)".into()), Path::new("/usr/bin/node"));
    }

    #[test]
    fn this_very_process() {
        let procfs = Procfs::new("/proc").unwrap();
        let process = procfs.process(std::process::id()).unwrap();
        assert_eq!(process.executable, std::env::current_exe().ok());
        assert_eq!(process.directory, std::env::current_dir().ok());
        assert_eq!(procfs.identity(process.pid()).unwrap(), process.identity);
        assert!(!process.is_ending);
        assert!(Procfs::new("/nowhere").is_err());
    }
}
