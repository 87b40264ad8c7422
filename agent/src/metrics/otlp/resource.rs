//! Whose the metrics are: the agent's own resource.

use crate::process::{AttributesError, Host, parse_attributes};
use opentelemetry::KeyValue;
use opentelemetry_sdk::{Resource, resource::TelemetryResourceDetector};
use std::collections::BTreeMap;

/// The agent's name where it is given no other.
const NAME: &str = "sockspan";

/// What is known of the agent and its host, then `OTEL_RESOURCE_ATTRIBUTES`, then `OTEL_SERVICE_NAME`: the later wins.
///
/// # Errors
/// `OTEL_RESOURCE_ATTRIBUTES` is malformed.
pub(super) fn resource(
    lookup: &dyn Fn(&str) -> Option<String>,
    host: &Host,
) -> Result<Resource, AttributesError> {
    let own = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    let mut attributes = BTreeMap::from([
        own("service.name", NAME),
        own("service.version", env!("CARGO_PKG_VERSION")),
        own("host.arch", host.arch),
        own("os.type", "linux"),
    ]);
    attributes.extend(host.name.iter().map(|name| own("host.name", name)));
    attributes.extend(host.id.iter().map(|id| own("host.id", id)));
    // One agent runs on a host; without this, backends that keep only name and instance would mix several hosts up.
    let instance = host.name.iter().chain(&host.id).next();
    attributes.extend(instance.map(|instance| own("service.instance.id", instance)));
    attributes.extend(parse_attributes(&lookup("OTEL_RESOURCE_ATTRIBUTES").unwrap_or_default())?);
    let name = lookup("OTEL_SERVICE_NAME").map(|name| name.trim().to_owned());
    attributes.extend(name.filter(|name| !name.is_empty()).map(|name| own("service.name", &name)));
    let attributes = attributes.into_iter().map(|(key, value)| KeyValue::new(key, value));
    Ok(Resource::builder_empty()
        .with_detector(Box::new(TelemetryResourceDetector))
        .with_attributes(attributes)
        .build())
}

/// The agent's name and its variable, where nobody named it.
///
/// # Errors
/// `OTEL_RESOURCE_ATTRIBUTES` is malformed.
pub(super) fn default_name(
    lookup: &dyn Fn(&str) -> Option<String>,
) -> Result<Option<(&'static str, String)>, AttributesError> {
    let attributes = parse_attributes(&lookup("OTEL_RESOURCE_ATTRIBUTES").unwrap_or_default())?;
    let named = attributes.iter().any(|(key, _)| key == "service.name")
        || lookup("OTEL_SERVICE_NAME").is_some_and(|name| !name.trim().is_empty());
    Ok((!named).then(|| ("OTEL_SERVICE_NAME", NAME.to_owned())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(variables: &[(&str, &str)], key: &'static str) -> Option<String> {
        let host = Host { name: Some("node-1".into()), id: Some("4d63".into()), arch: "amd64" };
        let lookup = |name: &str| variables.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned());
        let resource = resource(&lookup, &host).unwrap();
        resource.get(&key.into()).map(|value| value.to_string())
    }

    #[test]
    fn the_agent_and_its_host_are_named() {
        let expected = [
            ("service.name", "sockspan"),
            ("service.version", env!("CARGO_PKG_VERSION")),
            ("service.instance.id", "node-1"),
            ("host.name", "node-1"),
            ("host.id", "4d63"),
            ("host.arch", "amd64"),
            ("telemetry.sdk.language", "rust"),
        ];
        for (key, text) in expected {
            assert_eq!(value(&[], key).as_deref(), Some(text), "{key}");
        }
    }

    #[test]
    fn the_users_attributes_win_and_the_users_name_most() {
        let list = ("OTEL_RESOURCE_ATTRIBUTES", "service.name=a%20b,host.name=n,team=x");
        assert_eq!(value(&[list], "service.name").as_deref(), Some("a b"));
        assert_eq!(value(&[list], "host.name").as_deref(), Some("n"));
        assert_eq!(value(&[list], "team").as_deref(), Some("x"));
        let named = [list, ("OTEL_SERVICE_NAME", "agent")];
        assert_eq!(value(&named, "service.name").as_deref(), Some("agent"));
        assert_eq!(value(&[("OTEL_SERVICE_NAME", " ")], "service.name").as_deref(), Some("sockspan"));
    }
}
