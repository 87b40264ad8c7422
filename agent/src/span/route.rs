//! The low-cardinality part of a span's name: the route a request's path belongs to.
//!
//! In: rules the user wrote, and paths. Out: a template such as `/products/:id`, or nothing; then the span is named by
//! its method alone, for a path is never a name.
//!
//! A rule is a path of segments, the first that matches wins:
//!
//! | segment | matches |
//! |---|---|
//! | `:id`, `{id}` | any one segment that is not empty |
//! | `*` at the end | whatever is left, at least a slash |
//! | `*` elsewhere | any one segment that is not empty |
//! | anything else without `*`, `<` and `>` | itself, byte for byte |
//!
//! One slash at the end of a path is ignored. Where no rule matches and inference is switched on, segments that look
//! like values (numbers, UUIDs, hexadecimal from 16 digits, tokens that are long or have many digits or characters no one
//! puts into a route) become `:id`; a service that has [`MAX_ROUTES`] such routes gets no new ones.

use std::{
    borrow::Cow,
    collections::{HashMap, HashSet},
    str::FromStr,
    sync::Arc,
};

use super::conventions::bounded;

/// Inferred routes a service may have.
pub const MAX_ROUTES: usize = 200;
/// Services whose inferred routes are remembered.
const MAX_SERVICES: usize = 1_024;
/// Segments of an inferred route; what is deeper is `*`.
const MAX_DEPTH: usize = 8;
/// Bytes of a path that are looked at for an inferred route.
const MAX_PATH: usize = 1_024;
/// A segment longer than this is a value.
const LONG: usize = 32;
/// A segment with this many digits is a value.
const DIGITS: usize = 4;

/// What is wrong with a rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("route `{rule}`: {problem}")]
pub struct RuleError {
    rule: String,
    problem: &'static str,
}

/// A user's rule. Parse it with [`str::parse`]; it prints as it was written.
#[derive(Clone, Debug)]
pub struct Rule {
    template: Arc<str>,
    segments: Vec<Segment>,
    open: bool,
}

#[derive(Clone, Debug)]
enum Segment {
    Is(String),
    Any,
}

impl FromStr for Rule {
    type Err = RuleError;

    fn from_str(rule: &str) -> Result<Self, RuleError> {
        let fail = |problem| Err(RuleError { rule: rule.to_owned(), problem });
        let Some(path) = rule.strip_prefix('/') else {
            return fail("it must start with `/`");
        };
        if rule.contains(|c: char| c.is_whitespace() || c.is_control() || c == '?' || c == '#') {
            return fail("it is a path: no blanks, query or fragment");
        }
        let is_glob = |segment: &str| segment.contains(['*', '<', '>']) && segment != "*";
        if path.split('/').any(is_glob) {
            return fail("a segment is a text, a parameter as `:id` or `{id}`, or `*` alone");
        }
        let mut segments: Vec<&str> = trim_end(path).split('/').collect();
        let open = segments.pop_if(|last| *last == "*").is_some();
        let parse = |segment: &&str| match *segment {
            ":" | "{}" => None,
            "*" => Some(Segment::Any),
            s if s.starts_with(':') || (s.starts_with('{') && s.ends_with('}')) => Some(Segment::Any),
            s => Some(Segment::Is(s.to_owned())),
        };
        match segments.iter().map(parse).collect() {
            Some(segments) => Ok(Self { template: rule.into(), segments, open }),
            None => fail("a parameter needs a name"),
        }
    }
}

impl std::fmt::Display for Rule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.template)
    }
}

impl Rule {
    /// Whether `path` (no query) belongs to this route.
    pub fn matches(&self, path: &str) -> bool {
        let Some(path) = path.strip_prefix('/') else { return false };
        let path = if self.open { path } else { trim_end(path) };
        let mut given = path.split('/');
        let head = self.segments.iter().all(|expected| match (expected, given.next()) {
            (Segment::Is(text), Some(segment)) => text == segment,
            (Segment::Any, Some(segment)) => !segment.is_empty(),
            (_, None) => false,
        });
        head && given.next().is_some() == self.open
    }
}

fn trim_end(path: &str) -> &str {
    path.strip_suffix('/').unwrap_or(path)
}

/// Finds routes by the rules, and by inference where that is switched on.
#[derive(Debug, Default)]
pub struct Router {
    rules: Vec<Rule>,
    infer: bool,
    inferred: HashMap<String, HashSet<Arc<str>>>,
}

impl Router {
    /// A router of these rules, in their order.
    pub fn new(rules: Vec<Rule>, infer: bool) -> Self {
        Self { rules, infer, inferred: HashMap::new() }
    }

    /// The route of `path` (no query) at the service named `service`, if it is known. A rule's template has nothing of
    /// the path; what is inferred has, and is inferred from the path as it may be `told`.
    pub fn route<'a>(
        &mut self,
        service: &str,
        path: &'a str,
        told: impl FnOnce(Cow<'a, str>) -> Cow<'a, str>,
    ) -> Option<Arc<str>> {
        if let Some(rule) = self.rules.iter().find(|rule| rule.matches(path)) {
            return Some(Arc::clone(&rule.template));
        }
        if self.infer { self.remember(service, &infer(&told(Cow::Borrowed(path)))?) } else { None }
    }

    fn remember(&mut self, service: &str, template: &str) -> Option<Arc<str>> {
        if !self.inferred.contains_key(service) {
            if self.inferred.len() == MAX_SERVICES {
                return None;
            }
            self.inferred.insert(service.to_owned(), HashSet::new());
        }
        let known = self.inferred.get_mut(service)?;
        if let Some(template) = known.get(template) {
            return Some(Arc::clone(template));
        }
        if known.len() == MAX_ROUTES {
            return None;
        }
        let template: Arc<str> = template.into();
        known.insert(Arc::clone(&template));
        Some(template)
    }
}

/// A span's name: `{method} {route}`, or the method alone. `method` is `http.request.method`; the one that stands for
/// unknown methods reads `HTTP` in a name.
pub fn name(method: Cow<'static, str>, route: Option<&str>) -> Cow<'static, str> {
    let method = if method == "_OTHER" { Cow::Borrowed("HTTP") } else { method };
    match route {
        Some(route) => Cow::Owned(format!("{method} {route}")),
        None => method,
    }
}

/// The path with everything that looks like a value replaced.
fn infer(path: &str) -> Option<String> {
    let path = bounded(path, MAX_PATH).strip_prefix('/')?;
    let mut template = String::new();
    for (depth, segment) in trim_end(path).split('/').enumerate() {
        template.push('/');
        if depth == MAX_DEPTH {
            template.push('*');
            break;
        }
        template.push_str(if is_value(segment) { ":id" } else { segment });
    }
    Some(template)
}

fn is_value(segment: &str) -> bool {
    let digits = segment.bytes().filter(u8::is_ascii_digit).count();
    let number = digits > 0 && digits == segment.len();
    let hex = segment.len() >= 16 && segment.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-');
    let plain = segment.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'~'));
    number || hex || !plain || digits >= DIGITS || segment.len() > LONG
}

#[cfg(test)]
mod tests;
