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

/// Exponential backoff: doubled each time up to a limit, of which jitter takes up to a half. To what a server asks for,
/// jitter adds up to a quarter.
#[derive(Debug)]
pub(crate) struct Backoff {
    next: Duration,
    max: Duration,
    random: RandomState,
    step: u64,
}

impl Backoff {
    pub(crate) fn new(retry: &Retry) -> Self {
        Self { next: retry.initial.min(retry.max), max: retry.max, random: RandomState::new(), step: 0 }
    }

    /// The pause before the next attempt: the backoff, or what the server asked for where that is longer. Never shorter
    /// than asked; a server that asks for no pause at all gets the backoff all the same.
    pub(crate) fn pause(&mut self, asked: Option<Duration>) -> Duration {
        let whole = self.next;
        self.next = whole.saturating_mul(2).min(self.max);
        self.step += 1;
        // The hasher's random keys make this differ from agent to agent, which is all that jitter is for.
        let jitter = f64::from(self.random.hash_one(self.step) as u32) / f64::from(u32::MAX);
        let own = whole.mul_f64(1.0 - jitter / 2.0);
        // Agents that were told the same are not to come back in the same moment.
        let asked = asked.unwrap_or_default().min(MAX_ASKED).mul_f64(1.0 + jitter / 4.0);
        own.max(asked)
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
        for (asked, least) in [(7, Duration::from_secs(7)), (86_400, MAX_ASKED)] {
            let pause = backoff.pause(Some(Duration::from_secs(asked)));
            assert!(pause >= least && pause <= least * 5 / 4, "{pause:?} of {least:?}");
        }
    }

    #[test]
    fn a_server_that_asks_for_no_pause_is_not_beset() {
        let retry = Retry { initial: Duration::from_millis(100), max: Duration::from_millis(350) };
        let mut backoff = Backoff::new(&retry);
        for whole in [100, 200, 350, 350] {
            let (pause, whole) = (backoff.pause(Some(Duration::ZERO)), Duration::from_millis(whole));
            assert!(pause <= whole && pause >= whole / 2, "{pause:?} of {whole:?}");
        }
    }

    #[test]
    fn agents_that_are_told_the_same_do_not_come_back_together() {
        let asked = Some(Duration::from_secs(60));
        let pauses = || (0..20).map(|_| Backoff::new(&Retry::default()).pause(asked));
        assert!(pauses().any(|pause| Some(pause) != pauses().next()));
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
