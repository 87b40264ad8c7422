//! CPython's `_queue.SimpleQueue`, out of which the threads of a `concurrent.futures.ThreadPoolExecutor` take their work: where
//! work is put in, where a thread asks for it, and where it has it.

use std::path::{Path, PathBuf};

use super::{
    Hook, Hooks,
    code::results,
    method::{self, Method},
};
use crate::process::binary::{Binary, open};

/// What they run.
pub const PROGRAMS: [&str; 3] = ["pool_put", "pool_ask", "pool_take"];

/// The hooks in `files`, the module as a process has mapped it: in each file all, or none.
pub fn pools(files: &[PathBuf]) -> Hooks {
    let mut found = Hooks::default();
    for file in files {
        match in_file(file) {
            Some(hooks) => found.hooks.extend(hooks),
            None => found.missing.push(format!("SimpleQueue's methods in {}", file.display())),
        }
    }
    found
}

fn in_file(path: &Path) -> Option<Vec<Hook>> {
    let hook = |program, function: &str, offset, cookie: u8| Hook {
        program,
        file: path.to_path_buf(),
        offset,
        cookie: cookie.into(),
        function: format!("SimpleQueue.{function}"),
    };
    let file = open(path)?;
    let binary = Binary::parse(&file)?;
    let methods =
        |name| Some(method::functions(&binary, name)).filter(|found: &Vec<Method>| !found.is_empty());
    let mut hooks: Vec<Hook> =
        methods("put")?.iter().map(|put| hook("pool_put", "put", put.probe, 0)).collect();
    for name in ["get", "get_nowait"] {
        for method in methods(name)? {
            hooks.push(hook("pool_ask", name, method.probe, 0));
            for place in results(method.address, |address, most| binary.bytes(address, most))? {
                hooks.push(hook("pool_take", name, binary.offset(place.address)?, place.register));
            }
        }
    }
    // Both can go on to the same code.
    hooks.sort_by_key(|hook| (hook.offset, hook.program));
    hooks.dedup_by_key(|hook| (hook.offset, hook.program));
    Some(hooks)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::programs::UPROBES;

    /// `_queue` of this machine's own Python.
    fn module() -> PathBuf {
        let print = ["-c", "import _queue; print(_queue.__file__)"];
        let output = std::process::Command::new("python3").args(print).output().unwrap();
        String::from_utf8(output.stdout).unwrap().trim().into()
    }

    #[test]
    fn each_way_in_and_out_is_found() {
        let found = pools(&[module()]);
        assert!(found.missing.is_empty(), "{found:?}");
        let count = |program| found.hooks.iter().filter(|hook| hook.program == program).count();
        assert_eq!((count("pool_put"), count("pool_ask")), (1, 2), "{found:?}");
        assert!((1..=4).contains(&count("pool_take")), "{found:?}");
        assert!(PROGRAMS.iter().all(|program| UPROBES.contains(program)));
        assert!(found.hooks.iter().all(|hook| PROGRAMS.contains(&hook.program)));
    }

    #[test]
    fn what_is_no_queue_has_none() {
        let found = pools(&["/proc/self/exe".into(), "/nowhere".into()]);
        assert_eq!((found.hooks.len(), found.missing.len()), (0, 2));
    }
}
