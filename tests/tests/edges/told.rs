//! What must be told of an exchange.
//!
//! In: what both ends did. Out: nothing, or a panic that names the span and what it says falsely.

use sockspan_tests::{
    actor::Moment,
    span::{Kind, Span},
};

/// Readings of two clocks differ by so much, and what they are steered by is followed so slowly, in nanoseconds.
const CLOCKS: u64 = 2_000_000;

/// One end of an exchange.
#[derive(Clone, Copy, Debug)]
pub struct End {
    kind: Kind,
    /// `error.type`; empty for none.
    error: &'static str,
    /// The process; 0 for whichever.
    pid: u32,
}

/// An exchange, as its spans must tell it.
#[derive(Clone, Debug)]
pub struct Told {
    method: String,
    path: String,
    /// The path as the client's span has it.
    asked: String,
    status: Option<u16>,
    request: Option<u64>,
    response: Option<u64>,
    ends: Vec<End>,
    apart: bool,
    began: Option<Moment>,
    ended: Option<Moment>,
    more: Vec<(&'static str, String)>,
}

impl Told {
    /// An exchange that both ends tell, the server's span under the client's; no size is told, and no status.
    pub fn new(method: &str, path: &str) -> Self {
        Self {
            method: method.to_owned(),
            path: path.to_owned(),
            asked: path.to_owned(),
            status: None,
            request: None,
            response: None,
            ends: [Kind::Client, Kind::Server].map(|kind| End { kind, error: "", pid: 0 }).to_vec(),
            apart: false,
            began: None,
            ended: None,
            more: Vec::new(),
        }
    }

    /// A GET without a body.
    pub fn get(path: &str) -> Self {
        Self::new("GET", path).request(0)
    }

    /// The status code.
    #[must_use]
    pub fn status(self, status: u16) -> Self {
        Self { status: Some(status), ..self }
    }

    /// The size of the request's body.
    #[must_use]
    pub fn request(self, size: u64) -> Self {
        Self { request: Some(size), ..self }
    }

    /// The size of the response's body.
    #[must_use]
    pub fn response(self, size: u64) -> Self {
        Self { response: Some(size), ..self }
    }

    /// The client's span has a URL without a path, or none.
    #[must_use]
    pub fn without_path(self) -> Self {
        Self { asked: "/".to_owned(), ..self }
    }

    /// Each end is the root of a trace of its own.
    #[must_use]
    pub fn apart(self) -> Self {
        Self { apart: true, ..self }
    }

    /// This end's span says `error.type`.
    #[must_use]
    pub fn error(mut self, kind: Kind, error: &'static str) -> Self {
        self.ends.iter_mut().filter(|end| end.kind == kind).for_each(|end| end.error = error);
        self
    }

    /// Both ends' spans say `error.type`.
    #[must_use]
    pub fn errors(self, error: &'static str) -> Self {
        self.error(Kind::Client, error).error(Kind::Server, error)
    }

    /// This end is told as this process's.
    #[must_use]
    pub fn by(mut self, kind: Kind, pid: u32) -> Self {
        self.ends.iter_mut().filter(|end| end.kind == kind).for_each(|end| end.pid = pid);
        self
    }

    /// The first byte of the request passed then.
    #[must_use]
    pub fn began(self, moment: Moment) -> Self {
        Self { began: Some(moment), ..self }
    }

    /// The exchange was over then.
    #[must_use]
    pub fn ended(self, moment: Moment) -> Self {
        Self { ended: Some(moment), ..self }
    }

    /// Both spans have this attribute.
    #[must_use]
    pub fn with(mut self, key: &'static str, value: &str) -> Self {
        self.more.push((key, value.to_owned()));
        self
    }

    /// How many spans tell it.
    pub fn spans(&self) -> usize {
        self.ends.len()
    }

    /// Takes its spans out of `spans`; what each of them says is right.
    pub fn assert(&self, what: &str, spans: &mut Vec<Span>) {
        let mut client = None;
        for end in &self.ends {
            let path = if end.kind == Kind::Client { &self.asked } else { &self.path };
            let is_mine =
                |span: &Span| (span.kind, span.path(), span.status()) == (end.kind, path, self.status);
            let Some(at) = spans.iter().position(is_mine) else {
                let all: Vec<_> = spans.iter().map(Span::line).collect();
                panic!(
                    "{what}: no {:?} span of {} {path} -> {:?}: {all:#?}",
                    end.kind, self.method, self.status
                );
            };
            let span = spans.remove(at);
            self.assert_said(what, end, &span);
            self.assert_times(what, &span);
            let above = client.as_ref().filter(|_| !self.apart);
            let parent = above.map(|client: &Span| (&client.trace, &client.id));
            let expected = parent.map_or((&span.trace, &[][..]), |(trace, id)| (trace, id));
            assert_eq!((&span.trace, &span.parent[..]), expected, "{what}: the parent of {}", span.line());
            client = client.or(Some(span));
        }
    }

    fn assert_said(&self, what: &str, end: &End, span: &Span) {
        let size = |size: Option<u64>| size.map_or(String::new(), |size| size.to_string());
        let mut expected = vec![
            ("http.request.method", self.method.clone()),
            ("http.response.status_code", self.status.map_or(String::new(), |status| status.to_string())),
            ("http.request.body.size", size(self.request)),
            ("http.response.body.size", size(self.response)),
            ("error.type", end.error.to_owned()),
        ];
        expected.extend(self.more.iter().cloned());
        for (key, value) in expected {
            assert_eq!(span.attribute(key), value, "{what}: {key} of {}: {:?}", span.line(), span.attributes);
        }
        assert_eq!(span.error, !end.error.is_empty(), "{what}: {}", span.line());
        let pid = span.resource.get("process.pid").and_then(|pid| pid.parse().ok());
        assert!(end.pid == 0 || pid == Some(end.pid), "{what}: {} of {pid:?}, not {}", span.line(), end.pid);
    }

    fn assert_times(&self, what: &str, span: &Span) {
        for (name, moment, time) in [("begins", self.began, span.start), ("ends", self.ended, span.end)] {
            let Some(moment) = moment else { continue };
            let lies = time + CLOCKS >= moment.from && time <= moment.to + CLOCKS;
            let off = |from: u64| (i128::from(time) - i128::from(from)) / 1_000;
            assert!(
                lies,
                "{what}: {} {name} {} us after the earliest and {} us after the latest moment",
                span.line(),
                off(moment.from),
                off(moment.to)
            );
        }
    }
}
