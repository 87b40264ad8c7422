//! A settled exchange into a span.
//!
//! In: [`Settled`] exchanges and the resource of their process. Out: [`Span`]s, or the reason why there is none.

use std::sync::Arc;

use crate::{
    exchange::{Exchange, Settled},
    http::Version,
    metrics::{DropReason, Label as _},
    sampler::Sampler,
};

use super::{
    Attribute, Resource, Span, SpanKind, Value,
    clock::Clock,
    conventions::{self, Conventions, Facts},
    route::Router,
};

/// The attribute that says on what evidence the parent is known, if it is asked for.
pub const EVIDENCE: &str = "sockspan.parent.evidence";
/// Set where the request's head was cut, so that headers may have been missed.
pub const TRUNCATED: &str = "sockspan.request.truncated";
/// Set where the response's end was missed, so that the span may have lasted longer.
pub const UNSEEN: &str = "sockspan.response.unseen";

/// Everything a span takes besides its exchange.
pub struct Assembler {
    /// Monotonic time into wall time.
    pub clock: Clock,
    /// The choices the conventions leave open.
    pub conventions: Conventions,
    /// Routes.
    pub router: Router,
    /// Which traces are kept.
    pub sampler: Sampler,
    /// Say on what evidence a parent is known.
    pub evidence: bool,
}

fn version(version: Version) -> &'static str {
    match version {
        Version::Http10 => "1.0",
        Version::Http11 => "1.1",
    }
}

impl Assembler {
    /// The span of an exchange.
    ///
    /// # Errors
    /// Why there is none: a rule leaves it out, its trace is not sampled, or its request was never read.
    #[inline(never)] // A stage: its instructions are budgeted.
    pub fn span(&mut self, settled: &Settled, resource: &Arc<Resource>) -> Result<Span, DropReason> {
        let exchange = &settled.exchange;
        if exchange.identity.is_excluded() {
            return Err(DropReason::Excluded);
        }
        if !self.sampler.samples(settled.trace.id, settled.trace.sampled) {
            return Err(DropReason::Sampled);
        }
        let Some(request) = exchange.request.as_ref() else { return Err(DropReason::StreamGap) };
        let path = String::from_utf8_lossy(conventions::path(request.target()));
        let route = self.router.route(&resource.service_name, &path, |path| self.conventions.told(path));
        let described = self.conventions.describe(&facts(exchange, route.as_deref())?);
        let mut attributes = described.attributes;
        for (key, holds) in [(TRUNCATED, request.truncated), (UNSEEN, exchange.unseen)] {
            if holds {
                attributes.push(Attribute { key: key.into(), value: Value::Bool(true) });
            }
        }
        if let (true, Some(parent)) = (self.evidence, &settled.parent) {
            attributes.push(Attribute::str(EVIDENCE, parent.evidence.text()));
        }
        let (start_ns, end_ns) = self.clock.interval(exchange.identity.started.get(), exchange.ended);
        Ok(Span {
            trace_id: settled.trace.id,
            span_id: exchange.identity.span_id,
            parent_span_id: settled.parent.as_ref().map(|p| p.span_id),
            parent_is_remote: settled.parent.as_ref().is_some_and(|p| p.remote),
            trace_state: settled.trace.state.clone(),
            parent_sampled: settled.trace.sampled,
            kind: exchange.identity.kind,
            name: described.name,
            start_ns,
            end_ns,
            status: described.status,
            attributes,
            resource: resource.clone(),
        })
    }
}

fn facts<'a>(exchange: &'a Exchange, route: Option<&'a str>) -> Result<Facts<'a>, DropReason> {
    let request = exchange.request.as_ref().ok_or(DropReason::StreamGap)?;
    let exact = |body: Option<crate::http::Body>| body.filter(|b| b.exact).and_then(|b| b.size);
    Ok(Facts {
        kind: exchange.identity.kind,
        method: request.method(),
        target: request.target(),
        host: request.host(),
        scheme: "http",
        version: Some(version(request.version)),
        status: exchange.status,
        request_size: exact(exchange.request_body),
        response_size: exact(exchange.response_body),
        peer: exchange.endpoints.peer.as_ref(),
        local: exchange.endpoints.local.as_ref(),
        user_agent: request.user_agent().filter(|_| exchange.identity.kind == SpanKind::Server),
        error: exchange.error,
        route,
    })
}
