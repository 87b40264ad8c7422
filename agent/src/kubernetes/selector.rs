//! Label selectors as text: `a=b,c in (d,e),!f,g`, the whole syntax of `kubectl -l`.
//!
//! In: the text. Out: [`Selector`], or what is wrong with it in words. Keys and values are held to the API's own rules for
//! labels, so that a selector that can match nothing for a typing mistake is refused. Matching is the client library's.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use kube::core::{Expression, SelectorExt as _};

/// Characters of a label's name and value, and of a key's prefix.
const MAX_NAME: usize = 63;
const MAX_PREFIX: usize = 253;

/// Labels, as the API gives them.
pub type Labels = BTreeMap<String, String>;

/// A label selector. Without a requirement it matches everything.
#[derive(Clone, Debug, Default)]
pub struct Selector(kube::core::Selector);

impl PartialEq for Selector {
    fn eq(&self, other: &Self) -> bool {
        self.to_string() == other.to_string()
    }
}

impl Selector {
    /// Reads a selector.
    ///
    /// # Errors
    /// What is wrong, and what is accepted.
    pub fn parse(text: &str) -> Result<Self, String> {
        let requirements = split(text)?;
        let expressions = requirements.into_iter().map(expression).collect::<Result<Vec<_>, _>>()?;
        Ok(Self(expressions.into_iter().collect()))
    }

    /// Whether it matches everything.
    pub fn is_empty(&self) -> bool {
        self.0.selects_all()
    }

    /// Whether it matches an object with these labels.
    pub fn matches(&self, labels: &Labels) -> bool {
        self.0.matches(labels)
    }

    /// The first requirement that these labels do not meet.
    pub fn unmet(&self, labels: &Labels) -> Option<String> {
        self.0.clone().into_iter().find(|one| !one.matches(labels)).map(|one| one.to_string())
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The requirements: what stands between commas outside of parentheses.
fn split(text: &str) -> Result<Vec<&str>, String> {
    if text.trim().is_empty() {
        return Ok(Vec::new());
    }
    let (mut parts, mut start, mut open) = (Vec::new(), 0, false);
    for (at, c) in text.char_indices() {
        match c {
            '(' if open => return Err("a parenthesis within a parenthesis".into()),
            '(' => open = true,
            ')' if !open => return Err("a closing parenthesis without an opening one".into()),
            ')' => open = false,
            ',' if !open => {
                parts.extend(text.get(start..at));
                start = at + 1;
            }
            _ => {}
        }
    }
    if open {
        return Err("a parenthesis is not closed".into());
    }
    parts.extend(text.get(start..));
    match parts.iter().any(|part| part.trim().is_empty()) {
        true => Err("nothing stands before or after a comma".into()),
        false => Ok(parts),
    }
}

fn expression(text: &str) -> Result<Expression, String> {
    let text = text.trim();
    if let Some(rest) = text.strip_prefix('!') {
        return Ok(Expression::DoesNotExist(key(rest.trim())?));
    }
    let end = text
        .find(|c: char| c.is_whitespace() || matches!(c, '=' | '!' | '(' | '<' | '>'))
        .unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    let name = key(name)?;
    let rest = rest.trim();
    if rest.is_empty() {
        return Ok(Expression::Exists(name));
    }
    if let Some(wanted) = rest.strip_prefix("!=") {
        return Ok(Expression::NotEqual(name, value(wanted.trim())?));
    }
    if let Some(wanted) = rest.strip_prefix("==").or_else(|| rest.strip_prefix('=')) {
        return Ok(Expression::Equal(name, value(wanted.trim())?));
    }
    let (word, list) =
        rest.split_at(rest.find(|c: char| c.is_whitespace() || c == '(').unwrap_or(rest.len()));
    match word {
        "in" => Ok(Expression::In(name, values(list)?)),
        "notin" => Ok(Expression::NotIn(name, values(list)?)),
        _ => Err(format!(
            "`{text}` is no requirement; accepted are key, !key, key=value, key!=value, key in (a,b) and key notin (a,b)"
        )),
    }
}

fn values(list: &str) -> Result<BTreeSet<String>, String> {
    let inner = list.trim().strip_prefix('(').and_then(|list| list.strip_suffix(')'));
    let inner =
        inner.ok_or_else(|| format!("`{}` is no list; in and notin take one, as (a,b)", list.trim()))?;
    inner.split(',').map(|one| value(one.trim())).collect()
}

/// A label's key: an optional DNS subdomain with a slash, and a name.
pub(crate) fn key(text: &str) -> Result<String, String> {
    let (prefix, name) = match text.split_once('/') {
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, text),
    };
    if let Some(prefix) = prefix {
        let part = |part: &str| {
            let edge = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
            let (first, last) = (part.as_bytes().first(), part.as_bytes().last());
            first.is_some_and(edge) && last.is_some_and(edge) && part.bytes().all(|b| edge(&b) || b == b'-')
        };
        if prefix.len() > MAX_PREFIX || !prefix.split('.').all(part) {
            return Err(format!(
                "`{text}` is no label key: before the slash stands a lower-case DNS name of at most {MAX_PREFIX} characters"
            ));
        }
    }
    match is_name(name) {
        true => Ok(text.to_owned()),
        false => Err(format!(
            "`{text}` is no label key: its name has 1 to {MAX_NAME} letters, digits, `-`, `_` and `.`, and begins and ends with a letter or digit"
        )),
    }
}

/// A label's value; it may be empty.
pub(crate) fn value(text: &str) -> Result<String, String> {
    match text.is_empty() || is_name(text) {
        true => Ok(text.to_owned()),
        false => Err(format!(
            "`{text}` is no label value: it has at most {MAX_NAME} letters, digits, `-`, `_` and `.`, and begins and ends with a letter or digit"
        )),
    }
}

fn is_name(text: &str) -> bool {
    let edge = |b: Option<&u8>| b.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = text.as_bytes();
    text.len() <= MAX_NAME
        && edge(bytes.first())
        && edge(bytes.last())
        && bytes.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    #[test]
    fn the_whole_syntax_matches_as_the_api_does() {
        let shop =
            labels(&[("team", "shop"), ("tier", "web"), ("app.kubernetes.io/name", "cart"), ("empty", "")]);
        for (text, expected) in [
            ("", true),
            ("  ", true),
            ("team=shop", true),
            ("team==shop", true),
            (" team = shop ", true),
            ("team=Shop", false),
            ("team!=shop", false),
            ("team != bar", true),
            // Inequality and notin match objects without the label too.
            ("other!=shop", true),
            ("other notin (a)", true),
            ("tier in (web,api)", true),
            ("tier in ( api , db )", false),
            ("tier in(web)", true),
            ("tier notin (web)", false),
            ("tier notin (db)", true),
            ("team", true),
            ("other", false),
            ("!other", true),
            ("! team", false),
            ("team=shop,tier in (web,api),!other,app.kubernetes.io/name", true),
            ("team=shop,other", false),
            ("empty=", true),
            ("empty in (,x)", true),
            ("in in (x)", false),
            ("app.kubernetes.io/name=cart", true),
        ] {
            assert_eq!(Selector::parse(text).unwrap().matches(&shop), expected, "{text:?}");
        }
    }

    #[test]
    fn what_is_no_selector_is_refused_with_its_cause() {
        for (text, cause) in [
            (",", "nothing stands before or after a comma"),
            ("a=b,", "nothing stands before or after a comma"),
            ("a in (b", "a parenthesis is not closed"),
            ("a in b)", "a closing parenthesis"),
            ("a in ((b))", "a parenthesis within"),
            ("a in b", "`b` is no list"),
            ("a in", "`` is no list"),
            ("a within (b)", "is no requirement"),
            ("a>1", "is no requirement"),
            ("=b", "`` is no label key"),
            ("!", "`` is no label key"),
            ("-a", "`-a` is no label key"),
            ("A.B/c", "before the slash stands a lower-case DNS name"),
            ("a/b/c", "`a/b/c` is no label key"),
            ("a=b c", "`b c` is no label value"),
            ("a=b=c", "`b=c` is no label value"),
            ("a=é", "is no label value"),
        ] {
            let error = Selector::parse(text).unwrap_err();
            assert!(error.contains(cause), "{text:?}: {error}");
        }
        assert!(Selector::parse(&format!("a={}", "x".repeat(63))).is_ok());
        assert!(Selector::parse(&format!("a={}", "x".repeat(64))).is_err());
    }

    #[test]
    fn it_is_shown_as_it_can_be_read_again() {
        for text in ["a=b,c in (d,e),!f,g", "a!=b", "a notin (b)", "a="] {
            assert_eq!(Selector::parse(text).unwrap().to_string(), text);
        }
        let selector = Selector::parse("a=b,c").unwrap();
        assert_eq!(selector.unmet(&labels(&[("a", "b")])).as_deref(), Some("c"));
        assert_eq!(selector.unmet(&labels(&[("a", "b"), ("c", "")])), None);
    }

    proptest::proptest! {
        #[test]
        fn never_panics(text in ".{0,40}") {
            if let Ok(selector) = Selector::parse(&text) {
                assert_eq!(Selector::parse(&selector.to_string()).unwrap(), selector);
            }
        }
    }
}
