//! Which language runtime a process runs on: by the files it has mapped, the name of its executable, and what that
//! file itself gives away.
//!
//! It is the answer of the moment: right after exec the libraries are not mapped yet, and Python loads its event loops
//! when the application imports them. Ask again when it matters.

use std::{
    fs::File,
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
};

use super::{
    Process, Procfs,
    arguments::{Interpreter, interpreter},
    elf,
};

/// Bytes of `maps` that are read; a JVM's has a few hundred KB.
const MAX_MAPS: u64 = 16 << 20;

/// A language runtime.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Runtime {
    /// Node.js.
    Node {
        /// libnode, as the process sees its file system, where Node is not in the executable itself.
        library: Option<PathBuf>,
    },
    /// Python.
    Python {
        /// The asyncio accelerator is mapped: asyncio was imported. A Python that has it built in does not show it.
        asyncio: bool,
        /// The greenlet module is mapped: gevent, eventlet, or a library that uses greenlets within asyncio.
        greenlet: bool,
        /// A module of gevent is mapped.
        gevent: bool,
        /// uvloop is mapped.
        uvloop: bool,
    },
    /// A Java virtual machine.
    Java,
    /// Go.
    Go,
    /// Ruby.
    Ruby,
    /// .NET.
    Dotnet,
    /// PHP.
    Php,
    /// None of these: C, C++, Rust, or not recognised.
    Native,
}

impl Runtime {
    /// The runtime of `process`, seen now. What cannot be read counts as not there.
    pub fn detect(procfs: &Procfs, process: &Process) -> Self {
        let mapped = libraries(procfs, process.pid());
        let name = process.executable_name().unwrap_or_default();
        let executable = procfs.path(process.pid(), "exe");
        by_libraries(&mapped)
            // Before the name: a Go program may be called `node`.
            .or_else(|| elf::is_go(&executable).then_some(Self::Go))
            .or_else(|| by_name(&name, &mapped))
            .or_else(|| by_symbols(&executable, &mapped))
            .unwrap_or(Self::Native)
    }

    /// `telemetry.sdk.language` of a process on this runtime, `generic` where it is not known.
    pub fn language(&self) -> &'static str {
        match self {
            Self::Node { .. } => "nodejs",
            Self::Python { .. } => "python",
            Self::Java => "java",
            Self::Go => "go",
            Self::Ruby => "ruby",
            Self::Dotnet => "dotnet",
            Self::Php => "php",
            Self::Native => "generic",
        }
    }

    /// `process.runtime.name`, where it follows from the kind of runtime: a JVM's is a property inside the JVM.
    pub fn name(&self) -> Option<&'static str> {
        match self {
            Self::Node { .. } => Some("nodejs"),
            Self::Python { .. } => Some("cpython"),
            Self::Go => Some("go"),
            Self::Ruby => Some("ruby"),
            Self::Dotnet => Some(".NET"),
            Self::Java | Self::Php | Self::Native => None,
        }
    }
}

/// Paths of the libraries and modules that process `pid` has mapped; none if that cannot be read.
pub(super) fn libraries(procfs: &Procfs, pid: u32) -> Vec<PathBuf> {
    File::open(procfs.path(pid, "maps")).map(mapped).unwrap_or_default()
}

/// Paths of the mapped libraries and modules, each run of mappings once.
fn mapped(maps: impl Read) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = Vec::new();
    for line in BufReader::new(maps.take(MAX_MAPS)).split(b'\n').map_while(Result::ok) {
        let line = String::from_utf8_lossy(&line);
        // address perms offset dev inode path; only paths hold a slash.
        let Some(path) = line.find('/').and_then(|at| line.get(at..)) else { continue };
        if path.contains(".so") && paths.last().is_none_or(|last| last != Path::new(path)) {
            paths.push(path.into());
        }
    }
    paths
}

pub(super) fn file_name(path: &Path) -> &str {
    path.file_name().and_then(|name| name.to_str()).unwrap_or_default()
}

fn by_libraries(mapped: &[PathBuf]) -> Option<Runtime> {
    mapped.iter().find_map(|path| match file_name(path) {
        "libjvm.so" => Some(Runtime::Java),
        "libcoreclr.so" => Some(Runtime::Dotnet),
        name if name.starts_with("libnode.so") => Some(Runtime::Node { library: Some(path.clone()) }),
        name if name.starts_with("libpython") || name.starts_with("libpypy") => Some(python(mapped)),
        name if name.starts_with("libruby") => Some(Runtime::Ruby),
        name if name.starts_with("libphp") => Some(Runtime::Php),
        _ => None,
    })
}

fn python(mapped: &[PathBuf]) -> Runtime {
    let module = |test: fn(&Path) -> bool| mapped.iter().any(|path| test(path));
    Runtime::Python {
        asyncio: module(|path| file_name(path).starts_with("_asyncio.")),
        greenlet: module(|path| file_name(path).starts_with("_greenlet.")),
        gevent: module(|path| path.components().any(|part| part.as_os_str() == "gevent")),
        uvloop: module(|path| path.parent().is_some_and(|dir| dir.ends_with("uvloop"))),
    }
}

fn by_symbols(executable: &Path, mapped: &[PathBuf]) -> Option<Runtime> {
    Some(match elf::embedded(executable)? {
        elf::Embedded::Node => Runtime::Node { library: None },
        elf::Embedded::Python => python(mapped),
        elf::Embedded::Dotnet => Runtime::Dotnet,
    })
}

fn by_name(name: &str, mapped: &[PathBuf]) -> Option<Runtime> {
    match interpreter(name)? {
        Interpreter::Node => Some(Runtime::Node { library: None }),
        Interpreter::Python => Some(python(mapped)),
        Interpreter::Java => Some(Runtime::Java),
        Interpreter::Ruby => Some(Runtime::Ruby),
        Interpreter::Php => Some(Runtime::Php),
        Interpreter::Dotnet => Some(Runtime::Dotnet),
    }
}

#[cfg(test)]
mod tests;
