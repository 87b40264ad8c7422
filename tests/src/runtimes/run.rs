//! One run: a service is started once and goes through its routes and concurrencies, and what arrived is judged.
//!
//! In: a service and a [`Run`]. Out: an [`Outcome`] for each cell of each watcher, one more of what is beside all
//! requests, and what the watcher says was lost.

use std::{collections::HashMap, path::Path, time::Duration};

use super::{
    cell::{Cell, Outcome, Style, Watcher},
    leaf::Leaf,
    plan::Run,
    registration::{NO_CLIENT, Runtime},
    route::{self, MID, Route},
    watch::Watch,
};
use crate::{
    given,
    judge::{Request, Verdict, Weight, judge_groups},
    load::{Answer, Load},
    services::{Service, free_port},
    span::{Kind, Span},
    usage,
};

/// Requests in a row of the style `pipelined`.
const DEPTH: usize = 4;
/// A job's calls at the edges of a run, which may have begun before or ended after it.
const EDGE: usize = 3;
/// Between two concurrencies. Where exchanges of an event loop were seen to wait for each other, its links are in doubt for
/// a second; that is of the load before.
const LULL: Duration = Duration::from_millis(1500);
/// What ends so much later than the request it was started for is nobody's; so long the service goes on after the last.
const OUTLIVED: Duration = Duration::from_millis(400);
/// How long a service may take to end by itself.
const GRACE: Duration = Duration::from_secs(3);
/// What is beside all routes, in tables.
const BESIDE: &str = "(beside)";

/// The load of a cell and its answers.
struct Done {
    route: Route,
    concurrency: usize,
    answers: Vec<Answer>,
    /// What the service's processes took of the processors.
    cpu: Duration,
}

/// What a watcher saw of a run.
#[derive(Debug)]
pub struct Watched {
    /// A cell each.
    pub outcomes: Vec<Outcome>,
    /// What it says was lost.
    pub drops: String,
}

/// Performs a run with so many requests a cell; `program` is the program that is the leaf.
///
/// # Panics
/// If a service or an agent does not start, or an agent does not end well.
pub fn perform(runtime: &Runtime, run: &Run, requests: usize, program: &Path) -> Vec<Watched> {
    let leaf = Leaf::start(program);
    let mut watches: Vec<_> = run.watchers.iter().map(|watcher| Watch::new(*watcher)).collect();
    let scratch = ScratchFolder::new();
    let mid = start(runtime, run, &leaf, &watches, &scratch.0);
    for watch in &mut watches {
        watch.attach(&[mid.0.pid(), leaf.pid()], program);
    }
    let seen_from = leaf.beside().len();
    let mut done = Vec::new();
    for (place, concurrency) in run.concurrencies.iter().enumerate() {
        if place > 0 {
            std::thread::sleep(given::limit(LULL));
        }
        for route in &run.routes {
            let before = usage::of(mid.0.pid());
            let answers = load(*route, mid.0.port, run.style, *concurrency).run(requests.max(*concurrency));
            let cpu = usage::of(mid.0.pid()).saturating_sub(before);
            done.push(Done { route: *route, concurrency: *concurrency, answers, cpu });
        }
    }
    // An SDK sends what it has only while it lives; a job goes on as long as its service.
    let agents = run.watchers.iter().all(|watcher| *watcher != Watcher::Reference);
    let mid = if agents {
        std::thread::sleep(given::limit(OUTLIVED));
        drop(mid);
        None
    } else {
        Some(mid)
    };
    let paths = leaf.beside();
    let beside = |leaf| beside(&paths, seen_from, leaf);
    let watched = watches.into_iter().map(|watch| {
        let sees_leaf = watch.watcher != Watcher::Reference;
        judge(runtime, run, watch, &done, beside(sees_leaf))
    });
    let watched = watched.collect();
    drop(mid);
    watched
}

/// A folder for a service's files, gone with this value.
struct ScratchFolder(std::path::PathBuf);

impl ScratchFolder {
    fn new() -> Self {
        let folder = crate::child::scratch("mid");
        std::fs::create_dir_all(&folder).expect("the folder for temporary files can be written");
        Self(folder)
    }
}

impl Drop for ScratchFolder {
    fn drop(&mut self) {
        // What the service made there is its own; some of it may be gone already.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The service under test. It ends as a service should: some leave children behind that are killed.
struct Mid(Service);

impl Drop for Mid {
    fn drop(&mut self) {
        self.0.end(GRACE);
    }
}

fn start(runtime: &Runtime, run: &Run, leaf: &Leaf, watches: &[Watch], scratch: &Path) -> Mid {
    let mut environment = run.style.environment();
    environment.push(("NEXT", format!("http://localhost:{}", leaf.port)));
    environment.push(("SCRATCH", scratch.display().to_string()));
    environment.push(("OTEL_SERVICE_NAME", MID.to_owned()));
    if run.client != NO_CLIENT {
        environment.push(("CLIENT", run.client.clone()));
    }
    environment.extend(pairs(&runtime.registration.environment));
    let sdk = watches.iter().find(|watch| watch.watcher == Watcher::Reference);
    let reference = sdk.and_then(|watch| Some((watch, runtime.reference.as_ref()?)));
    let program = match reference {
        Some((watch, reference)) => {
            environment.extend(watch.environment());
            environment.extend(pairs(&reference.environment));
            &reference.program
        }
        None => &runtime.program,
    };
    Mid(Service::start(program, free_port(), &environment))
}

fn pairs(map: &std::collections::BTreeMap<String, String>) -> impl Iterator<Item = (&str, String)> {
    map.iter().map(|(name, value)| (name.as_str(), value.clone()))
}

fn load(route: Route, port: u16, style: Style, concurrency: usize) -> Load {
    let load = Load::get(port, route.path).at(concurrency);
    match style {
        Style::New => load.connecting(),
        Style::Pipelined => load.pipelined(DEPTH),
        _ => load,
    }
}

/// What the calls that belong to no single request must have made. A job's may lie at the edges of what was watched.
fn beside(paths: &[String], seen_from: usize, leaf: bool) -> Vec<Request> {
    let inner = seen_from + EDGE..paths.len().saturating_sub(EDGE);
    let weight = |place: usize, path: &str| match route::is_job(path) && !inner.contains(&place) {
        true => Weight::Optional,
        false => Weight::Beside,
    };
    paths.iter().enumerate().map(|(place, path)| route::beside(path, weight(place, path), leaf)).collect()
}

fn judge(runtime: &Runtime, run: &Run, watch: Watch, done: &[Done], beside: Vec<Request>) -> Watched {
    let watcher = watch.watcher;
    let leaf = watcher != Watcher::Reference;
    let mut groups: Vec<Vec<Request>> = done.iter().map(|done| done.requests(leaf)).collect();
    groups.push(beside);
    watch.settle(groups.iter().flatten().map(|request| request.expected.len()).sum());
    let (spans, drops) = watch.finish();
    let groups: Vec<&[Request]> = groups.iter().map(Vec::as_slice).collect();
    let (mut verdicts, rest) = judge_groups(&groups, &spans);
    let mut others = verdicts.pop().unwrap_or_default();
    others.add(rest);
    let cell = |route: &str, concurrency| Cell {
        runtime: runtime.registration.name.clone(),
        client: run.client.clone(),
        style: run.style,
        watcher,
        concurrency,
        route: route.to_owned(),
    };
    let outcome = |done: &Done, verdict: Verdict| Outcome {
        cell: cell(done.route.name, done.concurrency),
        promised: runtime.registration.promises(done.route.name, &run.client, run.style, watcher),
        unanswered: done.answers.iter().filter(|answer| answer.status != Some(200)).count(),
        shorter: if run.style == Style::Pipelined { None } else { done.shorter(&spans) },
        cpu: done.cpu,
        verdict,
    };
    let mut outcomes: Vec<_> =
        done.iter().zip(verdicts).map(|(done, verdict)| outcome(done, verdict)).collect();
    let most = run.concurrencies.iter().copied().max().unwrap_or(0);
    outcomes.push(Outcome {
        cell: cell(BESIDE, most),
        promised: false,
        unanswered: 0,
        shorter: None,
        cpu: Duration::ZERO,
        verdict: others,
    });
    Watched { outcomes, drops }
}

impl Done {
    /// What the requests must have made; of those that failed, whatever came.
    fn requests(&self, leaf: bool) -> Vec<Request> {
        let request = |answer: &Answer| match answer.status {
            Some(200) => self.route.request(&answer.id, 200, leaf),
            other => {
                let request = self.route.request(&answer.id, other.unwrap_or(0), leaf);
                Request { weight: Weight::Optional, ..request }
            }
        };
        self.answers.iter().map(request).collect()
    }

    /// By how much the load's clock says more than the SERVER spans, in nanoseconds: the median.
    fn shorter(&self, spans: &[Span]) -> Option<u64> {
        let took: HashMap<_, _> = self
            .answers
            .iter()
            .map(|answer| (self.route.path.replace("{}", &answer.id), answer.end - answer.start))
            .collect();
        let servers = spans.iter().filter(|span| span.kind == Kind::Server && span.service() == MID);
        let mut differences: Vec<_> = servers
            .filter_map(|span| {
                Some(took.get(span.path())?.saturating_sub(span.end.saturating_sub(span.start)))
            })
            .collect();
        differences.sort_unstable();
        differences.get(differences.len() / 2).copied()
    }
}
