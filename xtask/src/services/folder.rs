//! A folder with sources of services, made ready to start them.
//!
//! In: the folder; its kind is told by the file its ecosystem asks for. Out: what starts its services ([`Prepared`]).

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::Program;
use crate::{
    process,
    tools::{debian, go, java, node, python},
};

/// Stands for Maven's jar among arguments.
const JAR: &str = "{jar}";
/// Stands for the folder of the unpacked packages among arguments.
const PACKAGES: &str = "{packages}";

/// What starts the services of a folder.
#[derive(Clone, Debug)]
pub struct Prepared {
    /// The interpreter, or the program itself.
    program: PathBuf,
    /// Its arguments, unless a service has others.
    arguments: Vec<String>,
    /// Where it is started.
    folder: PathBuf,
    /// What stands for what in arguments.
    words: Vec<(&'static str, PathBuf)>,
}

impl Prepared {
    /// Installs what the folder's services need; `packages` are Debian's, for what is started by a script.
    pub fn new(folder: &Path, packages: &[&str]) -> Result<Self> {
        let has = |name: &str| folder.join(name).is_file();
        let made = |program, arguments: &[&str], folder: &Path| Self {
            program,
            arguments: arguments.iter().map(|&argument| argument.to_owned()).collect(),
            folder: folder.to_path_buf(),
            words: Vec::new(),
        };
        if has("package.json") {
            Ok(made(node::interpreter()?, &["app.js"], &node::prepare(folder)?))
        } else if has("requirements.txt") {
            Ok(made(python::prepare(folder)?, &["app.py"], folder))
        } else if has("pom.xml") {
            let words = vec![(JAR, java::prepare(folder)?)];
            Ok(Self { words, ..made(java::machine()?, &["-jar", JAR], folder) })
        } else if has("go.mod") {
            Ok(made(go::prepare(folder)?, &[], folder))
        } else if has("start.sh") {
            let shell = process::which("sh").context("sh is not on PATH")?;
            let words = vec![(PACKAGES, debian::unpacked(packages)?)];
            Ok(Self { words, ..made(shell, &["start.sh"], folder) })
        } else {
            bail!("{} has no package.json, requirements.txt, pom.xml, go.mod or start.sh", folder.display())
        }
    }

    /// The service that starts without being told anything.
    pub fn program(&self, name: String) -> Program {
        self.service(name, None, &self.arguments)
    }

    /// The service that is started by these arguments; `script` stands beside the interpreter and takes its place.
    pub fn service(&self, name: String, script: Option<&str>, arguments: &[String]) -> Program {
        let program = match script {
            Some(script) => self.program.with_file_name(script),
            None => self.program.clone(),
        };
        let filled = |argument: &String| {
            let fill =
                |text: String, (word, path): &(&str, PathBuf)| text.replace(word, &path.to_string_lossy());
            self.words.iter().fold(argument.clone(), fill).into()
        };
        Program {
            name,
            program,
            arguments: arguments.iter().map(filled).collect(),
            folder: self.folder.clone(),
        }
    }

    /// What its services are started by, where they say nothing else.
    pub fn arguments(&self) -> &[String] {
        &self.arguments
    }
}
