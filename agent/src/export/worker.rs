//! The task that sends: batches by size or schedule, one request at a time, repeated while that can help.

use super::{
    backoff::{Backoff, Gate},
    control::{Command, Control, Heard},
    counts::add,
    encode,
    settings::{Otlp, Retry, Settings},
    shared::Shared,
    transport::{Outcome, Transport},
};
use crate::span::Span;
use bytes::Bytes;
use std::{
    pin::pin,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until},
};

/// While shutting down there is no time for long pauses.
const MAX_PAUSE_CLOSING: Duration = Duration::from_secs(1);

/// The task's state.
pub(super) struct Worker<T> {
    transport: T,
    shared: Arc<Shared>,
    control: Control,
    /// The limit of one attempt.
    timeout: Duration,
    schedule_delay: Duration,
    retry: Retry,
    target: String,
    log: Log,
}

/// What has been said, so that it is not said with every batch.
#[derive(Default)]
struct Log {
    failing: bool,
    failed: Gate,
    refused: Gate,
    partial: Gate,
}

impl<T: Transport> Worker<T> {
    pub(super) fn new(
        transport: T,
        settings: &Settings,
        otlp: &Otlp,
        shared: &Arc<Shared>,
        commands: mpsc::Receiver<Command>,
    ) -> Self {
        Self {
            transport,
            shared: Arc::clone(shared),
            control: Control::new(commands, Arc::clone(shared)),
            timeout: otlp.timeout.min(settings.batch.export_timeout),
            schedule_delay: settings.batch.schedule_delay.max(Duration::from_millis(1)),
            retry: settings.retry.clone(),
            target: format!("{} ({})", otlp.endpoint, otlp.protocol),
            log: Log::default(),
        }
    }

    /// Works until the shutdown, or until the exporter is dropped.
    pub(super) async fn run(mut self) {
        let shared = Arc::clone(&self.shared);
        let mut due = Instant::now() + self.schedule_delay;
        while !self.control.closing() {
            tokio::select! {
                _ = self.control.hear() => {}
                () = shared.full.notified() => {}
                () = sleep_until(due) => {}
            }
            if Instant::now() >= due {
                self.send_waiting(Some(shared.mark())).await;
                due = Instant::now() + self.schedule_delay;
            } else {
                self.send_waiting(None).await;
            }
        }
        self.send_waiting(None).await;
        self.shared.abandon();
    }

    /// Sends full batches; smaller ones too for what came before the mark `due`, or if somebody waits.
    async fn send_waiting(&mut self, due: Option<u64>) {
        loop {
            self.control.answer();
            if self.control.expired_at(Instant::now()) {
                return;
            }
            let scheduled = due.is_some_and(|mark| !self.shared.passed(mark));
            let batch = self.shared.take(scheduled || self.control.urgent());
            if batch.is_empty() {
                return;
            }
            self.send(batch).await;
        }
    }

    /// Sends a batch until it is decided.
    async fn send(&mut self, batch: Vec<Span>) {
        let counts = Arc::clone(&self.shared.counts);
        let spans = batch.len();
        let body = self.transport.prepare(encode::encode(&batch));
        // As bytes it is kept while it is tried; not twice.
        drop(batch);
        let mut backoff = Backoff::new(&self.retry);
        loop {
            match self.attempt(&body).await {
                Outcome::Accepted { rejected, message } => {
                    let rejected = usize::try_from(rejected).unwrap_or(spans).min(spans);
                    counts.requests_ok.fetch_add(1, Relaxed);
                    add(&counts.exported, spans - rejected);
                    add(&counts.dropped_rejected, rejected);
                    self.log.accepted(&self.target, rejected, &message);
                    if rejected > 0 {
                        self.shared.failed(message);
                    }
                    return;
                }
                Outcome::Refused { reason } => {
                    counts.requests_failed.fetch_add(1, Relaxed);
                    add(&counts.dropped_permanent, spans);
                    self.log.refused(&self.target, spans, &reason);
                    return self.shared.failed(reason);
                }
                Outcome::Retry { reason, after } => {
                    counts.requests_failed.fetch_add(1, Relaxed);
                    self.log.failed(&self.target, &reason);
                    self.shared.failed(reason);
                    // To ask for no pause is not to ask.
                    let asked = after.is_some_and(|after| !after.is_zero());
                    if !self.pause(backoff.pause(after), asked).await {
                        self.control.give_up();
                        return add(&counts.dropped_shutdown, spans);
                    }
                    counts.retries.fetch_add(1, Relaxed);
                }
            }
        }
    }

    /// One attempt, cut short only by the end of the shutdown.
    async fn attempt(&mut self, body: &Bytes) -> Outcome {
        let mut sending = pin!(self.transport.send(body.clone(), self.timeout));
        loop {
            tokio::select! {
                biased;
                outcome = &mut sending => return outcome,
                heard = self.control.hear() => if heard == Heard::Expired {
                    return Outcome::Retry { reason: "no answer before the shutdown's end".into(), after: None };
                },
            }
        }
    }

    /// Waits before a repetition; `false` if there is no time for one. A shutdown is reason for one more
    /// attempt at once, a flush too unless the server `asked` for the pause.
    async fn pause(&mut self, pause: Duration, asked: bool) -> bool {
        let pause = if self.control.closing() && !asked { pause.min(MAX_PAUSE_CLOSING) } else { pause };
        let until = Instant::now() + pause;
        if self.control.expired_at(until) {
            return false;
        }
        loop {
            tokio::select! {
                () = sleep_until(until) => return true,
                heard = self.control.hear() => match heard {
                    Heard::Flush if asked => {}
                    Heard::Flush | Heard::Shutdown => return true,
                    Heard::Expired => return false,
                },
            }
        }
    }
}

impl Log {
    fn accepted(&mut self, target: &str, rejected: usize, message: &str) {
        if self.failing {
            self.failing = false;
            self.failed.reset();
            tracing::info!("export: {target} takes spans again");
        }
        let worth_saying = rejected > 0 || !message.is_empty();
        if worth_saying && self.partial.open() {
            tracing::warn!("export: {target} rejected {rejected} spans of a request: {message:?}");
        }
    }

    fn refused(&mut self, target: &str, spans: usize, reason: &str) {
        if self.refused.open() {
            tracing::error!("export: {target} refused a request, {spans} spans are dropped: {reason}");
        }
    }

    fn failed(&mut self, target: &str, reason: &str) {
        self.failing = true;
        if self.failed.open() {
            tracing::warn!("export: {target} can't be reached, spans are kept and sent again: {reason}");
        }
    }
}
