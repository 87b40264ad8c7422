//! The resource of a process: who its spans are from, by OpenTelemetry's resource conventions.
//!
//! Where two sources name an attribute, the stronger wins: what was detected, what follows from the pod's objects, then the
//! agent's own `OTEL_RESOURCE_ATTRIBUTES`, then the pod's annotations, then the process's variable, then the service's
//! name: the process's own, else the pod's, else [`service_name`]. `telemetry.*` is never taken from a process:
//! it says what made the spans, and that is this program.
//!
//! Left out on purpose: `process.command_args` and `process.command_line` (arguments carry passwords and tokens), and
//! `process.owner`.
//!
//! `service.instance.id` is stable for the life of the process and across restarts of the agent: the UUIDv5, in the
//! namespace that the conventions give, of host id, boot id, pid and start time.

use std::{borrow::Cow, collections::BTreeMap};

use smol_str::SmolStr;
use uuid::Uuid;

use super::{Host, Process, Runtime, service::configured, service_name};
use crate::kubernetes::Facts;
use crate::span::{Attribute, Resource, Value, conventions::cut};

/// The namespace for `service.instance.id` that the semantic conventions define.
const INSTANCE_NAMESPACE: Uuid = Uuid::from_u128(0x4d63_009a_8d0f_11ee_aad7_4c79_6ed8_e320);
/// This program, as the maker of the spans.
const NAME: &str = "sockspan";
const VERSION: &str = env!("CARGO_PKG_VERSION");
/// Bytes kept of an attribute's value.
const MAX_VALUE: usize = 4_096;

type Attributes = BTreeMap<Cow<'static, str>, Value>;

/// Why a list of resource attributes was discarded: as the specification asks, all of it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AttributesError {
    /// An item is not `key=value`.
    #[error("resource attribute `{0}` is not of the form key=value")]
    NoPair(String),
    /// A value's percent-encoding does not hold, or does not encode UTF-8.
    #[error("the value of resource attribute `{0}` is not percent-encoded UTF-8")]
    Encoding(String),
}

/// Parses `key=value,…` with percent-encoded values, the form of `OTEL_RESOURCE_ATTRIBUTES`.
///
/// # Errors
/// At the first item that breaks the form.
pub fn parse_attributes(list: &str) -> Result<Vec<(String, String)>, AttributesError> {
    let items = list.split(',').map(str::trim).filter(|item| !item.is_empty());
    items
        .map(|item| {
            let pair = item.split_once('=').map(|(key, value)| (key.trim(), value.trim()));
            let (key, value) = pair
                .filter(|(key, _)| !key.is_empty())
                .ok_or_else(|| AttributesError::NoPair(item.to_owned()))?;
            let decoded = percent_decode(value).ok_or_else(|| AttributesError::Encoding(key.to_owned()))?;
            Ok((key.to_owned(), decoded))
        })
        .collect()
}

fn percent_decode(text: &str) -> Option<String> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        decoded.push(if byte == b'%' {
            let mut digit = || char::from(bytes.next()?).to_digit(16);
            u8::try_from(digit()? << 4 | digit()?).ok()?
        } else {
            byte
        });
    }
    String::from_utf8(decoded).ok()
}

/// The resource of `process`. `parent` is its parent process, if that can be read; `defaults` are attributes that the
/// user gave the agent for everything it traces; `facts` are what is known by the pod that it is in.
pub fn resource(
    process: &Process,
    parent: Option<&Process>,
    runtime: &Runtime,
    host: &Host,
    defaults: &[(String, String)],
    facts: Option<&Facts>,
) -> Resource {
    let mut attributes = Attributes::new();
    set(&mut attributes, "os.type", "linux");
    add_host(&mut attributes, host);
    add_process(&mut attributes, process, runtime);
    set(&mut attributes, "service.instance.id", instance_id(process, host));
    if let Some(facts) = facts {
        attributes.extend(facts.derived.iter().cloned());
    }
    // The agent's own name is not the name of what it traces.
    add_configured(&mut attributes, defaults.iter().filter(|(key, _)| !key.starts_with("service.")).cloned());
    add_configured(&mut attributes, defaults.iter().filter(|(key, _)| key == "service.namespace").cloned());
    if let Some(facts) = facts {
        add_configured(&mut attributes, facts.annotated.iter().cloned());
    }
    let own = process.environment.resource_attributes.as_deref().and_then(|list| parse_attributes(list).ok());
    add_configured(&mut attributes, own.unwrap_or_default());
    let service_name = match facts {
        Some(facts) => configured(process).unwrap_or_else(|| facts.service_name.clone()),
        None => service_name(process, parent),
    };
    set(&mut attributes, "service.name", service_name.clone());
    add_telemetry(&mut attributes, runtime);
    let attributes = attributes.into_iter().map(|(key, value)| Attribute { key, value }).collect();
    Resource { service_name, attributes }
}

fn set(attributes: &mut Attributes, key: &'static str, value: impl Into<SmolStr>) {
    attributes.insert(Cow::Borrowed(key), Value::Str(value.into()));
}

fn add_configured(attributes: &mut Attributes, pairs: impl IntoIterator<Item = (String, String)>) {
    for (key, value) in pairs {
        attributes.insert(Cow::Owned(key), Value::Str(cut(value, MAX_VALUE).into()));
    }
}

fn add_host(attributes: &mut Attributes, host: &Host) {
    set(attributes, "host.arch", host.arch);
    if let Some(name) = &host.name {
        set(attributes, "host.name", name.clone());
    }
    if let Some(id) = &host.id {
        set(attributes, "host.id", id.clone());
    }
}

fn add_process(attributes: &mut Attributes, process: &Process, runtime: &Runtime) {
    attributes.insert(Cow::Borrowed("process.pid"), Value::Int(process.pid().into()));
    let executable = process.executable_name();
    if let Some(path) = &process.executable {
        set(attributes, "process.executable.path", path.to_string_lossy().into_owned());
    }
    // Other Pythons than CPython are told by their executable alone.
    let is_pypy = executable.as_deref().is_some_and(|name| name.starts_with("pypy"));
    if let Some(name) = runtime.name() {
        set(attributes, "process.runtime.name", if is_pypy { "pypy" } else { name });
    }
    if let Some(name) = executable {
        set(attributes, "process.executable.name", name);
    }
    // A lone argument with blanks is a title that the process wrote over its command line: it can say anything.
    let is_title = process.arguments.len() == 1 && process.arguments.iter().any(|a| a.contains(' '));
    if let Some(command) = process.arguments.first().filter(|_| !is_title) {
        set(attributes, "process.command", command.clone());
    }
    if let Some(id) = &process.container_id {
        set(attributes, "container.id", id.clone());
    }
}

fn add_telemetry(attributes: &mut Attributes, runtime: &Runtime) {
    // The specification keeps the name `opentelemetry` for its own SDKs, which these spans do not come from.
    set(attributes, "telemetry.sdk.name", NAME);
    set(attributes, "telemetry.sdk.version", VERSION);
    // Backends tell a service's language by it, so it is the service's.
    set(attributes, "telemetry.sdk.language", runtime.language());
    set(attributes, "telemetry.distro.name", NAME);
    set(attributes, "telemetry.distro.version", VERSION);
}

fn instance_id(process: &Process, host: &Host) -> String {
    let identity = process.identity;
    let host = host.id.as_deref().or(host.name.as_deref()).unwrap_or_default();
    let source = format!("{host}/{:032x}/{}/{}", identity.boot_id, identity.pid, identity.start_ticks);
    Uuid::new_v5(&INSTANCE_NAMESPACE, source.as_bytes()).to_string()
}

#[cfg(test)]
mod tests;
