//! What `/status` tells: every process and why it is traced or not, every probe, every setting.

use std::{
    sync::{Arc, PoisonError},
    time::Instant,
};

use serde_json::{Value, json};

use crate::{
    capture::{Mode, Verdict},
    census::{Entries, Entry},
    kubernetes::Kubernetes,
};

use super::{gauges::Gauges, reload::Shared};

/// The status of an agent with these parts.
pub fn source(
    told: Shared,
    mode: Mode,
    verdicts: Vec<Verdict>,
    entries: Entries,
    gauges: Arc<Gauges>,
    kubernetes: Option<Kubernetes>,
) -> impl Fn() -> Value + Send + Sync + 'static {
    let started = Instant::now();
    move || {
        let mut processes: Vec<Entry> =
            entries.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect();
        processes.sort_unstable_by_key(|e| (!e.traced, e.pid));
        let (connections, exchanges) = gauges.held();
        let (settings, reload) = {
            let told = told.lock().unwrap_or_else(PoisonError::into_inner);
            (told.settings.clone(), told.reload.clone())
        };
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "uptime_seconds": started.elapsed().as_secs(),
            "mode": mode.to_string(),
            "probes": verdicts,
            "processes": processes,
            "connections": connections,
            "exchanges": exchanges,
            "kernel": gauges.kernel(),
            "kubernetes": kubernetes.as_ref().map_or_else(|| json!({"state": "off"}), Kubernetes::status),
            "reload": reload,
            "settings": settings,
        })
    }
}
