//! The console exporter: every finished trace as a waterfall on the terminal.
//!
//! In: spans from the queue. Out: text on standard output, one trace at a time, drawn when no span of it has
//! come for a second. The drawing itself is [`render()`], a pure function.

mod bar;
mod held;
mod render;
mod text;
mod tree;

use self::held::Held;
pub use self::render::render;
use super::{
    control::{Command, Control, Heard},
    counts::add,
    shared::Shared,
};
use crate::span::Span;
use std::{
    io::{self, IsTerminal, Write},
    sync::{Arc, mpsc as std_mpsc},
    time::Duration,
};
use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, sleep},
};

/// How often traces are looked at for having settled.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// The width where there is no terminal to ask.
const DEFAULT_WIDTH: usize = 120;

/// What the user wants of the waterfalls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ConsoleOptions {
    /// Columns; `None` is the terminal's width, as it is when a trace is drawn. Less than 60 counts as 60.
    pub width: Option<u16>,
    /// ANSI colours; `None` is where a terminal is, unless `NO_COLOR` is set to anything.
    pub colour: Option<bool>,
}

/// Where waterfalls are drawn.
pub(super) struct Terminal {
    out: Box<dyn Write + Send>,
    width: Option<u16>,
    colour: bool,
}

impl Terminal {
    /// Standard output.
    pub(super) fn stdout(options: ConsoleOptions) -> Self {
        let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let auto = !no_color && io::stdout().is_terminal();
        Self::new(Box::new(io::stdout()), options, auto)
    }

    /// Draws on `out`, in colour if `options` say so, or if they leave it to `auto`.
    pub(super) fn new(out: Box<dyn Write + Send>, options: ConsoleOptions, auto: bool) -> Self {
        Self { out, width: options.width, colour: options.colour.unwrap_or(auto) }
    }
}

fn terminal_width() -> usize {
    terminal_size::terminal_size_of(io::stdout()).map_or(DEFAULT_WIDTH, |(width, _)| usize::from(width.0))
}

/// A text to write, and whom to tell how it went.
type Page = (String, oneshot::Sender<io::Result<()>>);

/// Works until the shutdown, or until the exporter is dropped.
pub(super) async fn run(shared: Arc<Shared>, commands: mpsc::Receiver<Command>, terminal: Terminal) {
    let Terminal { out, width, colour } = terminal;
    let mut console = Console {
        control: Control::new(commands, Arc::clone(&shared)),
        pages: printer(out),
        complained: false,
        shared: Arc::clone(&shared),
    };
    let mut held = Held::default();
    while !console.control.closing() {
        tokio::select! {
            _ = console.control.hear() => {}
            () = shared.full.notified() => {}
            () = sleep(LOOK_EVERY) => {}
        }
        // With somebody waiting, what is queued is drawn whether it has settled or not.
        let all = console.control.urgent();
        loop {
            let batch = shared.take(true);
            let last = batch.is_empty();
            held.add(batch, Instant::now());
            for trace in held.settled(Instant::now(), all && last) {
                let width = width.map_or_else(terminal_width, usize::from);
                let text = render(&trace, width, colour);
                console.draw(&trace, text).await;
            }
            if last {
                break;
            }
        }
        console.control.answer();
    }
    shared.abandon();
}

/// The task's state.
struct Console {
    control: Control,
    shared: Arc<Shared>,
    pages: std_mpsc::Sender<Page>,
    complained: bool,
}

impl Console {
    /// Has a trace written and counts it.
    async fn draw(&mut self, trace: &[Span], text: String) {
        let counts = Arc::clone(&self.shared.counts);
        match self.print(text).await {
            Some(Ok(())) => add(&counts.exported, trace.len()),
            None => add(&counts.dropped_shutdown, trace.len()),
            Some(Err(error)) => {
                add(&counts.dropped_permanent, trace.len());
                let reason = format!("can't write to standard output: {error}");
                if !std::mem::replace(&mut self.complained, true) {
                    tracing::error!("export: {reason}; traces are dropped");
                }
                self.shared.failed(reason);
            }
        }
    }

    /// `None` if the shutdown ended first: a pipe that nobody reads must not keep the agent.
    async fn print(&mut self, text: String) -> Option<io::Result<()>> {
        let (done, mut answer) = oneshot::channel();
        let gone = || io::Error::from(io::ErrorKind::BrokenPipe);
        if self.pages.send((text, done)).is_err() {
            return Some(Err(gone()));
        }
        loop {
            tokio::select! {
                biased;
                result = &mut answer => return Some(result.unwrap_or_else(|_| Err(gone()))),
                heard = self.control.hear() => if heard == Heard::Expired {
                    return None;
                },
            }
        }
    }
}

/// A thread that writes, because standard output can block. It ends with its sender.
fn printer(mut out: Box<dyn Write + Send>) -> std_mpsc::Sender<Page> {
    let (pages, receiver) = std_mpsc::channel::<Page>();
    std::thread::spawn(move || {
        for (text, done) in receiver {
            let result = out.write_all(text.as_bytes()).and_then(|()| out.flush());
            // The task may have stopped waiting.
            done.send(result).ok();
        }
    });
    pages
}
