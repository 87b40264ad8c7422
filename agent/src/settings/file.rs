//! The settings file: one YAML map, every value with the line it stands on.
//!
//! In: the file's text. Out: [`Document`], whose keys are not yet looked at, or the line that is not YAML. Values stay
//! text as they are written (`1.50` is `1.50`, `off` is `off`); what they mean is decided with the other layers.

mod selector;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{
    DefaultMessageFormatter, DuplicateKeyPolicy, Location, MergeKeyPolicy, MessageFormatter, Spanned,
};
use std::fmt;

/// Text and its line, counted from 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Text {
    pub text: String,
    pub line: u64,
}

/// A value of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Node {
    /// The key stands alone.
    Nothing,
    /// One value.
    One(Text),
    /// A list of values.
    Many(Vec<Text>),
    /// Keys and values.
    Map(Vec<(Text, Text)>),
}

/// The file's keys and values, in its order; each key once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Document(pub Vec<(Text, Node)>);

/// A line that can't be understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct NotYaml {
    pub line: u64,
    pub message: String,
}

/// The settings that can be written as Kubernetes writes label selectors.
const SELECTORS: [&str; 2] = ["namespace-selector", "pod-selector"];

/// A setting's name as it is written elsewhere: `ringBuffer`, as Kubernetes would write it, is `ring-buffer`.
fn kebab(key: &str) -> String {
    let mut name = String::with_capacity(key.len() + 4);
    let camel = key.starts_with(|c: char| c.is_ascii_lowercase()) && !key.contains(['-', '_']);
    for c in key.chars() {
        if camel && c.is_ascii_uppercase() {
            name.push('-');
            name.push(c.to_ascii_lowercase());
        } else {
            name.push(c);
        }
    }
    name
}

impl Document {
    /// Reads YAML. An empty text is an empty document.
    pub(super) fn parse(text: &str) -> Result<Self, NotYaml> {
        let options = serde_saphyr::options! {
            // Told apart here, with words of our own.
            duplicate_keys: DuplicateKeyPolicy::PassThrough,
            merge_keys: MergeKeyPolicy::AsOrdinary,
            strict_booleans: true,
            with_snippet: false,
        };
        let node: Option<Raw> =
            serde_saphyr::from_str_with_options(text, options).map_err(|error| not_yaml(&error))?;
        let Some(Raw { kind: Kind::Map(pairs), .. }) = node else {
            return match node {
                None | Some(Raw { kind: Kind::Nothing, .. }) => Ok(Self::default()),
                Some(raw) => Err(raw.wrong("settings are expected, as `name: value`")),
            };
        };
        let mut document: Vec<(Text, Node)> = Vec::new();
        for (key, value) in pairs {
            let key = Text { text: kebab(&key.text), line: key.line };
            unique(&key, document.iter().map(|(key, _)| key))?;
            let node = match value.kind {
                Kind::Map(_) if SELECTORS.contains(&key.text.as_str()) => {
                    Node::One(selector::text(value, text)?)
                }
                _ => value.node(text)?,
            };
            document.push((key, node));
        }
        Ok(Self(document))
    }
}

fn not_yaml(error: &serde_saphyr::Error) -> NotYaml {
    let line = error.location().map_or(1, |location| location.line());
    let message =
        DefaultMessageFormatter.format_message(error.without_snippet()).replace(char::is_control, " ");
    NotYaml { line, message: format!("not YAML: {message}") }
}

fn unique<'a>(key: &Text, mut before: impl Iterator<Item = &'a Text>) -> Result<(), NotYaml> {
    match before.find(|other| other.text == key.text) {
        None => Ok(()),
        Some(first) => {
            let message = format!("{} is here a second time; the first is on line {}", key.text, first.line);
            Err(NotYaml { line: key.line, message })
        }
    }
}

/// A node as the YAML library tells of it.
struct Raw {
    kind: Kind,
    place: Location,
}

enum Kind {
    Nothing,
    Str(String),
    /// A number or a boolean; its text is taken from the source.
    Plain(String),
    List(Vec<Raw>),
    Map(Vec<(Text, Raw)>),
}

impl Raw {
    fn wrong(&self, message: &str) -> NotYaml {
        NotYaml { line: self.place.line(), message: message.to_owned() }
    }

    fn node(self, source: &str) -> Result<Node, NotYaml> {
        match self.kind {
            Kind::Nothing => Ok(Node::Nothing),
            Kind::List(items) => {
                items.into_iter().map(|item| item.scalar(source)).collect::<Result<_, _>>().map(Node::Many)
            }
            Kind::Map(pairs) => {
                let mut map: Vec<(Text, Text)> = Vec::new();
                for (key, value) in pairs {
                    unique(&key, map.iter().map(|(key, _)| key))?;
                    map.push((key, value.scalar(source)?));
                }
                Ok(Node::Map(map))
            }
            Kind::Str(_) | Kind::Plain(_) => self.scalar(source).map(Node::One),
        }
    }

    fn scalar(self, source: &str) -> Result<Text, NotYaml> {
        let line = self.place.line();
        let text = match self.kind {
            Kind::Str(text) => text,
            Kind::Plain(text) => written(source, self.place).unwrap_or(text),
            Kind::Nothing => return Err(self.wrong("a value is expected here")),
            Kind::List(_) | Kind::Map(_) => {
                return Err(self.wrong("one value is expected here, not a list or a map"));
            }
        };
        Ok(Text { text, line })
    }
}

/// The text at `place`.
fn written(source: &str, place: Location) -> Option<String> {
    let start = usize::try_from(place.span().byte_offset()?).ok()?;
    let length = usize::try_from(place.span().byte_len()?).ok()?;
    source.get(start..start.checked_add(length)?).filter(|text| !text.is_empty()).map(str::to_owned)
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<Kind>::deserialize(deserializer)?;
        Ok(Self { kind: spanned.value, place: spanned.defined })
    }
}

impl<'de> Deserialize<'de> for Kind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(KindVisitor)
    }
}

struct KindVisitor;

impl<'de> Visitor<'de> for KindVisitor {
    type Value = Kind;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value, a list or a map")
    }
    fn visit_unit<E>(self) -> Result<Kind, E> {
        Ok(Kind::Nothing)
    }
    fn visit_str<E>(self, text: &str) -> Result<Kind, E> {
        Ok(Kind::Str(text.to_owned()))
    }
    fn visit_bool<E>(self, value: bool) -> Result<Kind, E> {
        Ok(Kind::Plain(value.to_string()))
    }
    fn visit_u64<E>(self, value: u64) -> Result<Kind, E> {
        Ok(Kind::Plain(value.to_string()))
    }
    fn visit_i64<E>(self, value: i64) -> Result<Kind, E> {
        Ok(Kind::Plain(value.to_string()))
    }
    fn visit_u128<E>(self, value: u128) -> Result<Kind, E> {
        Ok(Kind::Plain(value.to_string()))
    }
    fn visit_i128<E>(self, value: i128) -> Result<Kind, E> {
        Ok(Kind::Plain(value.to_string()))
    }
    fn visit_f64<E>(self, value: f64) -> Result<Kind, E> {
        Ok(Kind::Plain(value.to_string()))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Kind, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Kind::List(list))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut pairs: A) -> Result<Kind, A::Error> {
        let mut map = Vec::new();
        while let Some(key) = pairs.next_key::<Spanned<String>>()? {
            let key = Text { text: key.value, line: key.referenced.line() };
            map.push((key, pairs.next_value()?));
        }
        Ok(Kind::Map(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str, line: u64) -> Text {
        Text { text: text.into(), line }
    }

    #[test]
    fn values_stay_as_they_are_written_and_keep_their_lines() {
        let yaml = "# comment\nprobes: auto\nhead-limit: 08192\nadmin-address: off\nport:\n  - 80\n  - '443'\n\
                    exe: [node, \"/usr/bin/*\"]\nall: true\npid:\notel:\n  OTEL_TRACES_SAMPLER_ARG: 0.10\n";
        let Document(entries) = Document::parse(yaml).unwrap();
        let expected = [
            (text("probes", 2), Node::One(text("auto", 2))),
            (text("head-limit", 3), Node::One(text("08192", 3))),
            (text("admin-address", 4), Node::One(text("off", 4))),
            (text("port", 5), Node::Many(vec![text("80", 6), text("443", 7)])),
            (text("exe", 8), Node::Many(vec![text("node", 8), text("/usr/bin/*", 8)])),
            (text("all", 9), Node::One(text("true", 9))),
            (text("pid", 10), Node::Nothing),
            (text("otel", 11), Node::Map(vec![(text("OTEL_TRACES_SAMPLER_ARG", 12), text("0.10", 12))])),
        ];
        assert_eq!(entries, expected);
    }

    #[test]
    fn names_may_be_written_as_kubernetes_would() {
        let Document(entries) =
            Document::parse("ringBuffer: 8MiB\nexclude-path: x\notel:\n  OTEL_A: b\n").unwrap();
        let names: Vec<_> = entries.iter().map(|(key, _)| key.text.as_str()).collect();
        assert_eq!(names, ["ring-buffer", "exclude-path", "otel"]);
        let twice = Document::parse("ringBuffer: 1\nring-buffer: 2\n").unwrap_err();
        assert_eq!(twice.message, "ring-buffer is here a second time; the first is on line 1");
        assert_eq!([kebab("OTEL_X"), kebab("noUprobes"), kebab("Pid")], ["OTEL_X", "no-uprobes", "Pid"]);
    }

    #[test]
    fn an_empty_file_is_no_settings() {
        for yaml in ["", "\n", "# only a comment\n", "---\n", "{}"] {
            assert_eq!(Document::parse(yaml), Ok(Document::default()), "{yaml:?}");
        }
    }

    #[test]
    fn what_is_not_a_map_of_settings_is_told_with_its_line() {
        let table = [
            ("a: 1\nb: [1\nc: 2\n", 3, "not YAML: illegal placement of ':' indicator"),
            ("a: 1\n b: 2\n", 2, "not YAML: mapping values are not allowed in this context"),
            ("a: 1\nb: *x\n", 2, "not YAML: alias references unknown anchor"),
            ("a: 1\n---\nb: 2\n", 3, "not YAML: multiple YAML documents"),
            ("a: 1\nb: 2\na: 3\n", 3, "a is here a second time; the first is on line 1"),
            ("otel:\n  X: 1\n  X: 2\n", 3, "X is here a second time; the first is on line 2"),
            ("- a\n", 1, "settings are expected, as `name: value`"),
            ("probes\n", 1, "settings are expected, as `name: value`"),
            ("port:\n  - 1\n  - [2]\n", 3, "one value is expected here, not a list or a map"),
            ("port:\n  - 1\n  -\n", 3, "a value is expected here"),
        ];
        for (yaml, line, message) in table {
            let error = Document::parse(yaml).unwrap_err();
            assert!(error.message.starts_with(message), "{yaml:?}: {error:?}");
            assert_eq!(error.line, line, "{yaml:?}: {error:?}");
        }
    }

    #[test]
    fn nested_bombs_end_in_an_error() {
        let deep = format!("a: {}", "[".repeat(100_000));
        assert!(Document::parse(&deep).is_err());
        let laughs =
            "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a]\nc: [*b,*b,*b,*b,*b,*b,*b]\n";
        assert!(Document::parse(laughs).is_err());
    }
}
