//! What a person sees: one line a step with its duration, progress while it runs, a cause and a cure when it fails.
//!
//! In: the steps' names, logs and outcomes. Out: text on standard error (standard output is for results).

use std::{
    fs::File,
    io::{self, IsTerminal, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        mpsc::{self, RecvTimeoutError, Sender},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use crate::workspace;

/// How much of a log's end is shown when a step fails.
const SHOWN_LINES: usize = 25;
/// How much of a log's line is shown as progress, in characters, where the terminal does not say its width.
const WIDTH: usize = 100;

/// Whether progress can be drawn over itself.
fn terminal() -> bool {
    static TERMINAL: std::sync::OnceLock<bool> = std::sync::OnceLock::new();
    *TERMINAL.get_or_init(|| io::stderr().is_terminal())
}

fn colour(code: &str, text: &str) -> String {
    if terminal() && std::env::var_os("NO_COLOR").is_none() {
        format!("\x1b[{code}m{text}\x1b[0m")
    } else {
        text.to_owned()
    }
}

/// Writes a line; a broken standard error is nobody's problem.
fn line(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// A line of information.
pub fn say(text: impl AsRef<str>) {
    line(&format!("        {}", text.as_ref()));
}

/// A line that something will be missing, though the work goes on.
pub fn warn(text: impl AsRef<str>) {
    line(&format!("{}  {}", colour("33", "  note"), text.as_ref()));
}

/// A heading.
pub fn heading(text: impl AsRef<str>) {
    line(&colour("1", text.as_ref()));
}

/// The error that ends the command, with its causes.
pub fn error(error: &anyhow::Error) {
    line(&format!("{}  {error}", colour("1;31", " error")));
    for cause in error.chain().skip(1) {
        line(&format!("        caused by: {cause}"));
    }
}

/// `12.3 s` or `2 min 5 s`.
pub fn seconds(duration: Duration) -> String {
    let s = duration.as_secs_f64();
    if s < 100.0 { format!("{s:.1} s") } else { format!("{} min {:02} s", s as u64 / 60, s as u64 % 60) }
}

/// A step under way. Its end must be said by [`Step::done`], [`Step::skip`] or [`Step::fail`].
pub struct Step {
    name: String,
    started: Instant,
    ticker: Option<(Sender<()>, JoinHandle<()>)>,
    watched: Arc<Mutex<Option<PathBuf>>>,
}

impl Step {
    /// Begins a step: says what is about to happen, and from then on how it goes.
    pub fn begin(name: impl Into<String>) -> Self {
        let name = name.into();
        let started = Instant::now();
        let watched = Arc::new(Mutex::new(None));
        let (stop, stopped) = mpsc::channel();
        let (text, log) = (name.clone(), watched.clone());
        let ticker = thread::spawn(move || {
            let mut next = started + Duration::from_secs(2);
            while let Err(RecvTimeoutError::Timeout) = stopped.recv_timeout(Duration::from_millis(250)) {
                let log = log.lock().ok().and_then(|l| l.clone());
                progress(&text, started, &mut next, log.as_deref());
            }
        });
        Self { name, started, ticker: Some((stop, ticker)), watched }
    }

    /// The log whose last line is shown as progress from now on.
    pub fn watch(&self, log: &Path) {
        if let Ok(mut watched) = self.watched.lock() {
            *watched = Some(log.to_path_buf());
        }
    }

    /// The step went well; returns how long it took.
    pub fn done(mut self, note: impl AsRef<str>) -> Duration {
        self.end(&colour("32", "    ok"), note.as_ref())
    }

    /// The step could not be done here.
    pub fn skip(mut self, why: impl AsRef<str>) -> Duration {
        self.end(&colour("33", "  skip"), why.as_ref())
    }

    /// The step failed.
    pub fn fail(mut self, why: impl AsRef<str>) -> Duration {
        self.end(&colour("1;31", "FAILED"), why.as_ref())
    }

    /// The step went well and its end is said elsewhere.
    pub fn quiet(mut self) {
        self.stop_ticker();
    }

    /// Counts the time from `started`.
    pub fn since(mut self, started: Instant) -> Self {
        self.started = started;
        self
    }

    /// Does `work` as a step; an error ends it as failed.
    pub fn run<T>(
        name: impl Into<String>,
        work: impl FnOnce(&Self) -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        let step = Self::begin(name);
        let result = work(&step);
        match &result {
            Ok(_) => step.done(""),
            Err(_) => step.fail(""),
        };
        result
    }

    fn end(&mut self, verdict: &str, note: &str) -> Duration {
        self.stop_ticker();
        let took = self.started.elapsed();
        let note = if note.is_empty() { String::new() } else { format!(": {note}") };
        line(&format!("{verdict}  {}{note} ({})", self.name, seconds(took)));
        took
    }

    fn stop_ticker(&mut self) {
        if let Some((stop, ticker)) = self.ticker.take() {
            drop(stop);
            let _ = ticker.join();
            if terminal() {
                let _ = write!(io::stderr(), "\r\x1b[2K");
            }
        }
    }
}

impl Drop for Step {
    fn drop(&mut self) {
        self.stop_ticker();
    }
}

/// On a terminal the line is drawn over itself; elsewhere a step says after a while that it has begun, and then
/// every half minute that it lives.
fn progress(name: &str, started: Instant, next: &mut Instant, log: Option<&Path>) {
    let elapsed = started.elapsed();
    let latest = || log.map(|l| tail(l, 1)).and_then(|mut lines| lines.pop()).unwrap_or_default();
    if terminal() {
        let mut text = format!("   ...  {name} ({} s) {}", elapsed.as_secs(), latest());
        let width = std::env::var("COLUMNS").ok().and_then(|c| c.parse().ok()).unwrap_or(WIDTH);
        if let Some((cut, _)) = text.char_indices().nth(width) {
            text.truncate(cut);
        }
        let _ = write!(io::stderr(), "\r\x1b[2K{text}");
    } else if Instant::now() >= *next {
        *next = Instant::now() + Duration::from_secs(30);
        let latest: String = latest().chars().take(WIDTH).collect();
        line(&format!("   ...  {name} ({} s) {latest}", elapsed.as_secs()));
    }
}

/// The last `count` lines of a log that say something, without control characters.
pub fn tail(log: &Path, count: usize) -> Vec<String> {
    let read = || -> io::Result<Vec<u8>> {
        let mut file = File::open(log)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(16 * 1024)))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let text = String::from_utf8_lossy(&read().unwrap_or_default()).replace('\r', "\n");
    let lines: Vec<_> = text.lines().map(plain).filter(|l| !l.trim().is_empty()).collect();
    lines.get(lines.len().saturating_sub(count)..).unwrap_or_default().to_vec()
}

/// A line without control characters and without a terminal's colours and movements (`ESC [ … letter`).
fn plain(line: &str) -> String {
    let mut parts = line.split("\x1b[");
    let first = parts.next().unwrap_or_default();
    let rest =
        parts.map(|part| part.trim_start_matches(|c: char| !c.is_ascii_alphabetic()).get(1..).unwrap_or(""));
    [first].into_iter().chain(rest).flat_map(str::chars).filter(|c| !c.is_control()).collect()
}

/// The end of a log, with its path, for an error's text.
pub fn excerpt(log: &Path) -> String {
    let lines = tail(log, SHOWN_LINES);
    let shown: String = lines.iter().map(|l| format!("\n          | {l}")).collect();
    format!("full log: {}{shown}", workspace::display(log))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_taken_out() {
        assert_eq!(plain("\x1b[1;32m ok\x1b[0m [0] done\x1b[K\t"), " ok [0] done");
        assert_eq!(plain("\x1b["), "");
    }
}
