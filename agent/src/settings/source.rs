//! Where a value comes from, and what is said when it can't be understood.

use std::{fmt, path::PathBuf, sync::Arc};

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// Nobody said anything.
    Default,
    /// A line of the settings file.
    File {
        /// The file.
        path: Arc<PathBuf>,
        /// The line, counted from 1.
        line: u64,
    },
    /// A variable of the environment.
    Environment,
    /// A flag.
    CommandLine,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { path, line } => write!(f, "{}:{line}", path.display()),
            Self::Environment => f.write_str("environment"),
            Self::CommandLine => f.write_str("command line"),
        }
    }
}

/// Something in the settings that is not understood: where, what, and what would be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem(pub(super) String);

impl Problem {
    /// About the value `value` of the setting `name`.
    pub(super) fn value(name: &str, value: &str, source: &Source, accepted: &str) -> Self {
        let place = match source {
            Source::Default => format!("{name}: "),
            Source::File { .. } => format!("{source}: {name}: "),
            Source::Environment => format!("{}=", super::cli::variable(name)),
            Source::CommandLine => format!("--{name} "),
        };
        Self(format!("{place}{value:?}: {accepted}"))
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The one of `known` that was probably meant by `name`.
pub(super) fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let plain = |text: &str| text.to_ascii_lowercase().replace(['_', '.', ' '], "-");
    let name = plain(name);
    let distances = known.into_iter().map(|known| (strsim::damerau_levenshtein(&name, &plain(known)), known));
    let (distance, nearest) = distances.min_by_key(|(distance, _)| *distance)?;
    (distance <= 1.max(name.chars().count() / 3)).then_some(nearest)
}

/// A sentence about the nearest name, or about where to find all of them.
pub(super) fn hint<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    match nearest(name, known) {
        Some(nearest) => format!("did you mean {nearest}?"),
        None => "`sockspan config` prints all settings".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_found_and_nothing_far_fetched() {
        let known = ["ring-buffer", "route", "port", "pid", "probes"];
        assert_eq!(nearest("ring_bufer", known), Some("ring-buffer"));
        assert_eq!(nearest("ports", known), Some("port"));
        assert_eq!(nearest("Pid", known), Some("pid"));
        assert_eq!(nearest("probse", known), Some("probes"));
        assert_eq!(nearest("kubernetes", known), None);
    }
}
