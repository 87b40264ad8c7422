//! The report as a table.

use super::{Check, Report, Verdict};
use std::fmt;

impl Verdict {
    /// Two characters that line up.
    pub fn mark(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Degraded => "!!",
            Self::Fatal => "XX",
        }
    }
}

impl fmt::Display for Check {
    /// `btf: what was found; cure: what to do`, for a log or an error.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name, self.cause)?;
        self.cure.as_ref().map_or(Ok(()), |cure| write!(f, "; cure: {cure}"))
    }
}

impl fmt::Display for Report {
    /// A line for each check, its cure below it, and the sum at the end.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.checks.iter().map(|check| check.name.len()).max().unwrap_or_default();
        for check in &self.checks {
            writeln!(f, "{}  {:width$}  {}", check.verdict.mark(), check.name, check.cause)?;
            if let Some(cure) = &check.cure {
                writeln!(f, "    {:width$}  cure: {cure}", "")?;
            }
        }
        match (self.fatal().count(), self.verdict) {
            (0, Verdict::Ok) => writeln!(f, "\nAll that is needed is there."),
            (0, _) => writeln!(f, "\nThe agent can work; see the lines marked !! for what it will lack."),
            (n, _) => writeln!(f, "\nThe agent can't work here: {n} of the lines above marked XX."),
        }
    }
}
