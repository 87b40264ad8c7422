//! Greenlet's functions: the change to another greenlet, and how they are made. And CPython's with which a thread begins:
//! gevent and eventlet put greenlets in the place of threads, and a pool's threads take up work that is not their maker's.
//!
//! In the names as GCC and Clang write them, of greenlet 2 and later.

use std::path::Path;

use super::{Hook, Rule, method};

/// What the names of all these functions begin with.
pub(super) const PREFIXES: [&str; 1] = ["_ZN8greenlet"];

const fn rule(program: &'static str, what: &'static str, matches: fn(&str) -> bool) -> Rule {
    Rule { program, needed: true, what, matches }
}

const SWITCH: Rule = rule("greenlet_switch", "greenlet::Greenlet::g_switchstack_success", |n| {
    n == "_ZN8greenlet8Greenlet21g_switchstack_successEv"
});
const MAIN: Rule = rule("greenlet_make", "greenlet::MainGreenlet", |n| {
    n.starts_with("_ZN8greenlet12MainGreenletC1E") || n.starts_with("_ZN8greenlet12MainGreenletC2E")
});

/// A greenlet goes on with the work of the one that made it.
pub(super) const LENDING: [Rule; 3] =
    [SWITCH, MAIN, rule("greenlet_lend", "greenlet::UserGreenlet", is_constructor)];
/// Where a thread cannot be told from other greenlets, they work for nobody until they read a request.
pub(super) const ALONE: [Rule; 3] =
    [SWITCH, MAIN, rule("greenlet_make", "greenlet::UserGreenlet", is_constructor)];

fn is_constructor(name: &str) -> bool {
    name.starts_with("_ZN8greenlet12UserGreenletC1E") || name.starts_with("_ZN8greenlet12UserGreenletC2E")
}

/// The hook in a Python's `_thread.get_native_id`, which every thread calls first of all.
pub(super) fn thread(python: &Path) -> Vec<Hook> {
    let found = method::functions(python, "get_native_id").unwrap_or_default();
    let hook = |offset| Hook {
        program: "greenlet_thread",
        file: python.to_path_buf(),
        offset,
        function: "_thread.get_native_id".into(),
        cookie: 0,
    };
    found.into_iter().map(hook).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::programs::UPROBES;

    /// From .dynsym of greenlet's wheels, 2.0 to 3.5.
    const GREENLET: [(&str, &str); 6] = [
        ("_ZN8greenlet8Greenlet21g_switchstack_successEv", "greenlet_switch"),
        (
            "_ZN8greenlet12UserGreenletC1EP9_greenletNS_4refs17_BorrowedGreenletIS1_XadL_ZNS3_15GreenletCheckerEPvEEEE",
            "greenlet_lend",
        ),
        ("_ZN8greenlet12MainGreenletC2EP9_greenletPNS_11ThreadStateE", "greenlet_make"),
        ("_ZN8greenlet8Greenlet13g_switchstackEv", ""),
        ("_ZN8greenlet12UserGreenletD2Ev", ""),
        ("_ZN8greenlet8GreenletC2EP9_greenlet", ""),
    ];

    #[test]
    fn each_function_runs_its_program_alone() {
        for (name, program) in GREENLET {
            let met: Vec<_> = LENDING.iter().filter(|r| (r.matches)(name)).map(|r| r.program).collect();
            let expected: Vec<_> = [program].into_iter().filter(|p| !p.is_empty()).collect();
            assert_eq!(met, expected, "{name}");
            assert!(PREFIXES.iter().any(|p| name.starts_with(p)), "{name}");
        }
    }

    #[test]
    fn nothing_is_lent_where_threads_cannot_be_told() {
        let constructor = GREENLET[1].0;
        let met: Vec<_> = ALONE.iter().filter(|r| (r.matches)(constructor)).map(|r| r.program).collect();
        assert_eq!(met, ["greenlet_make"]);
        let found = super::super::greenlet(&[], &["/proc/self/exe".into()]);
        assert_eq!(found.absent, ["_thread.get_native_id"]);
        assert_eq!(found.missing.len(), ALONE.len(), "{found:?}");
    }

    #[test]
    fn the_programs_are_loaded() {
        for rule in LENDING.iter().chain(&ALONE) {
            assert!(UPROBES.contains(&rule.program), "{}", rule.program);
        }
        assert!(UPROBES.contains(&"greenlet_thread"));
    }
}
