//! The service that the services under test call: small, fast, a process of its own, and traced like them.
//!
//! In: requests. Out: answers after 0 to 5 ms, and on standard output a line for each path that belongs to no single
//! request: who judges must know what was asked.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    io::{self, Write},
    path::Path,
    process::Command,
    time::Duration,
};

use axum::{
    Router,
    http::{StatusCode, Uri},
};
use tokio::net::TcpListener;

use super::route;
use crate::{child::Running, given, wait_until};

/// The argument that makes a program of this package the leaf.
pub const VERB: &str = "leaf";
/// Answers take from none to so many microseconds, by their paths.
const LONGEST_US: u64 = 5_000;

/// Serves until the process ends; the first line of output is the port.
///
/// # Errors
/// Loopback has no free port.
pub fn serve() -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        say(&listener.local_addr()?.port().to_string());
        axum::serve(listener, Router::new().fallback(answer)).await
    })
}

async fn answer(uri: Uri) -> (StatusCode, &'static str) {
    let path = uri.path();
    if route::is_beside(path) {
        say(path);
    }
    let status = match path {
        "/" => return (StatusCode::OK, "leaf"),
        _ if path.starts_with("/leaf/") => StatusCode::OK,
        _ if path.starts_with("/fail/") => StatusCode::SERVICE_UNAVAILABLE,
        _ => return (StatusCode::NOT_FOUND, "no such path"),
    };
    let mut hasher = DefaultHasher::new();
    path.hash(&mut hasher);
    tokio::time::sleep(Duration::from_micros(hasher.finish() % LONGEST_US)).await;
    (status, "leaf")
}

/// A line of output; who started us and went away reads no more.
fn say(line: &str) {
    let mut output = io::stdout().lock();
    let _ = writeln!(output, "{line}").and_then(|()| output.flush());
}

/// A leaf that listens; killed when dropped.
#[derive(Debug)]
pub struct Leaf {
    process: Running,
    /// Its port of loopback.
    pub port: u16,
}

impl Leaf {
    /// Starts `program` as the leaf.
    ///
    /// # Panics
    /// If it does not say its port.
    pub fn start(program: &Path) -> Self {
        let mut command = Command::new(program);
        command.arg(VERB).env("OTEL_SERVICE_NAME", route::LEAF);
        let process = Running::spawn(route::LEAF, &mut command);
        let mut port = None;
        wait_until(given::limit(Duration::from_secs(10)), || {
            port = process.output().lines().next().and_then(|line| line.parse().ok());
            port.is_some()
        });
        Self { process, port: port.expect("the leaf says its port") }
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// The paths that it was asked for and that belong to no single request, in their order.
    pub fn beside(&self) -> Vec<String> {
        self.process.output().lines().skip(1).map(str::to_owned).collect()
    }
}
