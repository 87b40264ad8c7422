//! An error with its causes in one line.

use std::error::Error;

/// The text of `error` and of its causes, from the outermost in. Many errors put their cause into their own text: what
/// has been said is not said again.
pub fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{admin::BindError, record};
    use anyhow::Context as _;
    use std::io;

    #[test]
    fn a_cause_is_said_once() {
        let not_there = || io::Error::from_raw_os_error(2);
        let told = "No such file or directory (os error 2)";
        let embedded = record::Error::Io { path: "/x".into(), source: not_there() };
        assert_eq!(chain(anyhow::Error::from(embedded).as_ref()), format!("/x: {told}"));
        let under = Err::<(), _>(not_there()).context("cannot read /proc").unwrap_err();
        assert_eq!(chain(under.as_ref()), format!("cannot read /proc: {told}"));
        let address = ([127, 0, 0, 1], 80).into();
        let taken = BindError { address, source: io::Error::from_raw_os_error(98) };
        let text = chain(&taken);
        assert_eq!(text.matches("os error 98").count(), 1, "{text}");
        assert!(text.ends_with("or `off` to do without"), "the cure stands last: {text}");
    }
}
