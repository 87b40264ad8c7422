//! Kernel time to wall time: `bpf_ktime_get_ns` (CLOCK_MONOTONIC) to nanoseconds since the Unix epoch.
//!
//! In: pairs of both clocks read at one moment, from [`sample`], about one a second. Out: wall times of events, by a
//! line of segments that is only ever continued, never redrawn: an event maps to the same time whenever it is asked for.
//!
//! Linux steers both clocks at the same rate, so they part only where the wall clock is set (or the machine slept):
//!
//! - up to 100 us: the noise of reading two clocks, left alone;
//! - up to 100 ms: followed at 0.1% of the time passing, so that times stay in order;
//! - more: a step, followed at once from that sample on. Forward it leaves a gap; backward it is the one case where a
//!   later event gets an earlier time. What belongs together is mapped by [`Clock::interval`], which keeps its length.

use std::collections::VecDeque;

/// Differences up to this many nanoseconds are noise.
const NOISE: i64 = 100_000;
/// Differences above this many nanoseconds are a step.
const STEP: i64 = 100_000_000;
/// A difference of one nanosecond is made good over this many.
const SLEW: u64 = 1_000;
/// Segments kept: how many corrections back an event may lie and still map as it did before.
const SEGMENTS: usize = 64;

/// From `from` on, wall time runs with the monotonic clock, plus `correction` spread evenly over `over`.
#[derive(Clone, Copy, Debug)]
struct Segment {
    from: u64,
    wall: u64,
    correction: i64,
    over: u64,
}

impl Segment {
    fn at(&self, monotonic: u64) -> u64 {
        let elapsed = i128::from(monotonic) - i128::from(self.from);
        let corrected = if self.over == 0 {
            0
        } else {
            i128::from(self.correction) * elapsed.clamp(0, i128::from(self.over)) / i128::from(self.over)
        };
        let wall = i128::from(self.wall) + elapsed + corrected;
        u64::try_from(wall.max(0)).unwrap_or(u64::MAX)
    }
}

/// The mapping. Pure: it knows what it was fed and reads no clock.
#[derive(Clone, Debug)]
pub struct Clock {
    first: Segment,
    later: VecDeque<Segment>,
    steps: u64,
}

impl Clock {
    /// A mapping that starts from one pair of readings, in nanoseconds.
    pub fn new(monotonic: u64, wall: u64) -> Self {
        let first = Segment { from: monotonic, wall, correction: 0, over: 0 };
        Self { first, later: VecDeque::new(), steps: 0 }
    }

    /// Feeds a later pair of readings. A pair older than the last correction is ignored.
    pub fn observe(&mut self, monotonic: u64, wall: u64) {
        let current = *self.later.back().unwrap_or(&self.first);
        if monotonic <= current.from {
            return;
        }
        let mapped = current.at(monotonic);
        let error = i64::try_from(i128::from(wall) - i128::from(mapped)).unwrap_or(i64::MAX);
        let correcting = current.from.saturating_add(current.over) > monotonic;
        if error.abs() > STEP {
            self.steps += 1;
            self.push(Segment { from: monotonic, wall, correction: 0, over: 0 });
        } else if error.abs() > NOISE && !correcting {
            let over = error.unsigned_abs() * SLEW;
            self.push(Segment { from: monotonic, wall: mapped, correction: error, over });
        }
    }

    fn push(&mut self, segment: Segment) {
        if self.later.len() + 1 == SEGMENTS
            && let Some(oldest) = self.later.pop_front()
        {
            self.first = oldest;
        }
        self.later.push_back(segment);
    }

    /// The wall time of the moment `monotonic`, in nanoseconds since the Unix epoch.
    pub fn at(&self, monotonic: u64) -> u64 {
        let segment = self.later.iter().rev().find(|s| s.from <= monotonic).unwrap_or(&self.first);
        segment.at(monotonic)
    }

    /// Start and end of what lasted from `start` to `end`: the start mapped, the length as measured, never negative,
    /// even where the wall clock was set in between.
    pub fn interval(&self, start: u64, end: u64) -> (u64, u64) {
        let mapped = self.at(start);
        (mapped, mapped.saturating_add(end.saturating_sub(start)))
    }

    /// How often the wall clock was set by more than is followed gently.
    pub fn steps(&self) -> u64 {
        self.steps
    }
}

/// Reads CLOCK_MONOTONIC and CLOCK_REALTIME as of one moment, in nanoseconds.
///
/// The wall clock is read between two readings of the other, a few times; the closest pair counts, so that losing the
/// processor in between does no harm.
pub fn sample() -> (u64, u64) {
    let mut best = (u64::MAX, 0, 0);
    for _ in 0..5 {
        let before = now(rustix::time::ClockId::Monotonic);
        let wall = now(rustix::time::ClockId::Realtime);
        let width = now(rustix::time::ClockId::Monotonic).saturating_sub(before);
        best = best.min((width, before + width / 2, wall));
    }
    (best.1, best.2)
}

fn now(clock: rustix::time::ClockId) -> u64 {
    let time = rustix::time::clock_gettime(clock);
    let part = |n: i64| u64::try_from(n).unwrap_or(0);
    part(time.tv_sec).saturating_mul(1_000_000_000).saturating_add(part(time.tv_nsec))
}

#[cfg(test)]
mod tests;
