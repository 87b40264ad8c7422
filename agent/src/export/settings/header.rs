//! `OTEL_EXPORTER_OTLP_HEADERS`: `name=value,name=value`, values percent-encoded, never printed.

use super::{Protocol, reader::Reader};
use percent_encoding::percent_decode_str;
use reqwest::header::{HeaderName, HeaderValue};
use std::fmt;

/// A header that goes with every request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// Lower case, a valid HTTP header name.
    pub name: String,
    /// Visible ASCII.
    pub value: Secret,
}

/// Text that prints as `[redacted]`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// The text itself, for the wire only.
    pub(in crate::export) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// Reads the first of `names`; problems name the header's place or name, never its value.
pub(super) fn read(reader: &mut Reader<'_>, names: &[&'static str], protocol: Protocol) -> Vec<Header> {
    let Some((variable, text)) = reader.text(names) else { return Vec::new() };
    let members = text.split(',').map(str::trim).enumerate().filter(|(_, member)| !member.is_empty());
    let mut headers = Vec::new();
    for (index, member) in members {
        match header(member, index + 1, protocol) {
            Ok(header) => headers.push(header),
            Err(accepted) => reader.problem(variable, None, &accepted),
        }
    }
    headers
}

fn header(member: &str, place: usize, protocol: Protocol) -> Result<Header, String> {
    let (name, value) = member
        .split_once('=')
        .ok_or_else(|| format!("member {place} has no '='; accepted is name=value,name=value"))?;
    let name = HeaderName::from_bytes(name.trim().as_bytes())
        .map_err(|_| format!("the name of member {place} is not a valid header name"))?;
    if protocol == Protocol::Grpc && (name.as_str().ends_with("-bin") || name.as_str().starts_with("grpc-")) {
        return Err(format!("{name} can't be set: gRPC keeps names that end in -bin or start with grpc-"));
    }
    let value = percent_decode_str(value.trim())
        .decode_utf8()
        .map_err(|_| format!("the value of {name} is not UTF-8 after percent-decoding"))?;
    let visible = HeaderValue::from_str(&value).is_ok_and(|value| value.to_str().is_ok());
    if !visible {
        return Err(format!("the value of {name} holds characters that a header can't carry"));
    }
    Ok(Header { name: name.as_str().to_owned(), value: Secret(value.into_owned()) })
}
