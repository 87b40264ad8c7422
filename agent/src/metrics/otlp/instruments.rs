//! The rows of the table as observable instruments of the SDK.

use crate::metrics::table::{Kind, Out, Read, Row, Source};
use opentelemetry::{
    KeyValue,
    metrics::{AsyncInstrumentBuilder, Meter},
};

/// Makes a row of the table an instrument that reads `source` when it is asked.
pub(super) fn register(meter: &Meter, row: &'static Row, source: &Source) {
    let source = source.clone();
    match (row.kind, row.read) {
        (Kind::Counter, Read::Integer(read)) => {
            describe(meter.u64_observable_counter(row.otel), row)
                .with_callback(move |out| observe(&source, read, |value, labels| out.observe(value, labels)))
                .build();
        }
        (Kind::Gauge, Read::Integer(read)) => {
            describe(meter.u64_observable_gauge(row.otel), row)
                .with_callback(move |out| observe(&source, read, |value, labels| out.observe(value, labels)))
                .build();
        }
        (Kind::Counter, Read::Float(read)) => {
            describe(meter.f64_observable_counter(row.otel), row)
                .with_callback(move |out| out.observe(read(&source), &[]))
                .build();
        }
        (Kind::Gauge, Read::Float(read)) => {
            describe(meter.f64_observable_gauge(row.otel), row)
                .with_callback(move |out| out.observe(read(&source), &[]))
                .build();
        }
    }
}

fn describe<'a, I, M>(
    builder: AsyncInstrumentBuilder<'a, I, M>,
    row: &Row,
) -> AsyncInstrumentBuilder<'a, I, M> {
    builder.with_description(row.help).with_unit(row.unit.ucum())
}

fn observe(source: &Source, read: fn(&Source, Out<'_>), mut out: impl FnMut(u64, &[KeyValue])) {
    source.gauges.refresh(&source.metrics);
    read(source, &mut |labels, value| {
        let labels: Vec<KeyValue> =
            labels.iter().map(|(name, value)| KeyValue::new(*name, (*value).to_owned())).collect();
        out(value, &labels);
    });
}
