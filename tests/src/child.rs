//! Child processes that end with their owner, also when it panics.
//!
//! In: commands. Out: [`Running`], with both outputs in files that go when all went well, and whose ends are shown when
//! the test panics. Children stay in the test's process group, so that what ends the test run ends them as well.

use std::{
    env,
    fs::{self, File},
    io::Write,
    path::PathBuf,
    process::{Child, ChildStdin, Command, ExitStatus, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::wait_until;

/// Lines of an output that are shown when a test panics.
const SHOWN: usize = 40;

/// A path for a file of this test run that nobody has yet.
pub fn scratch(name: &str) -> PathBuf {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let n = NEXT.fetch_add(1, Ordering::Relaxed);
    env::temp_dir().join(format!("sockspan-tests-{}-{n}-{name}", std::process::id()))
}

/// A file that goes with this value.
#[derive(Debug)]
pub struct Scratch(pub PathBuf);

impl Scratch {
    /// A path that nobody has yet; nothing is created.
    pub fn new(name: &str) -> Self {
        Self(scratch(name))
    }

    /// A file with this content.
    pub fn with(name: &str, content: impl AsRef<[u8]>) -> Self {
        let file = Self::new(name);
        fs::write(&file.0, content).expect("the folder for temporary files can be written");
        file
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // It may never have been made.
        let _ = fs::remove_file(&self.0);
    }
}

/// A child process; killed when dropped.
#[derive(Debug)]
pub struct Running {
    name: String,
    child: Child,
    stdin: Option<ChildStdin>,
    output: Scratch,
    errors: Scratch,
    ended: Option<ExitStatus>,
}

impl Running {
    /// Starts `command`; `name` is for messages. What belongs to the test run alone is taken out of its environment.
    ///
    /// # Panics
    /// If it can't be started.
    pub fn spawn(name: &str, command: &mut Command) -> Self {
        let (output, errors) = (Scratch::new(&format!("{name}.out")), Scratch::new(&format!("{name}.err")));
        let create =
            |file: &Scratch| File::create(&file.0).expect("the folder for temporary files can be written");
        command.stdin(Stdio::piped()).stdout(create(&output)).stderr(create(&errors));
        // What `cargo test` adds is none of a child's business.
        command.env_remove("LD_LIBRARY_PATH");
        let mut child = match command.spawn() {
            Ok(child) => child,
            Err(error) => panic!("cannot start {name} ({command:?}): {error}"),
        };
        let stdin = child.stdin.take();
        Self { name: name.to_owned(), child, stdin, output, errors, ended: None }
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it wrote to standard output so far.
    pub fn output(&self) -> String {
        read(&self.output)
    }

    /// What it wrote to standard error so far.
    pub fn errors(&self) -> String {
        read(&self.errors)
    }

    /// Writes a line to its standard input.
    ///
    /// # Panics
    /// If it reads no more.
    pub fn say(&mut self, line: &str) {
        let stdin = self.stdin.as_mut().expect("standard input is open");
        writeln!(stdin, "{line}").and_then(|()| stdin.flush()).expect("the child reads its standard input");
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        if self.ended.is_none() {
            self.ended = self.child.try_wait().expect("a child can be waited for");
        }
        self.ended
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// If it goes on for longer than `limit`.
    pub fn wait(&mut self, limit: Duration) -> ExitStatus {
        wait_until(limit, || self.ended().is_some());
        match self.ended {
            Some(status) => status,
            None => panic!("{} did not end within {limit:?}", self.name),
        }
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        if self.ended.is_none() {
            // It may end this very moment.
            let _ = kill(Pid::from_raw(self.pid().cast_signed()), signal);
        }
    }

    /// Ends it at once.
    pub fn kill(&mut self) {
        if self.ended().is_none() {
            self.signal(Signal::SIGKILL);
            self.ended = self.child.wait().ok();
        }
    }

    /// The ends of both outputs, for people.
    pub fn show(&self) -> String {
        let tail = |text: String| {
            let lines: Vec<_> = text.lines().collect();
            lines[lines.len().saturating_sub(SHOWN)..].join("\n")
        };
        let name = &self.name;
        format!("--- {name}, output\n{}\n--- {name}, errors\n{}\n", tail(self.output()), tail(self.errors()))
    }
}

fn read(file: &Scratch) -> String {
    String::from_utf8_lossy(&fs::read(&file.0).unwrap_or_default()).into_owned()
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
        if thread::panicking() {
            println!("{}", self.show());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_is_heard_and_ended() {
        let mut child = Running::spawn("cat", &mut Command::new("cat"));
        child.say("hello");
        assert!(wait_until(Duration::from_secs(5), || child.output() == "hello\n"));
        assert_eq!(child.ended(), None);
        let pid = child.pid();
        let file = child.output.0.clone();
        drop(child);
        assert!(!fs::exists(format!("/proc/{pid}")).unwrap());
        assert!(!file.exists());
    }

    #[test]
    fn the_end_is_told() {
        let mut child = Running::spawn("sh", Command::new("sh").args(["-c", "echo no >&2; exit 3"]));
        assert_eq!(child.wait(Duration::from_secs(5)).code(), Some(3));
        assert_eq!(child.errors(), "no\n");
    }
}
