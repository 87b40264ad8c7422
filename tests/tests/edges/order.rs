//! The order of messages on a connection: requests that do not wait, and pauses.

use std::{thread, time::Duration};

use sockspan_tests::{
    agent::Agent,
    given,
    pair::{Ends, Pair},
};

use crate::{
    told::Told,
    watched::{OK, Watched},
};

/// Requests that do not wait for responses.
const DEPTH: usize = 16;

fn request(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n")
}

/// A response that shows whose it is by its size.
fn response(n: usize) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {n}\r\n\r\n{}", "x".repeat(n))
}

/// Sixteen requests before the first response: each passes in a call of its own, or all in one.
fn pipeline(
    watched: &mut Watched,
    ends: Ends,
    name: &str,
    asked_at_once: bool,
    answered_at_once: bool,
) -> Vec<Told> {
    let paths: Vec<_> = (0..DEPTH).map(|n| format!("/pipeline/{name}/{n}")).collect();
    let requests: Vec<_> = paths.iter().map(|path| request(path)).collect();
    let responses: Vec<_> = (0..DEPTH).map(response).collect();
    let began: Vec<_> = if asked_at_once {
        vec![watched.ask(ends, requests.concat().as_bytes()); DEPTH]
    } else {
        requests.iter().map(|one| watched.ask(ends, one.as_bytes())).collect()
    };
    let ended: Vec<_> = if answered_at_once {
        vec![watched.answer(ends, responses.concat().as_bytes()); DEPTH]
    } else {
        responses.iter().map(|one| watched.answer(ends, one.as_bytes())).collect()
    };
    let told = |n: usize| Told::get(&paths[n]).status(200).response(n as u64).began(began[n]).ended(ended[n]);
    (0..DEPTH).map(told).collect()
}

#[test]
fn sixteen_requests_that_do_not_wait() {
    let mut watched = Watched::start();
    let mut told = Vec::new();
    for (name, asked_at_once, answered_at_once) in
        [("each", false, false), ("asked", true, false), ("answered", false, true), ("both", true, true)]
    {
        let ends = watched.connect();
        told.extend(pipeline(&mut watched, ends, &format!("{name}/anew"), asked_at_once, answered_at_once));
        told.push(watched.plain(ends, &format!("/pipeline/{name}/between")));
        told.extend(pipeline(&mut watched, ends, &format!("{name}/kept"), asked_at_once, answered_at_once));
        watched.close(ends);
    }
    watched.finish(&told);
}

/// No more than 64 requests that wait are remembered of a connection. Those beyond are counted, and so is what follows:
/// whose the responses are is not certain any more.
#[test]
fn more_requests_than_are_remembered() {
    let mut watched = Watched::start();
    let ends = watched.connect();
    let paths: Vec<_> = (0..70).map(|n| format!("/deep/{n}")).collect();
    let began: Vec<_> = paths.iter().map(|path| watched.ask(ends, request(path).as_bytes())).collect();
    let ended: Vec<_> = (0..70).map(|n| watched.answer(ends, response(n).as_bytes())).collect();
    let told = |n: usize| Told::get(&paths[n]).status(200).response(n as u64).began(began[n]).ended(ended[n]);
    let mut told: Vec<_> = (0..64).map(told).collect();
    watched.plain(ends, "/deep/after");
    watched.close(ends);
    told.push(watched.plain_anew("/deep/anew"));
    watched.assert_told(&told);
    // Of each end the first that was too many, and the six that came then.
    watched.assert_dropped("too_many", 2);
    watched.assert_dropped("stream_gap", 12);
    watched.stop();
}

fn connections(agent: &Agent) -> f64 {
    agent.metric("sockspan_tracked", &["what=\"connections\""])
}

/// A connection that is kept for longer than the agent remembers silent ones is taken up at its next request.
#[test]
fn a_connection_that_was_silent_for_longer_than_it_is_remembered() {
    let mut watched = Watched::with(Pair::start(), &[], &["--max-duration", "1s"]);
    let ends = watched.connect();
    let mut told = vec![watched.plain(ends, "/idle/first")];
    for turn in ["second", "third"] {
        watched.await_each("a connection is followed", |agent| connections(agent) > 0.5);
        watched.await_each("no connection is followed any more", |agent| connections(agent) < 0.5);
        if given::is_long() {
            thread::sleep(Duration::from_secs(150));
        }
        told.push(watched.plain(ends, &format!("/idle/{turn}")));
    }
    watched.close(ends);
    watched.finish(&told);
}

/// A pause in the middle of each message is part of the exchange.
#[test]
fn a_pause_in_the_middle_of_messages() {
    let mut watched = Watched::start();
    let ends = watched.connect();
    let pause = || thread::sleep(Duration::from_millis(700));
    let began = watched.ask(ends, b"POST /pause HTTP/1.1\r\nHost: a\r\nContent-Le");
    pause();
    watched.ask(ends, b"ngth: 5\r\n\r\nhe");
    pause();
    watched.ask(ends, b"llo");
    pause();
    let (first, rest) = OK.split_at(OK.len() - 1);
    watched.answer(ends, first.as_bytes());
    pause();
    let ended = watched.answer(ends, rest.as_bytes());
    let told = Told::new("POST", "/pause").status(200).request(5).response(2).began(began).ended(ended);
    watched.close(ends);
    watched.finish(&[told]);
}
