//! What the exporter's task is told while it works: to flush, to shut down.

use super::shared::Shared;
use std::sync::Arc;
use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, timeout_at},
};

/// An order to the task.
#[derive(Debug)]
pub(super) enum Command {
    /// Send what waits now, then answer.
    Flush(oneshot::Sender<()>),
    /// Send what waits until then, and end.
    Shutdown(Instant),
}

/// What was heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// Somebody waits for a flush.
    Flush,
    /// The shutdown has begun.
    Shutdown,
    /// The time to shut down is over.
    Expired,
}

/// The task's ear, and what it has heard so far.
#[derive(Debug)]
pub(super) struct Control {
    commands: mpsc::Receiver<Command>,
    shared: Arc<Shared>,
    /// Each with the queue's mark at the time.
    flushes: Vec<(u64, oneshot::Sender<()>)>,
    deadline: Option<Instant>,
}

impl Control {
    pub(super) fn new(commands: mpsc::Receiver<Command>, shared: Arc<Shared>) -> Self {
        Self { commands, shared, flushes: Vec::new(), deadline: None }
    }

    /// Waits for the next order, or for the shutdown's end. Cancel safe.
    pub(super) async fn hear(&mut self) -> Heard {
        let next = match self.deadline {
            None => self.commands.recv().await,
            Some(deadline) => match timeout_at(deadline, self.commands.recv()).await {
                Ok(command) => command,
                Err(_) => return Heard::Expired,
            },
        };
        match next {
            Some(Command::Flush(done)) => {
                self.flushes.push((self.shared.mark(), done));
                Heard::Flush
            }
            Some(Command::Shutdown(deadline)) => {
                self.deadline = Some(deadline);
                Heard::Shutdown
            }
            // The exporter was dropped without a shutdown: nobody waits for anything.
            None => {
                self.give_up();
                Heard::Expired
            }
        }
    }

    /// The shutdown ends now.
    pub(super) fn give_up(&mut self) {
        self.deadline = Some(Instant::now());
    }

    /// The shutdown has begun.
    pub(super) fn closing(&self) -> bool {
        self.deadline.is_some()
    }

    /// The shutdown has no time left at `when`.
    pub(super) fn expired_at(&self, when: Instant) -> bool {
        self.deadline.is_some_and(|deadline| deadline <= when)
    }

    /// Somebody waits for what is queued: batches go out though they are not full.
    pub(super) fn urgent(&self) -> bool {
        self.closing() || !self.flushes.is_empty()
    }

    /// Answers the flushes whose spans have left.
    pub(super) fn answer(&mut self) {
        let shared = &self.shared;
        for (_, done) in self.flushes.extract_if(.., |(mark, _)| shared.passed(*mark)) {
            // Whoever asked may have stopped waiting.
            done.send(()).ok();
        }
    }
}
