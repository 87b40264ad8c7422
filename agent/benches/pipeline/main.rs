//! The pipeline under load, without a kernel: recorded streams, over and over, each time as other connections and requests.
//!
//! `instructions CASTINGS` makes so many as fast as it can and encodes their spans: for callgrind, which counts.
//! `rate SPANS SECONDS` offers so many spans a second to the pipeline's thread and exports them to the receiver that
//! `OTEL_EXPORTER_OTLP_ENDPOINT` names. Out: a line of JSON.

mod paced;
mod stream;

use std::{collections::BTreeMap, env, hint::black_box, path::Path, sync::Arc};

use anyhow::{Context as _, Result, bail};
use serde_json::json;
use sockspan::{
    export,
    metrics::Metrics,
    pipeline::{Pipeline, Yield},
    record::Input,
    run,
    settings::Invocation,
    span::{Span, clock::Clock},
};

use stream::{Mould, Told};

/// Two checkouts on one connection, of three services: ten spans; two of the four hops are on kept connections.
const STREAM: &str = "tests/streams/keepalive-sock.stream";
/// Spans in a request, as by default.
const BATCH: usize = 512;
/// Between two castings of `instructions`, in nanoseconds: some 15,000 spans a second.
const STEP: u64 = 1_000_000;
/// Between two looks at the kernel's buffer, and where time begins.
const TURN: u64 = 5_000_000;
const START: u64 = 1_000_000_000_000;

fn main() -> Result<()> {
    let arguments: Vec<_> = env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let words: Vec<_> = arguments.iter().map(String::as_str).collect();
    let mould = Mould::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join(STREAM))?;
    let said = match words.as_slice() {
        ["instructions", castings] => {
            let (spans, bytes) = instructions(&mould, castings.parse().context("how many castings")?);
            json!({ "spans": spans, "bytes": bytes })
        }
        ["rate", spans, seconds] => {
            let spans = spans.parse().context("how many spans a second")?;
            paced::run(&mould, spans, seconds.parse().context("how many seconds")?)?
        }
        // What `cargo test --all-targets` and `cargo bench` call.
        [] => {
            let (spans, bytes) = instructions(&mould, 20);
            json!({ "spans": spans, "bytes": bytes })
        }
        _ => bail!("`instructions CASTINGS` or `rate SPANS SECONDS`"),
    };
    println!("{said}");
    Ok(())
}

/// A pipeline with the default settings, which knows the processes.
fn pipeline(processes: &[Input], seed: [u8; 16], out: &mut Yield) -> Pipeline {
    let invocation = Invocation::parse(["sockspan", "replay", "x"].map(Into::into), &BTreeMap::new());
    let settings = invocation.expect("no settings are right").settings;
    let options = run::options(&settings, seed, Clock::new(0, 0)).expect("the default sampler is right");
    let mut pipeline = Pipeline::new(options, Arc::new(Metrics::default()));
    processes.iter().for_each(|process| pipeline.take(process.clone(), out));
    pipeline
}

/// So many castings, as the agent would take them: a batch and a look at the clock every 5 ms.
fn instructions(mould: &Mould, castings: u64) -> (usize, usize) {
    let mut out = Yield::default();
    let mut pipeline = pipeline(&mould.processes, mould.seed, &mut out);
    let (mut waiting, mut spans, mut bytes) = (Vec::new(), 0, 0);
    let mut now = START;
    let mut told = Told::new(mould, STEP, now);
    while told.begun() < castings || !told.is_silent() {
        let batch = told.until(now, castings);
        pipeline.take(Input::Batch(batch.freeze()), &mut out);
        pipeline.take(Input::Clock { monotonic: now, wall: now }, &mut out);
        out.turns.clear();
        out.wishes.clear();
        waiting.append(&mut out.spans);
        while waiting.len() >= BATCH {
            spans += BATCH;
            bytes += encode(&waiting.drain(..BATCH).collect::<Vec<_>>());
        }
        now += TURN;
    }
    pipeline.finish(&mut out);
    waiting.append(&mut out.spans);
    // Taken apart, it would be most of a short run.
    std::mem::forget(pipeline);
    (spans + waiting.len(), bytes + encode(&waiting))
}

/// As a request that could be sent.
#[inline(never)]
fn encode(spans: &[Span]) -> usize {
    black_box(export::encode(spans)).len()
}
