//! Streams on disk: where they are, what is in them, and their spans.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use sockspan::{
    event::Raw,
    metrics::{Metrics, Side},
    record::{Input, Reader, Writer},
    run,
    settings::Invocation,
    span::{Span, SpanKind},
};

/// The folder of the recorded streams.
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/streams")
}

/// A recorded stream.
pub fn path(name: &str, mode: &str) -> PathBuf {
    folder().join(format!("{name}-{mode}.stream"))
}

/// Its spans and what was counted, or why there are none. Nothing of the environment is asked.
pub fn counted(path: &Path) -> anyhow::Result<(Vec<Span>, Arc<Metrics>)> {
    let args = ["sockspan", "replay", "x", "--evidence"].map(Into::into);
    let invocation = Invocation::parse(args, &BTreeMap::new())?;
    let (spans, metrics) = run::spans(&invocation.settings, path)?;
    adds_up(&spans, &metrics);
    Ok((spans, metrics))
}

/// Whatever the stream: each exchange is a span or a drop, on its side.
fn adds_up(spans: &[Span], metrics: &Metrics) {
    for (side, dropped) in metrics.exchanges_dropped.rows() {
        let kind = if side == Side::Server { SpanKind::Server } else { SpanKind::Client };
        let made = spans.iter().filter(|span| span.kind == kind).count() as u64;
        assert_eq!(metrics.spans.get(side), made);
        assert_eq!(metrics.exchanges.get(side), made + dropped.sum(), "{metrics:?}");
    }
}

/// Its spans, or why there are none.
pub fn try_spans(path: &Path) -> anyhow::Result<Vec<Span>> {
    Ok(counted(path)?.0)
}

/// Its spans, in an order that does not depend on when they were finished.
pub fn spans(path: &Path) -> Vec<Span> {
    let mut spans = try_spans(path).unwrap();
    spans.sort_by_key(|s| (s.start_ns, s.span_id));
    spans
}

/// A part of a stream that cannot be cut.
#[derive(Clone, Debug)]
pub enum Part {
    /// One event with its length before it, as batches carry it.
    Event {
        /// When it happened, nanoseconds of CLOCK_MONOTONIC.
        at: u64,
        /// The bytes.
        bytes: Vec<u8>,
    },
    /// Anything but a batch.
    Other(Input),
}

/// Everything in a stream, and the seed of its ids.
pub fn read(path: &Path) -> (Vec<Part>, [u8; 16]) {
    let mut reader = Reader::open(path).unwrap();
    let mut parts = Vec::new();
    while let Some(input) = reader.read().unwrap() {
        match input {
            Input::Batch(batch) => parts.extend(cut(&batch)),
            other => parts.push(Part::Other(other)),
        }
    }
    (parts, reader.seed)
}

fn cut(mut batch: &[u8]) -> Vec<Part> {
    let mut parts = Vec::new();
    while let Some((length, rest)) = batch.split_first_chunk::<4>() {
        let (event, rest) = rest.split_at(u32::from_ne_bytes(*length) as usize);
        let at = Raw::new(Bytes::copy_from_slice(event)).unwrap().at;
        parts.push(Part::Event { at, bytes: [length.as_slice(), event].concat() });
        batch = rest;
    }
    parts
}

/// Writes a stream. Events that follow each other are one batch, unless `cut` says of the second that it begins
/// the next.
pub fn write(path: &Path, seed: [u8; 16], parts: &[Part], mut cut: impl FnMut(usize) -> bool) {
    let mut writer = Writer::create(path, seed).unwrap();
    let mut batch = Vec::new();
    for (n, part) in parts.iter().enumerate() {
        let ends = match part {
            Part::Event { .. } => cut(n),
            Part::Other(_) => true,
        };
        if ends && !batch.is_empty() {
            writer.write(&Input::Batch(std::mem::take(&mut batch).into())).unwrap();
        }
        match part {
            Part::Event { bytes, .. } => batch.extend_from_slice(bytes),
            Part::Other(input) => writer.write(input).unwrap(),
        }
    }
    if !batch.is_empty() {
        writer.write(&Input::Batch(batch.into())).unwrap();
    }
    writer.flush().unwrap();
}
