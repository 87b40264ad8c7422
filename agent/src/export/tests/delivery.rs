//! A known number of spans, as a replay has them: what does not arrive is told with its number and its cause.

use super::{
    SOON,
    sample::{span, traces},
    servers::{self, http_answer},
    settings, start,
};
use crate::export::{Settings, Undelivered};
use axum::http::StatusCode;
use std::time::{Duration, Instant};

fn to(port: u16, more: &[(&str, &str)]) -> Settings {
    let endpoint = format!("http://127.0.0.1:{port}");
    let fixed = [
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()),
    ];
    settings(&[&fixed, more].concat())
}

async fn deliver(settings: Settings, spans: u64, patience: Duration) -> Result<(), Undelivered> {
    let batch = settings.batch.clone();
    let (exporter, _) = start(settings);
    exporter.deliver(traces(1, spans), &batch, patience).await
}

#[tokio::test]
async fn a_queue_smaller_than_the_spans_loses_none() {
    let mut server = servers::http(Vec::new()).await;
    let settings = to(server.port, &[("OTEL_BSP_MAX_QUEUE_SIZE", "10")]);
    assert_eq!(deliver(settings, 25, SOON).await, Ok(()));
    let mut ids = Vec::new();
    for _ in 0..3 {
        ids.extend(server.next().await.ids());
    }
    assert_eq!(ids, (1..=25).collect::<Vec<u64>>());
}

#[tokio::test]
async fn a_refusal_is_an_error_with_number_and_cause() {
    let refusal = (StatusCode::UNAUTHORIZED, &[][..], b"who are you?".to_vec());
    let server = servers::http(vec![refusal, http_answer(3)]).await;
    let settings = to(server.port, &[("OTEL_BSP_MAX_QUEUE_SIZE", "10")]);
    let error = deliver(settings, 15, SOON).await.unwrap_err();
    assert_eq!((error.lost, error.total, error.fates.refused, error.fates.rejected), (13, 15, 10, 3));
    assert_eq!(
        error.to_string(),
        "13 of 15 spans were not delivered (10 refused, 3 rejected from requests that were accepted): too old"
    );
    let refusal = (StatusCode::UNAUTHORIZED, &[][..], b"who are you?".to_vec());
    let server = servers::http(vec![refusal]).await;
    assert_eq!(
        deliver(to(server.port, &[]), 15, SOON).await.unwrap_err().to_string(),
        "15 of 15 spans were not delivered (15 refused): HTTP status 401 Unauthorized: who are you?"
    );
}

#[tokio::test]
async fn nobody_there_is_an_error_in_time_that_counts_every_span() {
    let begun = Instant::now();
    let settings = to(servers::unused_port(), &[("OTEL_BSP_MAX_QUEUE_SIZE", "4")]);
    let error = deliver(settings, 15, Duration::from_millis(100)).await.unwrap_err();
    assert!(begun.elapsed() < SOON / 2);
    assert_eq!((error.lost, error.fates.late), (15, 15));
    let text = error.to_string();
    assert!(text.starts_with("15 of 15 spans were not delivered (15 not taken in time): "), "{text}");
    assert!(text.contains("Connection refused"), "{text}");
}

#[tokio::test]
async fn a_span_larger_than_the_queue_is_an_error() {
    let server = servers::http(Vec::new()).await;
    let mut settings = to(server.port, &[]);
    settings.batch.max_queue_bytes = 1;
    let error = deliver(settings, 2, SOON).await.unwrap_err();
    assert_eq!(error.to_string(), "2 of 2 spans were not delivered (2 without room in the queue)");
}

#[tokio::test]
async fn none_is_meant_to_arrive_nowhere() {
    let (exporter, _) = start(settings(&[("OTEL_TRACES_EXPORTER", "none")]));
    assert_eq!(exporter.deliver(vec![span(1, 1)], &Default::default(), SOON).await, Ok(()));
}
