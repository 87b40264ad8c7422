//! Bodies: none where one is announced, chunks with trailers, interim responses, a gigabyte each way.

use sockspan_tests::{actor::Moment, given, pair::Ends, span::Kind};

use crate::{
    told::Told,
    watched::{OK, Watched},
};

/// Responses that have no body, whatever their fields say: to HEAD, 204, 304.
#[test]
fn responses_without_the_body_they_announce() {
    let mut watched = Watched::start();
    let ends = watched.connect();
    let mut told = Vec::new();
    for (method, status, fields) in [
        ("HEAD", 200, "Content-Length: 1000\r\n"),
        ("HEAD", 200, "Transfer-Encoding: chunked\r\n"),
        ("HEAD", 404, ""),
        ("GET", 204, ""),
        ("DELETE", 204, "Transfer-Encoding: chunked\r\n"),
        ("GET", 304, "Content-Length: 1000\r\nETag: \"1\"\r\n"),
    ] {
        let path = format!("/bare/{}", told.len());
        let request = format!("{method} {path} HTTP/1.1\r\nHost: a\r\n\r\n");
        let response = format!("HTTP/1.1 {status} Words\r\n{fields}\r\n");
        let mut expected = Told::new(method, &path).request(0).response(0).status(status);
        if status == 404 {
            expected = expected.error(Kind::Client, "404");
        }
        told.push(watched.exchange(ends, expected, &request, &response));
    }
    told.push(watched.plain(ends, "/bare/after"));
    watched.close(ends);
    watched.finish(&told);
}

/// Chunks of all sizes, with extensions and trailers, both ways; then one call for each line and each chunk.
#[test]
fn chunks_with_trailers() {
    let mut watched = Watched::start();
    let ends = watched.connect();
    let lines = [
        "5;name=value\r\n",
        "hello\r\n",
        "00A\r\n",
        "0123456789\r\n",
        "0\r\n",
        "Digest: x\r\n",
        "Expires: never\r\n",
        "\r\n",
    ];
    let request =
        "POST /chunks HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\nTrailer: Digest\r\n\r\n";
    let response = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    let told = |path| Told::new("POST", path).status(200).request(15).response(15);
    let body = lines.concat();
    let whole = [request, &body, response, &body].map(str::to_owned);
    let [request, _, response, _] = &whole;
    let at_once =
        watched.exchange(ends, told("/chunks"), &format!("{request}{body}"), &format!("{response}{body}"));
    let request = request.replace("/chunks", "/chunks/each");
    let began = watched.ask(ends, request.as_bytes());
    for line in lines {
        watched.ask(ends, line.as_bytes());
    }
    watched.answer(ends, response.as_bytes());
    let moments: Vec<_> = lines.iter().map(|line| watched.answer(ends, line.as_bytes())).collect();
    let each = told("/chunks/each").began(began).ended(moments[moments.len() - 1]);
    let after = watched.plain(ends, "/chunks/after");
    watched.close(ends);
    watched.finish(&[at_once, each, after]);
}

/// Where a chunk ends in the middle of a long call, what is read of the call does not show it: the exchange ends with the
/// last chunk all the same, without a size, and the connection goes on.
#[test]
fn chunks_that_end_in_the_middle_of_calls() {
    let mut watched = Watched::start();
    let ends = watched.connect();
    let chunk = |size: usize| format!("{size:x}\r\n{}\r\n", "c".repeat(size));
    let body = [chunk(30_000), chunk(30_000), "0\r\n\r\n".to_owned()].concat();
    let (first, rest) = body.split_at(40_000);
    let began = watched.ask(ends, b"GET /hidden HTTP/1.1\r\nHost: a\r\n\r\n");
    watched.answer(ends, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    watched.answer(ends, first.as_bytes());
    let ended = watched.answer(ends, rest.as_bytes());
    let told = Told::get("/hidden").status(200).began(began).ended(ended);
    let after = watched.plain(ends, "/hidden/after");
    watched.close(ends);
    watched.finish(&[told, after]);
}

/// A client that waits to be told to go on, one that is told hints first, and one that is refused and keeps its body.
#[test]
fn interim_responses() {
    let mut watched = Watched::start();
    let ends = watched.connect();
    let head = |path: &str| {
        format!("POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n")
    };
    let went_on = Told::new("POST", "/expect").status(200).request(5).response(2);
    let began = watched.ask(ends, head("/expect").as_bytes());
    watched.answer(ends, b"HTTP/1.1 100 Continue\r\n\r\n");
    watched.ask(ends, b"hello");
    let went_on = went_on.began(began).ended(watched.answer(ends, OK.as_bytes()));
    let hints = "HTTP/1.1 103 Early Hints\r\nLink: </x.css>\r\n\r\n";
    let hinted = watched.exchange(
        ends,
        Told::get("/hints").status(200).response(2),
        "GET /hints HTTP/1.1\r\nHost: a\r\n\r\n",
        &format!("{hints}{hints}{OK}"),
    );
    let after = watched.plain(ends, "/expect/after");
    let refused = "HTTP/1.1 417 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    let told = Told::new("POST", "/expect/refused").status(417).response(0).error(Kind::Client, "417");
    let refused = watched.exchange(ends, told, &head("/expect/refused"), refused);
    watched.close(ends);
    watched.finish(&[went_on, hinted, after, refused]);
}

/// A gigabyte, or what a guest can move.
fn large() -> u64 {
    if given::is_guest() { 10 << 20 } else { 1 << 30 }
}

/// How the bytes of a large body are sent.
#[derive(Clone, Copy, Debug)]
enum By {
    Sendfile,
    Write,
}

impl By {
    fn verb(self) -> &'static str {
        match self {
            Self::Sendfile => "file",
            Self::Write => "pour",
        }
    }
}

/// Between the last byte's arrival and the return of the call that sent it, where another task takes the processor.
const DELAY: u64 = 50_000_000;

/// One of a pair sends so many bytes while the other reads them; when the last passed.
fn stream(watched: &mut Watched, ends: Ends, upload: bool, by: By, size: u64) -> Moment {
    let pair = &mut watched.pair;
    let client = (&mut pair.client, ends.client);
    let server = (&mut pair.server, ends.server);
    let ((writer, from), (reader, to)) = if upload { (client, server) } else { (server, client) };
    reader.begin(&format!("recv {} {size}", to.number()));
    let sent = writer.perform(&format!("{} {} {size}", by.verb(), from.number()));
    let read = reader.done();
    assert_eq!((sent.result, read.result), (size as i64, size as i64), "all of it arrives");
    Moment { from: sent.moment.to.min(read.moment.to) - DELAY, to: read.moment.to }
}

/// Large bodies each way have their sizes to the byte; a download lasts until its last byte, an upload until the answer.
#[test]
fn a_gigabyte_each_way() {
    let mut watched = Watched::start();
    let size = large();
    let mut told = Vec::new();
    let ends = watched.connect();
    for by in [By::Sendfile, By::Write] {
        let path = format!("/down/{by:?}");
        let began = watched.ask(ends, format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes());
        watched.answer(ends, format!("HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n").as_bytes());
        let last = stream(&mut watched, ends, false, by, size);
        told.push(Told::get(&path).status(200).response(size).began(began).ended(last));
        let path = format!("/up/{by:?}");
        let head = format!("PUT {path} HTTP/1.1\r\nHost: a\r\nContent-Length: {size}\r\n\r\n");
        let began = watched.ask(ends, head.as_bytes());
        stream(&mut watched, ends, true, by, size);
        let ended = watched.answer(ends, OK.as_bytes());
        told.push(Told::new("PUT", &path).status(200).request(size).response(2).began(began).ended(ended));
    }
    told.push(watched.plain(ends, "/large/after"));
    watched.close(ends);
    watched.finish(&told);
}
