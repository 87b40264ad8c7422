//! An HTTP/1.1 client of a hundred lines: what it sends and when is known to the byte and the microsecond.
//!
//! In: requests. Out: responses, read to the end of their bodies.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

/// Nothing takes longer.
const LIMIT: Duration = Duration::from_secs(60);

/// A request.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    /// GET, POST, …
    pub method: &'a str,
    /// The target.
    pub path: &'a str,
    /// More headers.
    pub headers: &'a [(String, String)],
    /// The connection is kept after it.
    pub keep: bool,
}

/// A response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// The body.
    pub body: Vec<u8>,
    /// The server ends the connection.
    pub closes: bool,
}

/// A connection.
#[derive(Debug)]
pub struct Connection {
    reader: BufReader<TcpStream>,
    /// What the requests call the server.
    host: String,
}

impl Connection {
    /// Connects to a port of 127.0.0.1.
    ///
    /// # Errors
    /// Nobody listens.
    pub fn open(port: u16) -> io::Result<Self> {
        Self::open_at(loopback(port), LIMIT)
    }

    /// Connects to `server`; neither that nor any answer may take longer than `limit`.
    ///
    /// # Errors
    /// Nobody listens.
    pub fn open_at(server: SocketAddr, limit: Duration) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&server, limit)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(limit))?;
        let host = match server {
            local if local.ip().is_loopback() => format!("localhost:{}", local.port()),
            other => other.to_string(),
        };
        Ok(Self { reader: BufReader::new(stream), host })
    }

    /// One exchange.
    ///
    /// # Errors
    /// The connection broke, or what came is not HTTP.
    pub fn exchange(&mut self, request: &Request<'_>) -> io::Result<Response> {
        self.send(request)?;
        self.receive()
    }

    /// Sends a request in one piece.
    ///
    /// # Errors
    /// The connection broke.
    pub fn send(&mut self, request: &Request<'_>) -> io::Result<()> {
        let mut text = format!("{} {} HTTP/1.1\r\nHost: {}\r\n", request.method, request.path, self.host);
        for (name, value) in request.headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        if request.method == "POST" {
            text.push_str("Content-Length: 0\r\n");
        }
        text.push_str(if request.keep { "\r\n" } else { "Connection: close\r\n\r\n" });
        self.reader.get_mut().write_all(text.as_bytes())
    }

    /// Reads a response.
    ///
    /// # Errors
    /// The connection broke, or what came is not HTTP.
    pub fn receive(&mut self) -> io::Result<Response> {
        let first = self.line()?;
        let status =
            first.split(' ').nth(1).and_then(|word| word.parse().ok()).ok_or_else(|| not_http(&first))?;
        let (mut length, mut chunked, mut closes) = (None, false, first.starts_with("HTTP/1.0"));
        loop {
            let line = self.line()?.to_ascii_lowercase();
            let Some((name, value)) = line.split_once(':') else { break };
            match (name, value.trim()) {
                ("content-length", value) => length = Some(value.parse().map_err(|_| not_http(&line))?),
                ("transfer-encoding", value) => chunked = value.contains("chunked"),
                ("connection", value) => closes = value == "close",
                _ => {}
            }
        }
        let mut body = Vec::new();
        match length {
            _ if chunked => self.chunks(&mut body)?,
            Some(length) => self.exactly(length, &mut body)?,
            None => {
                self.reader.read_to_end(&mut body)?;
            }
        }
        Ok(Response { status, body, closes: closes || (length.is_none() && !chunked) })
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        match self.reader.read_line(&mut line)? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(line.trim_end().to_owned()),
        }
    }

    fn exactly(&mut self, length: u64, body: &mut Vec<u8>) -> io::Result<()> {
        let read = self.reader.by_ref().take(length).read_to_end(body)?;
        if read as u64 == length { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    }

    fn chunks(&mut self, body: &mut Vec<u8>) -> io::Result<()> {
        loop {
            let line = self.line()?;
            let length = u64::from_str_radix(&line, 16).map_err(|_| not_http(&line))?;
            self.exactly(length, body)?;
            if !self.line()?.is_empty() {
                return Err(not_http("a chunk without its end"));
            }
            if length == 0 {
                return Ok(());
            }
        }
    }
}

fn not_http(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("not HTTP: {what:?}"))
}

/// A port of 127.0.0.1.
pub fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

/// One GET on a connection of its own.
///
/// # Errors
/// The connection broke, or what came is not HTTP.
pub fn get(port: u16, path: &str) -> io::Result<Response> {
    get_at(loopback(port), path)
}

/// One GET to `server` on a connection of its own.
///
/// # Errors
/// The connection broke, or what came is not HTTP.
pub fn get_at(server: SocketAddr, path: &str) -> io::Result<Response> {
    Connection::open_at(server, LIMIT)?.exchange(&Request { method: "GET", path, headers: &[], keep: false })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    /// Answers each connection with the next of `answers`.
    fn server(answers: &'static [&'static str]) -> u16 {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || {
            for answer in answers {
                let (mut stream, _) = listener.accept().unwrap();
                let mut head = [0; 512];
                assert!(stream.read(&mut head).unwrap() > 0);
                stream.write_all(answer.as_bytes()).unwrap();
            }
        });
        port
    }

    #[test]
    fn bodies_end_where_they_end() {
        let port = server(&[
            "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc",
            "HTTP/1.1 500 No\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n",
            "HTTP/1.1 404 No\r\n\r\nabc",
            "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nabc",
        ]);
        let get = || get(port, "/").map(|r| (r.status, r.body, r.closes));
        assert_eq!(get().unwrap(), (200, b"abc".to_vec(), false));
        assert_eq!(get().unwrap(), (500, b"abc".to_vec(), false));
        assert_eq!(get().unwrap(), (404, b"abc".to_vec(), true));
        assert!(get().is_err());
    }
}
