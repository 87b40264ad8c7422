//! Connections that become, or are from the start, something else than HTTP/1: what is told of them, and what is
//! counted.

use sockspan_tests::{
    pair::{Ends, Pair},
    span::Kind,
};

use crate::{
    told::Told,
    watched::{OK, Watched},
};

/// What looks like an exchange, on a connection that speaks no HTTP any more.
fn disguised(watched: &mut Watched, ends: Ends) {
    for n in 0..3 {
        watched.ask(ends, format!("GET /disguised/{n} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes());
        watched.answer(ends, OK.as_bytes());
    }
}

/// A handshake is an exchange; what follows it is none, whatever it looks like.
#[test]
fn a_websocket() {
    let mut watched = Watched::start();
    let ends = watched.connect();
    let before = watched.plain(ends, "/socket/before");
    let request = "GET /socket HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                   Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    let response = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                    Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
    // A frame comes right behind the response, in the same call.
    let first = format!("{response}\u{1}\u{2}hi");
    let told = watched.exchange(ends, Told::get("/socket").status(101).response(0), request, &first);
    for n in 0..20u8 {
        watched.ask(ends, &[0x81, 0x85, n, 2, 3, 4, b'h', b'e', b'l', b'l', b'o']);
        watched.answer(ends, &[0x81, 0x05, b'h', b'e', b'l', b'l', b'o']);
    }
    disguised(&mut watched, ends);
    watched.close(ends);
    let after = watched.plain_anew("/socket/after");
    watched.finish(&[before, told, after]);
}

/// A tunnel's exchange is over with the head that grants it; one that is refused leaves an HTTP connection.
#[test]
fn connect() {
    let mut watched = Watched::start();
    let ends = watched.connect();
    let request = |host: &str| format!("CONNECT {host}:443 HTTP/1.1\r\nHost: {host}:443\r\n\r\n");
    let of = |host: &str| {
        let told = Told::new("CONNECT", "").without_path().request(0).with("server.address", host);
        told.with("server.port", "443")
    };
    let refusal = "HTTP/1.1 407 Who?\r\nContent-Length: 4\r\n\r\nwho?";
    let refused = of("refused.example").status(407).response(4).error(Kind::Client, "407");
    let refused = watched.exchange(ends, refused, &request("refused.example"), refusal);
    let between = watched.plain(ends, "/connect/between");
    let granted = of("granted.example").status(200).response(0);
    let grant = "HTTP/1.1 200 Connection established\r\n\r\n";
    let granted = watched.exchange(ends, granted, &request("granted.example"), grant);
    watched.ask(ends, CLIENT_HELLO);
    disguised(&mut watched, ends);
    watched.close(ends);
    let after = watched.plain_anew("/connect/after");
    watched.finish(&[refused, between, granted, after]);
}

/// The beginning of a TLS 1.2 handshake.
const CLIENT_HELLO: &[u8] = b"\x16\x03\x01\x00\x2f\x01\x00\x00\x2b\x03\x030123456789abcdef0123456789abcdef\x00\x00\x04\x00\x2f\x00\x35\x01\x00";
const SERVER_HELLO: &[u8] =
    b"\x16\x03\x03\x00\x2c\x02\x00\x00\x28\x03\x030123456789abcdef0123456789abcdef\x00\x00\x2f\x00";

/// Passes the beginning of another protocol, in one call or in a call for each byte, and then what looks like HTTP.
fn other(watched: &mut Watched, question: &[u8], answer: &[u8]) {
    for length in [question.len(), 1] {
        let ends = watched.connect();
        for piece in question.chunks(length) {
            watched.ask(ends, piece);
        }
        for piece in answer.chunks(length) {
            watched.answer(ends, piece);
        }
        disguised(watched, ends);
        watched.close(ends);
    }
}

/// TLS is recognised by its first bytes, at both ends, and left alone.
#[test]
fn tls() {
    let mut watched = Watched::start();
    other(&mut watched, CLIENT_HELLO, SERVER_HELLO);
    watched.assert_counted("tls", 4);
    watched.assert_counted("not_http", 4);
    watched.assert_counted("http2", 0);
    let after = watched.plain_anew("/tls/after");
    watched.finish(&[after]);
}

/// HTTP/2 with prior knowledge is recognised by its preface, and left alone. Where the first call moves nothing of it
/// but what a method could begin with, that was taken for a request, which never ends.
#[test]
fn http2() {
    let mut watched = Watched::with(Pair::start(), &[], &["--max-duration", "2s"]);
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    other(&mut watched, preface, b"\0\0\0\x04\0\0\0\0\0");
    watched.assert_counted("http2", 4);
    watched.assert_counted("not_http", 4);
    watched.assert_counted("tls", 0);
    let after = watched.plain_anew("/http2/after");
    watched.assert_dropped("unfinished", 2);
    watched.assert_told(&[after]);
    watched.stop();
}

/// HTTP/2 by upgrade: the request that asks for it is told as what HTTP/1 said of it.
#[test]
fn http2_by_upgrade() {
    let mut watched = Watched::start();
    let ends = watched.connect();
    let request = "GET /h2c HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\
                   HTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n\r\n";
    let response = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n";
    let told = watched.exchange(ends, Told::get("/h2c").status(101).response(0), request, response);
    watched.ask(ends, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0");
    watched.answer(ends, b"\0\0\0\x04\0\0\0\0\0");
    disguised(&mut watched, ends);
    watched.close(ends);
    watched.finish(&[told]);
}
