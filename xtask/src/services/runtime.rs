//! The runtimes' services: what registers in `tests/runtimes`.
//!
//! In: `tests/runtimes/FOLDER/runtime.json`, which lists the services of that folder. Out: each, made ready, with what
//! its registration says, for the test programs to read.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::{
    Program,
    folder::Prepared,
    reference::{Instrumented, Reference},
};
use crate::workspace;

/// A service that registered.
#[derive(Clone, Debug)]
pub struct Runtime {
    /// How to start it.
    program: Program,
    /// What it registered with.
    registration: Value,
    /// How to start it with OpenTelemetry's own SDK inside, if that was asked for and exists.
    reference: Option<Instrumented>,
}

impl Runtime {
    fn new(prepared: &Prepared, reference: Option<&Reference>, name: &str, service: &Value) -> Result<Self> {
        let own: Vec<_> = words(&service["arguments"])?.into_iter().map(str::to_owned).collect();
        let arguments = if service["arguments"].is_null() { prepared.arguments() } else { &own };
        let script = service["program"].as_str();
        Ok(Self {
            program: prepared.service(name.to_owned(), script, arguments),
            registration: service.clone(),
            reference: reference.map(|sdk| sdk.service(name, script, arguments)),
        })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.program.name
    }

    /// How to start it.
    pub fn program(&self) -> &Program {
        &self.program
    }

    /// How to start it with OpenTelemetry's own SDK inside, if that was asked for and exists.
    pub fn reference(&self) -> Option<&Instrumented> {
        self.reference.as_ref()
    }

    /// What it registered with for its environment.
    pub fn environment(&self) -> Vec<(&str, String)> {
        let pairs = self.registration["environment"].as_object().into_iter().flatten();
        pairs.map(|(name, value)| (name.as_str(), value.as_str().unwrap_or_default().to_owned())).collect()
    }

    /// As test programs read it: as [`Program::to_json`], with the `registration` and the `reference`.
    pub fn to_json(&self) -> Value {
        let mut json = self.program.to_json();
        json["registration"] = self.registration.clone();
        json["reference"] = self.reference.as_ref().map_or(Value::Null, Instrumented::to_json);
        json
    }
}

/// Makes those services ready whose names `wanted` says yes to, on demand also with OpenTelemetry's own SDK.
pub fn prepare(wanted: impl Fn(&str) -> bool, with_reference: bool) -> Result<Vec<Runtime>> {
    let mut all: Vec<Runtime> = Vec::new();
    for folder in folders(&workspace::root().join("tests/runtimes"))? {
        let list = read(&folder)?;
        let services = list["services"].as_array().map(Vec::as_slice).unwrap_or_default();
        let mut named = Vec::new();
        for service in services {
            let name = service["name"].as_str().with_context(|| format!("{}: a name", folder.display()))?;
            named.push((name, service));
        }
        named.retain(|(name, _)| wanted(name));
        if named.is_empty() {
            continue;
        }
        let prepared = Prepared::new(&folder, &words(&list["packages"])?)?;
        let reference = if with_reference { Reference::new(&folder, &prepared)? } else { None };
        for (name, service) in named {
            if all.iter().any(|other| other.name() == name) {
                bail!("{}: another service is called {name} too", folder.display());
            }
            all.push(Runtime::new(&prepared, reference.as_ref(), name, service)?);
        }
    }
    Ok(all)
}

/// The folders in which services register, in the order of their names.
fn folders(parent: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(parent).with_context(|| format!("cannot read {}", parent.display()))?;
    let mut folders: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    folders.retain(|folder| folder.join("runtime.json").is_file());
    folders.sort();
    Ok(folders)
}

fn read(folder: &Path) -> Result<Value> {
    let path = folder.join("runtime.json");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    serde_json::from_str(&text).with_context(|| format!("{} is not JSON", path.display()))
}

/// A list of texts; none if there is no list.
fn words(value: &Value) -> Result<Vec<&str>> {
    let list = value.as_array().map(Vec::as_slice).unwrap_or_default();
    list.iter().map(|word| word.as_str().with_context(|| format!("{value} is no list of texts"))).collect()
}

/// All of them as one object by name.
pub fn list(runtimes: &[Runtime]) -> Value {
    runtimes.iter().fold(json!({}), |mut list, runtime| {
        list[runtime.name()] = runtime.to_json();
        list
    })
}
