//! A steady stream into the agent's own threads: the pipeline's, and those of the exporter.
//!
//! In: a rate. Out: what each thread took of the processors, what was delivered, and how far behind it was.

use std::{
    collections::BTreeMap,
    env, fs,
    sync::{Arc, mpsc},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use rustix::time::{ClockId, clock_gettime};
use serde_json::{Value, json};
use sockspan::{
    export::{self, Counts, Exporter},
    pipeline::Yield,
    record::Input,
    span::clock,
};

use super::stream::{Mould, Told};

/// How often the agent's reader looks at the kernel's buffer.
const TURN: Duration = Duration::from_millis(5);
/// Batches between reader and pipeline, as in the agent.
const BATCHES: usize = 16;
/// The last spans wait for those above them, and for a batch.
const GOODBYE: Duration = Duration::from_secs(10);

/// Offers `rate` spans a second for `seconds`.
pub fn run(mould: &Mould, rate: f64, seconds: f64) -> Result<Value> {
    let each = super::instructions(mould, 1).0 as f64;
    let variables: BTreeMap<String, String> = env::vars().collect();
    let settings = export::Settings::parse(|name| variables.get(name).cloned())?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("sockspan-io")
        .enable_all()
        .build()?;
    let counts = Arc::new(Counts::default());
    let exporter = Arc::new(runtime.block_on(async { Exporter::start(&settings, counts.clone()) })?);
    let (inputs, work) = mpsc::sync_channel(BATCHES);
    let worker = worker(mould, work, exporter.clone())?;
    let told = tell(mould, each, rate, seconds, &inputs);
    drop(inputs);
    let pipeline_s = worker.join().ok().context("the pipeline's thread has panicked")?;
    let io_s = threads("sockspan-io");
    runtime.block_on(exporter.shutdown(GOODBYE)).ok();
    let told = told?;
    let io_s = io_s.max(threads("sockspan-io"));
    let exported = counts.exported.load(std::sync::atomic::Ordering::Relaxed);
    let dropped = counts.dropped();
    Ok(json!({
        "offered": told.spans, "seconds": told.seconds, "behind_ms": told.behind.as_secs_f64() * 1000.0,
        "exported": exported, "dropped": dropped, "pipeline_s": pipeline_s, "export_s": io_s, "rss_mib": memory(),
    }))
}

/// What the telling came to.
struct Outcome {
    spans: f64,
    seconds: f64,
    /// The longest that an event was told after its time.
    behind: Duration,
}

/// Tells castings by the clock; waits where the pipeline does not keep up, and says how long.
fn tell(
    mould: &Mould,
    each: f64,
    rate: f64,
    seconds: f64,
    inputs: &mpsc::SyncSender<Input>,
) -> Result<Outcome> {
    let started = Instant::now();
    let apart = (each / rate * 1e9) as u64;
    let most = (seconds * 1e9) as u64 / apart;
    let mut told = Told::new(mould, apart, clock::sample().0);
    let mut behind = Duration::ZERO;
    while told.begun() < most || !told.is_silent() {
        let now = clock::sample().0;
        let batch = told.until(now, most);
        if !batch.is_empty() {
            inputs.send(Input::Batch(batch.freeze())).context("the pipeline has ended")?;
        }
        let (monotonic, wall) = clock::sample();
        inputs.send(Input::Clock { monotonic, wall }).context("the pipeline has ended")?;
        // What was due at `now` has been handed over only now.
        behind = behind.max(Duration::from_nanos(clock::sample().0 - now));
        thread::sleep(TURN);
    }
    // Spans wait for what may be above them.
    for _ in 0..60 {
        thread::sleep(TURN * 10);
        let (monotonic, wall) = clock::sample();
        inputs.send(Input::Clock { monotonic, wall }).context("the pipeline has ended")?;
    }
    Ok(Outcome { spans: told.begun() as f64 * each, seconds: started.elapsed().as_secs_f64(), behind })
}

/// The pipeline's thread; its end is told with its CPU time in seconds.
fn worker(
    mould: &Mould,
    work: mpsc::Receiver<Input>,
    exporter: Arc<Exporter>,
) -> Result<thread::JoinHandle<f64>> {
    let (processes, seed) = (mould.processes.clone(), mould.seed);
    Ok(thread::Builder::new().name("sockspan-work".into()).spawn(move || {
        let mut out = Yield::default();
        let mut pipeline = super::pipeline(&processes, seed, &mut out);
        for input in work {
            pipeline.take(input, &mut out);
            out.turns.clear();
            out.wishes.clear();
            if !out.spans.is_empty() {
                exporter.offer(std::mem::take(&mut out.spans));
            }
        }
        pipeline.finish(&mut out);
        exporter.offer(std::mem::take(&mut out.spans));
        let time = clock_gettime(ClockId::ThreadCPUTime);
        time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
    })?)
}

/// The CPU time of the threads of that name, in seconds.
fn threads(name: &str) -> f64 {
    let entries = fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let ours = entries
        .filter(|entry| fs::read_to_string(entry.path().join("comm")).is_ok_and(|comm| comm.trim() == name));
    // Nanoseconds on a processor come first.
    let times = ours.filter_map(|entry| fs::read_to_string(entry.path().join("schedstat")).ok());
    times.filter_map(|line| line.split(' ').next()?.parse::<f64>().ok()).sum::<f64>() / 1e9
}

/// The most memory that was resident, in MiB.
fn memory() -> f64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok()).unwrap_or(0.0) / 1024.0
}
