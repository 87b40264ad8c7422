//! What is known of a process, and the resource its spans belong to.
//!
//! In: `/proc` (its root can be another folder, as in tests) and a few files of the host. Out: [`Process`], [`Runtime`],
//! listening ports, [`crate::span::Resource`]. Everything is read, nothing is attached to or stopped.
//!
//! `service.name` is the first of these that gives a name:
//!
//! | source | name |
//! |---|---|
//! | `OTEL_SERVICE_NAME` in the process's environment | its value |
//! | `OTEL_RESOURCE_ATTRIBUTES` there | its `service.name` |
//! | Python: a launcher (flask, gunicorn, uvicorn, hypercorn, daphne, waitress, fastapi) | the application's module (`--app x`, `FLASK_APP`, `shop.wsgi:app`), else the working directory |
//! | Python: `-m module` | the module |
//! | Python: a worker of multiprocessing | what its parent is named by these rules |
//! | Python, Node, Ruby, PHP: a script | its base name without extension |
//! | Ruby: a launcher (puma, rails, rackup, unicorn, thin, falcon, bundle) | the working directory |
//! | Java: `-jar x-1.2.jar` | the jar's base name without version |
//! | Java: a main class, `-m module/class` | the class's simple name |
//! | .NET: `dotnet x.dll` | the assembly's base name |
//! | anything else | the executable's base name |
//! | the executable cannot be read | the name of the process's main thread |
//!
//! A name that says nothing (`app`, `application`, `artisan`, `asgi`, `console`, `index`, `main`, `manage`, `server`,
//! `start`, `wsgi`, `__main__`; also the launcher classes of Spring Boot and Maven) passes the question on: a module or
//! class to the package around it, then to the working directory; a file to the directory it lies in. Directories that
//! say nothing either (`bin`, `build`, `dist`, `lib`, `libs`, `out`, `src`, `target`) pass it on to the one around
//! them. Relative paths start at the process's working directory.

mod arguments;
pub mod binary;
mod cgroup;
mod cpython;
mod elf;
mod event_loop;
mod go;
mod host;
mod instrumented;
mod ports;
mod procfs;
mod resource;
mod runtime;
pub mod selection;
mod service;

#[cfg(test)]
mod fixture;

use std::path::PathBuf;

pub use self::{
    cgroup::{Berth, berths, container_id},
    cpython::{CPython, Functions},
    event_loop::{PythonLoop, event_loop, has_no_event_loop_modules, may_run_asyncio, python_loop},
    go::{Function, GoError, GoProgram},
    host::Host,
    instrumented::instrumentation,
    ports::Listeners,
    procfs::{Error, Glance, Procfs},
    resource::{AttributesError, parse_attributes, resource},
    runtime::Runtime,
    service::service_name,
};

/// Tells a process from every other one, before or after it, with the same pid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Identity {
    /// The process id in the pid namespace of the `/proc` it was read from.
    pub pid: u32,
    /// When it started, in clock ticks since boot.
    pub start_ticks: u64,
    /// The boot that the ticks count from.
    pub boot_id: u128,
}

/// The variables of a process's environment that are read; no others are looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Environment {
    /// `OTEL_SERVICE_NAME`, if set and not empty.
    pub service_name: Option<String>,
    /// `OTEL_RESOURCE_ATTRIBUTES`, if set and not empty, as written.
    pub resource_attributes: Option<String>,
    /// `FLASK_APP`, if set and not empty.
    pub flask_app: Option<String>,
    /// What its runtime loads before the program.
    pub loads: Loads,
}

/// The variables by which runtimes are told to load something before the program; empty where they are not set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Loads {
    /// `NODE_OPTIONS`.
    pub node: String,
    /// `JAVA_TOOL_OPTIONS`, `JDK_JAVA_OPTIONS` and `_JAVA_OPTIONS`.
    pub java: String,
    /// `PYTHONPATH`.
    pub python: String,
    /// `DOTNET_STARTUP_HOOKS`.
    pub dotnet: String,
    /// `RUBYOPT`.
    pub ruby: String,
    /// A variable keeps OpenTelemetry's tracers from sending spans.
    pub is_off: bool,
}

/// A process as `/proc` shows it. What could not be read, for want of rights or because the process is a kernel thread
/// or a zombie, is `None` or empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// Which process this is.
    pub identity: Identity,
    /// The parent's process id.
    pub parent: u32,
    /// The main thread's name.
    pub comm: String,
    /// The executable, as the process sees its file system.
    pub executable: Option<PathBuf>,
    /// Arguments, the zeroth included.
    pub arguments: Vec<String>,
    /// The working directory, as the process sees its file system.
    pub directory: Option<PathBuf>,
    /// What its environment said when it was started.
    pub environment: Environment,
    /// Its paths in the cgroup hierarchies, each once.
    pub cgroups: Vec<String>,
    /// The innermost container it runs in.
    pub container_id: Option<String>,
    /// Inode of its network namespace.
    pub network_namespace: Option<u64>,
    /// Its first thread ends, or has ended: little of the above can be read any more.
    pub is_ending: bool,
}

impl Process {
    /// The process id.
    pub fn pid(&self) -> u32 {
        self.identity.pid
    }

    /// Neither executable nor arguments: a kernel thread or a zombie. Without the right to read the first, there still are the
    /// latter.
    pub fn shows_nothing(&self) -> bool {
        self.executable.is_none() && self.arguments.is_empty()
    }

    /// The executable's base name.
    pub fn executable_name(&self) -> Option<String> {
        Some(self.executable.as_ref()?.file_name()?.to_string_lossy().into_owned())
    }
}
