//! What the services did while each stream was recorded, written down by hand from their sources: product took
//! 10 to 12 ms, order 15 to 18 ms, and every body is known to the byte.

use std::fmt;

use sockspan::span::{Span, SpanKind};

/// What product keeps, as Flask writes it (and a line end after it).
const PRODUCTS: &str = concat!(
    r#"[{"id":1,"name":"Laptop","price":999.99},{"id":2,"name":"Smartphone","price":699.99},"#,
    r#"{"id":3,"name":"Headphones","price":149.99},{"id":4,"name":"Tablet","price":299.99},"#,
    r#"{"id":5,"name":"Smartwatch","price":199.99}]"#
);
/// What frontend posts to order: the first three.
const ORDER: &str = concat!(
    r#"{"products":[{"id":1,"name":"Laptop","price":999.99},{"id":2,"name":"Smartphone","price":699.99},"#,
    r#"{"id":3,"name":"Headphones","price":149.99}],"total":129.99}"#
);
/// What order answers and frontend hands on.
const ORDERED: &str = concat!(
    r#"{"id":"r1","products":[{"id":1,"name":"Laptop","price":999.99},{"id":2,"name":"Smartphone","price":699.99},"#,
    r#"{"id":3,"name":"Headphones","price":149.99}],"total":129.99,"status":"PAID"}"#
);
const TIMEOUT: &str = "{\"error\":\"Database timeout\"}\n";
const FAILED: &str = r#"{"error":"Checkout failed"}"#;

/// Work of the services that the recordings were made with, in milliseconds.
const PRODUCT_MS: u64 = 10;
const ORDER_MS: u64 = 15;
const BOTH_MS: u64 = PRODUCT_MS + ORDER_MS;
/// What frontend's timer takes at least: `setTimeout` of 5 may fire a millisecond early.
pub const TIMER_MS: u64 = 4;

/// A span, told in short; `depth` below the root of its trace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    pub depth: usize,
    pub service: String,
    pub kind: &'static str,
    pub method: String,
    pub target: String,
    pub status: u64,
    pub sent: Option<u64>,
    pub received: Option<u64>,
    pub evidence: Option<String>,
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { service, kind, method, target, status, .. } = self;
        let size = |n: Option<u64>| n.map_or("?".into(), |n| n.to_string());
        let (sent, received) = (size(self.sent), size(self.received));
        let evidence = self.evidence.as_deref().unwrap_or("root");
        write!(f, "{:1$}", "", 2 * self.depth)?;
        write!(f, "{service} {kind} {method} {target} {sent} bytes, {status}, {received} bytes, {evidence}")
    }
}

/// A recorded stream.
pub struct Case {
    pub name: &'static str,
    traces: fn() -> Vec<Vec<Row>>,
    /// The work that frontend waited for, in milliseconds.
    least_ms: u64,
    /// No span took longer, in milliseconds.
    pub most_ms: u64,
}

impl Case {
    pub fn rows(&self) -> Vec<Row> {
        (self.traces)().into_iter().flatten().collect()
    }

    /// What a span takes at least: the work that was done while it was open.
    pub fn least_ms(&self, span: &Span) -> u64 {
        let posts = span.name.starts_with("POST");
        match (span.resource.service_name.as_str(), span.kind) {
            ("frontend", SpanKind::Server) => self.least_ms,
            ("order", _) => ORDER_MS,
            ("frontend", SpanKind::Client) if posts => ORDER_MS,
            _ => PRODUCT_MS,
        }
    }
}

pub const CASES: &[Case] = &[
    Case { name: "checkout", traces: || vec![checkout("r1")], least_ms: BOTH_MS, most_ms: 150 },
    // frontend's connection to order is older than the agent.
    Case { name: "adopted", traces: || vec![checkout("r1")], least_ms: BOTH_MS, most_ms: 150 },
    Case { name: "failure", traces: || vec![failure()], least_ms: PRODUCT_MS, most_ms: 100 },
    Case { name: "products", traces: || vec![products("products")], least_ms: PRODUCT_MS, most_ms: 100 },
    // Nothing says that a call after an awaited timer belongs to the request: two traces, no guess.
    Case { name: "timer", traces: timer, least_ms: TIMER_MS + PRODUCT_MS, most_ms: 100 },
    // Two requests on one connection, and connections to order that are used again.
    Case { name: "keepalive", traces: || ["r1", "r2"].map(checkout).into(), least_ms: BOTH_MS, most_ms: 150 },
    Case {
        name: "concurrent",
        traces: || ["r1", "r2", "r3"].map(checkout).into(),
        least_ms: BOTH_MS,
        most_ms: 400,
    },
];

fn row(depth: usize, service: &str, kind: &'static str, request: &str, answer: (u64, &str)) -> Row {
    let (method, target) = request.split_once(' ').unwrap_or_default();
    let (status, body) = answer;
    Row {
        depth,
        service: service.into(),
        kind,
        method: method.into(),
        target: target.into(),
        status,
        sent: Some(0),
        received: Some(body.len() as u64),
        evidence: match kind {
            _ if depth == 0 => None,
            "client" => Some("thread".into()),
            _ => Some("wire".into()),
        },
    }
}

fn sends(body: &str, row: Row) -> Row {
    Row { sent: Some(body.len() as u64), ..row }
}

/// `POST /checkout`: product is asked, then order.
fn checkout(rid: &str) -> Vec<Row> {
    let listed = format!("{PRODUCTS}\n");
    vec![
        row(0, "frontend", "server", &format!("POST /checkout/{rid}"), (200, ORDERED)),
        row(1, "frontend", "client", &format!("GET http://localhost:9392/products/{rid}"), (200, &listed)),
        row(2, "product", "server", &format!("GET /products/{rid}"), (200, &listed)),
        sends(
            ORDER,
            row(1, "frontend", "client", &format!("POST http://localhost:9393/orders/{rid}"), (200, ORDERED)),
        ),
        sends(ORDER, row(2, "order", "server", &format!("POST /orders/{rid}"), (200, ORDERED))),
    ]
}

/// `POST /checkout` where product fails: order is never asked.
fn failure() -> Vec<Row> {
    vec![
        row(0, "frontend", "server", "POST /checkout/r1", (500, FAILED)),
        row(1, "frontend", "client", "GET http://localhost:9395/products/r1", (500, TIMEOUT)),
        row(2, "product", "server", "GET /products/r1", (500, TIMEOUT)),
    ]
}

/// `GET /products`, or another route that asks for them.
fn products(route: &str) -> Vec<Row> {
    let listed = format!("{PRODUCTS}\n");
    vec![
        row(0, "frontend", "server", &format!("GET /{route}/r1"), (200, PRODUCTS)),
        row(1, "frontend", "client", "GET http://localhost:9392/products/r1", (200, &listed)),
        row(2, "product", "server", "GET /products/r1", (200, &listed)),
    ]
}

/// `GET /timer`: the same, but the call is nobody's.
fn timer() -> Vec<Vec<Row>> {
    let mut served = products("timer");
    let mut called = served.split_off(1);
    called.iter_mut().for_each(|row| row.depth -= 1);
    called[0].evidence = None;
    vec![served, called]
}
