//! What a service says of itself in `tests/runtimes/FOLDER/runtime.json`.
//!
//! In: the test runner's list. Out: [`Runtime`]s with their clients, routes and promises.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::cell::{Style, Watcher};
use crate::services::{self, Application, Program};

/// Stands for the only client of a service that has no choice.
pub const NO_CLIENT: &str = "-";

/// A service that registered.
#[derive(Clone, Debug)]
pub struct Runtime {
    /// How to start it.
    pub program: Program,
    /// How to start it with OpenTelemetry's own SDK inside, where there is one that needs no code.
    pub reference: Option<Reference>,
    /// What it says of itself.
    pub registration: Registration,
}

/// A service with OpenTelemetry's own SDK inside.
#[derive(Clone, Debug)]
pub struct Reference {
    /// How to start it.
    pub program: Program,
    /// What the SDK is told.
    pub environment: BTreeMap<String, String>,
}

/// An entry of `services` in `runtime.json`. What only starts it is the test runner's business.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Registration {
    /// Unique over all folders.
    pub name: String,
    #[serde(default, rename = "program")]
    _program: Option<String>,
    #[serde(default, rename = "arguments")]
    _arguments: Vec<String>,
    /// Always in its environment.
    #[serde(default)]
    pub environment: BTreeMap<String, String>,
    /// Values of `CLIENT`; the first is tested most.
    #[serde(default)]
    clients: Vec<String>,
    /// What it can do.
    pub routes: Vec<String>,
    /// In which cells every request is complete.
    #[serde(default)]
    complete: Vec<Promise>,
    /// It has a job beside its requests.
    #[serde(default = "yes")]
    pub job: bool,
    /// It knows a largest number of connections.
    #[serde(default = "yes")]
    pub limit: bool,
}

/// A rule: all cells that fit. What it does not name fits always.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Promise {
    routes: Option<Vec<String>>,
    clients: Option<Vec<String>>,
    styles: Option<Vec<String>>,
    modes: Option<Vec<String>>,
}

fn yes() -> bool {
    true
}

impl Registration {
    /// Its client libraries, the base one first.
    pub fn clients(&self) -> Vec<String> {
        if self.clients.is_empty() { vec![NO_CLIENT.to_owned()] } else { self.clients.clone() }
    }

    /// The styles of connections that it knows.
    pub fn styles(&self) -> Vec<Style> {
        let knows = |style: &Style| match style {
            Style::Limit => self.limit,
            Style::Job => self.job,
            _ => true,
        };
        Style::ALL.into_iter().filter(knows).collect()
    }

    /// Whether each request of such a cell must be complete.
    pub fn promises(&self, route: &str, client: &str, style: Style, watcher: Watcher) -> bool {
        let fits = |list: &Option<Vec<String>>, word: &str| {
            list.as_ref().is_none_or(|list| list.iter().any(|other| other == word))
        };
        let kept = |promise: &Promise| {
            fits(&promise.routes, route)
                && fits(&promise.clients, client)
                && fits(&promise.styles, style.text())
                && fits(&promise.modes, watcher.text())
        };
        // What another makes of it, or the agent in part, is nothing that a registration promises.
        matches!(watcher, Watcher::Agent(_)) && self.complete.iter().any(kept)
    }
}

impl Runtime {
    /// All that registered, by name.
    ///
    /// # Panics
    /// If the test runner's list is missing, or a registration is not as it must be.
    pub fn all() -> Vec<Self> {
        let list: serde_json::Value = serde_json::from_str(&services::list()).expect("the list is JSON");
        let entries = list["runtimes"].as_object().expect("the list has runtimes").iter();
        entries.map(|(name, entry)| Self::new(name, entry)).collect()
    }

    fn new(name: &str, entry: &serde_json::Value) -> Self {
        let registration = Registration::deserialize(&entry["registration"])
            .unwrap_or_else(|error| panic!("the registration of {name}: {error}"));
        let reference = &entry["reference"];
        let reference = Program::from_entry(name, reference).map(|program| Reference {
            program,
            environment: BTreeMap::deserialize(&reference["environment"]).unwrap_or_default(),
        });
        Self { program: Program::find(Application::Runtimes, name), reference, registration }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::given::Mode;

    #[test]
    fn promises_are_rules() {
        let text = r#"{"name": "a", "routes": ["one", "seq"], "clients": ["x", "y"], "limit": false, "complete": [
            {"routes": ["one"]}, {"routes": ["seq"], "clients": ["y"], "styles": ["new"], "modes": ["sock"]}]}"#;
        let registration: Registration = serde_json::from_str(text).unwrap();
        let sock = Watcher::Agent(Mode::Sock);
        let promises = |route, client, watcher| registration.promises(route, client, Style::New, watcher);
        assert!(promises("one", "x", sock) && promises("seq", "y", sock));
        assert!(!promises("seq", "x", sock) && !promises("par", "y", sock));
        assert!(!promises("seq", "y", Watcher::Agent(Mode::Syscalls)));
        assert!(!registration.promises("seq", "y", Style::Pool, sock));
        assert!(!promises("one", "x", Watcher::Reference));
        assert!(!registration.styles().contains(&Style::Limit));
        assert_eq!(registration.clients()[0], "x");
        assert!(
            serde_json::from_str::<Registration>(r#"{"name": "a", "routes": [], "promises": []}"#).is_err()
        );
    }
}
