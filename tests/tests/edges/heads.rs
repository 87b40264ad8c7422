//! Heads: long ones, and such as few write.

use sockspan_tests::{
    actor::Moment,
    pair::{Ends, Pair},
};

use crate::{
    cuts::{Cut, Way, back, there},
    told::Told,
    watched::{OK, Watched},
};

/// A head of so many bytes, from its first line and what else it must have.
fn padded(first: &str, more: &str, size: usize) -> String {
    let rest = size - first.len() - more.len() - "\r\nX-Pad: \r\n\r\n".len();
    format!("{first}\r\n{more}X-Pad: {}\r\n\r\n", "p".repeat(rest))
}

/// Passes a message of any length, in calls of 16 KiB.
fn pass_long(way: Way<'_>, message: &str) -> (Moment, Moment) {
    way.pass(&message.as_bytes().chunks(16 << 10).collect::<Vec<_>>(), Cut::Both)
}

/// An exchange with heads of so many bytes, and a response body of two.
fn long(watched: &mut Watched, ends: Ends, path: &str, size: usize) -> Told {
    let request = padded(&format!("POST {path} HTTP/1.1"), "Host: a\r\nContent-Length: 2\r\n", size) + "hi";
    let response = padded("HTTP/1.1 200 OK", "Content-Length: 2\r\n", size) + "ok";
    let (began, _) = pass_long(there(watched, ends), &request);
    let (_, ended) = pass_long(back(watched, ends), &response);
    Told::new("POST", path).status(200).began(began).ended(ended)
}

const TRUNCATED: &str = "sockspan.request.truncated";

/// Heads of 8 KiB are read whole. Of longer ones the first 8 KiB are told, and no sizes, for what says where the bodies
/// end may be in the rest.
#[test]
fn heads_of_8_and_of_64_kib() {
    let mut watched = Watched::start();
    let mut told = Vec::new();
    let ends = watched.connect();
    told.push(long(&mut watched, ends, "/long/8", 8 << 10).request(2).response(2).with(TRUNCATED, ""));
    told.push(watched.plain(ends, "/long/after/8"));
    for size in [(8 << 10) + 1, 64 << 10] {
        let path = format!("/long/{size}");
        told.push(long(&mut watched, ends, &path, size).with(TRUNCATED, "true"));
        told.push(watched.plain(ends, &format!("/long/after/{size}")));
    }
    watched.close(ends);
    watched.finish(&told);
}

/// Of heads with more than 128 lines as many are read; what says where the bodies end may be in the rest.
#[test]
fn heads_of_many_lines() {
    let mut watched = Watched::start();
    let ends = watched.connect();
    let mut told = Vec::new();
    for lines in [100, 200] {
        let path = format!("/lines/{lines}");
        let pad: String = (0..lines).map(|n| format!("X-{n}: y\r\n")).collect();
        let request = format!("POST {path} HTTP/1.1\r\nHost: a\r\n{pad}Content-Length: 2\r\n\r\nhi");
        let response = format!("HTTP/1.1 200 OK\r\n{pad}Content-Length: 2\r\n\r\nok");
        let expected = Told::new("POST", &path).status(200);
        let expected = match lines {
            100 => expected.request(2).response(2).with(TRUNCATED, ""),
            _ => expected.with(TRUNCATED, "true"),
        };
        told.push(watched.exchange(ends, expected, &request, &response));
        told.push(watched.plain(ends, &format!("{path}/after")));
    }
    watched.close(ends);
    watched.finish(&told);
}

/// As much of a head as the setting says is read.
#[test]
fn heads_of_32_kib_where_that_is_the_limit() {
    let mut watched = Watched::with(Pair::start(), &[], &["--head-limit", "32KiB"]);
    let ends = watched.connect();
    let mut told = vec![
        long(&mut watched, ends, "/limit/whole", 32 << 10).request(2).response(2).with(TRUNCATED, ""),
        long(&mut watched, ends, "/limit/cut", 64 << 10).with(TRUNCATED, "true"),
    ];
    told.push(watched.plain(ends, "/limit/after"));
    watched.close(ends);
    watched.finish(&told);
}

/// Messages as few write them: a name, a request with a body of three bytes, its response with one of four.
const ODD: [[&str; 3]; 5] = [
    [
        "lf",
        "POST /odd/lf HTTP/1.1\nHost: a\nContent-Length: 3\n\nabc",
        "HTTP/1.1 200 OK\nContent-Length: 4\n\nabcd",
    ],
    [
        "blank",
        "\r\n\r\nPOST /odd/blank HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc",
        "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nabcd",
    ],
    [
        "folded",
        "POST /odd/folded HTTP/1.1\r\nHost: a\r\nX-Long: one\r\n two\r\n\tthree\r\nContent-Length: 3\r\n\r\nabc",
        "HTTP/1.1 200 OK\r\nX-Long: one\r\n two\r\nContent-Length: 4\r\n\r\nabcd",
    ],
    [
        "case",
        "POST /odd/case HTTP/1.1\r\nhOST: a\r\ncONTENT-lENGTH:3\r\n\r\nabc",
        "HTTP/1.1 200\r\ncontent-length:   4  \r\n\r\nabcd",
    ],
    [
        "twice",
        "POST /odd/twice HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
        "HTTP/1.1 200 OK\r\nContent-Length: 4, 4\r\n\r\nabcd",
    ],
];

/// Line ends without CR, lines before the first, values that go on on the next line, names in any case, spaces, lengths
/// that are said twice.
#[test]
fn heads_as_few_write_them() {
    let mut watched = Watched::start();
    let mut told = Vec::new();
    for kept in [false, true] {
        let ends = watched.connect();
        if kept {
            told.push(watched.plain(ends, "/odd/before"));
        }
        for [name, request, response] in ODD {
            let path = format!("/odd/{name}/{kept}");
            let expected = Told::new("POST", &path).status(200).request(3).response(4);
            let request = request.replace(&format!("/odd/{name}"), &path);
            told.push(watched.exchange(ends, expected.with("server.address", "a"), &request, response));
        }
        watched.close(ends);
    }
    for [name, request, response] in ODD {
        let ends = watched.connect();
        let path = format!("/odd/{name}/anew");
        let expected = Told::new("POST", &path).status(200).request(3).response(4);
        told.push(watched.exchange(
            ends,
            expected,
            &request.replace(&format!("/odd/{name}"), &path),
            response,
        ));
        watched.close(ends);
    }
    watched.finish(&told);
}

/// A connection that begins with empty lines is an HTTP connection all the same, however they come.
#[test]
fn empty_lines_before_the_first_request() {
    let mut watched = Watched::start();
    let mut told = Vec::new();
    for (name, blank) in [("one", "\r\n"), ("two", "\r\n\r\n")] {
        for method in ["GET", "OPTIONS"] {
            for (how, at) in [("whole", None), ("apart", Some(blank.len())), ("each", Some(1))] {
                let path = format!("/blank/{name}/{method}/{how}");
                let request = format!("{blank}{method} {path} HTTP/1.1\r\nHost: a\r\n\r\n").into_bytes();
                let (first, rest) = request.split_at(at.unwrap_or_default());
                let size = if how == "each" { 1 } else { request.len() };
                let ends = watched.connect();
                for piece in first.chunks(size).chain(rest.chunks(size)) {
                    watched.ask(ends, piece);
                }
                let ended = watched.answer(ends, OK.as_bytes());
                told.push(Told::new(method, &path).status(200).request(0).response(2).ended(ended));
                told.push(watched.plain(ends, &format!("{path}/after")));
                watched.close(ends);
            }
        }
    }
    watched.finish(&told);
}

/// Targets that are no path: a whole URL, as proxies get it, and the star of OPTIONS.
#[test]
fn targets_that_are_no_path() {
    let mut watched = Watched::start();
    let ends = watched.connect();
    let absolute = "GET http://user:word@elsewhere.example:8080/absolute?q=1 HTTP/1.1\r\nHost: a\r\n\r\n";
    let star = "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n";
    let of = |method, path| Told::new(method, path).status(200).request(0).response(2);
    let told = [
        watched.exchange(
            ends,
            of("GET", "/absolute").with("server.address", "elsewhere.example").with("server.port", "8080"),
            absolute,
            OK,
        ),
        watched.exchange(ends, of("OPTIONS", "*").without_path().with("server.address", "a"), star, OK),
        watched.plain(ends, "/absolute/after"),
    ];
    watched.close(ends);
    watched.finish(&told);
}

/// HTTP/1.0: the response ends with the connection, or where its length says.
#[test]
fn http_1_0() {
    let mut watched = Watched::start();
    let mut told = Vec::new();
    let kept = watched.connect();
    let request = "GET /old/length HTTP/1.0\r\nConnection: keep-alive\r\n\r\n";
    let response = "HTTP/1.0 200 OK\r\nContent-Length: 3\r\nConnection: keep-alive\r\n\r\nold";
    let of = |path| Told::get(path).status(200).response(3).with("network.protocol.version", "1.0");
    told.push(watched.exchange(kept, of("/old/length"), request, response));
    let request = "GET /old/close HTTP/1.0\r\n\r\n";
    let until_close = watched.exchange(kept, of("/old/close"), request, "HTTP/1.0 200 OK\r\n\r\nold");
    let closed = watched.server.close(kept.server);
    let seen = watched.client.receive_end(kept.client);
    assert_eq!(seen.result, 0, "the end of the stream");
    told.push(until_close.ended(closed.until(seen.moment)));
    watched.client.close(kept.client);
    watched.finish(&told);
}
