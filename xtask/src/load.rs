//! Requests to the sample application, at a steady rate whatever the answers take.
//!
//! In: the frontend's root, a rate, a duration. Out: how many were sent, and what was answered.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, mpsc},
    thread,
    time::{Duration, Instant},
};

use ureq::Agent;

use crate::{http, process};

/// How many requests may wait for their answer at a time.
const WORKERS: usize = 32;
/// A checkout takes a second; a request without an answer after this long counts as failed.
const TIMEOUT: Duration = Duration::from_secs(30);

/// What is asked of the frontend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Route {
    /// `GET /products`
    Products,
    /// `POST /checkout`
    Checkout,
}

/// What came of the requests: how many by route and status; status 0 stands for no answer.
#[derive(Clone, Debug, Default)]
pub struct Answers {
    by_status: BTreeMap<(Route, u16), u64>,
}

impl Answers {
    /// All requests.
    pub fn sent(&self) -> u64 {
        self.count(|_, _| true)
    }
    /// Requests that `wanted` says yes to.
    pub fn count(&self, wanted: impl Fn(Route, u16) -> bool) -> u64 {
        self.by_status.iter().filter(|((route, status), _)| wanted(*route, *status)).map(|(_, n)| n).sum()
    }
    fn add(&mut self, route: Route, status: u16) {
        *self.by_status.entry((route, status)).or_default() += 1;
    }
}

/// Sends `rate` requests a second for `duration`, by turns to the two routes, and waits for the last answer.
pub fn run(frontend: &str, rate: f64, duration: Duration) -> Answers {
    let answers = Arc::new(Mutex::new(Answers::default()));
    let (queue, jobs) = mpsc::channel::<Route>();
    let jobs = Arc::new(Mutex::new(jobs));
    let client = http::client(TIMEOUT);
    thread::scope(|scope| {
        for _ in 0..WORKERS {
            let (jobs, answers, client) = (jobs.clone(), answers.clone(), client.clone());
            scope.spawn(move || work(&client, frontend, &jobs, &answers));
        }
        let started = Instant::now();
        for (number, route) in (0_u32..).zip([Route::Checkout, Route::Products].into_iter().cycle()) {
            let due = Duration::from_secs_f64(f64::from(number) / rate);
            if due >= duration {
                break;
            }
            process::sleep(due.saturating_sub(started.elapsed()));
            if process::interrupted() || queue.send(route).is_err() {
                break;
            }
        }
        drop(queue);
    });
    Arc::into_inner(answers).and_then(|a| a.into_inner().ok()).unwrap_or_default()
}

fn work(client: &Agent, frontend: &str, jobs: &Mutex<mpsc::Receiver<Route>>, answers: &Mutex<Answers>) {
    loop {
        let job = jobs.lock().map(|jobs| jobs.recv());
        let Ok(Ok(route)) = job else { return };
        let status = send(client, frontend, route);
        if let Ok(mut answers) = answers.lock() {
            answers.add(route, status);
        }
    }
}

/// Sends one request and reads its answer to the end; 0 if there is none.
fn send(client: &Agent, frontend: &str, route: Route) -> u16 {
    let url = |path| format!("{frontend}{path}");
    let answer = match route {
        Route::Products => client.get(url("/products")).call(),
        Route::Checkout => client.post(url("/checkout")).send_empty(),
    };
    let read = |mut answer: ureq::http::Response<ureq::Body>| {
        answer.body_mut().read_to_vec().is_ok().then(|| answer.status().as_u16())
    };
    answer.ok().and_then(read).unwrap_or(0)
}
