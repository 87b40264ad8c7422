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
