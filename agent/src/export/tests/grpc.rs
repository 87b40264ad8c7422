//! Over gRPC: batching, counting, repeating, shutting down.

use super::{
    SOON,
    sample::{resource, span, traces},
    servers::{self, answer},
    settings, spans, start,
};
use crate::{export::Settings, span::Span};
use std::{sync::Arc, sync::atomic::Ordering::Relaxed, time::Duration};
use tonic::{Code, Status};

fn to(port: u16, more: &[(&str, &str)]) -> Settings {
    let endpoint = format!("http://127.0.0.1:{port}");
    settings(&[&[("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str())], more].concat())
}

#[tokio::test]
async fn many_resources_go_in_one_request_over_one_connection() {
    let mut server = servers::grpc(Vec::new(), None).await;
    let more = [("OTEL_EXPORTER_OTLP_HEADERS", "api-key=s%20ecret,x-tenant=7")];
    let (exporter, counts) = start(to(server.port, &more));
    let (shop, stock) = (resource("shop"), resource("stock"));
    let of = |id, resource: &Arc<_>| Span { resource: Arc::clone(resource), ..span(1, id) };
    exporter.offer(vec![of(1, &shop), of(2, &stock), of(3, &shop)]);
    exporter.flush(SOON).await.unwrap();
    let first = server.next().await;
    assert_eq!((first.request.resource_spans.len(), first.ids()), (2, vec![1, 3, 2]));
    assert_eq!(first.headers["api-key"], "s ecret");
    assert_eq!(first.headers["x-tenant"], "7");
    assert!(first.headers["user-agent"].to_str().unwrap().starts_with("sockspan/"));
    exporter.offer(traces(4, 1));
    exporter.flush(SOON).await.unwrap();
    assert_eq!(server.next().await.peer, first.peer);
    assert_eq!(spans(&counts), [4, 0, 0, 0, 0]);
    assert_eq!(counts.requests_ok.load(Relaxed), 2);
}

#[tokio::test]
async fn full_batches_go_at_once_and_the_rest_by_schedule() {
    let mut server = servers::grpc(Vec::new(), None).await;
    let more = [("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "4"), ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip")];
    let mut settings = to(server.port, &more);
    settings.batch.schedule_delay = Duration::from_secs(1);
    let (_exporter, counts) = start(settings);
    _exporter.offer(traces(1, 10));
    let first = server.next().await;
    assert_eq!(first.ids(), [1, 2, 3, 4]);
    assert_eq!(first.headers["grpc-encoding"], "gzip");
    assert_eq!(server.next().await.ids(), [5, 6, 7, 8]);
    assert_eq!(server.next().await.ids(), [9, 10]);
    assert_eq!(counts.queue_spans.load(Relaxed), 0);
}

#[tokio::test]
async fn what_may_be_repeated_is_repeated_and_the_rest_is_not() {
    let script = vec![
        Err(Status::new(Code::Unavailable, "starting")),
        Err(Status::new(Code::ResourceExhausted, "no pause named")),
        Ok(answer(2)),
    ];
    let mut server = servers::grpc(script, None).await;
    let (exporter, counts) = start(to(server.port, &[]));
    exporter.offer(traces(1, 3));
    exporter.flush(SOON).await.unwrap();
    assert_eq!(server.next().await.ids(), server.next().await.ids());
    assert_eq!(spans(&counts), [0, 0, 0, 3, 0]);
    exporter.offer(traces(4, 5));
    exporter.flush(SOON).await.unwrap();
    assert_eq!(spans(&counts), [3, 0, 2, 3, 0]);
    let requests = [&counts.requests_ok, &counts.requests_failed, &counts.retries].map(|c| c.load(Relaxed));
    assert_eq!(requests, [1, 2, 1]);
}

#[tokio::test]
async fn a_server_that_is_away_costs_bounded_memory_and_counted_drops() {
    let port = servers::unused_port();
    let more = [("OTEL_BSP_MAX_QUEUE_SIZE", "8"), ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "4")];
    let (exporter, counts) = start(to(port, &more));
    exporter.offer(traces(1, 4));
    while counts.retries.load(Relaxed) < 3 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    exporter.offer(traces(5, 20));
    exporter.offer(vec![span(20, 99)]);
    assert_eq!(spans(&counts), [0, 13, 0, 0, 0]);
    assert_eq!(counts.queue_spans.load(Relaxed), 8);
    assert!(exporter.flush(Duration::from_millis(50)).await.is_err_and(|unsent| unsent.spans == 8));
    let mut server = servers::grpc_at(port, Vec::new(), None).await;
    exporter.flush(SOON).await.unwrap();
    let arrived = [server.next().await.ids(), server.next().await.ids(), server.next().await.ids()].concat();
    assert_eq!(arrived, (1..=12).collect::<Vec<u64>>());
    assert_eq!(spans(&counts), [12, 13, 0, 0, 0]);
}

#[tokio::test]
async fn a_shutdown_sends_what_waits_and_takes_no_more() {
    let script = vec![Err(Status::new(Code::Unavailable, "busy"))];
    let mut server = servers::grpc(script, None).await;
    let (exporter, counts) = start(to(server.port, &[("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "100")]));
    exporter.offer(traces(1, 50));
    exporter.shutdown(SOON).await.unwrap();
    exporter.offer(traces(51, 1));
    assert_eq!(server.next().await.ids(), server.next().await.ids());
    assert_eq!(spans(&counts), [50, 0, 0, 0, 1]);
    assert_eq!(exporter.shutdown(SOON).await, Ok(()));
}

#[tokio::test]
async fn a_shutdown_ends_in_time_and_says_what_was_lost() {
    // Accepts connections and never answers.
    let silent = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let more = [("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "4")];
    let (exporter, counts) = start(to(silent.local_addr().unwrap().port(), &more));
    exporter.offer(traces(1, 10));
    let begun = std::time::Instant::now();
    let lost = exporter.shutdown(Duration::from_millis(300)).await;
    assert!(begun.elapsed() < SOON / 2);
    assert_eq!(lost.map_err(|unsent| unsent.spans), Err(10));
    assert_eq!(spans(&counts), [0, 0, 0, 0, 10]);
}

#[tokio::test]
async fn an_attempt_without_answer_ends_and_is_repeated_on_a_new_connection() {
    let silent = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = silent.local_addr().unwrap().port();
    let (exporter, counts) = start(to(port, &[("OTEL_EXPORTER_OTLP_TIMEOUT", "100")]));
    exporter.offer(traces(1, 1));
    let (_flushed, ()) = tokio::join!(exporter.flush(Duration::from_millis(10)), async {
        let first = silent.accept().await.unwrap();
        let second = silent.accept().await.unwrap();
        assert_ne!(first.1, second.1);
    });
    assert!(counts.retries.load(Relaxed) >= 1);
}

#[tokio::test]
async fn dropping_the_exporter_ends_its_task() {
    let server = servers::grpc(Vec::new(), None).await;
    let (exporter, counts) = start(to(server.port, &[]));
    exporter.offer(traces(1, 3));
    drop(exporter);
    while spans(&counts) != [0, 0, 0, 0, 3] {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_span_is_in_exactly_one_counter() {
    let script = (0..40).map(|n| match n % 4 {
        0 => Err(Status::new(Code::Unavailable, "busy")),
        1 => Err(Status::new(Code::InvalidArgument, "no")),
        2 => Ok(answer(1)),
        _ => Ok(answer(0)),
    });
    let server = servers::grpc(script.collect(), None).await;
    let more = [("OTEL_BSP_MAX_QUEUE_SIZE", "64"), ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "16")];
    let (exporter, counts) = start(to(server.port, &more));
    std::thread::scope(|threads| {
        for thread in 0..4 {
            let exporter = &exporter;
            threads.spawn(move || (0..500).for_each(|n| exporter.offer(traces(thread * 100 + n % 100, 3))));
        }
    });
    exporter.shutdown(SOON).await.unwrap();
    let sum: u64 = spans(&counts).iter().sum();
    assert_eq!((sum, counts.dropped() + spans(&counts)[0]), (6000, 6000));
    assert_eq!([&counts.queue_spans, &counts.queue_bytes].map(|gauge| gauge.load(Relaxed)), [0, 0]);
}
