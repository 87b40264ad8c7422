//! What `/status` tells of Kubernetes.

use std::time::SystemTime;

use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};

use super::{Kubernetes, cache::Health};
use crate::metrics::{Label as _, Watched};

/// `starting`, `synced`, or `failing` with what was known before.
fn state(health: &[Health; 2]) -> &'static str {
    let failing = health.iter().any(|one| one.trouble.is_some());
    match (health.iter().all(|one| one.synced.is_some()), failing) {
        (true, false) => "synced",
        (true, true) => "stale",
        (false, true) => "failing",
        (false, false) => "starting",
    }
}

fn time(at: SystemTime) -> Option<String> {
    Some(Timestamp::try_from(at).ok()?.strftime("%FT%TZ").to_string())
}

impl Kubernetes {
    /// The section of `/status`.
    pub fn status(&self) -> Value {
        let health = [Watched::Pods, Watched::Namespaces].map(|what| self.cache.health(what));
        let synced = health.iter().map(|one| one.synced).min().flatten();
        let watches = Watched::ALL.iter().zip(&health).map(|(what, one)| {
            let trouble = one.trouble.as_ref().map(|trouble| trouble.text.as_str());
            (what.text().to_owned(), json!({"answers": one.answers, "trouble": trouble}))
        });
        let mut api: serde_json::Map<String, Value> = watches.collect();
        api.insert("server".into(), self.link.server().into());
        json!({
            "state": state(&health),
            "node": self.link.node,
            "synced_at": synced.and_then(time),
            "api": api,
            "pods": self.cache.len(Watched::Pods),
            "namespaces": self.cache.len(Watched::Namespaces),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{kubernetes::trouble::Trouble, metrics::WatchError};

    #[test]
    fn states() {
        let trouble = || Some(Trouble { reason: WatchError::Unreachable, text: String::new() });
        let health = |synced: bool, failing: bool| Health {
            synced: synced.then(SystemTime::now),
            trouble: failing.then(trouble).flatten(),
            answers: 0,
        };
        for (pods, namespaces, expected) in [
            ((false, false), (false, false), "starting"),
            ((true, false), (false, false), "starting"),
            ((true, false), (true, false), "synced"),
            ((true, true), (true, false), "stale"),
            ((true, false), (false, true), "failing"),
        ] {
            assert_eq!(state(&[health(pods.0, pods.1), health(namespaces.0, namespaces.1)]), expected);
        }
        assert_eq!(time(SystemTime::UNIX_EPOCH).as_deref(), Some("1970-01-01T00:00:00Z"));
    }
}
