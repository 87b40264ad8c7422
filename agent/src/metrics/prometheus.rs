//! The table as Prometheus reads it: OpenMetrics text.

use super::table::{Kind, Labels, Read, Row, Source, TABLE, Unit};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet, text},
    metrics::MetricType,
    registry::{Registry, Unit as PrometheusUnit},
};
use std::fmt;

/// The `Content-Type` of [`render`]'s text.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// All metrics as OpenMetrics text.
///
/// # Errors
/// Never in practice: writing to a `String` does not fail.
pub fn render(source: &Source) -> Result<String, fmt::Error> {
    source.gauges.refresh(&source.metrics);
    let mut registry = Registry::default();
    registry.register_collector(Box::new(source.clone()));
    let mut out = String::with_capacity(8 << 10);
    text::encode(&mut out, &registry)?;
    Ok(out)
}

impl Collector for Source {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        TABLE.iter().try_for_each(|row| encode(row, self, &mut encoder))
    }
}

fn encode(row: &Row, source: &Source, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let unit = match row.unit {
        Unit::Things(_) => None,
        Unit::Bytes => Some(PrometheusUnit::Bytes),
        Unit::Seconds => Some(PrometheusUnit::Seconds),
    };
    let kind = match row.kind {
        Kind::Counter => MetricType::Counter,
        Kind::Gauge => MetricType::Gauge,
    };
    let mut metric = encoder.encode_descriptor(row.name, row.help, unit.as_ref(), kind)?;
    match row.read {
        Read::Float(read) => float(&mut metric, row.kind, read(source)),
        Read::Integer(read) => {
            let mut result = Ok(());
            read(source, &mut |labels, value| {
                result = result.and_then(|()| integer(&mut metric, row.kind, labels, value));
            });
            result
        }
    }
}

fn integer(metric: &mut MetricEncoder<'_>, kind: Kind, labels: Labels<'_>, value: u64) -> fmt::Result {
    if labels.is_empty() {
        return number(metric, kind, value);
    }
    number(&mut metric.encode_family(&labels)?, kind, value)
}

fn number(metric: &mut MetricEncoder<'_>, kind: Kind, value: u64) -> fmt::Result {
    match kind {
        Kind::Counter => metric.encode_counter::<NoLabelSet, _, u64>(&value, None),
        Kind::Gauge => metric.encode_gauge(&value),
    }
}

fn float(metric: &mut MetricEncoder<'_>, kind: Kind, value: f64) -> fmt::Result {
    match kind {
        Kind::Counter => metric.encode_counter::<NoLabelSet, _, f64>(&value, None),
        Kind::Gauge => metric.encode_gauge(&value),
    }
}
