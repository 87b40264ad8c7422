//! A recorded stream through the same pipeline.

use std::{path::Path, sync::Arc, time::Duration};

use anyhow::Context as _;

use crate::{
    exchange::Seed,
    export::{self, Counts, Exporter},
    metrics::Metrics,
    pipeline::{Pipeline, Yield},
    record::{Input, Reader},
    settings::Settings,
    span::{Span, clock::Clock},
};

use super::assemble;

/// The longest that the export of a replay may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// Spans that are handed to the exporter at a time.
const PORTION: usize = 512;

/// The spans of a recorded stream, as the agent would have made them, and what it counted.
///
/// # Errors
/// The file cannot be read or is no stream of this version; a setting is wrong.
pub fn spans(settings: &Settings, file: &Path) -> anyhow::Result<(Vec<Span>, Arc<Metrics>)> {
    let mut reader = Reader::open(file)?;
    let mut options = assemble::pipeline(settings, Seed(reader.seed))?;
    let metrics = Arc::new(Metrics::default());
    let first = reader.read()?;
    if let Some(Input::Clock { monotonic, wall }) = &first {
        options.assembler.clock = Clock::new(*monotonic, *wall);
    }
    let mut pipeline = Pipeline::new(options, metrics.clone());
    let mut out = Yield::default();
    let mut input = first;
    while let Some(next) = input {
        pipeline.take(next, &mut out);
        input = reader.read()?;
    }
    pipeline.finish(&mut out);
    Ok((out.spans, metrics))
}

/// Replays a stream into the exporter.
///
/// # Errors
/// As [`spans`]; the spans could not be delivered.
pub fn replay(settings: &Settings, file: &Path) -> anyhow::Result<()> {
    let mut export_settings = export::Settings::parse(|name| settings.otel(name))?;
    export_settings.console = assemble::console(settings);

    let (spans, _) = spans(settings, file)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let exporter = Exporter::start(&export_settings, Arc::new(Counts::default()))?;
        let total = spans.len();
        let mut spans = spans.into_iter().peekable();
        while spans.peek().is_some() {
            exporter.offer(spans.by_ref().take(PORTION).collect());
            exporter.flush(PATIENCE).await.context("the spans could not be delivered")?;
        }
        exporter.shutdown(PATIENCE).await.context("the spans could not be delivered")?;
        tracing::info!("{total} spans replayed");
        Ok(())
    })
}
