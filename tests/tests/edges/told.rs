//! What must be told of an exchange.
//!
//! In: what both ends did. Out: nothing, or a panic that names the span and what it says falsely.

use std::collections::BTreeMap;

use sockspan_tests::{
    actor::Moment,
    span::{Kind, Span},
};

/// Readings of two clocks differ by so much, and what they are steered by is followed so slowly, in nanoseconds.
const CLOCKS: u64 = 2_000_000;

/// One end of an exchange.
#[derive(Clone, Debug)]
struct End {
    kind: Kind,
    path: String,
    /// The process; 0 for whichever.
    pid: u32,
    /// What its span says; empty for what it does not say.
    said: BTreeMap<&'static str, String>,
    began: Option<Moment>,
    ended: Option<Moment>,
}

const STATUS: &str = "http.response.status_code";
const REQUEST: &str = "http.request.body.size";
/// The size of the response's body.
pub const RESPONSE: &str = "http.response.body.size";
const ERROR: &str = "error.type";

/// An exchange, as its spans must tell it.
#[derive(Clone, Debug)]
pub struct Told {
    ends: Vec<End>,
    /// Each end is the root of a trace of its own.
    apart: bool,
}

impl Told {
    /// An exchange that both ends tell, the server's span under the client's; no size is told, and no status.
    pub fn new(method: &str, path: &str) -> Self {
        let nothing = [STATUS, REQUEST, RESPONSE, ERROR].map(|key| (key, String::new()));
        let mut said = BTreeMap::from(nothing);
        said.insert("http.request.method", method.to_owned());
        let end =
            |kind| End { kind, path: path.to_owned(), pid: 0, said: said.clone(), began: None, ended: None };
        Self { ends: [Kind::Client, Kind::Server].map(end).to_vec(), apart: false }
    }

    /// A GET without a body.
    pub fn get(path: &str) -> Self {
        Self::new("GET", path).request(0)
    }

    fn each(mut self, change: impl Fn(&mut End)) -> Self {
        self.ends.iter_mut().for_each(change);
        self
    }

    fn one(self, kind: Kind, change: impl Fn(&mut End)) -> Self {
        self.each(|end| {
            if end.kind == kind {
                change(end);
            }
        })
    }

    /// Both spans have this attribute; empty: neither has it.
    #[must_use]
    pub fn with(self, key: &'static str, value: &str) -> Self {
        self.each(|end| drop(end.said.insert(key, value.to_owned())))
    }

    /// This end's span has this attribute; empty: it has not.
    #[must_use]
    pub fn at(self, kind: Kind, key: &'static str, value: &str) -> Self {
        self.one(kind, |end| drop(end.said.insert(key, value.to_owned())))
    }

    /// The status code.
    #[must_use]
    pub fn status(self, status: u16) -> Self {
        self.with(STATUS, &status.to_string())
    }

    /// The size of the request's body.
    #[must_use]
    pub fn request(self, size: u64) -> Self {
        self.with(REQUEST, &size.to_string())
    }

    /// The size of the response's body.
    #[must_use]
    pub fn response(self, size: u64) -> Self {
        self.with(RESPONSE, &size.to_string())
    }

    /// This end's span says what went wrong.
    #[must_use]
    pub fn error(self, kind: Kind, error: &str) -> Self {
        self.at(kind, ERROR, error)
    }

    /// Both ends' spans say what went wrong.
    #[must_use]
    pub fn errors(self, error: &str) -> Self {
        self.with(ERROR, error)
    }

    /// This end saw no response.
    #[must_use]
    pub fn unanswered(self, kind: Kind) -> Self {
        self.at(kind, STATUS, "").at(kind, RESPONSE, "")
    }

    /// The client's span has a URL without a path, or none.
    #[must_use]
    pub fn without_path(self) -> Self {
        self.one(Kind::Client, |end| "/".clone_into(&mut end.path))
    }

    /// Each end is the root of a trace of its own.
    #[must_use]
    pub fn apart(self) -> Self {
        Self { apart: true, ..self }
    }

    /// Nothing is told of the other end.
    #[must_use]
    pub fn only(mut self, kind: Kind) -> Self {
        self.ends.retain(|end| end.kind == kind);
        self.apart()
    }

    /// This end is told as this process's.
    #[must_use]
    pub fn by(self, kind: Kind, pid: u32) -> Self {
        self.one(kind, |end| end.pid = pid)
    }

    /// The first byte of the request passed then.
    #[must_use]
    pub fn began(self, moment: Moment) -> Self {
        self.each(|end| end.began = Some(moment))
    }

    /// The exchange was over then.
    #[must_use]
    pub fn ended(self, moment: Moment) -> Self {
        self.each(|end| end.ended = Some(moment))
    }

    /// To this end it was over then.
    #[must_use]
    pub fn ended_at(self, kind: Kind, moment: Moment) -> Self {
        self.one(kind, |end| end.ended = Some(moment))
    }

    /// How many spans tell it.
    pub fn spans(&self) -> usize {
        self.ends.len()
    }

    /// Takes its spans out of `spans`; what each of them says is right.
    pub fn assert(&self, what: &str, spans: &mut Vec<Span>) {
        let mut client = None;
        for end in &self.ends {
            let Some(at) = spans.iter().position(|span| end.is_told_by(span)) else {
                let all: Vec<_> = spans.iter().map(Span::line).collect();
                panic!("{what}: nothing tells {end:#?}: {all:#?}");
            };
            let span = spans.remove(at);
            end.assert_said(what, &span);
            end.assert_times(what, &span);
            let above = client.as_ref().filter(|_| !self.apart);
            let parent = above.map(|client: &Span| (&client.trace, &client.id));
            let expected = parent.map_or((&span.trace, &[][..]), |(trace, id)| (trace, id));
            assert_eq!((&span.trace, &span.parent[..]), expected, "{what}: the parent of {}", span.line());
            client = client.or(Some(span));
        }
    }
}

impl End {
    fn is_told_by(&self, span: &Span) -> bool {
        let same = span.kind == self.kind && span.path() == self.path;
        same && span.attribute(STATUS) == self.said[STATUS]
    }

    fn assert_said(&self, what: &str, span: &Span) {
        for (key, value) in &self.said {
            assert_eq!(span.attribute(key), value, "{what}: {key} of {}: {:?}", span.line(), span.attributes);
        }
        assert_eq!(span.error, !self.said[ERROR].is_empty(), "{what}: {}", span.line());
        let pid = span.resource.get("process.pid").and_then(|pid| pid.parse().ok());
        assert!(
            self.pid == 0 || pid == Some(self.pid),
            "{what}: {} of {pid:?}, not {}",
            span.line(),
            self.pid
        );
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
