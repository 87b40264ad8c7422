//! Child processes that never outlive this one.
//!
//! In: commands. Out: their results, with their output in log files. Every child leads a process group of its
//! own, is killed by the kernel when this process dies, by a destructor when its owner goes (also in a panic), and by
//! the second SIGINT or SIGTERM at the latest.

use std::{
    collections::BTreeSet,
    fs::{self, File, OpenOptions},
    io::Write,
    os::unix::process::{CommandExt, ExitStatusExt},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio},
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use nix::{
    sys::{
        prctl::set_pdeathsig,
        signal::{Signal, killpg},
    },
    unistd::Pid,
};
use signal_hook::{
    consts::{SIGINT, SIGTERM},
    iterator::Signals,
};

use crate::ui;

static INTERRUPTED: AtomicBool = AtomicBool::new(false);
static GROUPS: Mutex<BTreeSet<i32>> = Mutex::new(BTreeSet::new());

/// Whether a person asked for the end. Long waits look at it.
pub fn interrupted() -> bool {
    INTERRUPTED.load(Ordering::Relaxed)
}

/// An error if a person asked for the end.
pub fn check_interrupted() -> Result<()> {
    if interrupted() { bail!("interrupted") } else { Ok(()) }
}

/// Sleeps, but not longer than until a person asks for the end.
pub fn sleep(duration: Duration) {
    let end = Instant::now() + duration;
    while !interrupted() {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            break;
        }
        thread::sleep(left.min(Duration::from_millis(50)));
    }
}

/// From now on SIGINT and SIGTERM ask for an orderly end, and a second one makes it immediate.
pub fn handle_signals() -> Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM]).context("cannot listen for signals")?;
    thread::spawn(move || {
        for _ in signals.forever() {
            if INTERRUPTED.swap(true, Ordering::Relaxed) {
                kill_all();
                std::process::exit(130);
            }
            ui::say("stopping (once more: at once)");
        }
    });
    Ok(())
}

fn kill_all() {
    let groups = GROUPS.lock().map(|g| g.clone()).unwrap_or_default();
    for group in groups {
        let _ = killpg(Pid::from_raw(group), Signal::SIGKILL);
    }
}

/// A child and its process group; ended when dropped.
pub struct Group {
    child: Child,
    grace: Duration,
    ended: Option<ExitStatus>,
}

impl Group {
    /// Starts `command`. It is killed by the kernel if the calling thread ends: call from threads that stay.
    pub fn spawn(command: &mut Command) -> Result<Self> {
        let what = describe(command);
        command.process_group(0);
        // SAFETY: between fork and exec the closure makes one system call and touches no memory but its own.
        unsafe {
            command.pre_exec(|| set_pdeathsig(Signal::SIGKILL).map_err(Into::into));
        }
        let child = command.spawn().with_context(|| format!("cannot start `{what}`"))?;
        if let Ok(mut groups) = GROUPS.lock() {
            groups.insert(child.id().cast_signed());
        }
        Ok(Self { child, grace: Duration::from_secs(3), ended: None })
    }

    /// The pipes to and from the child, where its command asked for both; they can be taken once.
    pub fn pipes(&mut self) -> Option<(ChildStdin, ChildStdout)> {
        Some((self.child.stdin.take()?, self.child.stdout.take()?))
    }

    /// The pipe from the child, where its command asked for one; it can be taken once.
    pub fn output(&mut self) -> Option<ChildStdout> {
        self.child.stdout.take()
    }

    /// How long the group may take to end by itself after SIGTERM; 3 seconds unless said.
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// The process id of the child.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The child's exit status, if it has ended.
    pub fn poll(&mut self) -> Result<Option<ExitStatus>> {
        if self.ended.is_none() {
            self.ended = self.child.try_wait().context("cannot wait for a child")?;
        }
        Ok(self.ended)
    }

    /// Waits for the child's end, at most `limit`; then, or when a person asks for the end, the group is stopped.
    pub fn wait(&mut self, limit: Duration) -> Result<ExitStatus> {
        let started = Instant::now();
        let mut pause = Duration::from_millis(2);
        loop {
            if let Some(status) = self.poll()? {
                return Ok(status);
            }
            if interrupted() || started.elapsed() > limit {
                self.stop();
                check_interrupted()?;
                bail!("stopped: it took longer than {}", ui::seconds(limit));
            }
            thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(50));
        }
    }

    /// Ends the group: SIGTERM, then SIGKILL after the grace. Returns how the child ended, if that is known.
    pub fn stop(&mut self) -> Option<ExitStatus> {
        let group = Pid::from_raw(self.child.id().cast_signed());
        let started = Instant::now();
        if !matches!(self.poll(), Ok(Some(_))) {
            let _ = killpg(group, Signal::SIGTERM);
            while !matches!(self.poll(), Ok(Some(_))) && started.elapsed() < self.grace {
                thread::sleep(Duration::from_millis(10));
            }
        }
        // Grandchildren may have stayed, and the child too; an empty group is an error of no interest.
        let _ = killpg(group, Signal::SIGKILL);
        if self.ended.is_none() {
            self.ended = self.child.wait().ok();
        }
        if let Ok(mut groups) = GROUPS.lock() {
            groups.remove(&group.as_raw());
        }
        self.ended
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.stop();
    }
}

/// A command line as one would type it.
pub fn describe(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

/// Sends both outputs of `command` to the end of `log`, below a line that says what runs.
pub fn log_to(command: &mut Command, log: &Path) -> Result<()> {
    if let Some(parent) = log.parent() {
        fs::create_dir_all(parent)?;
    }
    let mut file = OpenOptions::new().create(true).append(true).open(log)?;
    writeln!(file, "$ {}", describe(command))?;
    let errors = file.try_clone()?;
    command.stdin(Stdio::null()).stdout(file).stderr(errors);
    Ok(())
}

/// Empties a step's log.
pub fn start_log(log: &Path) -> Result<()> {
    if let Some(parent) = log.parent() {
        fs::create_dir_all(parent).with_context(|| format!("cannot create {}", parent.display()))?;
    }
    File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
    Ok(())
}

/// Adds a line to a log.
pub fn append(log: &Path, line: &str) -> Result<()> {
    let mut file = OpenOptions::new().create(true).append(true).open(log)?;
    writeln!(file, "{line}").with_context(|| format!("cannot write {}", log.display()))
}

/// What a log says; a console can hold bytes that are no text.
pub fn read_log(log: &Path) -> Result<String> {
    let bytes = fs::read(log).with_context(|| format!("cannot read {}", log.display()))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Runs `command` to its end with its output appended to `log`; returns its exit code.
pub fn run_for_code(command: &mut Command, log: &Path, limit: Duration) -> Result<i32> {
    log_to(command, log)?;
    let status = Group::spawn(command)?.wait(limit).with_context(|| describe(command))?;
    Ok(status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0)))
}

/// Runs `command` to its end with its output appended to `log`; any exit code but 0 is an error that shows the
/// log's end.
pub fn run(command: &mut Command, log: &Path, limit: Duration) -> Result<()> {
    match run_for_code(command, log, limit)? {
        0 => Ok(()),
        code => bail!("`{}` failed with exit code {code}; {}", describe(command), ui::excerpt(log)),
    }
}

/// The standard output of a short `command`, or `None` if it is missing or fails.
pub fn output(command: &mut Command) -> Option<String> {
    let output = command.stdin(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// The absolute path of a program on PATH (administrators' folders included).
pub fn which(program: &str) -> Option<std::path::PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]);
    folders.map(|folder| folder.join(program)).find(|p| p.is_file())
}
