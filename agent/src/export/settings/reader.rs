//! Typed values out of a lookup, with every misunderstanding kept for one report at the end.

use super::FileSetting;
use std::{fmt, time::Duration};

/// A value that is not understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The variable that holds it.
    pub variable: &'static str,
    /// The value; `None` where it may hold a secret or says nothing.
    pub value: Option<String>,
    /// What would be understood.
    pub accepted: String,
}

/// All the values that are not understood, at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems(pub Vec<Problem>);

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.value {
            Some(value) => write!(f, "{}={value:?}: {}", self.variable, self.accepted),
            None => write!(f, "{}: {}", self.variable, self.accepted),
        }
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().enumerate().try_for_each(|(index, problem)| {
            let separator = if index == 0 { "" } else { "\n" };
            write!(f, "{separator}{problem}")
        })
    }
}

impl std::error::Error for Problems {}

/// Reads variables and collects problems.
pub(super) struct Reader<'a> {
    lookup: &'a dyn Fn(&str) -> Option<String>,
    problems: Vec<Problem>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(lookup: &'a dyn Fn(&str) -> Option<String>) -> Self {
        Self { lookup, problems: Vec::new() }
    }

    /// The settings if there was no problem.
    pub(super) fn finish<T>(self, settings: T) -> Result<T, Problems> {
        if self.problems.is_empty() { Ok(settings) } else { Err(Problems(self.problems)) }
    }

    pub(super) fn problem(&mut self, variable: &'static str, value: Option<String>, accepted: &str) {
        self.problems.push(Problem { variable, value, accepted: accepted.to_owned() });
    }

    /// The first of `names` that has a value, with the name.
    pub(super) fn text(&self, names: &[&'static str]) -> Option<(&'static str, String)> {
        names.iter().find_map(|name| {
            let value = (self.lookup)(name)?.trim().to_owned();
            (!value.is_empty()).then_some((*name, value))
        })
    }

    /// One of `choices`, in any case of letters.
    pub(super) fn choice(
        &mut self,
        names: &[&'static str],
        choices: &[&'static str],
    ) -> Option<&'static str> {
        let (name, value) = self.text(names)?;
        let chosen = choices.iter().copied().find(|choice| choice.eq_ignore_ascii_case(&value));
        if chosen.is_none() {
            let accepted = format!("accepted are {}", choices.join(", "));
            let accepted = match value.as_str() {
                "http/json" => format!("JSON is not supported; {accepted}"),
                _ => accepted,
            };
            self.problem(name, Some(value), &accepted);
        }
        chosen
    }

    /// A whole number of at least 1.
    pub(super) fn count(&mut self, name: &'static str) -> Option<usize> {
        let (_, value) = self.text(&[name])?;
        let count = value.parse().ok().filter(|count| *count > 0);
        if count.is_none() {
            self.problem(name, Some(value), "a whole number of at least 1 is accepted");
        }
        count
    }

    /// A whole number of milliseconds, with the name of the variable that gave it.
    pub(super) fn milliseconds(&mut self, names: &[&'static str]) -> Option<(&'static str, Duration)> {
        let (name, value) = self.text(names)?;
        match value.parse() {
            Ok(milliseconds) => Some((name, Duration::from_millis(milliseconds))),
            Err(_) => {
                self.problem(name, Some(value), "a whole number of milliseconds is accepted, e.g. 10000");
                None
            }
        }
    }

    /// A limit in milliseconds; 0 is none.
    pub(super) fn timeout(&mut self, names: &[&'static str], default: Duration) -> Duration {
        match self.milliseconds(names) {
            Some((_, Duration::ZERO)) => Duration::MAX,
            Some((_, limit)) => limit,
            None => default,
        }
    }

    /// A path, unread.
    pub(super) fn file(&self, names: &[&'static str]) -> Option<FileSetting> {
        self.text(names).map(|(variable, path)| FileSetting { variable, path: path.into() })
    }
}
