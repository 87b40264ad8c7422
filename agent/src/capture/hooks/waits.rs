//! Where a thread begins to wait for whichever of many sockets is ready: libc's functions, whichever libc it is.

use std::path::{Path, PathBuf};

use super::{Hook, Hooks, code::argument};
use crate::process::binary::{Binary, open};

/// Every way to wait by epoll; older libraries have not all of them.
const FUNCTIONS: [&str; 3] = ["epoll_wait", "epoll_pwait", "epoll_pwait2"];

/// The hooks in `files`: libc, as a process has mapped it.
pub fn waits(files: &[PathBuf]) -> Hooks {
    let mut found = Hooks::default();
    found.hooks.extend(files.iter().filter_map(|file| in_file(file)).flatten());
    let missing = FUNCTIONS.iter().filter(|name| !found.hooks.iter().any(|hook| hook.function == **name));
    let missing: Vec<String> = missing.map(|name| (*name).to_owned()).collect();
    // What there is calls the system by what it has.
    if missing.len() == FUNCTIONS.len() {
        found.missing = missing;
    }
    found
}

fn in_file(path: &Path) -> Option<Vec<Hook>> {
    let file = open(path)?;
    let binary = Binary::parse(&file)?;
    let hook = |(name, address): (&str, Option<u64>)| {
        let entry = address?;
        // Anywhere on the way through the function will do: where the kernel need not single-step.
        let cheap = argument(entry, |address, most| binary.bytes(address, most));
        let place = cheap.filter(|_| cfg!(target_arch = "x86_64")).map_or(entry, |place| place.address);
        Some(Hook {
            program: "thread_waits",
            file: path.to_path_buf(),
            offset: binary.offset(place)?,
            cookie: 0,
            function: name.to_owned(),
        })
    };
    Some(FUNCTIONS.into_iter().zip(binary.symbols(FUNCTIONS)).filter_map(hook).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_programs_libc_waits() {
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        let libc = maps.lines().filter_map(|line| line.split_whitespace().nth(5));
        let libc: Vec<PathBuf> = libc.filter(|path| path.contains("/libc.")).map(PathBuf::from).collect();
        let found = waits(libc.get(..1).unwrap());
        assert!(found.missing.is_empty());
        assert!(found.hooks.iter().any(|hook| hook.function == "epoll_wait"), "{found:?}");
    }

    #[test]
    fn what_has_no_such_functions_says_so() {
        assert_eq!(waits(&[PathBuf::from("/proc/self/stat")]).missing, FUNCTIONS);
    }

    #[test]
    fn the_program_is_loaded() {
        assert!(crate::capture::programs::UPROBES.contains(&"thread_waits"));
    }
}
