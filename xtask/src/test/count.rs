//! How many tests passed, failed, were skipped.
//!
//! In: what cargo's test harness writes. Out: sums.

use std::{fmt, ops::AddAssign};

/// A sum of tests; a step without tests of its own counts as one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Went well.
    pub passed: u64,
    /// Did not.
    pub failed: u64,
    /// Were not run.
    pub skipped: u64,
}

impl Count {
    /// One that went well.
    pub const PASSED: Self = Self { passed: 1, failed: 0, skipped: 0 };
    /// One that did not.
    pub const FAILED: Self = Self { passed: 0, failed: 1, skipped: 0 };
    /// One that was not run.
    pub const SKIPPED: Self = Self { passed: 0, failed: 0, skipped: 1 };

    /// Sums the harness's result lines in `text`. With an exit code other than 0 at least one failed, even if no line
    /// says so (a crash, or a build that broke).
    pub fn from_harness(text: &str, code: i32) -> Self {
        let mut sum = Self::default();
        for line in text.lines().filter_map(|l| l.trim().strip_prefix("test result: ")) {
            let number = |what: &str| {
                let words: Vec<_> = line.split_whitespace().collect();
                let at = words.iter().position(|word| word.trim_end_matches(';') == what);
                at.and_then(|at| words.get(at.checked_sub(1)?)?.parse::<u64>().ok()).unwrap_or(0)
            };
            sum += Self { passed: number("passed"), failed: number("failed"), skipped: number("ignored") };
        }
        if code != 0 && sum.failed == 0 {
            sum.failed = 1;
        }
        sum
    }
}

impl AddAssign for Count {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed", self.passed, self.failed)?;
        if self.skipped > 0 {
            write!(f, ", {} skipped", self.skipped)?;
        }
        Ok(())
    }
}

/// The names of the tests that failed, as the harness says them.
pub fn failures(text: &str) -> Vec<&str> {
    let named = |line: &'_ str| line.trim().strip_prefix("test ")?.strip_suffix(" ... FAILED").map(str::len);
    text.lines()
        .filter(|line| named(line).is_some())
        .map(|line| &line.trim()[5..line.trim().len() - 11])
        .collect()
}

/// What each test said that panicked: where, and the first lines of why.
pub fn panics(text: &str) -> Vec<String> {
    const LINES: usize = 6;
    let begins = |line: &&str| line.starts_with("thread '") && line.contains(" panicked at ");
    let ended =
        |line: &&str| line.is_empty() || line.starts_with("stack backtrace:") || line.starts_with("note: ");
    let lines: Vec<&str> = text.lines().collect();
    let from_each = (0..lines.len()).filter_map(|at| lines.get(at..));
    from_each
        .filter(|rest| rest.first().is_some_and(begins))
        .map(|rest| {
            rest.iter().copied().take_while(|line| !ended(line)).take(LINES).collect::<Vec<_>>().join("\n")
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn panics_are_found_without_what_follows_them() {
        let text = "test a ... \nthread 'a' (7) panicked at x.rs:1:2:\nassertion failed\n  left: 1\nnote: run with\n\
                    stack backtrace:\n 0: f\nthread 'b' panicked at y.rs:3:4:\n1\n2\n3\n4\n5\n6\n";
        let a = "thread 'a' (7) panicked at x.rs:1:2:\nassertion failed\n  left: 1";
        assert_eq!(panics(text), [a, "thread 'b' panicked at y.rs:3:4:\n1\n2\n3\n4\n5"]);
    }

    const TEXT: &str = "\
test a::b ... ok
test c ... FAILED
test result: FAILED. 12 passed; 1 failed; 2 ignored; 0 measured; 5 filtered out; finished in 0.1s
test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.1s
";

    #[test]
    fn results_are_summed() {
        let count = Count::from_harness(TEXT, 101);
        assert_eq!(count, Count { passed: 15, failed: 1, skipped: 2 });
        assert_eq!(count.to_string(), "15 passed, 1 failed, 2 skipped");
        assert_eq!(failures(TEXT), ["c"]);
    }

    #[test]
    fn a_crash_is_a_failure() {
        assert_eq!(Count::from_harness("error: could not compile", 101), Count::FAILED);
        assert_eq!(Count::from_harness("", 0).to_string(), "0 passed, 0 failed");
    }
}
