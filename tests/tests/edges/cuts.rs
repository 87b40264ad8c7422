//! Messages that pass in pieces, cut by who writes them, who reads them, or both.

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
pub enum Cut {
    Both,
    Writer,
    Reader,
}

/// One way of a connection.
pub struct Way<'a> {
    writer: &'a mut Actor,
    from: Socket,
    reader: &'a mut Actor,
    to: Socket,
}

/// From the client to the server.
pub fn there(pair: &mut Pair, ends: Ends) -> Way<'_> {
    Way { writer: &mut pair.client, from: ends.client, reader: &mut pair.server, to: ends.server }
}

/// From the server to the client.
pub fn back(pair: &mut Pair, ends: Ends) -> Way<'_> {
    Way { writer: &mut pair.server, from: ends.server, reader: &mut pair.client, to: ends.client }
}

impl Way<'_> {
    /// Passes a message in such pieces; when its first and when its last piece passed.
    pub fn pass(self, pieces: &[&[u8]], cut: Cut) -> (Moment, Moment) {
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
