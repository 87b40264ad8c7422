//! The settings in effect as YAML that can be read back, each with its source, and as JSON for `/status`.

use super::{
    Settings, Shown, Source,
    otel::{self, Variable},
};
use serde_json::{Map, Value, json};
use std::fmt::Write;

/// The column at which sources stand where there is room.
const COLUMN: usize = 44;

impl Settings {
    /// All settings as YAML with their sources as comments. `defaults` are the `OTEL_*` variables that are not set, with
    /// what holds in their place. What holds a secret is a comment itself; all else reads back as the same settings.
    pub fn to_yaml(&self, defaults: &[(&'static str, String)]) -> String {
        let mut out = String::from("# Command line over environment over file over defaults.\n");
        for entry in &self.entries {
            match &entry.value {
                Shown::One(value) => {
                    line(&mut out, &format!("{}: {}", entry.name, scalar(value)), &entry.source);
                }
                Shown::Many(values) if values.is_empty() => {
                    line(&mut out, &format!("{}: []", entry.name), &entry.source);
                }
                Shown::Many(values) => {
                    line(&mut out, &format!("{}:", entry.name), &entry.source);
                    values.iter().for_each(|value| out.push_str(&format!("  - {}\n", scalar(value))));
                }
            }
        }
        let variables = self.otel.shown(defaults);
        if !variables.is_empty() {
            out.push_str(&format!("{}:\n", otel::KEY));
        }
        for Variable { name, value, redacted, source } in variables {
            let comment = if redacted { "# " } else { "" };
            line(&mut out, &format!("  {comment}{name}: {}", scalar(&value)), &source);
        }
        out
    }

    /// All settings with value and source, secrets redacted; `defaults` as for [`Settings::to_yaml`].
    pub fn to_json(&self, defaults: &[(&'static str, String)]) -> Value {
        let entry = |value: Value, source: &Source| json!({"value": value, "source": source.to_string()});
        let settings = self.entries.iter().map(|e| {
            let value = match &e.value {
                Shown::One(value) => json!(value),
                Shown::Many(values) => json!(values),
            };
            (e.name.to_owned(), entry(value, &e.source))
        });
        let mut all: Map<String, Value> = settings.collect();
        let variables = self.otel.shown(defaults).into_iter();
        let variables = variables.map(|v| (v.name.to_owned(), entry(json!(v.value), &v.source)));
        all.insert(otel::KEY.to_owned(), Value::Object(variables.collect()));
        Value::Object(all)
    }
}

fn line(out: &mut String, text: &str, source: &Source) {
    // Writing to a String does not fail.
    let _ = writeln!(out, "{text:COLUMN$} # {source}");
}

/// Plain where YAML can't mistake it for anything else, else in double quotes as JSON has them.
fn scalar(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./".contains(c);
    let inner = |c: char| plain(c) || "=:".contains(c);
    let starts = text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '/');
    let words = ["null", "yes", "no", "on", "y", "n", "~"];
    let is_word = words.iter().any(|word| text.eq_ignore_ascii_case(word));
    if starts && !is_word && !text.ends_with(':') && text.chars().all(inner) {
        text.to_owned()
    } else {
        Value::from(text).to_string()
    }
}
