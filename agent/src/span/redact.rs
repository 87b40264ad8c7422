//! What users do not want told: regular expressions whose matches are replaced in paths and queries.
//!
//! In: expressions, and texts as they were sent (percent-encoding is not undone). Out: the places that are not told, and
//! texts with [`REDACTED`] there. All expressions look at the original text, so that none hides from another what it
//! should find. What is found side by side is replaced once.

use std::{borrow::Cow, fmt, ops::Range, str::FromStr};

use regex::{Regex, RegexBuilder};

/// What stands in place of what is not told.
pub const REDACTED: &str = "REDACTED";
/// Bytes that one compiled expression may take, and as many again for what it learns while it is at work.
const MAX_SIZE: usize = 1 << 20;
/// Matches of one expression in one text. Each takes linear time; without a bound their sum could be quadratic, for those
/// who send long paths.
const MAX_MATCHES: usize = 64;

/// A user's expression. Parse it with [`str::parse`]; it prints as it was written.
#[derive(Clone, Debug)]
pub struct Expression(Regex);

/// What is wrong with an expression, in the regular expressions' own words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a regular expression: {0}")]
pub struct ExpressionError(String);

impl FromStr for Expression {
    type Err = ExpressionError;

    fn from_str(text: &str) -> Result<Self, ExpressionError> {
        let built = RegexBuilder::new(text).size_limit(MAX_SIZE).dfa_size_limit(MAX_SIZE).build();
        built.map(Self).map_err(|error| {
            // A syntax error comes with a drawing; what is wrong stands on the last line.
            let text = error.to_string();
            let last = text.lines().last().unwrap_or_default();
            ExpressionError(last.strip_prefix("error: ").unwrap_or(last).to_owned())
        })
    }
}

impl fmt::Display for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_str())
    }
}

impl Expression {
    /// Finds what its groups match, or all that it matches if it has none; after [`MAX_MATCHES`] all that is left.
    fn find(&self, text: &str, found: &mut Vec<Range<usize>>) {
        let mut rest = None;
        if self.0.captures_len() == 1 {
            let mut matches = self.0.find_iter(text);
            found.extend(matches.by_ref().take(MAX_MATCHES).map(|whole| whole.range()));
            rest = matches.next().map(|whole| whole.start());
        } else {
            for (n, captures) in self.0.captures_iter(text).enumerate() {
                if n == MAX_MATCHES {
                    rest = captures.get(0).map(|whole| whole.start());
                    break;
                }
                found.extend(captures.iter().skip(1).flatten().map(|group| group.range()));
            }
        }
        found.extend(rest.map(|from| from..text.len()));
    }
}

/// All expressions.
#[derive(Clone, Debug, Default)]
pub struct Redaction(Vec<Expression>);

impl Redaction {
    /// Looks for all of these.
    pub fn new(expressions: Vec<Expression>) -> Self {
        Self(expressions)
    }

    /// Whether nothing is looked for.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Where in `text` something stands that is not told, in no order.
    pub(super) fn find(&self, text: &str) -> Vec<Range<usize>> {
        let mut found = Vec::new();
        self.0.iter().for_each(|expression| expression.find(text, &mut found));
        found
    }

    /// The text as it may be told.
    pub(super) fn apply<'a>(&self, text: Cow<'a, str>) -> Cow<'a, str> {
        match self.find(&text) {
            found if found.is_empty() => text,
            found => Cow::Owned(replace(&text, found)),
        }
    }
}

/// `text` with these places replaced.
pub(super) fn replace(text: &str, mut places: Vec<Range<usize>>) -> String {
    places.retain(|place| !place.is_empty());
    places.sort_unstable_by_key(|place| place.start);
    let mut told = String::with_capacity(text.len());
    // Up to where it is told or replaced, and whether the last was replaced.
    let (mut at, mut replaced) = (0, false);
    for place in places {
        if place.start > at || !replaced {
            told.push_str(text.get(at..place.start).unwrap_or_default());
            told.push_str(REDACTED);
        }
        (at, replaced) = (at.max(place.end), true);
    }
    told.push_str(text.get(at..).unwrap_or_default());
    told
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn redacted(expressions: &[&str], text: &str) -> String {
        let expressions = expressions.iter().map(|e| e.parse().unwrap()).collect();
        Redaction::new(expressions).apply(text.into()).into_owned()
    }

    #[test]
    fn groups_are_replaced_or_else_the_whole_match() {
        let table: [(&[&str], &str, &str); 10] = [
            (&[], "/reset/abc", "/reset/abc"),
            (&["/reset/.*"], "/reset/abc", "REDACTED"),
            (&["^/reset/(.*)"], "/reset/abc", "/reset/REDACTED"),
            (&["^/(?:reset|verify)/([^/]+)"], "/verify/abc/x", "/verify/REDACTED/x"),
            (&[r"(\d+)-(\d+)"], "/a/12-34/5-6", "/a/REDACTED-REDACTED/REDACTED-REDACTED"),
            (&["(a)|b"], "/b/a", "/b/REDACTED"),
            (&["ab", "bc"], "/abc/abcd", "/REDACTED/REDACTEDd"),
            // Side by side: once. Nothing: not at all.
            (&["."], "/abc", "REDACTED"),
            (&["x*"], "/abxx", "/abREDACTED"),
            (&["(?i)é+"], "/caféÉ/é", "/cafREDACTED/REDACTED"),
        ];
        for (expressions, text, expected) in table {
            assert_eq!(redacted(expressions, text), expected, "{expressions:?}");
        }
    }

    #[test]
    fn none_hides_from_another_what_it_should_find() {
        assert_eq!(redacted(&["user", "user/([a-z]+)"], "/user/ann"), "/REDACTED/REDACTED");
        assert_eq!(redacted(&["user/([a-z]+)", "user"], "/user/ann"), "/REDACTED/REDACTED");
    }

    #[test]
    fn after_many_matches_all_that_is_left_is_replaced() {
        for expression in ["[0-9]", "([0-9])", "([0-9])|b"] {
            let most = redacted(&[expression], &format!("{}/end", "a1".repeat(MAX_MATCHES)));
            assert_eq!(most, format!("{}/end", "aREDACTED".repeat(MAX_MATCHES)));
            let more = redacted(&[expression], &format!("{}/end", "a1".repeat(MAX_MATCHES + 9)));
            assert_eq!(more, "aREDACTED".repeat(MAX_MATCHES + 1));
        }
    }

    #[test]
    fn what_is_no_expression_says_so() {
        let table = [
            ("(", "unclosed group"),
            ("a{3,2}", "invalid repetition count range, the start must be <= the end"),
            (r"(?:\w{200}){200}", "Compiled regex exceeds size limit of 1048576 bytes."),
            (r"(a)\1", "backreferences are not supported"),
        ];
        for (text, expected) in table {
            let error = text.parse::<Expression>().unwrap_err().to_string();
            let told = error.strip_prefix("not a regular expression: ").unwrap_or_default();
            assert!(told.starts_with(expected) && !told.contains('\n'), "{error}");
        }
    }

    proptest! {
        #[test]
        fn nothing_that_matches_is_told_and_nothing_else_is_lost(
            parts in prop::collection::vec(("[a-z/é%]{0,6}", "[0-9]{4,12}"), 0..6),
            rest in "[a-z/]{0,4}",
        ) {
            let text: String = parts.iter().map(|(plain, secret)| format!("{plain}{secret}")).collect();
            let told = redacted(&["[0-9]{4,}"], &format!("{text}{rest}"));
            prop_assert!(!told.contains(|c: char| c.is_ascii_digit()), "{told}");
            let plain: String = parts.iter().map(|(plain, _)| plain.as_str()).chain([rest.as_str()]).collect();
            prop_assert_eq!(told.replace(REDACTED, ""), plain);
        }

        #[test]
        fn any_expression_and_any_text(
            expressions in prop::collection::vec(r"[ab(|)\[\]*+?.^$\\{}0-9,]{0,8}", 0..4),
            text in r"[ab/é]{0,24}",
        ) {
            let expressions: Vec<Expression> =
                expressions.iter().filter_map(|text| text.parse().ok()).collect();
            let redaction = Redaction::new(expressions);
            let found = redaction.find(&text);
            let told = redaction.apply(text.as_str().into());
            let kept = |at: usize| !found.iter().any(|place| place.contains(&at));
            let plain: String = text.char_indices().filter(|(at, _)| kept(*at)).map(|(_, c)| c).collect();
            prop_assert_eq!(told.replace(REDACTED, ""), plain);
        }
    }
}
