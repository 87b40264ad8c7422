//! Heads: cut anywhere, long, and written as few write them.

use sockspan_tests::{
    actor::{Actor, Moment, Socket},
    pair::{Ends, Pair},
};

use crate::{
    told::Told,
    watched::{OK, Watched},
};

/// Whose calls cut a message: who writes it, who reads it, or each in turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cut {
    Both,
    Writer,
    Reader,
}

/// One way of a connection.
struct Way<'a> {
    writer: &'a mut Actor,
    from: Socket,
    reader: &'a mut Actor,
    to: Socket,
}

fn there(pair: &mut Pair, ends: Ends) -> Way<'_> {
    Way { writer: &mut pair.client, from: ends.client, reader: &mut pair.server, to: ends.server }
}

fn back(pair: &mut Pair, ends: Ends) -> Way<'_> {
    Way { writer: &mut pair.server, from: ends.server, reader: &mut pair.client, to: ends.client }
}

impl Way<'_> {
    /// Passes a message in such pieces; when its first and when its last piece passed.
    fn pass(self, pieces: &[&[u8]], cut: Cut) -> (Moment, Moment) {
        let Self { writer, from, reader, to } = self;
        let whole = pieces.concat();
        let moments: Vec<_> = match cut {
            Cut::Both => {
                let each = |piece: &&[u8]| writer.send(from, piece).until(reader.receive(to, piece.len()));
                pieces.iter().map(each).collect()
            }
            Cut::Writer => {
                let sent: Vec<_> = pieces.iter().map(|piece| writer.send(from, piece)).collect();
                let read = reader.receive(to, whole.len());
                sent.into_iter().map(|sent| sent.until(read)).collect()
            }
            Cut::Reader => {
                let sent = writer.send(from, &whole);
                pieces.iter().map(|piece| sent.until(reader.receive(to, piece.len()))).collect()
            }
        };
        (moments[0], moments[moments.len() - 1])
    }
}

/// An exchange whose messages pass in such pieces.
fn exchange(watched: &mut Watched, ends: Ends, path: &str, cut: Cut, pieces: Pieces) -> Told {
    let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n");
    let (began, _) = there(watched, ends).pass(&pieces.of(request.as_bytes()), cut);
    let (_, ended) = back(watched, ends).pass(&pieces.of(OK.as_bytes()), cut);
    Told::get(path).status(200).response(2).began(began).ended(ended)
}

/// How a message is cut.
#[derive(Clone, Copy)]
enum Pieces {
    Bytes,
    At(usize),
}

impl Pieces {
    fn of(self, whole: &[u8]) -> Vec<&[u8]> {
        match self {
            Self::Bytes => whole.chunks(1).collect(),
            Self::At(at) => {
                let (first, rest) = whole.split_at(at.min(whole.len() - 1));
                vec![first, rest]
            }
        }
    }
}

/// A call for each byte, on a new connection and on one that has had a request.
#[test]
fn a_call_for_each_byte() {
    let mut watched = Watched::start();
    let mut told = Vec::new();
    for cut in [Cut::Both, Cut::Writer, Cut::Reader] {
        let ends = watched.connect();
        for turn in ["first", "second"] {
            let path = format!("/bytes/{cut:?}/{turn}");
            told.push(exchange(&mut watched, ends, &path, cut, Pieces::Bytes));
        }
        watched.close(ends);
    }
    watched.finish(&told);
}

/// Both messages cut in two, at every place there is.
#[test]
fn two_calls_at_every_cut() {
    let mut watched = Watched::start();
    let mut told = Vec::new();
    for cut in [Cut::Both, Cut::Writer, Cut::Reader] {
        let kept = watched.connect();
        told.push(watched.plain(kept, &format!("/cut/{cut:?}/before")));
        for at in 1..OK.len() {
            let pieces = Pieces::At(at);
            told.push(exchange(&mut watched, kept, &format!("/cut/{cut:?}/kept/{at}"), cut, pieces));
            let anew = watched.connect();
            told.push(exchange(&mut watched, anew, &format!("/cut/{cut:?}/anew/{at}"), cut, pieces));
            watched.close(anew);
        }
        watched.close(kept);
    }
    watched.finish(&told);
}

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

/// Line ends without CR, lines before the first, values that go on on the next line, names in any case, spaces.
#[test]
fn heads_as_few_write_them() {
    let mut watched = Watched::start();
    let ends = watched.connect();
    let cases = [
        (
            "lf",
            "POST /odd/lf HTTP/1.1\nHost: a\nContent-Length: 3\n\nabc",
            "HTTP/1.1 200 OK\nContent-Length: 4\n\nabcd",
        ),
        (
            "blank",
            "\r\n\r\nPOST /odd/blank HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc",
            "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nabcd",
        ),
        (
            "folded",
            "POST /odd/folded HTTP/1.1\r\nHost: a\r\nX-Long: one\r\n two\r\n\tthree\r\nContent-Length: 3\r\n\r\nabc",
            "HTTP/1.1 200 OK\r\nX-Long: one\r\n two\r\nContent-Length: 4\r\n\r\nabcd",
        ),
        (
            "case",
            "POST /odd/case HTTP/1.1\r\nhOST: a\r\ncONTENT-lENGTH:3\r\n\r\nabc",
            "HTTP/1.1 200\r\ncontent-length:   4  \r\n\r\nabcd",
        ),
        (
            "twice",
            "POST /odd/twice HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
            "HTTP/1.1 200 OK\r\nContent-Length: 4, 4\r\n\r\nabcd",
        ),
    ];
    let mut told: Vec<_> = cases
        .into_iter()
        .map(|(name, request, response)| {
            let told = Told::new("POST", &format!("/odd/{name}")).status(200).request(3).response(4);
            watched.exchange(ends, told.with("server.address", "a"), request, response)
        })
        .collect();
    told.push(watched.plain(ends, "/odd/after"));
    watched.close(ends);
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
