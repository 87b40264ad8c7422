//! OpenTelemetry's own instrumentation without code, as the reference that the agent's traces are compared with.
//!
//! In: a folder with services, made ready. Out: what starts them with the SDK inside ([`Reference`]), for Node.js, Python
//! and Java; other programs have no such thing.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};
use serde_json::{Map, Value, json};

use super::{
    Program,
    folder::{Kind, Prepared},
};
use crate::{
    cache, process,
    tools::{INSTALL_LIMIT, python},
    ui::Step,
    workspace,
};

const NODE: &str = "@opentelemetry/auto-instrumentations-node@0.82.0";
const PYTHON: [&str; 2] = ["opentelemetry-distro==0.66b1", "opentelemetry-exporter-otlp-proto-http==1.45.1"];
const JAVA: &str = "io.opentelemetry.javaagent:opentelemetry-javaagent:2.33.1";

/// How a folder's services start with the SDK inside.
#[derive(Clone, Debug)]
pub struct Reference {
    /// What stands before the service's own program.
    before: Option<PathBuf>,
    /// The interpreter, where it is another.
    prepared: Prepared,
    /// What it must be told.
    environment: Vec<(&'static str, String)>,
}

impl Reference {
    /// Fetches the SDK for the services in `folder`; `None` if there is none for their kind.
    pub fn new(folder: &Path, prepared: &Prepared) -> Result<Option<Self>> {
        let with = |environment| Self { before: None, prepared: prepared.clone(), environment };
        Ok(match prepared.kind() {
            Kind::Node => Some(with(node()?)),
            Kind::Java => {
                Some(with(vec![("JAVA_TOOL_OPTIONS", format!("-javaagent:{}", java()?.display()))]))
            }
            Kind::Python => {
                let interpreter = python::prepare_with(folder, &PYTHON, bootstrap)?;
                let before = Some(interpreter.with_file_name("opentelemetry-instrument"));
                Some(Self { before, prepared: prepared.clone().run_by(interpreter), environment: Vec::new() })
            }
            Kind::Go | Kind::Script => None,
        })
    }

    /// A service with the SDK inside, and what its environment must say.
    pub fn service(&self, name: &str, script: Option<&str>, arguments: &[String]) -> Instrumented {
        let mut program = self.prepared.service(name.to_owned(), script, arguments);
        if let Some(before) = &self.before {
            program.arguments.insert(0, program.program.into_os_string());
            program = Program { program: before.clone(), ..program };
        }
        Instrumented { program, environment: self.environment.clone() }
    }
}

/// A service that OpenTelemetry's SDK traces.
#[derive(Clone, Debug)]
pub struct Instrumented {
    /// How to start it.
    pub program: Program,
    /// What its environment must say.
    pub environment: Vec<(&'static str, String)>,
}

impl Instrumented {
    /// As test programs read it: as [`Program::to_json`], with an `environment`.
    pub fn to_json(&self) -> Value {
        let environment = self.environment.iter().map(|(name, value)| ((*name).to_owned(), json!(value)));
        let mut json = self.program.to_json();
        json["environment"] = environment.collect::<Map<_, _>>().into();
        json
    }
}

/// What makes Node.js load the SDK first.
fn node() -> Result<Vec<(&'static str, String)>> {
    let dir = fetched("node-sdk", NODE, |dir| {
        let mut npm = Command::new("npm");
        npm.args(["install", "--no-audit", "--no-fund", "--prefix"]).arg(dir).arg(NODE);
        npm
    })?;
    Ok(vec![
        ("NODE_PATH", dir.join("node_modules").display().to_string()),
        ("NODE_OPTIONS", "--require=@opentelemetry/auto-instrumentations-node/register".to_owned()),
    ])
}

/// The jar that the virtual machine is to load first.
fn java() -> Result<PathBuf> {
    let dir = fetched("java-sdk", JAVA, |dir| {
        let mut maven = Command::new("mvn");
        maven.args(["--batch-mode", "--no-transfer-progress", "dependency:copy", "-Dmdep.stripVersion=true"]);
        maven.arg(format!("-Dartifact={JAVA}")).arg(format!("-DoutputDirectory={}", dir.display()));
        maven
    })?;
    Ok(dir.join("opentelemetry-javaagent.jar"))
}

fn fetched(kind: &str, what: &str, command: impl FnOnce(&Path) -> Command) -> Result<PathBuf> {
    cache::get(kind, &cache::key(what), |dir| {
        let log = workspace::log(kind);
        process::start_log(&log)?;
        Step::run(format!("fetching {what}"), |step| {
            step.watch(&log);
            process::run(&mut command(dir), &log, INSTALL_LIMIT)
        })
    })
}

/// Installs the SDK, has it look at what else is installed, and adds what instruments that.
fn bootstrap(interpreter: &Path, log: &Path) -> Result<()> {
    let install = |packages: &[&str]| {
        let mut pip = Command::new(interpreter);
        pip.args(["-m", "pip", "install", "--disable-pip-version-check"]).args(packages);
        process::run(&mut pip, log, INSTALL_LIMIT)
    };
    install(&PYTHON)?;
    let program = interpreter.with_file_name("opentelemetry-bootstrap");
    let list = process::output(Command::new(program).args(["-a", "requirements"]));
    let list = list.context("opentelemetry-bootstrap names nothing")?;
    install(&list.split_whitespace().collect::<Vec<_>>())
}
