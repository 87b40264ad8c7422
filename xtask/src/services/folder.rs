//! A folder with sources of services, made ready to start them.
//!
//! In: the folder; its kind is told by the file its ecosystem asks for. Out: what starts its services ([`Prepared`]).

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::Program;
use crate::{
    process,
    tools::{debian, go, java, node, python},
};

/// Stands for Maven's jar among arguments.
const JAR: &str = "{jar}";
/// Stands for the folder of the unpacked packages among arguments.
const PACKAGES: &str = "{packages}";

/// Whose ecosystem a folder's services are of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Node.js.
    Node,
    /// Python.
    Python,
    /// Java.
    Java,
    /// Go.
    Go,
    /// A shell script that becomes the server.
    Script,
}

impl Kind {
    /// By the file that its ecosystem asks for.
    fn of(folder: &Path) -> Result<Self> {
        const FILES: [(&str, Kind); 5] = [
            ("package.json", Kind::Node),
            ("requirements.txt", Kind::Python),
            ("pom.xml", Kind::Java),
            ("go.mod", Kind::Go),
            ("start.sh", Kind::Script),
        ];
        let found = FILES.into_iter().find(|(file, _)| folder.join(file).is_file()).map(|(_, kind)| kind);
        let names = FILES.map(|(file, _)| file).join(", ");
        found.with_context(|| format!("{} has none of {names}", folder.display()))
    }
}

/// What starts the services of a folder.
#[derive(Clone, Debug)]
pub struct Prepared {
    kind: Kind,
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
        let kind = Kind::of(folder)?;
        let made = |program, arguments: &[&str], folder: &Path, words| Self {
            kind,
            program,
            arguments: arguments.iter().map(|&argument| argument.to_owned()).collect(),
            folder: folder.to_path_buf(),
            words,
        };
        Ok(match kind {
            Kind::Node => made(node::interpreter()?, &["app.js"], &node::prepare(folder)?, Vec::new()),
            Kind::Python => made(python::prepare(folder)?, &["app.py"], folder, Vec::new()),
            Kind::Java => {
                let words = vec![(JAR, java::prepare(folder)?)];
                made(java::machine()?, &["-jar", JAR], folder, words)
            }
            Kind::Go => made(go::prepare(folder)?, &[], folder, Vec::new()),
            Kind::Script => {
                let shell = process::which("sh").context("sh is not on PATH")?;
                made(shell, &["start.sh"], folder, vec![(PACKAGES, debian::unpacked(packages)?)])
            }
        })
    }

    /// Whose ecosystem it is of.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The same, run by another interpreter.
    #[must_use]
    pub fn run_by(self, program: PathBuf) -> Self {
        Self { program, ..self }
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
