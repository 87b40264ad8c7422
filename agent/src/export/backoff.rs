//! How long to wait before a repetition, and how often to log about it.

use super::settings::Retry;
use std::{
    hash::{BuildHasher, RandomState},
    time::Duration,
};
use tokio::time::Instant;

/// The longest pause that a server's own word (Retry-After, RetryInfo) can ask for.
const MAX_ASKED: Duration = Duration::from_secs(300);
/// How often a repeated warning is logged.
const LOG_EVERY: Duration = Duration::from_secs(60);

/// Exponential backoff: doubled each time up to a limit, of which jitter takes up to a half.
#[derive(Debug)]
pub(super) struct Backoff {
    next: Duration,
    max: Duration,
    random: RandomState,
    step: u64,
}

impl Backoff {
    pub(super) fn new(retry: &Retry) -> Self {
        Self { next: retry.initial.min(retry.max), max: retry.max, random: RandomState::new(), step: 0 }
    }

    /// The pause before the next attempt: what the server asked for, or the backoff.
    pub(super) fn pause(&mut self, asked: Option<Duration>) -> Duration {
        let whole = self.next;
        self.next = whole.saturating_mul(2).min(self.max);
        self.step += 1;
        // The hasher's random keys make this differ from agent to agent, which is all that jitter is for.
        let jitter = f64::from(self.random.hash_one(self.step) as u32) / f64::from(u32::MAX);
        asked.map_or(whole.mul_f64(1.0 - jitter / 2.0), |asked| asked.min(MAX_ASKED))
    }
}

/// Lets a kind of message through once a minute.
#[derive(Debug, Default)]
pub(super) struct Gate(Option<Instant>);

impl Gate {
    /// The message may be logged now.
    pub(super) fn open(&mut self) -> bool {
        let now = Instant::now();
        let open = self.0.is_none_or(|last| now.saturating_duration_since(last) >= LOG_EVERY);
        if open {
            self.0 = Some(now);
        }
        open
    }

    /// The next message counts as the first.
    pub(super) fn reset(&mut self) {
        self.0 = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_limit_with_jitter() {
        let retry = Retry { initial: Duration::from_millis(100), max: Duration::from_millis(350) };
        let mut backoff = Backoff::new(&retry);
        for whole in [100, 200, 350, 350] {
            let pause = backoff.pause(None);
            let whole = Duration::from_millis(whole);
            assert!(pause <= whole && pause >= whole / 2, "{pause:?} of {whole:?}");
        }
    }

    #[test]
    fn the_server_is_obeyed_within_reason() {
        let mut backoff = Backoff::new(&Retry::default());
        assert_eq!(backoff.pause(Some(Duration::from_secs(7))), Duration::from_secs(7));
        assert_eq!(backoff.pause(Some(Duration::from_secs(86_400))), MAX_ASKED);
    }

    #[tokio::test(start_paused = true)]
    async fn a_gate_opens_once_a_minute() {
        let mut gate = Gate::default();
        assert!(gate.open() && !gate.open());
        tokio::time::advance(LOG_EVERY).await;
        assert!(gate.open() && !gate.open());
        gate.reset();
        assert!(gate.open());
    }
}
