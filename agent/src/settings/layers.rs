//! The layers in their order: command line, environment, file, defaults. The first that has a value has it alone;
//! lists are not joined.
//!
//! In: three sources of text. Out: typed values, an [`Entry`] for each with its source, and all problems at once.

use super::{
    cli,
    file::{Document, Node},
    source::{Problem, Source},
    value::{Count, Size, Value},
};
use clap::ArgMatches;
use std::{collections::BTreeMap, fmt::Display, ops::RangeInclusive, path::PathBuf, sync::Arc};

/// A setting in effect, for people to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its name in the file.
    pub name: &'static str,
    /// Its value.
    pub value: Shown,
    /// Where the value comes from.
    pub source: Source,
}

/// A value for people to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shown {
    /// One value.
    One(String),
    /// A list.
    Many(Vec<String>),
}

impl Shown {
    /// In short, for a flag's help; `None` where there is nothing to tell.
    pub(super) fn in_help(&self) -> Option<String> {
        let text = match self {
            Self::One(value) => value.clone(),
            Self::Many(values) => values.join(","),
        };
        Some(text).filter(|text| !text.is_empty() && text != "false")
    }
}

/// The settings file that was read.
pub(super) struct File {
    pub path: Arc<PathBuf>,
    pub document: Document,
}

/// Reads settings by name.
pub(super) struct Layers<'a> {
    flags: &'a ArgMatches,
    environment: &'a BTreeMap<String, String>,
    file: Option<&'a File>,
    pub entries: Vec<Entry>,
    pub problems: Vec<Problem>,
    pub warnings: Vec<String>,
}

/// What a layer says, before it is understood.
struct Said {
    texts: Vec<(String, Source)>,
    source: Source,
    /// Written as a list: the texts are the items.
    list: bool,
}

impl<'a> Layers<'a> {
    pub(super) fn new(
        flags: &'a ArgMatches,
        environment: &'a BTreeMap<String, String>,
        file: Option<&'a File>,
    ) -> Self {
        Self { flags, environment, file, entries: Vec::new(), problems: Vec::new(), warnings: Vec::new() }
    }

    /// Whether the environment has a variable that is no setting.
    pub(super) fn is_set(&self, variable: &str) -> bool {
        self.environment.get(variable).is_some_and(|value| !value.is_empty())
    }

    /// A setting with one value.
    pub(super) fn one<T: Value>(&mut self, name: &'static str, default: T) -> T {
        let (value, source) = match self.said(name) {
            None => (default, Source::Default),
            Some(said) => match self.only(name, said) {
                Some((text, source)) => (self.parse(name, &text, &source).unwrap_or(default), source),
                None => (default, Source::Default),
            },
        };
        self.entries.push(Entry { name, value: Shown::One(value.show()), source });
        value
    }

    /// A setting with any number of values.
    pub(super) fn list<T: Value>(&mut self, name: &'static str, default: &[&str]) -> Vec<T> {
        let said = self.said(name).unwrap_or_else(|| {
            let texts = default.iter().map(|text| ((*text).to_owned(), Source::Default));
            Said { texts: texts.collect(), source: Source::Default, list: true }
        });
        let mut values = Vec::new();
        for (text, source) in said.texts {
            let items = if said.list || !T::SEPARATED { vec![text] } else { split(&text) };
            for item in items.iter().map(|item| item.trim()).filter(|item| !item.is_empty()) {
                values.extend(self.parse(name, item, &source));
            }
        }
        let shown = Shown::Many(values.iter().map(Value::show).collect());
        self.entries.push(Entry { name, value: shown, source: said.source });
        values
    }

    /// A number of bytes within `range`.
    pub(super) fn size(&mut self, name: &'static str, default: u64, range: RangeInclusive<u64>) -> u64 {
        let range = Size(*range.start())..=Size(*range.end());
        self.within(name, Size(default), &range).0
    }

    /// A number of things within `range`.
    pub(super) fn count(&mut self, name: &'static str, default: u64, range: RangeInclusive<u64>) -> u64 {
        let range = Count(*range.start())..=Count(*range.end());
        self.within(name, Count(default), &range).0
    }

    /// A value within `range`.
    pub(super) fn within<T: Value + PartialOrd + Copy>(
        &mut self,
        name: &'static str,
        default: T,
        range: &RangeInclusive<T>,
    ) -> T {
        let value = self.one(name, default);
        if range.contains(&value) {
            return value;
        }
        let accepted = format!("accepted is {} to {}", range.start().show(), range.end().show());
        let source = self.entries.last().map_or(Source::Default, |entry| entry.source.clone());
        self.problem(name, &value.show(), &source, &accepted);
        default
    }

    /// Changes how the last setting is shown, because it is not taken as it was written.
    pub(super) fn amend(&mut self, value: String, why: impl Display) {
        if let Some(entry) = self.entries.last_mut() {
            self.warnings.push(format!("{} ({}): {why}", entry.name, entry.source));
            entry.value = Shown::One(value);
        }
    }

    fn problem(&mut self, name: &str, value: &str, source: &Source, accepted: &str) {
        self.problems.push(Problem::value(name, value, source, accepted));
    }

    fn parse<T: Value>(&mut self, name: &'static str, text: &str, source: &Source) -> Option<T> {
        T::parse(text).map_err(|accepted| self.problem(name, text, source, &accepted)).ok()
    }

    fn only(&mut self, name: &'static str, said: Said) -> Option<(String, Source)> {
        if said.list {
            let text = said.texts.iter().map(|(text, _)| text.as_str()).collect::<Vec<_>>().join(", ");
            self.problem(name, &text, &said.source, "one value is accepted, not a list");
            return None;
        }
        said.texts.into_iter().next_back().map(|(text, source)| (text.trim().to_owned(), source))
    }

    /// The first layer's word.
    fn said(&mut self, name: &'static str) -> Option<Said> {
        self.flag(name).or_else(|| self.variable(name)).or_else(|| self.line(name))
    }

    fn flag(&self, name: &str) -> Option<Said> {
        let values = self.flags.get_many::<String>(&cli::id(name))?;
        let texts = values.map(|text| (text.clone(), Source::CommandLine)).collect();
        Some(Said { texts, source: Source::CommandLine, list: false })
    }

    /// An empty variable counts as unset, as OpenTelemetry has it for its own.
    fn variable(&mut self, name: &str) -> Option<Said> {
        let variable = cli::variable(name);
        let text = self.environment.get(&variable).filter(|text| !text.trim().is_empty())?;
        if name == "port" && text.contains("://") {
            // Kubernetes sets SOCKSPAN_PORT=tcp://… where there is a Service named sockspan.
            self.warnings.push(format!(
                "{variable}={text} is a Kubernetes service link and says nothing of ports to trace"
            ));
            return None;
        }
        Some(Said {
            texts: vec![(text.clone(), Source::Environment)],
            source: Source::Environment,
            list: false,
        })
    }

    fn line(&mut self, name: &str) -> Option<Said> {
        let file = self.file?;
        let (key, node) = file.document.0.iter().find(|(key, _)| key.text == name)?;
        let source = |line| Source::File { path: Arc::clone(&file.path), line };
        let (texts, list) = match node {
            Node::Nothing => return None,
            Node::One(one) => (vec![(one.text.clone(), source(one.line))], false),
            Node::Many(many) => {
                (many.iter().map(|item| (item.text.clone(), source(item.line))).collect(), true)
            }
            Node::Map(_) => {
                let accepted = "a value or a list is accepted, not a map";
                self.problem(name, "…", &source(key.line), accepted);
                return None;
            }
        };
        Some(Said { texts, source: source(key.line), list })
    }
}

/// Splits at commas, but not within the braces and brackets of a glob.
fn split(text: &str) -> Vec<String> {
    let mut items = vec![String::new()];
    let mut depth = 0usize;
    for c in text.chars() {
        match c {
            '{' | '[' => depth += 1,
            '}' | ']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if c == ',' && depth == 0 {
            items.push(String::new());
        } else if let Some(item) = items.last_mut() {
            item.push(c);
        }
    }
    items
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_split_at_commas_outside_of_braces() {
        assert_eq!(split("a,b"), ["a", "b"]);
        assert_eq!(split("{node,java},/x/[a,b]*"), ["{node,java}", "/x/[a,b]*"]);
        assert_eq!(split("a}},b"), ["a}}", "b"]);
        assert_eq!(split(""), [""]);
    }
}
