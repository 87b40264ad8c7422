//! Which part of the matrix is wanted.
//!
//! In: filters. Out: the runs of a service: each starts it once and goes through routes and concurrencies.

use serde::Deserialize;

use super::{
    cell::{Style, Watcher},
    registration::Runtime,
    route::{self, Route},
};
use crate::given::Mode;

/// The concurrencies of the matrix.
const CONCURRENCIES: [usize; 4] = [1, 10, 50, 100];
/// The concurrency where another dimension is looked at.
pub const BASE: usize = 50;

/// The routes of runs that differ from the base, where time is short.
const BRIEF: [&str; 3] = ["one", "par", "shared"];

/// What a person asked for; an empty list is no filter.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Filter {
    /// Services.
    pub runtimes: Vec<String>,
    /// Client libraries.
    pub clients: Vec<String>,
    /// Routes.
    pub routes: Vec<String>,
    /// Styles of connections.
    pub styles: Vec<String>,
    /// Watchers: the agent's modes.
    pub modes: Vec<String>,
    /// Concurrencies, of the matrix or not.
    pub concurrencies: Vec<usize>,
    /// Requests for each cell; 0 leaves it to the plan.
    pub requests: usize,
    /// All cells, not only those that differ from the base in one way.
    pub full: bool,
    /// OpenTelemetry's own SDK too.
    pub reference: bool,
    /// The agent without hooks too.
    pub unhooked: bool,
    /// All modes watch the same requests: quicker, and fair to links, but not to clocks.
    pub together: bool,
    /// Runs that differ from the base go through [`BRIEF`] alone.
    pub brief: bool,
}

/// One start of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// Its client library.
    pub client: String,
    /// How connections are used.
    pub style: Style,
    /// Who watches, at the same time.
    pub watchers: Vec<Watcher>,
    /// The concurrencies to go through.
    pub concurrencies: Vec<usize>,
    /// The routes to go through at each.
    pub routes: Vec<Route>,
}

fn wanted(list: &[String], word: &str) -> bool {
    list.is_empty() || list.iter().any(|other| other == word)
}

impl Filter {
    /// Whether this service is wanted.
    pub fn wants(&self, runtime: &str) -> bool {
        wanted(&self.runtimes, runtime)
    }

    /// The runs of `runtime`.
    ///
    /// Without filters, and unless all is wanted, each run differs from the base (the first client, kept connections,
    /// 50 at a time) in one way at most.
    pub fn runs(&self, runtime: &Runtime) -> Vec<Run> {
        let registration = &runtime.registration;
        let routes: Vec<_> = registration
            .routes
            .iter()
            .filter(|name| wanted(&self.routes, name))
            .filter_map(|name| route::find(name))
            .collect();
        let mut runs = Vec::new();
        for watchers in self.watchers(runtime) {
            for (number, client) in registration.clients().into_iter().enumerate() {
                for style in registration.styles() {
                    if !wanted(&self.clients, &client) || !wanted(&self.styles, style.text()) {
                        continue;
                    }
                    let other_client = number > 0 && self.clients.is_empty();
                    let other_style = style != Style::Pool && self.styles.is_empty();
                    let ways = usize::from(other_client) + usize::from(other_style);
                    let concurrencies = self.concurrencies(ways);
                    let brief = |route: &&Route| !self.brief || ways == 0 || BRIEF.contains(&route.name);
                    let routes: Vec<_> = routes.iter().filter(brief).copied().collect();
                    if !concurrencies.is_empty() && !routes.is_empty() {
                        let client = client.clone();
                        runs.push(Run { client, style, watchers: watchers.clone(), concurrencies, routes });
                    }
                }
            }
        }
        runs
    }

    /// The concurrencies of a run that differs from the base in so many ways already.
    fn concurrencies(&self, ways: usize) -> Vec<usize> {
        match (self.concurrencies.is_empty(), self.full) {
            (false, true) => self.concurrencies.clone(),
            (false, false) if ways <= 1 => self.concurrencies.clone(),
            (true, true) => CONCURRENCIES.to_vec(),
            (true, false) if ways == 0 => CONCURRENCIES.to_vec(),
            (true, false) if ways == 1 => vec![BASE],
            _ => Vec::new(),
        }
    }

    /// Who watches in one run, run by run.
    fn watchers(&self, runtime: &Runtime) -> Vec<Vec<Watcher>> {
        let modes = [Mode::Sock, Mode::Syscalls].into_iter().filter(|mode| wanted(&self.modes, mode.text()));
        let mut agents: Vec<_> = modes.map(Watcher::Agent).collect();
        if self.unhooked {
            let unhooked = |watcher: &Watcher| match watcher {
                Watcher::Agent(mode) => Some(Watcher::Unhooked(*mode)),
                _ => None,
            };
            agents.extend(agents.clone().iter().filter_map(unhooked));
        }
        let mut runs = match self.together {
            true => vec![agents],
            false => agents.into_iter().map(|agent| vec![agent]).collect(),
        };
        if self.reference && runtime.reference.is_some() {
            runs.push(vec![Watcher::Reference]);
        }
        runs
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::services::Program;

    fn runtime() -> Runtime {
        let list = serde_json::json!({ "program": "/p", "arguments": [], "folder": "/f" });
        let registration =
            r#"{"name": "a", "clients": ["x", "y"], "routes": ["one", "seq", "unknown"], "job": false}"#;
        Runtime {
            program: Program::from_entry("a", &list).unwrap(),
            reference: None,
            registration: serde_json::from_str(registration).unwrap(),
        }
    }

    fn cells(filter: &Filter) -> (usize, usize) {
        let runs = filter.runs(&runtime());
        (runs.len(), runs.iter().map(|run| run.concurrencies.len() * run.routes.len()).sum())
    }

    #[test]
    fn each_run_differs_from_the_base_in_one_way() {
        // The base at four concurrencies, three other styles, one other client; two routes, two modes.
        assert_eq!(cells(&Filter::default()), (2 * 5, 2 * 2 * (4 + 3 + 1)));
        assert_eq!(cells(&Filter { together: true, ..Filter::default() }), (5, 2 * (4 + 3 + 1)));
        assert_eq!(cells(&Filter { brief: true, ..Filter::default() }), (2 * 5, 2 * (2 * 4 + 3 + 1)));
        assert_eq!(cells(&Filter { full: true, ..Filter::default() }), (2 * 2 * 4, 2 * 2 * 4 * 4 * 2));
    }

    #[test]
    fn what_is_asked_for_is_no_difference() {
        let words = |list: &[&str]| list.iter().map(|&word| word.to_owned()).collect();
        let filter = Filter {
            clients: words(&["y"]),
            styles: words(&["new"]),
            concurrencies: vec![7],
            modes: words(&["sock"]),
            routes: words(&["seq"]),
            ..Filter::default()
        };
        let runs = filter.runs(&runtime());
        assert_eq!(runs.len(), 1);
        assert_eq!((runs[0].client.as_str(), runs[0].style, runs[0].routes.len()), ("y", Style::New, 1));
        assert!(Filter { styles: words(&["job"]), ..filter }.runs(&runtime()).is_empty());
    }
}
