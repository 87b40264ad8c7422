//! What each route of the variants does: the spans that a request must make, by its answer's status.
//!
//! In: an id and a status. Out: what to expect, for the judge.

use crate::{
    judge::{Expected, Parent, Request},
    load::Answer,
    span::Kind,
};

fn expected(service: &'static str, kind: Kind, path: String, status: u16, parent: Parent) -> Expected {
    Expected { service, kind, path, status, parent }
}

/// The call from frontend to product that span `parent` makes: the two spans after it.
fn product_call(id: &str, status: u16, parent: Parent, place: usize) -> [Expected; 2] {
    let path = format!("/products/{id}");
    [
        expected("frontend", Kind::Client, path.clone(), status, parent),
        expected("product", Kind::Server, path, status, Parent::Of(place)),
    ]
}

fn through_frontend(route: &str, id: &str, status: u16) -> Request {
    let root = expected("frontend", Kind::Server, format!("/{route}/{id}"), status, Parent::Nobody);
    let mut all = vec![root];
    all.extend(product_call(id, status, Parent::Of(0), 1));
    Request::of(all)
}

/// `GET /products/ID` at the frontend.
pub fn products(id: &str, status: u16) -> Request {
    through_frontend("products", id, status)
}

/// `POST /checkout/ID` at the frontend: five spans, or the three that happen when product fails.
pub fn checkout(id: &str, status: u16) -> Request {
    let mut request = through_frontend("checkout", id, status);
    if status == 200 {
        let path = format!("/orders/{id}");
        request.expected.push(expected("frontend", Kind::Client, path.clone(), 200, Parent::Of(0)));
        request.expected.push(expected("order", Kind::Server, path, 200, Parent::Of(3)));
    }
    request
}

/// `GET /retry/ID` at the frontend, without the call that failed before.
pub fn retry(id: &str, status: u16) -> Request {
    through_frontend("retry", id, status)
}

/// `GET /timer/ID` and `GET /immediate/ID`: what runs after a timer inherits nothing, so the call begins a trace.
pub fn detached(route: &str, id: &str, status: u16) -> Request {
    let mut request = through_frontend(route, id, status);
    request.expected[1].parent = Parent::Nobody;
    request
}

/// A request to product itself, or one whose client's side is not seen.
pub fn product_alone(id: &str, status: u16) -> Request {
    let path = format!("/products/{id}");
    Request::of(vec![expected("product", Kind::Server, path, status, Parent::Nobody)])
}

/// A request that the frontend answers by itself.
pub fn frontend_alone(path: &str) -> Request {
    Request::of(vec![expected("frontend", Kind::Server, path.to_owned(), 200, Parent::Nobody)])
}

/// The call numbered `n` of the frontend's background job.
pub fn background(n: usize) -> Request {
    Request::of(product_call(&format!("bg-{n}"), 200, Parent::Nobody, 0).into())
}

impl Request {
    /// The same, begun by a span elsewhere: trace id and span id.
    #[must_use]
    pub fn under(mut self, context: &(Vec<u8>, Vec<u8>)) -> Self {
        if let Some(root) = self.expected.first_mut() {
            root.parent = Parent::Remote(context.0.clone(), context.1.clone());
        }
        self
    }

    /// The same with a relay between frontend and product: what product does begins a trace.
    #[must_use]
    pub fn relayed(mut self) -> Self {
        let at_product = self.expected.iter_mut().filter(|e| e.service == "product");
        at_product.for_each(|expected| expected.parent = Parent::Nobody);
        self
    }
}

/// What a load's answers let expect; each must have been answered.
///
/// # Panics
/// If a request was not answered.
pub fn expect(answers: &[Answer], request: impl Fn(&str, u16) -> Request) -> Vec<Request> {
    answers
        .iter()
        .map(|answer| match answer.status {
            Some(status) => request(&answer.id, status),
            None => panic!("request {} was not answered", answer.id),
        })
        .collect()
}

/// How many spans that makes.
pub fn spans(requests: &[Request]) -> usize {
    requests.iter().map(|request| request.expected.len()).sum()
}
