//! Where a runtime's hooks go: functions of its own binaries, found by their exported names, in the traced
//! process's own files. Reading only.
//!
//! In: the files a process has mapped. Out: [`Hook`]s for [`super::Traced::add`].

mod code;
mod go;
mod greenlet;
mod method;
mod node;
mod pools;
mod python;
mod waits;

use std::path::{Path, PathBuf};

use crate::process::binary::{Binary, open};

pub use go::{Goroutines, Unfit, go};
pub use pools::{PROGRAMS as POOL_PROGRAMS, pools};
pub use python::python;
pub use waits::waits;

/// A probe in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hook {
    /// The program it runs.
    pub program: &'static str,
    /// The file, as seen from here.
    pub file: PathBuf,
    /// Where in the file.
    pub offset: u64,
    /// What the program is told of this place.
    pub cookie: u64,
    /// The function's name.
    pub function: String,
}

/// What a runtime's hooks need, and whether it was found.
#[derive(Clone, Debug, Default)]
pub struct Hooks {
    /// The hooks.
    pub hooks: Vec<Hook>,
    /// What is missing and needed; if anything is, none of the hooks is any good.
    pub missing: Vec<String>,
    /// What is missing otherwise: what it would have linked stays unlinked.
    pub absent: Vec<String>,
}

/// A rule: functions whose names match run `program`.
struct Rule {
    program: &'static str,
    /// Without it links could be wrong, or there would be next to none.
    needed: bool,
    what: &'static str,
    matches: fn(&str) -> bool,
}

/// Node's hooks in `files`: the executable, or libnode and libuv where a distribution splits them.
pub fn node(files: &[PathBuf]) -> Hooks {
    let mut found = find(files, &node::PREFIXES, &node::RULES);
    let taken: Vec<Hook> = files.iter().flat_map(|file| node::taken(file)).collect();
    if taken.is_empty() {
        found.absent.push("node::HandleWrap::Ref".into());
    }
    found.hooks.extend(taken);
    found
}

/// Greenlet's hooks in `modules`, its own and copies of it.
pub fn greenlet(modules: &[PathBuf]) -> Hooks {
    find(modules, &greenlet::PREFIXES, &greenlet::RULES)
}

/// What begins with one of `prefixes` in `files`, by `rules`.
fn find(files: &[PathBuf], prefixes: &[&str], rules: &[Rule]) -> Hooks {
    let mut found = Hooks::default();
    let mut met = vec![false; rules.len()];
    for file in files {
        for (name, offset) in exported(file, prefixes) {
            for (rule, met) in rules.iter().zip(&mut met).filter(|(rule, _)| (rule.matches)(&name)) {
                *met = true;
                found.hooks.push(Hook {
                    program: rule.program,
                    file: file.clone(),
                    offset,
                    cookie: 0,
                    function: name.clone(),
                });
            }
        }
    }
    for (rule, _) in rules.iter().zip(met).filter(|(_, met)| !met) {
        let list = if rule.needed { &mut found.missing } else { &mut found.absent };
        list.push(rule.what.into());
    }
    // One function can have several names; its probe fires once for each attachment.
    found.hooks.sort_by(|a, b| (&a.file, a.offset, a.program).cmp(&(&b.file, b.offset, b.program)));
    found.hooks.dedup_by(|a, b| (&a.file, a.offset, a.program) == (&b.file, b.offset, b.program));
    found
}

/// The functions a file exports that any rule could mean, with the offsets at which to probe them; none if it is no file of
/// this kind.
fn exported(path: &Path, prefixes: &[&str]) -> Vec<(String, u64)> {
    let Some(file) = open(path) else { return Vec::new() };
    let Some(binary) = Binary::parse(&file) else { return Vec::new() };
    let functions = binary.exported(prefixes).into_iter();
    functions.filter_map(|(name, address)| Some((name, probe(&binary, address)?))).collect()
}

/// The offset at which to probe the beginning of the function at `address`.
fn probe(binary: &Binary<'_>, address: u64) -> Option<u64> {
    let code = binary.bytes(address, 16)?;
    binary.offset(address)?.checked_add(cheap_entry(code))
}

/// Bytes from a function's first instruction to the one to probe. The kernel emulates a breakpoint on a push or
/// a nop; on anything else it single-steps, which costs several times as much. `endbr64` is of the latter kind,
/// and what follows it still has all arguments in place.
fn cheap_entry(code: &[u8]) -> u64 {
    const ENDBR64: [u8; 4] = [0xf3, 0x0f, 0x1e, 0xfa];
    let Some(rest) = code.strip_prefix(&ENDBR64) else { return 0 };
    let push = matches!(rest, [0x50..=0x57, ..] | [0x41, 0x50..=0x57, ..]);
    if push { ENDBR64.len() as u64 } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn skips_endbr64_only_before_a_push() {
        assert_eq!(cheap_entry(&[0xf3, 0x0f, 0x1e, 0xfa, 0x55, 0x48]), 4);
        assert_eq!(cheap_entry(&[0xf3, 0x0f, 0x1e, 0xfa, 0x41, 0x57]), 4);
        assert_eq!(cheap_entry(&[0xf3, 0x0f, 0x1e, 0xfa, 0x48, 0x83]), 0);
        assert_eq!(cheap_entry(&[0x55, 0x48, 0x89]), 0);
        assert_eq!(cheap_entry(&[]), 0);
    }

    #[test]
    fn a_file_without_the_functions_names_what_is_missing() {
        let found = node(&[PathBuf::from("/proc/self/exe")]);
        assert!(found.missing.iter().any(|m| m == "uv_tcp_connect"), "{:?}", found.missing);
    }
}
