//! Greenlet's functions: the change to another greenlet, how they are made, and how they end.
//!
//! In the names as GCC and Clang write them, of greenlet 2 and later.

use super::Rule;

/// What the names of all these functions begin with.
pub(super) const PREFIXES: [&str; 1] = ["_ZN8greenlet"];

const fn rule(program: &'static str, what: &'static str, matches: fn(&str) -> bool) -> Rule {
    Rule { program, needed: true, what, matches }
}

/// A greenlet goes on with the work of the one that made it, and is believed to have done nothing else when it has ended.
pub(super) const RULES: [Rule; 4] = [
    rule("greenlet_switch", "greenlet::Greenlet::g_switchstack_success", |n| {
        n == "_ZN8greenlet8Greenlet21g_switchstack_successEv"
    }),
    rule("greenlet_make", "greenlet::MainGreenlet", |n| {
        n.starts_with("_ZN8greenlet12MainGreenletC1E") || n.starts_with("_ZN8greenlet12MainGreenletC2E")
    }),
    rule("greenlet_lend", "greenlet::UserGreenlet", |n| {
        n.starts_with("_ZN8greenlet12UserGreenletC1E") || n.starts_with("_ZN8greenlet12UserGreenletC2E")
    }),
    rule("greenlet_end", "greenlet::PythonState::did_finish", |n| {
        n.starts_with("_ZN8greenlet11PythonState10did_finishE")
    }),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::programs::UPROBES;

    /// From .dynsym of greenlet's wheels, 2.0 to 3.5.
    const GREENLET: [(&str, &str); 7] = [
        ("_ZN8greenlet8Greenlet21g_switchstack_successEv", "greenlet_switch"),
        (
            "_ZN8greenlet12UserGreenletC1EP9_greenletNS_4refs17_BorrowedGreenletIS1_XadL_ZNS3_15GreenletCheckerEPvEEEE",
            "greenlet_lend",
        ),
        ("_ZN8greenlet12MainGreenletC2EP9_greenletPNS_11ThreadStateE", "greenlet_make"),
        ("_ZN8greenlet8Greenlet13g_switchstackEv", ""),
        ("_ZN8greenlet11PythonState10did_finishEP3_ts", "greenlet_end"),
        ("_ZN8greenlet12UserGreenletD2Ev", ""),
        ("_ZN8greenlet8GreenletC2EP9_greenlet", ""),
    ];

    #[test]
    fn each_function_runs_its_program_alone() {
        for (name, program) in GREENLET {
            let met: Vec<_> = RULES.iter().filter(|r| (r.matches)(name)).map(|r| r.program).collect();
            let expected: Vec<_> = [program].into_iter().filter(|p| !p.is_empty()).collect();
            assert_eq!(met, expected, "{name}");
            assert!(PREFIXES.iter().any(|p| name.starts_with(p)), "{name}");
        }
    }

    #[test]
    fn the_programs_are_loaded() {
        for rule in &RULES {
            assert!(UPROBES.contains(&rule.program), "{}", rule.program);
        }
    }
}
