//! Concurrent requests, each with an id that no other request has.
//!
//! In: [`Load`]. Out: an [`Answer`] for each request, with its status and the time in which it was under way.

use std::{
    collections::BTreeMap,
    io,
    net::SocketAddr,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use crate::http::{self, Connection, Request};

/// No answer takes longer, unless another limit is set.
const LIMIT: Duration = Duration::from_secs(60);

/// Requests to one server.
#[derive(Clone, Debug)]
pub struct Load {
    /// The server.
    pub server: SocketAddr,
    /// How long an answer may take.
    pub limit: Duration,
    /// The method.
    pub method: &'static str,
    /// The path; `{}` stands for the id.
    pub path: &'static str,
    /// The same headers for each.
    pub headers: Vec<(String, String)>,
    /// Connections at a time, a thread each.
    pub concurrency: usize,
    /// Each connection carries many requests, one after the other; otherwise one.
    pub keep: bool,
    /// So many requests are sent on a connection before the first answer is read.
    pub depth: usize,
}

/// What came of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The request's id.
    pub id: String,
    /// The response's status; `None` if there was no response.
    pub status: Option<u16>,
    /// Before the first byte was sent, nanoseconds since the Unix epoch.
    pub start: u64,
    /// After the last byte was read.
    pub end: u64,
}

impl Load {
    /// GET requests one after the other on one kept connection.
    pub fn get(port: u16, path: &'static str) -> Self {
        Self {
            server: http::loopback(port),
            limit: LIMIT,
            method: "GET",
            path,
            headers: Vec::new(),
            concurrency: 1,
            keep: true,
            depth: 1,
        }
    }

    /// To this server instead.
    #[must_use]
    pub fn to(self, server: SocketAddr) -> Self {
        Self { server, ..self }
    }

    /// With so much time for an answer.
    #[must_use]
    pub fn within(self, limit: Duration) -> Self {
        Self { limit, ..self }
    }

    /// POST requests one after the other on one kept connection.
    pub fn post(port: u16, path: &'static str) -> Self {
        Self { method: "POST", ..Self::get(port, path) }
    }

    /// With so many connections.
    #[must_use]
    pub fn at(self, concurrency: usize) -> Self {
        Self { concurrency, ..self }
    }

    /// With a connection for each request.
    #[must_use]
    pub fn connecting(self) -> Self {
        Self { keep: false, ..self }
    }

    /// With so many requests in a row before the first answer is read (pipelining).
    #[must_use]
    pub fn pipelined(self, depth: usize) -> Self {
        Self { depth, ..self }
    }

    /// With one more header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Makes `total` requests and waits for all answers.
    pub fn run(&self, total: usize) -> Vec<Answer> {
        let left = AtomicUsize::new(total);
        self.run_while(&|| {
            left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1)).is_ok()
        })
    }

    /// Makes requests until `stop` is set, and waits for the last answers.
    pub fn run_until(&self, stop: &AtomicBool) -> Vec<Answer> {
        self.run_while(&|| !stop.load(Ordering::Relaxed))
    }

    fn run_while(&self, more: &(dyn Fn() -> bool + Sync)) -> Vec<Answer> {
        thread::scope(|scope| {
            let threads: Vec<_> =
                (0..self.concurrency).map(|_| scope.spawn(move || self.connection(more))).collect();
            threads.into_iter().flat_map(|thread| thread.join().expect("a client does not panic")).collect()
        })
    }

    /// What one thread does.
    fn connection(&self, more: &dyn Fn() -> bool) -> Vec<Answer> {
        let mut answers = Vec::new();
        let mut connection = None;
        loop {
            let before = answers.len();
            while answers.len() < before + self.depth && more() {
                answers.push(Answer { id: next_id(), status: None, start: now(), end: 0 });
            }
            let batch = &mut answers[before..];
            if batch.is_empty() {
                return answers;
            }
            // What is left without an answer has no status, whatever the cause.
            let _ = self.exchange(&mut connection, batch);
            batch.iter_mut().filter(|answer| answer.status.is_none()).for_each(|answer| answer.end = now());
        }
    }

    /// Sends the requests of `batch` in a row, then reads their answers.
    fn exchange(&self, kept: &mut Option<Connection>, batch: &mut [Answer]) -> io::Result<()> {
        let mut connection = match kept.take() {
            Some(connection) => connection,
            None => Connection::open_at(self.server, self.limit)?,
        };
        for answer in batch.iter_mut() {
            let path = self.path.replace("{}", &answer.id);
            let request =
                Request { method: self.method, path: &path, headers: &self.headers, keep: self.keep };
            connection.send(&request)?;
        }
        for answer in batch {
            let response = connection.receive()?;
            (answer.status, answer.end) = (Some(response.status), now());
            if response.closes || !self.keep {
                return Ok(());
            }
        }
        *kept = Some(connection);
        Ok(())
    }
}

/// An id that no other request of this test run has.
pub fn next_id() -> String {
    static NEXT: AtomicUsize = AtomicUsize::new(1);
    format!("r{}x", NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Nanoseconds since the Unix epoch.
pub fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

/// How many answers have this status.
pub fn count(answers: &[Answer], status: u16) -> usize {
    answers.iter().filter(|answer| answer.status == Some(status)).count()
}

/// How many answers have which status, for people.
pub fn statuses(answers: &[Answer]) -> String {
    let mut counts = BTreeMap::new();
    answers.iter().for_each(|answer| *counts.entry(answer.status).or_insert(0) += 1);
    let line = |(status, count): (Option<u16>, usize)| match status {
        Some(status) => format!("{count} x {status}"),
        None => format!("{count} without an answer"),
    };
    counts.into_iter().map(line).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        collections::BTreeSet,
        io::{BufRead, BufReader, Write},
        net::TcpListener,
    };

    #[test]
    fn every_request_is_one_of_its_kind() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        thread::spawn(move || {
            for stream in listener.incoming() {
                thread::spawn(move || {
                    let mut stream = stream.unwrap();
                    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
                    while let Some(Ok(line)) = lines.next() {
                        if line.is_empty() {
                            stream.write_all(b"HTTP/1.1 201 Made\r\nContent-Length: 1\r\n\r\nx").unwrap();
                        }
                    }
                });
            }
        });
        let get = || Load::get(port, "/a/{}").at(3);
        for load in [Load::post(port, "/a/{}").at(4), get().connecting(), get().pipelined(4)] {
            let answers = load.run(20);
            let ids: BTreeSet<_> = answers.iter().map(|a| &a.id).collect();
            assert_eq!((answers.len(), ids.len(), count(&answers, 201)), (20, 20, 20));
            assert!(answers.iter().all(|a| a.start <= a.end));
        }
    }
}
