//! Over HTTP with protocol buffers.

use super::{
    SOON,
    sample::traces,
    servers::{self, http_answer},
    settings, spans, start,
};
use axum::http::StatusCode;
use std::{
    sync::atomic::Ordering::Relaxed,
    time::{Duration, Instant},
};

const PROTOCOL: (&str, &str) = ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf");

#[tokio::test]
async fn the_general_endpoint_gets_the_signals_path() {
    let mut server = servers::http(Vec::new()).await;
    let endpoint = format!("http://127.0.0.1:{}/otlp/", server.port);
    let variables = [
        PROTOCOL,
        ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()),
        ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Basic%20c2VjcmV0"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip"),
    ];
    let (exporter, counts) = start(settings(&variables));
    exporter.offer(traces(1, 3));
    exporter.flush(SOON).await.unwrap();
    let received = server.next().await;
    assert_eq!((received.path.as_str(), received.ids()), ("/otlp/v1/traces", vec![1, 2, 3]));
    assert_eq!(received.headers["authorization"], "Basic c2VjcmV0");
    assert_eq!(received.headers["content-type"], "application/x-protobuf");
    assert_eq!(received.headers["content-encoding"], "gzip");
    assert_eq!(spans(&counts), [3, 0, 0, 0, 0]);
}

#[tokio::test]
async fn the_signals_own_endpoint_is_used_as_it_is() {
    let mut server = servers::http(Vec::new()).await;
    let endpoint = format!("http://127.0.0.1:{}/custom?key=1", server.port);
    let variables = [PROTOCOL, ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", endpoint.as_str())];
    let (exporter, _) = start(settings(&variables));
    exporter.offer(traces(1, 1));
    exporter.shutdown(SOON).await.unwrap();
    let received = server.next().await;
    assert_eq!(received.path, "/custom?key=1");
    assert!(!received.headers.contains_key("content-encoding"));
}

#[tokio::test]
async fn statuses_decide_as_the_protocol_says() {
    let script = vec![
        (StatusCode::SERVICE_UNAVAILABLE, &[("retry-after", "1")][..], Vec::new()),
        (StatusCode::TOO_MANY_REQUESTS, &[][..], Vec::new()),
        http_answer(1),
        (StatusCode::BAD_REQUEST, &[][..], b"no".to_vec()),
        (StatusCode::INTERNAL_SERVER_ERROR, &[][..], Vec::new()),
        (StatusCode::PERMANENT_REDIRECT, &[("location", "http://127.0.0.1:1/")][..], Vec::new()),
        (StatusCode::OK, &[][..], b"not protobuf".to_vec()),
    ];
    let server = servers::http(script).await;
    let endpoint = format!("http://127.0.0.1:{}", server.port);
    let (exporter, counts) = start(settings(&[PROTOCOL, ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str())]));
    let begun = Instant::now();
    for batch in 0..5 {
        exporter.offer(traces(10 * batch, 4));
        exporter.flush(SOON).await.unwrap();
    }
    assert!(begun.elapsed() >= Duration::from_secs(1), "Retry-After is obeyed");
    assert_eq!(spans(&counts), [7, 0, 1, 12, 0]);
    let requests = [&counts.requests_ok, &counts.requests_failed, &counts.retries].map(|c| c.load(Relaxed));
    assert_eq!(requests, [2, 5, 2]);
}

/// 10 ms, doubled up to 50 ms, of which jitter takes a half at most: seven pauses are 142 ms at least.
#[tokio::test]
async fn retry_after_nothing_is_no_loop_without_pause() {
    let busy = |after: &'static [(&str, &str)]| (StatusCode::SERVICE_UNAVAILABLE, after, Vec::new());
    let zero = &[("retry-after", "0")][..];
    let past = &[("retry-after", "Sun, 06 Nov 1994 08:49:37 GMT")][..];
    let server = servers::http([zero, past, zero, past, zero, past, zero].map(busy).into()).await;
    let endpoint = format!("http://127.0.0.1:{}", server.port);
    let (exporter, counts) = start(settings(&[PROTOCOL, ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str())]));
    let begun = Instant::now();
    exporter.offer(traces(1, 600));
    while spans(&counts)[0] < 512 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(begun.elapsed() >= Duration::from_millis(140), "{:?}", begun.elapsed());
    assert_eq!(counts.retries.load(Relaxed), 7);
}

#[tokio::test]
async fn a_server_that_comes_late_gets_everything() {
    let port = servers::unused_port();
    let endpoint = format!("http://127.0.0.1:{port}");
    let (exporter, counts) = start(settings(&[PROTOCOL, ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str())]));
    exporter.offer(traces(1, 700));
    while counts.retries.load(Relaxed) < 2 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await.unwrap();
    let mut server = servers::serve(port, listener, servers::http_routes(Vec::new()));
    exporter.shutdown(SOON).await.unwrap();
    assert_eq!(server.next().await.ids().len() + server.next().await.ids().len(), 700);
    assert_eq!(spans(&counts), [700, 0, 0, 0, 0]);
}
