//! `service.name`: the table in [`super`]'s documentation, read from top to bottom.

use std::path::{Component, Path, PathBuf};

use super::{
    Process,
    arguments::{Entry, Interpreter, entry, interpreter},
    resource::parse_attributes,
};
use crate::span::conventions::cut;

/// Bytes kept of a name.
const MAX_NAME: usize = 255;
/// Names of modules, scripts, jars and classes that say nothing.
const GENERIC: [&str; 12] = [
    "__main__",
    "app",
    "application",
    "artisan",
    "asgi",
    "console",
    "index",
    "main",
    "manage",
    "server",
    "start",
    "wsgi",
];
/// Directories that say nothing of what lies in them.
const PLACES: [&str; 8] = ["bin", "build", "dist", "lib", "libs", "out", "src", "target"];
/// Python programs that serve an application named in their arguments.
const PYTHON_LAUNCHERS: [&str; 9] = [
    "daphne",
    "fastapi",
    "flask",
    "gunicorn",
    "hypercorn",
    "uvicorn",
    "waitress",
    "waitress-serve",
    "django-admin",
];
/// Ruby programs that serve the application in the working directory.
const RUBY_LAUNCHERS: [&str; 7] = ["bundle", "puma", "rackup", "rails", "thin", "unicorn", "falcon"];
/// What runs a main class of its own choosing.
const JAVA_LOADERS: [&str; 2] =
    ["org.springframework.boot.loader.", "org.codehaus.plexus.classworlds.launcher."];

/// The service that `process` is. `parent` is needed for the workers of Python's multiprocessing, whose command line
/// says nothing: they are the service that their parent is.
pub fn service_name(process: &Process, parent: Option<&Process>) -> String {
    configured(process)
        .or_else(|| program(process))
        .or_else(|| parent.filter(|_| is_multiprocessing(process)).and_then(program))
        .or_else(|| process.executable_name().and_then(|name| tidy(&name)))
        .or_else(|| tidy(&process.comm))
        .unwrap_or_else(|| "unknown_service".to_owned())
}

/// The name that the process's own environment gives it.
pub(super) fn configured(process: &Process) -> Option<String> {
    let environment = &process.environment;
    environment.service_name.as_deref().and_then(tidy).or_else(|| {
        let attributes = parse_attributes(environment.resource_attributes.as_deref()?).ok()?;
        let (_, name) = attributes.into_iter().rfind(|(key, _)| key == "service.name")?;
        tidy(&name)
    })
}

/// A name without blanks around it and control characters, bounded; `None` if nothing is left.
fn tidy(name: &str) -> Option<String> {
    let name = cut(name.trim().chars().filter(|c| !c.is_control()).collect(), MAX_NAME);
    (!name.is_empty()).then_some(name)
}

/// `python -c "from multiprocessing.spawn import spawn_main; …"`, which web servers start their workers with.
fn is_multiprocessing(process: &Process) -> bool {
    let mut arguments = process.arguments.iter();
    arguments.any(|a| a == "-c")
        && arguments.next().is_some_and(|code| code.starts_with("from multiprocessing."))
}

/// The name of the program that an interpreter runs.
fn program(process: &Process) -> Option<String> {
    let executable = process.executable_name()?;
    let interpreter = interpreter(&executable).filter(|_| !executable.starts_with("php-fpm"))?;
    let directory = process.directory.as_deref();
    if let Some(application) = gunicorn_title(&process.arguments) {
        return tidy(&from_application(application, directory)?);
    }
    let name = match (interpreter, entry(interpreter, process.arguments.get(1..)?)?) {
        (Interpreter::Python, Entry::File(path, rest) | Entry::Module(path, rest)) if is_launcher(path) => {
            application(launcher(path), rest, process)
        }
        (Interpreter::Ruby, Entry::File(path, _)) if RUBY_LAUNCHERS.contains(&launcher(path)) => {
            directory.and_then(from_directory)
        }
        (Interpreter::Java, Entry::File(path, _)) => from_file(without_version(path), directory),
        (_, Entry::File(path, _)) => from_file(path, directory),
        (_, Entry::Module(module, _)) => from_dotted(module, directory),
        (_, Entry::Class(class)) if JAVA_LOADERS.iter().any(|loader| class.starts_with(loader)) => {
            directory.and_then(from_directory)
        }
        (_, Entry::Class(class)) => from_dotted(class.strip_suffix("Kt").unwrap_or(class), directory),
    };
    tidy(&name?)
}

/// `gunicorn: worker [shop.wsgi:app]`: the title it writes over its command line if it can.
fn gunicorn_title(arguments: &[String]) -> Option<&str> {
    let title = arguments.first()?.strip_prefix("gunicorn: ")?;
    title.split_once('[')?.1.strip_suffix(']')
}

/// A launcher's bare name: of `/venv/bin/gunicorn`, or of the module `gunicorn.app.wsgiapp`.
fn launcher(path: &str) -> &str {
    let name = path.rsplit('/').next().unwrap_or(path);
    name.split('.').next().unwrap_or(name)
}

fn is_launcher(path: &str) -> bool {
    PYTHON_LAUNCHERS.contains(&launcher(path))
}

/// The application that a Python launcher with these arguments serves.
fn application(launcher: &str, arguments: &[String], process: &Process) -> Option<String> {
    let directory = process.directory.as_deref();
    let named = if launcher == "flask" {
        flask_option(arguments).or(process.environment.flask_app.as_deref())
    } else {
        let last = |test: fn(&str) -> bool| arguments.iter().map(String::as_str).rfind(|a| test(a));
        last(is_application).or_else(|| last(|a| a.ends_with(".py"))).or_else(|| bare_module(arguments))
    };
    match named {
        Some(named) => from_application(named, directory),
        None => directory.and_then(from_directory),
    }
}

fn flask_option(arguments: &[String]) -> Option<&str> {
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--app" | "-A" => return arguments.next().map(String::as_str),
            other => {
                if let Some(value) = other.strip_prefix("--app=") {
                    return Some(value);
                }
            }
        }
    }
    None
}

/// `module:object`, not `host:port` and not `unix:path`.
fn is_application(argument: &str) -> bool {
    let name = |text: &str| text.starts_with(|c: char| c.is_alphabetic() || c == '_');
    let plain = |text: &str| text.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '.'));
    argument.split_once(':').is_some_and(|(module, object)| {
        let object = object.split('(').next().unwrap_or(object);
        name(module) && plain(module) && name(object) && plain(object) && !matches!(module, "unix" | "fd")
    })
}

/// The last argument that can be a module and is no option's value.
fn bare_module(arguments: &[String]) -> Option<&str> {
    let is_module = |a: &str| {
        a.starts_with(|c: char| c.is_alphabetic() || c == '_')
            && a.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '.'))
    };
    let (last, before) = arguments.split_last()?;
    let is_value = before.last().is_some_and(|b| b.starts_with('-') && !b.contains('='));
    (is_module(last) && !is_value).then_some(last)
}

/// The name of `module:object`, `module`, or `path/file.py`.
fn from_application(application: &str, directory: Option<&Path>) -> Option<String> {
    let module = application.split(':').next()?;
    if module.contains('/') || module.ends_with(".py") {
        from_file(module, directory)
    } else {
        from_dotted(module, directory)
    }
}

fn is_generic(name: &str) -> bool {
    GENERIC.contains(&name.to_ascii_lowercase().as_str())
}

/// The innermost part of a dotted name that says something, else the directory.
fn from_dotted(dotted: &str, directory: Option<&Path>) -> Option<String> {
    let telling = dotted.rsplit('.').find(|part| !part.is_empty() && !is_generic(part));
    let own = || dotted.rsplit('.').next().map(str::to_owned);
    telling.map(str::to_owned).or_else(|| directory.and_then(from_directory)).or_else(own)
}

/// The file's base name if it says something, else the directory it lies in.
fn from_file(file: &str, directory: Option<&Path>) -> Option<String> {
    let path = resolve(file, directory);
    // `node .`, `python shop/`
    if file.ends_with(['.', '/']) {
        return from_directory(&path);
    }
    let stem = path.file_stem()?.to_string_lossy().into_owned();
    if !is_generic(&stem) {
        return Some(stem);
    }
    path.parent().and_then(from_directory).or(Some(stem))
}

/// The innermost directory with a name of its own.
fn from_directory(path: &Path) -> Option<String> {
    let mut names =
        path.ancestors().filter_map(Path::file_name).map(|name| name.to_string_lossy().into_owned());
    names.find(|name| !PLACES.contains(&name.as_str()))
}

/// The path with `.` and `..` worked out, from `directory` on if it is relative.
fn resolve(path: &str, directory: Option<&Path>) -> PathBuf {
    let mut resolved = PathBuf::new();
    for component in directory.unwrap_or(Path::new("")).join(path).components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => drop(resolved.pop()),
            other => resolved.push(other),
        }
    }
    resolved
}

/// `shop-1.2.3-SNAPSHOT.jar` is `shop`: a new release is no new service.
fn without_version(jar: &str) -> &str {
    let name_at = jar.rfind('/').map_or(0, |at| at + 1);
    let version = jar.get(name_at..).and_then(|name| {
        name.match_indices('-')
            .map(|(at, _)| at)
            .find(|at| *at > 0 && name.as_bytes().get(at + 1).is_some_and(u8::is_ascii_digit))
    });
    version.and_then(|at| jar.get(..name_at + at)).unwrap_or(jar)
}

#[cfg(test)]
mod tests;
