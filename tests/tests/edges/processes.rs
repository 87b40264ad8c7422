//! Sockets that pass from process to process: by fork, by messages, and listeners that several have.

use std::time::Duration;

use sockspan_tests::{
    actor::{Actor, Address, Socket},
    child::Scratch,
    pair::{Ends, Pair},
    span::Kind,
    wait_until,
};

use crate::{
    told::Told,
    watched::{OK, Watched},
};

/// A connection is there sooner.
const PATIENCE: Duration = Duration::from_secs(10);

fn request(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n")
}

/// Two processes joined by a Unix socket: the ends of the first and of the second.
fn join(first: &mut Actor, second: &mut Actor) -> (Socket, Socket, Scratch) {
    let path = Scratch::new("edges.hand");
    let address = Address::Path(path.0.to_str().expect("a path of our own making").to_owned());
    let (listener, _) = first.listen(&address);
    let end = second.connect(&address);
    (first.accept(listener), end, path)
}

/// A child for each connection: it serves what its parent accepted, and its spans are its own.
#[test]
fn a_fork_after_accept() {
    let mut watched = Watched::start();
    let mut told = Vec::new();
    for child in 0..2 {
        let ends = watched.connect();
        let pid = watched.server.fork(ends.server);
        for turn in 0..2 {
            told.push(watched.plain(ends, &format!("/fork/{child}/{turn}")).by(Kind::Server, pid));
        }
        watched.close(ends);
        watched.server.exit();
    }
    let pid = watched.server.pid();
    told.push(watched.plain_anew("/fork/parent").by(Kind::Server, pid));
    watched.finish(&told);
}

/// The parent reads the request, a child answers it: the span is told once, as the reader's.
#[test]
fn a_fork_between_request_and_response() {
    let mut watched = Watched::start();
    let ends = watched.connect();
    let began = watched.ask(ends, request("/fork/late").as_bytes());
    watched.server.fork(ends.server);
    let ended = watched.answer(ends, OK.as_bytes());
    watched.close(ends);
    watched.server.exit();
    let pid = watched.server.pid();
    let told = Told::get("/fork/late").status(200).response(2).began(began).ended(ended);
    watched.finish(&[told.by(Kind::Server, pid)]);
}

/// Children that accept on their parent's listener.
#[test]
fn children_that_accept_for_themselves() {
    let mut watched = Watched::start();
    let mut told = Vec::new();
    for n in 0..2 {
        // Nothing that the parent needs is closed in it.
        let spare = watched.server.listen(&Address::loopback(0)).0;
        let pid = watched.server.fork(spare);
        let ends = watched.connect();
        told.push(watched.plain(ends, &format!("/prefork/{n}")).by(Kind::Server, pid));
        watched.close(ends);
        watched.server.exit();
    }
    watched.finish(&told);
}

/// A connection is accepted in one process and served in another, which got it by a message.
#[test]
fn accepted_in_one_process_and_served_in_another() {
    let (mut pair, mut worker) = (Pair::start(), Actor::start());
    let (there, here, _path) = join(&mut pair.server, &mut worker);
    let mut watched = Watched::with(pair, &[worker.pid()], &[]);
    let ends = watched.connect();
    watched.server.give(ends.server, there);
    let taken = Ends { server: worker.take(here), ..ends };
    let master = std::mem::replace(&mut watched.server, worker);
    let pid = watched.server.pid();
    let mut told = vec![watched.plain(taken, "/given/first"), watched.plain(taken, "/given/second")];
    watched.close(taken);
    watched.server = master;
    told = told.into_iter().map(|told| told.by(Kind::Server, pid)).collect();
    told.push(watched.plain_anew("/given/none"));
    watched.finish(&told);
}

/// A connection goes to another process in the middle of an exchange, and back in the middle of the next: each is told
/// as whose it was that read the request.
#[test]
fn handed_on_in_the_middle_of_an_exchange() {
    let (mut pair, mut worker) = (Pair::start(), Actor::start());
    let (there, here, _path) = join(&mut pair.server, &mut worker);
    let mut watched = Watched::with(pair, &[worker.pid()], &[]);
    let ends = watched.connect();
    let before = watched.plain(ends, "/hand/before");
    let began = watched.ask(ends, request("/hand/on").as_bytes());
    watched.server.give(ends.server, there);
    let taken = Ends { server: worker.take(here), ..ends };
    std::mem::swap(&mut watched.pair.server, &mut worker);
    let ended = watched.answer(taken, OK.as_bytes());
    let on = Told::get("/hand/on").status(200).response(2).began(began).ended(ended);
    let pid = watched.server.pid();
    let began = watched.ask(taken, request("/hand/back").as_bytes());
    watched.server.give(taken.server, here);
    std::mem::swap(&mut watched.pair.server, &mut worker);
    let back = Ends { server: watched.server.take(there), ..ends };
    let ended = watched.answer(back, OK.as_bytes());
    let returned = Told::get("/hand/back").status(200).response(2).began(began).ended(ended);
    watched.close(back);
    let master = watched.server.pid();
    watched.finish(&[before, on.by(Kind::Server, master), returned.by(Kind::Server, pid)]);
}

/// Which of the two has the connection that was just opened.
fn chosen(watched: &mut Watched, second: &mut Actor, listeners: [Socket; 2]) -> usize {
    let mut chosen = None;
    wait_until(PATIENCE, || {
        let waits = [watched.server.has_waiting(listeners[0]), second.has_waiting(listeners[1])];
        chosen = waits.iter().position(|waits| *waits);
        chosen.is_some()
    });
    chosen.expect("a connection waits at one of both")
}

/// Two processes that listen on one port: each connection is told as whose it came to be.
#[test]
fn one_port_of_two_processes() {
    let (pair, mut second) = (Pair::start(), Actor::start());
    let Address::Ip(_, port) = pair.address else { panic!("an address of our own making") };
    let listeners = [pair.listener, second.listen(&Address::loopback(port)).0];
    let pids = [pair.server.pid(), second.pid()];
    let mut watched = Watched::with(pair, &pids[1..], &[]);
    let (mut told, mut had) = (Vec::new(), [0; 2]);
    let address = watched.address.clone();
    // The kernel chooses; that one of them has none of 40 happens to nobody.
    while told.len() < 40 && (had.contains(&0) || told.len() < 8) {
        let client = watched.client.connect(&address);
        let which = chosen(&mut watched, &mut second, listeners);
        had[which] += 1;
        let path = format!("/shared/{}", told.len());
        if which == 1 {
            std::mem::swap(&mut watched.pair.server, &mut second);
        }
        let ends = Ends { client, server: watched.server.accept(listeners[which]) };
        told.push(watched.plain(ends, &path).by(Kind::Server, pids[which]));
        watched.close(ends);
        if which == 1 {
            std::mem::swap(&mut watched.pair.server, &mut second);
        }
    }
    assert!(!had.contains(&0), "both had some: {had:?}");
    watched.finish(&told);
}
