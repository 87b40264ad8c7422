//! The admin port over a real socket: its pages, and what it refuses.

use super::*;
use crate::metrics::{Gauges, MapFill, Metrics, ProcessState, Queue, Tracked};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    task::JoinHandle,
};

struct Empty;

impl Gauges for Empty {
    fn queue(&self) -> Queue {
        Queue::default()
    }
    fn maps(&self) -> Vec<MapFill> {
        Vec::new()
    }
    fn tracked(&self, _: Tracked) -> u64 {
        0
    }
    fn processes(&self, _: ProcessState) -> u64 {
        0
    }
}

async fn start(status: impl StatusSource) -> (SocketAddr, Ready, JoinHandle<()>) {
    let admin = Admin::bind(([127, 0, 0, 1], 0).into()).await.unwrap();
    let (address, ready) = (admin.address(), Ready::default());
    let metrics = Source { metrics: Arc::new(Metrics::default()), gauges: Arc::new(Empty) };
    let answers = Answers { ready: ready.clone(), status: Arc::new(status), metrics };
    (address, ready, tokio::spawn(admin.serve(answers)))
}

/// Status code and the rest of the answer.
async fn get(address: SocketAddr, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let code = answer.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap();
    (code, answer)
}

#[tokio::test]
async fn readiness_follows_the_flag_and_health_does_not() {
    let (address, ready, _server) = start(|| json!({})).await;
    assert_eq!(get(address, "/healthz").await.0, 200);
    let (code, answer) = get(address, "/readyz").await;
    assert_eq!(code, 503);
    assert!(answer.ends_with(
        "\r\n\r\nnot ready: starting (probes are attached, then all processes looked at) or stopping\n"
    ));
    ready.set(true);
    assert_eq!(get(address, "/readyz").await.0, 200);
    ready.set(false);
    assert_eq!(get(address, "/readyz").await.0, 503);
}

#[tokio::test]
async fn status_is_json_and_metrics_are_openmetrics() {
    let (address, _, _server) = start(|| json!({"probes": {"mode": "sock"}})).await;
    let (code, answer) = get(address, "/status").await;
    assert_eq!(code, 200);
    assert!(answer.contains("content-type: application/json\r\n"), "{answer}");
    let body = answer.split_once("\r\n\r\n").unwrap().1;
    assert_eq!(serde_json::from_str::<serde_json::Value>(body).unwrap(), json!({"probes": {"mode": "sock"}}));
    let (code, answer) = get(address, "/metrics").await;
    assert_eq!(code, 200);
    assert!(answer.contains("content-type: application/openmetrics-text; version=1.0.0; charset=utf-8\r\n"));
    assert!(answer.ends_with("# EOF\n"), "{answer}");
}

#[tokio::test]
async fn an_unknown_path_names_the_known_ones() {
    let (address, _, _server) = start(|| json!({})).await;
    let (code, answer) = get(address, "/").await;
    assert_eq!(code, 404);
    assert!(answer.ends_with("here are /healthz, /readyz, /status and /metrics\n"), "{answer}");
}

#[tokio::test]
async fn a_panic_while_answering_is_a_500_and_the_server_goes_on() {
    let (address, _, _server) = start(|| panic!("broken status")).await;
    assert_eq!(get(address, "/status").await.0, 500);
    assert_eq!(get(address, "/healthz").await.0, 200);
}

#[tokio::test(start_paused = true)]
async fn silent_clients_are_bounded_in_number_and_time() {
    let (address, _, _server) = start(|| json!({})).await;
    let mut silent = Vec::new();
    for _ in 0..MAX_CONNECTIONS {
        silent.push(TcpStream::connect(address).await.unwrap());
    }
    // All places are taken: the answer comes when the first of them is closed for its silence.
    let begun = tokio::time::Instant::now();
    assert_eq!(get(address, "/healthz").await.0, 200);
    assert!(begun.elapsed() >= CONNECTION_LIMIT / 2, "{:?}", begun.elapsed());
}

#[tokio::test]
async fn an_address_in_use_is_named_with_the_cure() {
    let taken = Admin::bind(([127, 0, 0, 1], 0).into()).await.unwrap();
    let error = Admin::bind(taken.address()).await.unwrap_err().to_string();
    let (address, port) = (taken.address(), taken.address().port());
    let start = format!(
        "can't listen on {address} for /healthz, /readyz, /status and /metrics: Address already in use"
    );
    assert!(error.starts_with(&start), "{error}");
    let cure = format!(
        "something else (another sockspan?) listens on port {port} already; set another by --admin-address, \
         SOCKSPAN_ADMIN_ADDRESS or admin-address: in the file, or `off` to do without"
    );
    assert!(error.ends_with(&cure), "{error}");
}

#[tokio::test]
async fn an_address_of_another_machine_is_named() {
    let error = Admin::bind(([192, 0, 2, 1], 80).into()).await.unwrap_err().to_string();
    assert!(
        error.contains("192.0.2.1 is no address of this machine; set another by --admin-address"),
        "{error}"
    );
}
