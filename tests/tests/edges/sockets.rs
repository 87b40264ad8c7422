//! Kinds of sockets: Unix, IPv6, and IPv4 within IPv6.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use sockspan_tests::{
    actor::Address,
    child::Scratch,
    pair::{Ends, Pair},
    span::Kind,
};

use crate::{
    told::{RESPONSE, Told},
    watched::Watched,
};

/// Exchanges on a kept connection, one of them in pieces.
fn some(watched: &mut Watched, ends: Ends, name: &str) -> Vec<Told> {
    let first = watched.plain(ends, &format!("/{name}/first"));
    let path = format!("/{name}/pieces");
    let request = format!("POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello");
    let response = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
    let pass: Vec<_> = request.as_bytes().chunks(7).map(|piece| watched.ask(ends, piece)).collect();
    let back: Vec<_> = response.as_bytes().chunks(7).map(|piece| watched.answer(ends, piece)).collect();
    let told = Told::new("POST", &path).status(200).request(5).response(3);
    vec![first, told.began(pass[0]).ended(back[back.len() - 1])]
}

/// Both ends of a Unix socket are told, each in a trace of its own, without addresses.
#[test]
fn a_unix_socket() {
    let path = Scratch::new("edges.sock");
    let address = Address::Path(path.0.to_str().expect("a path of our own making").to_owned());
    let mut watched = Watched::at(&address);
    let ends = watched.connect();
    let mut told = some(&mut watched, ends, "unix");
    watched.close(ends);
    let anew = watched.connect();
    told.extend(some(&mut watched, anew, "unix/anew"));
    watched.close(anew);
    let bare = |told: Told| told.apart().with("network.peer.address", "").with("client.address", "");
    watched.finish(&told.into_iter().map(bare).collect::<Vec<_>>());
}

/// Ends of Unix sockets: a client reads the end of a response without a length, and of one that is broken off. That its
/// own process closes a socket is not seen: such a response is counted at the server, once it is given up.
#[test]
fn a_unix_socket_that_is_closed() {
    let path = Scratch::new("edges.sock");
    let address = Address::Path(path.0.to_str().expect("a path of our own making").to_owned());
    let mut watched = Watched::with(Pair::at(&address), &[], &["--max-duration", "2s"]);
    let mut told = Vec::new();
    for (path, response, error, size) in [
        ("/unix/close", "HTTP/1.1 200 OK\r\n\r\nuntil close", "", "11"),
        ("/unix/broken", "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf", "connection_closed", ""),
    ] {
        let ends = watched.connect();
        let began = watched.ask(ends, format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes());
        watched.answer(ends, response.as_bytes());
        let closed = watched.server.close(ends.server);
        let seen = watched.client.receive_end(ends.client);
        assert_eq!(seen.result, 0, "the end of the stream");
        watched.client.close(ends.client);
        let client = Told::get(path).only(Kind::Client).status(200).errors(error).with(RESPONSE, size);
        told.push(client.began(began).ended(closed.until(seen.moment)));
    }
    watched.assert_told(&told);
    watched.assert_dropped("unfinished", 2);
    watched.stop();
}

/// IPv6 is told by its addresses, and both ends in one trace.
#[test]
fn ipv6() {
    let mut watched = Watched::at(&Address::Ip(IpAddr::V6(Ipv6Addr::LOCALHOST), 0));
    let ends = watched.connect();
    let told = some(&mut watched, ends, "ipv6");
    watched.close(ends);
    let addressed = |told: Told| told.with("network.peer.address", "::1");
    watched.finish(&told.into_iter().map(addressed).collect::<Vec<_>>());
}

/// A server that listens on IPv6 takes IPv4 as well; either way of the client's to name it is told as IPv4.
#[test]
fn ipv4_within_ipv6() {
    let mut watched = Watched::at(&Address::Ip(IpAddr::V6(Ipv6Addr::UNSPECIFIED), 0));
    let Address::Ip(_, port) = watched.address else { panic!("an address of our own making") };
    let mut told = Vec::new();
    let mapped = Ipv4Addr::LOCALHOST.to_ipv6_mapped();
    for (name, ip) in [("four", IpAddr::V4(Ipv4Addr::LOCALHOST)), ("mapped", IpAddr::V6(mapped))] {
        let ends = watched.connect_to(&Address::Ip(ip, port));
        told.extend(some(&mut watched, ends, name));
        watched.close(ends);
    }
    let addressed = |told: Told| told.with("network.peer.address", "127.0.0.1");
    watched.finish(&told.into_iter().map(addressed).collect::<Vec<_>>());
}
