//! The kernel side's other half: loads and attaches the programs, drains their events, keeps the set of traced
//! processes.
//!
//! Out: batches of raw events for `crate::event`, in the order the kernel wrote them.

mod attached;
mod breakpoints;
pub mod btf;
mod counters;
mod feedback;
mod fill;
pub mod hooks;
mod multi;
mod offsets;
mod pod;
mod programs;
mod ring;
mod traced;

use std::path::PathBuf;

use aya::programs::ProgramError;

pub use counters::Counters;
pub use feedback::Feedback;
pub use programs::Verdict;
pub use ring::{Bell, Ring};
pub use traced::Traced;

/// Which probes see the socket calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// The socket layer's own tracepoints.
    Sock,
    /// Enter and exit of the system calls.
    Syscalls,
}

impl std::fmt::Display for Mode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if *self == Self::Sock { "sock" } else { "syscalls" })
    }
}

/// How breakpoints are set in the runtimes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Uprobes {
    /// Not at all.
    Off,
    /// By perf events, one for each.
    Perf,
    /// By `uprobe_multi` links, one for each program and file.
    Multi,
}

impl Uprobes {
    /// From this kernel on such a link fires in all threads of its process. Before, some releases have it fire in the
    /// first thread only, and a runtime that is seen in part is seen wrongly.
    pub const MULTI_SINCE: (u32, u32) = (6, 10);
}

/// What the programs are told when they are loaded.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where the kernel describes its types.
    pub btf: PathBuf,
    /// Bytes of a message's head that are copied at most.
    pub head_limit: u32,
    /// Size of the ring buffer in bytes; a power of two and a multiple of the page size.
    pub ring_bytes: u32,
    /// Connections remembered at a time.
    pub connections: u32,
    /// Processes traced at a time.
    pub processes: u32,
    /// Tell of every process's exec and listen, not of the traced ones' only.
    pub watch_all: bool,
    /// How the runtimes are hooked.
    pub uprobes: Uprobes,
    /// Highest level of the programs' own diagnostics: 0 off, 1 error … 5 trace.
    pub log_level: u8,
}

/// Why the kernel side does not run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The binary was built without its programs.
    #[error("this binary was built without its eBPF programs; build it with `cargo xtask build`")]
    NoObject,
    /// No thread could be started.
    #[error("cannot start a thread: {0}")]
    Thread(std::io::Error),
    /// No descriptor could be had for what wakes the reader.
    #[error("cannot make an eventfd: {0}")]
    Bell(std::io::Error),
    /// The object lacks a program.
    #[error(
        "the eBPF object has no program {0}; agent and programs are of different builds: build both with `cargo xtask build`"
    )]
    NoProgram(&'static str),
    /// The object lacks a map.
    #[error(
        "the eBPF object has no map {0}; agent and programs are of different builds: build both with `cargo xtask build`"
    )]
    NoMap(&'static str),
    /// The kernel's description of itself cannot be read.
    #[error(
        "cannot read the kernel's type information at {path}: {source}; the kernel must be built with \
         CONFIG_DEBUG_INFO_BTF=y, or give a BTF file of this very kernel with --btf FILE"
    )]
    NoBtf {
        /// Where it was looked for.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The kernel's description of itself lacks something.
    #[error("the kernel's type information at {path} cannot be used: {source}")]
    Btf {
        /// Where it is.
        path: PathBuf,
        /// What is wrong with it.
        source: btf::Error,
    },
    /// The object was refused.
    #[error("the kernel refused the eBPF object: {}; `sockspan preflight` names what is missing", chain(.0.as_ref()))]
    Load(Box<aya::EbpfError>),
    /// A program was refused.
    #[error("the kernel refused the program {name}: {}; `sockspan preflight` names what is missing", chain(.source.as_ref()))]
    Program {
        /// Its name.
        name: String,
        /// What the kernel said, the verifier's log included.
        source: Box<ProgramError>,
    },
    /// A probe could not be attached.
    #[error("cannot attach {probe}: {cause}; `sockspan preflight` names what is missing")]
    Attach {
        /// Its name.
        probe: String,
        /// What the kernel said.
        cause: String,
    },
    /// Breakpoints of a program could not be set.
    #[error("cannot set breakpoints for {program}: {source}")]
    Breakpoints {
        /// The program.
        program: &'static str,
        /// What the kernel said.
        source: std::io::Error,
    },
    /// A map could not be used.
    #[error("the eBPF map {0} cannot be used: {1}")]
    Map(&'static str, Box<aya::maps::MapError>),
}

impl Error {
    fn program(name: &str, source: ProgramError) -> Self {
        Self::Program { name: name.into(), source: Box::new(source) }
    }
}

/// An error and its causes in one line, as far as the verifier lets it be one.
pub fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    shorten(&crate::chain::chain(error))
}

/// The verifier explains every instruction; what it objects to stands at the end.
fn shorten(text: &str) -> String {
    const SHOWN: usize = 12;
    let lines: Vec<&str> = text.lines().collect();
    if lines.len() <= 2 * SHOWN {
        return text.into();
    }
    let first = lines.first().copied().unwrap_or_default();
    let last = lines.get(lines.len() - SHOWN..).unwrap_or_default().join("\n");
    format!("{first}\n  … ({} lines left out)\n{last}", lines.len() - SHOWN - 1)
}

/// The programs in the kernel. Dropping it detaches and unloads everything.
pub struct Capture {
    /// What became of each probe.
    pub verdicts: Vec<Verdict>,
    /// The events.
    pub ring: Ring,
    /// What the kernel side counted.
    pub counters: Counters,
    /// What the agent does not need to see.
    pub feedback: Feedback,
    /// Whom to trace, and the hooks in them.
    pub traced: Traced,
}

impl Capture {
    /// Loads and attaches the programs. Nothing is traced until [`Traced::add`] says so.
    ///
    /// # Errors
    /// [`Error`]: what the kernel lacks or refused.
    pub fn start(options: &Options, mode: Mode) -> Result<Self, Error> {
        let (mut ebpf, breakpoints) = programs::load(options, mode)?;
        if options.log_level > 0
            && let Err(error) = log_programs(&mut ebpf)
        {
            tracing::warn!("the programs' own diagnostics cannot be read: {error}");
        }
        let ring = Ring::take(&mut ebpf)?;
        let counters = Counters::take(&mut ebpf)?;
        let feedback = Feedback::take(&mut ebpf)?;
        let (verdicts, attached) = programs::attach(&mut ebpf, mode)?;
        let traced = Traced::take(ebpf, attached, breakpoints)?;
        tracing::debug!(instructions = ?traced.verified(), "what the verifier followed");
        Ok(Self { verdicts, ring, counters, feedback, traced })
    }
}

/// Passes the programs' own diagnostics to the log, from a thread of its own.
fn log_programs(ebpf: &mut aya::Ebpf) -> Result<(), Box<dyn std::error::Error>> {
    let mut logger = aya_log::EbpfLogger::init(ebpf)?;
    std::thread::Builder::new().name("bpf-log".into()).spawn(move || {
        loop {
            logger.flush();
            std::thread::sleep(std::time::Duration::from_millis(200));
        }
    })?;
    Ok(())
}
