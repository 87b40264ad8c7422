//! One size of one dimension, with and without the agent, round by round.
//!
//! In: a dimension, a size. Out: what an exchange took, and what the agent took meanwhile.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use anyhow::Result;
use serde_json::{Value, json};

use super::{
    super::{sink::Sink, spread::Spread, watch::Watch},
    crowd::{Crowd, Took},
    dimension::{Dimension, Shape},
};
use crate::{process, usage};

const DRAIN: Duration = Duration::from_millis(1500);
/// How long the agent is watched while nothing is asked of it.
const IDLE: Duration = Duration::from_secs(10);

/// What is needed.
pub struct Bench {
    /// The agent's program, and the crowd's.
    pub agent: PathBuf,
    pub crowd: PathBuf,
    /// Where spans go.
    pub sink: Sink,
}

/// What the agent took.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    ready_ms: f64,
    span_us: f64,
    events: f64,
    idle_percent: f64,
    rss_mib: f64,
    maps_mib: f64,
    lost: f64,
    missing: f64,
}

/// A size.
#[derive(Clone, Debug)]
pub struct Measured {
    /// Of what, and how much.
    pub dimension: Dimension,
    pub size: u64,
    /// Microseconds of CPU time for an exchange with nothing attached.
    pub alone_us: Spread,
    /// What the agent makes of it: of CPU time, and of time by the clock where nothing paces the exchanges.
    pub cpu: Spread,
    pub wall: Option<Spread>,
    seen: Vec<Seen>,
}

impl Measured {
    fn of(&self, pick: impl Fn(&Seen) -> f64) -> f64 {
        Spread::of(self.seen.iter().map(pick)).median
    }

    /// Spans in each round.
    pub fn spans(&self) -> f64 {
        2.0 * self.dimension.crowd(self.size).made()
    }

    /// The figures, by name.
    pub fn figures(&self) -> [(&'static str, f64); 8] {
        [
            ("agent_us_per_span", self.of(|seen| seen.span_us)),
            ("events_per_exchange", self.of(|seen| seen.events)),
            ("idle_percent_of_a_core", self.of(|seen| seen.idle_percent)),
            ("rss_mib", self.of(|seen| seen.rss_mib)),
            ("maps_mib", self.of(|seen| seen.maps_mib)),
            ("ready_ms", self.of(|seen| seen.ready_ms)),
            ("lost", self.seen.iter().map(|seen| seen.lost).sum()),
            ("missing", self.seen.iter().map(|seen| seen.missing).sum()),
        ]
    }

    /// As an object.
    pub fn to_json(&self) -> Value {
        let mut json = json!({
            "dimension": self.dimension.text(), "size": self.size,
            "cpu_us_per_exchange_alone": self.alone_us.to_json(), "cpu_ratio": self.cpu.to_json(),
            "wall_ratio": self.wall.map(Spread::to_json),
        });
        for (name, value) in self.figures() {
            json[name] = json!(value);
        }
        json
    }
}

impl Bench {
    /// Measures a size.
    pub fn measure(&self, dimension: Dimension, size: u64, rounds: u32) -> Result<Measured> {
        let idle = dimension.idle(size).map(|count| self.start(&["idle".to_owned(), count.to_string()]));
        let idle = idle.transpose()?;
        let shape = dimension.crowd(size);
        let (mut alone, mut cpu, mut wall, mut seen) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for _ in 0..rounds {
            process::check_interrupted()?;
            let without = self.start(&shape.words())?.run()?;
            let (with, one) = self.beside(shape)?;
            alone.push(without.cpu_us);
            cpu.push(with.cpu_us / without.cpu_us);
            wall.push(with.wall_us / without.wall_us);
            seen.push(one);
        }
        drop(idle);
        let wall = (shape.rate == 0).then(|| Spread::of(wall));
        Ok(Measured { dimension, size, alone_us: Spread::of(alone), cpu: Spread::of(cpu), wall, seen })
    }

    fn start(&self, words: &[String]) -> Result<Crowd> {
        Crowd::start(&self.crowd, words)
    }

    /// A crowd beside an agent that traces it.
    fn beside(&self, shape: Shape) -> Result<(Took, Seen)> {
        let mut crowd = self.start(&shape.words())?;
        // A rule that nobody meets: with one, every process on the machine is looked at.
        let rule = ("SOCKSPAN_EXE", "no-program-has-this-name".to_owned());
        let watch = Watch { program: &self.agent, sink: &self.sink, environment: vec![rule] };
        let (mut agent, ready) = watch.start(&[crowd.pid])?;
        let pid = agent.pid();
        // Its start is over, and all processes have been looked at.
        process::sleep(DRAIN);
        let before = usage::precisely(pid);
        process::sleep(IDLE);
        let idle_s = usage::precisely(pid) - before;
        let (spans, events) = (self.sink.spans()?, agent.metric("sockspan_events_total")?);
        let before = usage::of(pid)?;
        let took_by_crowd = crowd.run()?;
        process::sleep(DRAIN);
        let took = usage::of(pid)? - before;
        let spans = self.sink.spans()? - spans;
        let seen = Seen {
            ready_ms: ready.as_secs_f64() * 1000.0,
            span_us: took / spans.max(1.0) * 1e6,
            events: (agent.metric("sockspan_events_total")? - events) / shape.made(),
            idle_percent: idle_s / IDLE.as_secs_f64() * 100.0,
            rss_mib: usage::memory_mib(pid, "VmRSS")?,
            maps_mib: maps(pid),
            lost: agent.lost()?,
            // Both ends of each are in the crowd.
            missing: 2.0 * shape.made() - spans,
        };
        agent.stop()?;
        Ok((took_by_crowd, seen))
    }
}

/// What the maps of `pid` take in the kernel, in MiB, but for the ring buffer, which the process has mapped too: it is part
/// of its memory already.
fn maps(pid: u32) -> f64 {
    // A map can be open more than once.
    let maps: BTreeMap<u64, f64> = usage::descriptors(pid).filter_map(|info| map(&info)).collect();
    maps.values().sum::<f64>() / f64::from(1 << 20)
}

/// The number and the bytes of a map that is no ring buffer, by the kernel's number for that type.
fn map(info: &str) -> Option<(u64, f64)> {
    const RING_BUFFER: &str = "27";
    let of = |key: &str| info.lines().find_map(|line| line.strip_prefix(key)).map(str::trim);
    let kind = of("map_type:")?;
    if kind == RING_BUFFER {
        None
    } else {
        Some((of("map_id:")?.parse().ok()?, of("memlock:")?.parse().ok()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_are_told_from_the_ring_buffer() {
        assert_eq!(map("pos:\t0\nmap_type:\t1\nmemlock:\t4096\nmap_id:\t7\n"), Some((7, 4096.0)));
        assert_eq!(map("map_type:\t27\nmemlock:\t8388608\nmap_id:\t8\n"), None);
        assert_eq!(map("prog_type:\t5\nmemlock:\t4096\n"), None);
    }
}
