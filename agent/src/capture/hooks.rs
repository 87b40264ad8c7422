//! Where a runtime's hooks go: functions of its own binaries, found by their exported names, in the traced
//! process's own files. Reading only.
//!
//! In: the files a process has mapped. Out: [`Hook`]s for [`super::Traced::add`].

use std::{
    fs::File,
    io::{Read as _, Seek as _, SeekFrom},
    path::{Path, PathBuf},
};

use object::{
    Object as _, ObjectSegment as _, ObjectSymbol as _,
    read::{ReadCache, elf::ElfFile64},
};

/// A probe in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hook {
    /// The program it runs.
    pub program: &'static str,
    /// The file, as seen from here.
    pub file: PathBuf,
    /// Where in the file.
    pub offset: u64,
    /// The function's name.
    pub function: String,
}

/// What a runtime's hooks need, and whether it was found.
#[derive(Clone, Debug, Default)]
pub struct Hooks {
    /// The hooks.
    pub hooks: Vec<Hook>,
    /// What is missing; if anything is, none of the hooks is any good.
    pub missing: Vec<String>,
}

/// A rule: functions whose names match run `program`.
struct Rule {
    program: &'static str,
    needed: bool,
    what: &'static str,
    matches: fn(&str) -> bool,
}

/// Node's hooks. A request of libuv's puts the context aside, its callback takes it up again; what comes from a
/// timer, an immediate, a closing handle or another thread belongs to nobody.
const NODE: [Rule; 11] = [
    Rule {
        program: "uv_save_first",
        needed: true,
        what: "uv_tcp_connect",
        matches: |n| n == "uv_tcp_connect",
    },
    Rule {
        program: "uv_save_second",
        needed: true,
        what: "uv_getaddrinfo",
        matches: |n| n == "uv_getaddrinfo",
    },
    Rule {
        program: "uv_save_second",
        needed: true,
        what: "uv_queue_work",
        matches: |n| n == "uv_queue_work",
    },
    Rule { program: "uv_save_second", needed: false, what: "uv_fs_*", matches: is_fs_request },
    Rule {
        program: "uv_resume",
        needed: true,
        what: "MakeLibuvRequestCallback<uv_getaddrinfo_s>",
        matches: |n| is_callback(n, "uv_getaddrinfo_s"),
    },
    Rule {
        program: "uv_resume",
        needed: true,
        what: "MakeLibuvRequestCallback<uv_connect_s>",
        matches: |n| is_callback(n, "uv_connect_s"),
    },
    Rule {
        program: "uv_resume",
        needed: false,
        what: "MakeLibuvRequestCallback<uv_fs_s>, ThreadPoolWork's callback",
        matches: |n| {
            is_callback(n, "uv_fs_s")
                || is_callback(n, "uv_work_s")
                || (n.contains("ThreadPoolWork12ScheduleWorkEv") && n.ends_with("uv_work_siE0_4_FUNES2_i"))
        },
    },
    Rule {
        program: "uv_clear",
        needed: true,
        what: "node::Environment::RunTimers",
        matches: |n| n == "_ZN4node11Environment9RunTimersEP10uv_timer_s",
    },
    Rule {
        program: "uv_clear",
        needed: true,
        what: "node::Environment::CheckImmediate",
        matches: |n| n == "_ZN4node11Environment14CheckImmediateEP10uv_check_s",
    },
    Rule {
        program: "uv_clear",
        needed: false,
        what: "node::HandleWrap::OnClose",
        matches: |n| n == "_ZN4node10HandleWrap7OnCloseEP11uv_handle_s",
    },
    Rule {
        program: "uv_clear",
        needed: false,
        what: "node::PerIsolatePlatformData::FlushForegroundTasksInternal",
        matches: |n| n.contains("PerIsolatePlatformData28FlushForegroundTasksInternal"),
    },
];

fn is_callback(name: &str, request: &str) -> bool {
    name.contains("MakeLibuvRequestCallback") && name.contains("7WrapperE") && name.contains(request)
}

fn is_fs_request(name: &str) -> bool {
    name.strip_prefix("uv_fs_")
        .is_some_and(|rest| !["event", "poll", "get", "req"].iter().any(|other| rest.starts_with(other)))
}

/// Node's hooks in `files`: the executable, or libnode and libuv where a distribution splits them.
pub fn node(files: &[PathBuf]) -> Hooks {
    find(files, &NODE)
}

fn find(files: &[PathBuf], rules: &[Rule]) -> Hooks {
    let mut found = Hooks::default();
    let mut met = vec![false; rules.len()];
    for file in files {
        let Ok(functions) = exported(file) else { continue };
        for (name, offset) in functions {
            for (rule, met) in rules.iter().zip(&mut met).filter(|(rule, _)| (rule.matches)(&name)) {
                *met = true;
                found.hooks.push(Hook {
                    program: rule.program,
                    file: file.clone(),
                    offset,
                    function: name.clone(),
                });
            }
        }
    }
    found.missing =
        rules.iter().zip(met).filter(|(r, met)| r.needed && !met).map(|(r, _)| r.what.into()).collect();
    found
}

/// The functions a file exports that any rule could mean, with the offsets at which to probe them.
fn exported(path: &Path) -> Result<Vec<(String, u64)>, Box<dyn std::error::Error>> {
    let mut file = File::open(path)?;
    let cache = ReadCache::new(File::open(path)?);
    let elf = ElfFile64::<object::Endianness, _>::parse(&cache)?;
    let segments: Vec<(u64, u64, u64)> =
        elf.segments().map(|s| (s.address(), s.file_range().0, s.file_range().1)).collect();
    let mut functions = Vec::new();
    for symbol in elf.dynamic_symbols().filter(|s| s.is_definition()) {
        let Ok(name) = symbol.name() else { continue };
        if !name.starts_with("uv_") && !name.starts_with("_ZN4node") && !name.starts_with("_ZZN4node") {
            continue;
        }
        let at = segments.iter().find(|(address, _, size)| {
            symbol.address().checked_sub(*address).is_some_and(|into| into < *size)
        });
        if let Some((address, start, _)) = at {
            functions.push((name.to_string(), symbol.address() - address + start));
        }
    }
    for (_, offset) in &mut functions {
        let mut code = [0u8; 16];
        file.seek(SeekFrom::Start(*offset))?;
        let got = file.read(&mut code)?;
        *offset += cheap_entry(code.get(..got).unwrap_or_default());
    }
    Ok(functions)
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
    fn requests_of_the_file_system_are_told_from_events() {
        assert!(is_fs_request("uv_fs_open"));
        assert!(!is_fs_request("uv_fs_event_init"));
        assert!(!is_fs_request("uv_fs_req_cleanup"));
        assert!(!is_fs_request("uv_fs_poll_start"));
    }

    #[test]
    fn a_file_without_the_functions_names_what_is_missing() {
        let found = node(&[PathBuf::from("/proc/self/exe")]);
        assert!(found.missing.iter().any(|m| m == "uv_tcp_connect"), "{:?}", found.missing);
    }
}
