//! A recorded stream through the same pipeline.

use std::{path::Path, sync::Arc, time::Duration};

use crate::{
    exchange::Seed,
    export::{self, Counts, Exporter},
    metrics::Metrics,
    pipeline::{self, Pipeline, Yield},
    record::{Input, Reader},
    sampler::Sampler,
    settings::Settings,
    span::{Span, clock::Clock},
};

use super::assemble;

/// The longest that the export of a portion may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// The options of a pipeline that replays what was recorded with that seed; no clock is looked at.
///
/// # Errors
/// A setting is wrong.
pub fn options(settings: &Settings, seed: [u8; 16], clock: Clock) -> anyhow::Result<pipeline::Options> {
    let sampler = Sampler::parse(|name| settings.otel(name))?;
    Ok(assemble::pipeline(settings, sampler, Seed(seed), clock))
}

/// The spans of a recorded stream, as the agent would have made them, and what it counted.
///
/// # Errors
/// The file cannot be read or is no stream of this version; a setting is wrong.
pub fn spans(settings: &Settings, file: &Path) -> anyhow::Result<(Vec<Span>, Arc<Metrics>)> {
    let mut reader = Reader::open(file)?;
    let metrics = Arc::new(Metrics::default());
    let first = reader.read()?;
    let clock = match &first {
        Some(Input::Clock { monotonic, wall }) => Clock::new(*monotonic, *wall),
        _ => pipeline::clock(),
    };
    let options = options(settings, reader.seed, clock)?;
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
/// As [`spans`]; a span was not delivered.
pub fn replay(settings: &Settings, file: &Path) -> anyhow::Result<()> {
    let mut export_settings = export::Settings::parse(|name| settings.otel(name))?;
    export_settings.console = assemble::console(settings);

    let (spans, _) = spans(settings, file)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let exporter = Exporter::start(&export_settings, Arc::new(Counts::default()))?;
        let total = spans.len();
        exporter.deliver(spans, &export_settings.batch, PATIENCE).await?;
        tracing::info!("{total} spans replayed");
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        export::{encode, render},
        settings::Invocation,
    };
    use std::collections::BTreeMap;

    /// All that leaves the agent of a recorded stream: what is exported, and what the console draws.
    fn told(stream: &str, redact: &str) -> String {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/streams").join(stream);
        let args = ["sockspan", "replay", "x", "--guess-routes", "--query-string", "--redact", redact];
        let invocation = Invocation::parse(args.map(Into::into), &BTreeMap::new()).unwrap();
        let (spans, _) = spans(&invocation.settings, &file).unwrap();
        assert!(!spans.is_empty());
        let sent = encode(&spans);
        format!("{spans:#?}\n{}\n{}", render(&spans, 200, false), String::from_utf8_lossy(&sent))
    }

    #[test]
    fn what_is_redacted_is_neither_exported_nor_shown() {
        for stream in ["checkout-sock.stream", "checkout-syscalls.stream"] {
            let open = told(stream, "nothing-like-it");
            for place in ["\"/products/r1\"", "\"GET /products/r1\"", "/orders/r1\"", "─ GET /products/r1"]
            {
                assert!(open.contains(place), "{place} in {open}");
            }
            let redacted = told(stream, "/products/(.*)|/(r1)$");
            assert!(!redacted.contains("r1"), "{redacted}");
            for place in [
                "\"/products/REDACTED\"",
                "\"GET /products/REDACTED\"",
                "/orders/REDACTED\"",
                "─ GET /products/REDACTED",
            ] {
                assert!(redacted.contains(place), "{place} in {redacted}");
            }
        }
    }
}
