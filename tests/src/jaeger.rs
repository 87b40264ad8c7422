//! What a Jaeger knows, asked by its query API.
//!
//! In: a [`Query`]. Out: [`Span`]s, as if they had arrived here: ids as bytes, the process's tags as the resource.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use crate::{
    http,
    span::{Attributes, Kind, Span},
};

/// More traces than a test makes.
const MOST_TRACES: u32 = 20_000;

/// A Jaeger.
#[derive(Clone, Copy, Debug)]
pub struct Jaeger {
    /// Its query service.
    pub address: SocketAddr,
}

/// What to ask for.
#[derive(Clone, Debug)]
pub struct Query {
    service: String,
    tags: BTreeMap<String, String>,
    /// Microseconds since the Unix epoch.
    since: u128,
}

impl Query {
    /// Traces with a span of this service, of the last hour.
    pub fn service(name: &str) -> Self {
        Self { service: name.to_owned(), tags: BTreeMap::new(), since: now().saturating_sub(3_600_000_000) }
    }

    /// With a span, or its process, that has this tag, as typed into Jaeger's search.
    #[must_use]
    pub fn tag(mut self, key: &str, value: &str) -> Self {
        self.tags.insert(key.to_owned(), value.to_owned());
        self
    }

    /// From `nanoseconds` since the Unix epoch on.
    #[must_use]
    pub fn since(self, nanoseconds: u64) -> Self {
        Self { since: u128::from(nanoseconds / 1_000), ..self }
    }

    fn target(&self) -> String {
        let encode = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
        let tags = serde_json::to_string(&self.tags).expect("texts are JSON");
        let (service, tags, since) = (encode(&self.service), encode(&tags), self.since);
        let until = now() + 60_000_000;
        format!("/api/traces?service={service}&tags={tags}&start={since}&end={until}&limit={MOST_TRACES}")
    }
}

fn now() -> u128 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_micros()
}

impl Jaeger {
    /// The names of all services that it has heard of.
    ///
    /// # Panics
    /// If it does not answer.
    pub fn services(&self) -> BTreeSet<String> {
        let answer = self.ask("/api/services");
        let names = answer["data"].as_array().cloned().unwrap_or_default();
        names.iter().filter_map(|name| name.as_str().map(str::to_owned)).collect()
    }

    /// All spans of the traces that a query finds.
    ///
    /// # Panics
    /// If it does not answer.
    pub fn spans(&self, query: &Query) -> Vec<Span> {
        read(&self.ask(&query.target()))
    }

    fn ask(&self, target: &str) -> Value {
        let answer = http::get_at(self.address, target).expect("Jaeger answers");
        let value = serde_json::from_slice(&answer.body);
        assert_eq!(answer.status, 200, "{target}: {}", String::from_utf8_lossy(&answer.body));
        value.expect("Jaeger answers in JSON")
    }
}

fn read(answer: &Value) -> Vec<Span> {
    let traces = answer["data"].as_array().map_or(&[][..], Vec::as_slice);
    traces.iter().flat_map(spans).collect()
}

fn spans(trace: &Value) -> Vec<Span> {
    let resources: BTreeMap<&str, Arc<Attributes>> = match trace["processes"].as_object() {
        Some(processes) => processes.iter().map(|(id, process)| (id.as_str(), resource(process))).collect(),
        None => BTreeMap::new(),
    };
    let spans = trace["spans"].as_array().map_or(&[][..], Vec::as_slice);
    let read = |span: &Value| {
        let attributes = tags(&span["tags"]);
        let parents = span["references"].as_array().map_or(&[][..], Vec::as_slice);
        let parent = parents.iter().find(|reference| reference["refType"] == "CHILD_OF");
        let micros = |key: &str| span[key].as_u64().unwrap_or_default();
        let process = span["processID"].as_str().unwrap_or_default();
        Span {
            trace: id(&span["traceID"]),
            id: id(&span["spanID"]),
            parent: parent.map(|reference| id(&reference["spanID"])).unwrap_or_default(),
            state: String::new(),
            kind: match attributes.get("span.kind").map(String::as_str) {
                Some("server") => Kind::Server,
                Some("client") => Kind::Client,
                _ => Kind::Other,
            },
            name: text(&span["operationName"]),
            start: micros("startTime") * 1_000,
            end: (micros("startTime") + micros("duration")) * 1_000,
            error: attributes.get("error").is_some_and(|error| error == "true"),
            attributes,
            resource: resources.get(process).cloned().unwrap_or_default(),
        }
    };
    spans.iter().map(read).collect()
}

fn resource(process: &Value) -> Arc<Attributes> {
    let mut attributes = tags(&process["tags"]);
    attributes.insert("service.name".to_owned(), text(&process["serviceName"]));
    Arc::new(attributes)
}

fn tags(list: &Value) -> Attributes {
    let list = list.as_array().map_or(&[][..], Vec::as_slice);
    list.iter().map(|tag| (text(&tag["key"]), text(&tag["value"]))).collect()
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn id(value: &Value) -> Vec<u8> {
    let digits = value.as_str().unwrap_or_default().as_bytes().chunks(2);
    digits
        .map(|pair| str::from_utf8(pair).ok().and_then(|pair| u8::from_str_radix(pair, 16).ok()).unwrap_or(0))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_becomes_spans() {
        let answer = r#"{"data":[{"traceID":"ab","processes":{"p1":{"serviceName":"frontend","tags":[
                {"key":"k8s.pod.name","type":"string","value":"frontend-1"}]}},"spans":[
            {"traceID":"ab","spanID":"01","processID":"p1","operationName":"GET /products","startTime":5,"duration":9,"references":[],
             "tags":[{"key":"span.kind","value":"server"},{"key":"http.response.status_code","value":500},{"key":"error","value":true}]},
            {"traceID":"ab","spanID":"02","processID":"p1","operationName":"GET","references":[{"refType":"CHILD_OF","spanID":"01"}],
             "tags":[{"key":"span.kind","value":"client"}]}]}]}"#;
        let spans = read(&serde_json::from_str(answer).unwrap());
        let [server, client] = spans.as_slice() else { panic!("{spans:?}") };
        assert_eq!(
            (server.kind, server.status(), server.error, server.start, server.end),
            (Kind::Server, Some(500), true, 5_000, 14_000)
        );
        assert_eq!((server.service(), server.resource["k8s.pod.name"].as_str()), ("frontend", "frontend-1"));
        assert_eq!((client.kind, &client.parent, &client.trace), (Kind::Client, &server.id, &vec![0xab]));
        assert!(server.is_root());
    }

    #[test]
    fn a_query_is_what_the_search_page_sends() {
        let target = Query::service("frontend").tag("k8s.namespace.label.team", "a b").target();
        assert!(
            target
                .contains("service=frontend&tags=%7B%22k8s%2Enamespace%2Elabel%2Eteam%22%3A%22a%20b%22%7D&"),
            "{target}"
        );
    }
}
