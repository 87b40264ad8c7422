//! A label selector as Kubernetes objects have it, `matchLabels` and `matchExpressions`, into the text that all layers take.

use super::{Kind, NotYaml, Raw, Text};
use crate::{
    kubernetes::selector::{key, value},
    settings::source::hint,
};

const PARTS: [&str; 2] = ["matchLabels", "matchExpressions"];
const FIELDS: [&str; 3] = ["key", "operator", "values"];
const OPERATORS: [&str; 4] = ["In", "NotIn", "Exists", "DoesNotExist"];

fn wrong(line: u64, message: impl Into<String>) -> NotYaml {
    NotYaml { line, message: message.into() }
}

/// The selector that the map `raw` stands for.
pub(super) fn text(raw: Raw, source: &str) -> Result<Text, NotYaml> {
    let line = raw.place.line();
    let mut requirements = Vec::new();
    for (part, value) in pairs(raw, "matchLabels and matchExpressions")? {
        match part.text.as_str() {
            _ if matches!(value.kind, Kind::Nothing) => {}
            "matchLabels" => labels(value, source, &mut requirements)?,
            "matchExpressions" => expressions(value, source, &mut requirements)?,
            other => return Err(unknown("part of a label selector", other, &PARTS, part.line)),
        }
    }
    Ok(Text { text: requirements.join(","), line })
}

fn unknown(what: &str, name: &str, known: &[&str], line: u64) -> NotYaml {
    let accepted = known.join(", ");
    wrong(
        line,
        format!("{name} is no {what}, accepted are {accepted}; {}", hint(name, known.iter().copied())),
    )
}

fn pairs(raw: Raw, expected: &str) -> Result<Vec<(Text, Raw)>, NotYaml> {
    match raw.kind {
        Kind::Map(pairs) => Ok(pairs),
        _ => Err(raw.wrong(&format!("{expected} are expected here, as `name: value`"))),
    }
}

fn list(raw: Raw, expected: &str) -> Result<Vec<Raw>, NotYaml> {
    match raw.kind {
        Kind::List(items) => Ok(items),
        _ => Err(raw.wrong(&format!("a list of {expected} is expected here"))),
    }
}

fn labels(raw: Raw, source: &str, out: &mut Vec<String>) -> Result<(), NotYaml> {
    for (name, wanted) in pairs(raw, "labels")? {
        let wanted = wanted.scalar(source)?;
        let name = key(&name.text).map_err(|error| wrong(name.line, error))?;
        let wanted = value(&wanted.text).map_err(|error| wrong(wanted.line, error))?;
        out.push(format!("{name}={wanted}"));
    }
    Ok(())
}

fn expressions(raw: Raw, source: &str, out: &mut Vec<String>) -> Result<(), NotYaml> {
    for item in list(raw, "expressions")? {
        let line = item.place.line();
        let (mut name, mut operator, mut values) = (None, None, Vec::new());
        for (field, content) in pairs(item, "key, operator and values")? {
            match field.text.as_str() {
                "key" => name = Some(content.scalar(source)?),
                "operator" => operator = Some(content.scalar(source)?),
                "values" if matches!(content.kind, Kind::Nothing) => {}
                "values" => {
                    let items = list(content, "values")?.into_iter().map(|item| item.scalar(source));
                    values = items.collect::<Result<_, _>>()?;
                }
                other => return Err(unknown("field of an expression", other, &FIELDS, field.line)),
            }
        }
        let name = name.ok_or_else(|| wrong(line, "an expression needs a key"))?;
        let operator = operator.ok_or_else(|| wrong(line, "an expression needs an operator"))?;
        out.push(requirement(&name, &operator, &values)?);
    }
    Ok(())
}

fn requirement(name: &Text, operator: &Text, values: &[Text]) -> Result<String, NotYaml> {
    let name = key(&name.text).map_err(|error| wrong(name.line, error))?;
    let checked = values.iter().map(|one| value(&one.text).map_err(|error| wrong(one.line, error)));
    let checked = checked.collect::<Result<Vec<_>, _>>()?;
    let set = matches!(operator.text.as_str(), "In" | "NotIn");
    if OPERATORS.contains(&operator.text.as_str()) && set == checked.is_empty() {
        let needs = if set { "needs values" } else { "takes no values" };
        return Err(wrong(operator.line, format!("the operator {} {needs}", operator.text)));
    }
    match operator.text.as_str() {
        "In" => Ok(format!("{name} in ({})", checked.join(","))),
        "NotIn" => Ok(format!("{name} notin ({})", checked.join(","))),
        "Exists" => Ok(name),
        "DoesNotExist" => Ok(format!("!{name}")),
        other => Err(unknown("operator", other, &OPERATORS, operator.line)),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Document, Node};

    fn read(yaml: &str) -> Result<String, (u64, String)> {
        match Document::parse(yaml).map(|Document(mut entries)| entries.remove(0).1) {
            Ok(Node::One(text)) => Ok(text.text),
            Ok(other) => Ok(format!("{other:?}")),
            Err(error) => Err((error.line, error.message)),
        }
    }

    #[test]
    fn maps_are_the_text_that_says_the_same() {
        let full = "namespaceSelector:\n  matchLabels:\n    team: shop\n    v: 1.10\n  matchExpressions:\n    - {key: tier, \
                    operator: In, values: [web, api]}\n    - {key: env, operator: NotIn, values: [test]}\n    - key: a/b\n      \
                    operator: Exists\n    - {key: c, operator: DoesNotExist, values: []}\n";
        for (yaml, expected) in [
            (full, "team=shop,v=1.10,tier in (web,api),env notin (test),a/b,!c"),
            ("podSelector: {}", ""),
            ("pod-selector:\n  matchLabels:\n", ""),
            ("pod-selector: {matchLabels: {a: \"\"}}", "a="),
            ("pod-selector: a in (b)", "a in (b)"),
        ] {
            let text = read(yaml).unwrap();
            assert_eq!(text, expected);
            assert_eq!(
                crate::kubernetes::Selector::parse(&text).unwrap().to_string(),
                expected.replace("web,api", "api,web")
            );
        }
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        for (yaml, line, message) in [
            (
                "podSelector:\n  matchLabel: {}\n",
                2,
                "matchLabel is no part of a label selector, accepted are matchLabels, matchExpressions; did you mean matchLabels?",
            ),
            ("podSelector:\n  matchLabels: [a]\n", 2, "labels are expected here"),
            ("podSelector:\n  matchLabels:\n    a: b c\n", 3, "`b c` is no label value"),
            ("podSelector:\n  matchLabels:\n    -a: b\n", 3, "`-a` is no label key"),
            ("podSelector:\n  matchExpressions: {}\n", 2, "a list of expressions is expected here"),
            ("podSelector:\n  matchExpressions:\n    - key: a\n", 3, "an expression needs an operator"),
            (
                "podSelector:\n  matchExpressions:\n    - key: a\n      operator: In\n",
                4,
                "the operator In needs values",
            ),
            (
                "podSelector:\n  matchExpressions:\n    - key: a\n      operator: Exists\n      values: [b]\n",
                4,
                "the operator Exists takes no values",
            ),
            ("podSelector:\n  matchExpressions:\n    - key: a\n      operator: in\n", 4, "in is no operator"),
            (
                "podSelector:\n  matchExpressions:\n    - key: a\n      op: In\n",
                4,
                "op is no field of an expression",
            ),
        ] {
            let (found, error) = read(yaml).unwrap_err();
            assert!(error.starts_with(message), "{yaml:?}: {error}");
            assert_eq!(found, line, "{yaml:?}: {error}");
        }
    }
}
