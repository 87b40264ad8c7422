//! A client for plain HTTP on this machine: short requests with their answers as text.
//!
//! In: a port or root, and a path. Out: status and body.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use ureq::Agent;

/// A client that keeps connections and takes every status as an answer.
pub fn client(timeout: Duration) -> Agent {
    let config = Agent::config_builder()
        .timeout_global(Some(timeout))
        .http_status_as_error(false)
        .max_idle_connections_per_host(64)
        .user_agent("sockspan-xtask");
    config.build().into()
}

/// GETs `path` from `port` on loopback; any status but 200 is an error.
pub fn get(port: u16, path: &str) -> Result<String> {
    get_from(&loopback(port), path)
}

/// The root of what `port` on loopback serves.
pub fn loopback(port: u16) -> String {
    format!("http://127.0.0.1:{port}")
}

/// GETs `path` below `root`; any status but 200 is an error.
pub fn get_from(root: &str, path: &str) -> Result<String> {
    let url = format!("{root}{path}");
    let mut answer =
        client(Duration::from_secs(10)).get(&url).call().with_context(|| format!("GET {url}"))?;
    let status = answer.status().as_u16();
    let body = answer.body_mut().with_config().limit(256 << 20).read_to_string();
    let body = body.with_context(|| format!("GET {url}"))?;
    if status != 200 {
        bail!("GET {url} was answered {status}: {}", body.trim());
    }
    Ok(body)
}
