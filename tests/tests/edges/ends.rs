//! Connections that end early: by one half, by a reset, by a client that goes away, or not at all.

use sockspan_tests::{
    pair::{Ends, Pair},
    span::Kind,
};

use crate::{
    told::Told,
    watched::{OK, Watched},
};

/// Half of a response whose length is known, and half of a chunked one.
const HALVES: [(&str, &str); 2] = [
    ("length", "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nhalf of it"),
    ("chunked", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n5\r\nwo"),
];

const CLOSED: &str = "connection_closed";

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n")
}

/// A client that says that it sends no more, and reads the answer.
#[test]
fn a_client_that_ends_its_half() {
    let mut watched = Watched::start();
    let mut told = Vec::new();
    for (name, response, size) in [("length", OK, 2), ("close", "HTTP/1.1 200 OK\r\n\r\nuntil close", 11)] {
        let ends = watched.connect();
        let path = format!("/half/{name}");
        let began = watched.ask(ends, get(&path).as_bytes());
        watched.client.end(ends.client);
        assert_eq!(watched.server.receive_end(ends.server).result, 0, "the end of the client's half");
        let answered = watched.answer(ends, response.as_bytes());
        let closed = watched.server.close(ends.server);
        let seen = watched.client.receive_end(ends.client);
        assert_eq!(seen.result, 0, "the end of the stream");
        watched.client.close(ends.client);
        let ended = if name == "close" { closed.until(seen.moment) } else { answered };
        told.push(Told::get(&path).status(200).response(size).began(began).ended(ended));
    }
    watched.finish(&told);
}

/// A server that ends its half behind a response without a length, and closes only later.
#[test]
fn a_server_that_ends_its_half() {
    let mut watched = Watched::start();
    let ends = watched.connect();
    let began = watched.ask(ends, get("/half/server").as_bytes());
    watched.answer(ends, b"HTTP/1.1 200 OK\r\n\r\n");
    watched.answer(ends, b"until the end");
    let ended = watched.server.end(ends.server);
    let seen = watched.client.receive_end(ends.client);
    assert_eq!(seen.result, 0, "the end of the stream");
    let told =
        Told::get("/half/server").status(200).response(13).began(began).ended(ended.until(seen.moment));
    watched.assert_told(&[told]);
    watched.close(ends);
    watched.finish(&[]);
}

/// Begins a response and does not end it.
fn half(watched: &mut Watched, name: &str, response: &str) -> (Ends, Told) {
    let ends = watched.connect();
    let path = format!("/broken/{name}");
    let began = watched.ask(ends, get(&path).as_bytes());
    watched.answer(ends, response.as_bytes());
    (ends, Told::get(&path).status(200).errors(CLOSED).began(began))
}

/// A server that resets the connection in the middle of a response.
#[test]
fn a_reset_in_the_middle_of_a_response() {
    let mut watched = Watched::start();
    let mut told = Vec::new();
    for (name, response) in HALVES {
        let (ends, half) = half(&mut watched, name, response);
        let reset = watched.server.reset(ends.server);
        let seen = watched.client.receive_end(ends.client);
        assert!(seen.result < 0, "the client is told of the reset");
        watched.client.close(ends.client);
        told.push(half.ended(reset.until(seen.moment)));
    }
    told.push(watched.plain_anew("/broken/after"));
    watched.finish(&told);
}

/// A server that closes in the middle of a response.
#[test]
fn a_close_in_the_middle_of_a_response() {
    let mut watched = Watched::start();
    let mut told = Vec::new();
    for (name, response) in HALVES {
        let (ends, half) = half(&mut watched, name, response);
        let closed = watched.server.close(ends.server);
        let seen = watched.client.receive_end(ends.client);
        assert_eq!(seen.result, 0, "the end of the stream");
        watched.client.close(ends.client);
        told.push(half.ended(closed.until(seen.moment)));
    }
    watched.finish(&told);
}

/// A large body, whose middle no event tells of, is broken off: it ends when it does, without a size.
#[test]
fn a_large_body_that_is_broken_off() {
    let mut watched = Watched::start();
    let mut told = Vec::new();
    for end in ["reset", "close"] {
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", 1 << 30);
        let (ends, half) = half(&mut watched, &format!("large/{end}"), &head);
        let bytes = 50 << 20;
        watched.client.begin(&format!("recv {} {bytes}", ends.client.number()));
        watched.server.perform(&format!("pour {} {bytes}", ends.server.number()));
        watched.client.done();
        let closed = match end {
            "reset" => watched.server.reset(ends.server),
            _ => watched.server.close(ends.server),
        };
        let seen = watched.client.receive_end(ends.client);
        assert!(seen.result <= 0, "the rest does not come");
        watched.client.close(ends.client);
        told.push(half.ended(closed.until(seen.moment)));
    }
    watched.finish(&told);
}

/// A client that goes away in the middle of a response; the server notices when it writes, and closes.
#[test]
fn a_client_that_goes_away_in_the_middle_of_a_response() {
    let mut watched = Watched::start();
    let mut told = Vec::new();
    for (name, response) in HALVES {
        let (ends, half) = half(&mut watched, name, response);
        let closed = watched.client.close(ends.client);
        assert_eq!(watched.server.receive_end(ends.server).result, 0, "the client's end");
        let left = watched.server.close(ends.server);
        told.push(half.ended(closed.until(left)));
    }
    watched.finish(&told);
}

/// A client that goes away before there is a response.
#[test]
fn a_client_that_goes_away_before_the_response() {
    let mut watched = Watched::start();
    let mut told = Vec::new();
    for way in ["close", "reset"] {
        let ends = watched.connect();
        let path = format!("/gone/{way}");
        let began = watched.ask(ends, get(&path).as_bytes());
        let gone = match way {
            "close" => watched.client.close(ends.client),
            _ => watched.client.reset(ends.client),
        };
        assert!(watched.server.receive_end(ends.server).result <= 0, "the client's end");
        let left = watched.server.close(ends.server);
        told.push(Told::get(&path).errors(CLOSED).began(began).ended(gone.until(left)));
    }
    watched.finish(&told);
}

/// A client that goes away in the middle of its request: of a head nothing is told, for nothing is known; of a body the
/// exchange is, without a size.
#[test]
fn a_client_that_goes_away_in_the_middle_of_its_request() {
    let mut watched = Watched::start();
    let head = "POST /part/head HTTP/1.1\r\nHost: a\r\nContent-Le";
    let body = "POST /part/body HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhello";
    let mut told = Vec::new();
    for request in [head, body] {
        let ends = watched.connect();
        let began = watched.ask(ends, request.as_bytes());
        let gone = watched.client.close(ends.client);
        assert_eq!(watched.server.receive_end(ends.server).result, 0, "the client's end");
        let left = watched.server.close(ends.server);
        if request == body {
            told.push(Told::new("POST", "/part/body").errors(CLOSED).began(began).ended(gone.until(left)));
        }
    }
    watched.assert_told(&told);
    watched.assert_dropped("unfinished", 2);
    watched.stop();
}

/// The response is written although the client has gone away: the server has answered, the client has no answer.
#[test]
fn a_response_to_a_client_that_has_gone_away() {
    let mut watched = Watched::start();
    let ends = watched.connect();
    let began = watched.ask(ends, get("/late").as_bytes());
    let gone = watched.client.close(ends.client);
    let answered = watched.server.send(ends.server, OK.as_bytes());
    watched.server.close(ends.server);
    let told =
        Told::get("/late").status(200).response(2).unanswered(Kind::Client).error(Kind::Client, CLOSED);
    let told = told.began(began).ended_at(Kind::Client, gone).ended_at(Kind::Server, answered);
    watched.finish(&[told]);
}

/// A process that is killed in the middle of an exchange: the kernel closes its connections, and both ends tell that.
#[test]
fn a_process_that_is_killed() {
    let mut told = Vec::new();
    let mut watched = Watched::start();
    let (ends, half) = half(&mut watched, "killed", HALVES[0].1);
    let killed = watched.server.kill();
    assert_eq!(watched.client.receive_end(ends.client).result, 0, "the end of the stream");
    let seen = watched.client.close(ends.client);
    told.push(half.ended(killed.until(seen)));
    watched.finish(&told);
}

/// A request on a connection that the server has closed meanwhile, as it happens to who keeps connections: the client
/// tells it, for no server has heard of it.
#[test]
fn a_request_that_crosses_the_close_of_a_kept_connection() {
    let mut watched = Watched::start();
    let ends = watched.connect();
    let first = watched.plain(ends, "/crossed/first");
    watched.server.close(ends.server);
    let began = watched.client.send(ends.client, get("/crossed").as_bytes());
    let seen = watched.client.receive_end(ends.client);
    assert!(seen.result <= 0, "no answer comes");
    let closed = watched.client.close(ends.client);
    let told = Told::get("/crossed").only(Kind::Client).error(Kind::Client, CLOSED);
    let again = watched.plain_anew("/crossed/again");
    watched.finish(&[first, told.began(began).ended(began.until(closed)), again]);
}

/// What a server says of its own accord is no exchange, as it does before it closes a silent connection; where the
/// connection had one, it is counted as a response without a request.
#[test]
fn a_response_that_nobody_asked_for() {
    let mut watched = Watched::start();
    let timeout = b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    let ends = watched.connect();
    watched.answer(ends, timeout);
    watched.close(ends);
    let ends = watched.connect();
    let first = watched.plain(ends, "/unasked/first");
    watched.answer(ends, timeout);
    watched.close(ends);
    let after = watched.plain_anew("/unasked/after");
    watched.assert_told(&[first, after]);
    watched.assert_dropped("request_missing", 2);
    watched.stop();
}

/// A server that never answers: what is open for longer than `max-duration` is given up, and counted, at both ends.
/// Who gives up sooner tells it.
#[test]
fn a_server_that_never_answers() {
    let mut watched = Watched::with(Pair::start(), &[], &["--max-duration", "2s"]);
    let sooner = watched.connect();
    let began = watched.ask(sooner, get("/never/sooner").as_bytes());
    let gone = watched.client.close(sooner.client);
    assert_eq!(watched.server.receive_end(sooner.server).result, 0, "the client's end");
    let left = watched.server.close(sooner.server);
    let told = Told::get("/never/sooner").errors(CLOSED).began(began).ended(gone.until(left));
    let ends = watched.connect();
    watched.ask(ends, get("/never").as_bytes());
    watched.assert_dropped("unfinished", 2);
    // What comes too late is no exchange, and the next request is one again.
    watched.answer(ends, OK.as_bytes());
    let next = watched.plain(ends, "/never/next");
    watched.close(ends);
    watched.assert_told(&[told, next]);
    watched.stop();
}

/// A response that is over before its request is: the server refuses a body that goes on for a while.
#[test]
fn a_response_before_the_end_of_its_request() {
    let mut watched = Watched::start();
    let ends = watched.connect();
    let began = watched.ask(ends, b"PUT /early HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhello");
    let ended = watched.answer(ends, b"HTTP/1.1 413 Large\r\nContent-Length: 2\r\n\r\nno");
    watched.ask(ends, b"world");
    let told = Told::new("PUT", "/early").status(413).response(2).error(Kind::Client, "413");
    let after = watched.plain(ends, "/early/after");
    watched.close(ends);
    watched.finish(&[told.began(began).ended(ended), after]);
}
