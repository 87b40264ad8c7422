//! Which exchange is whose parent: what ties a request to the one that caused it, weighed.
//!
//! In: an exchange that has begun or whose head was read, and the [`Ties`]. Out: its [`Link`], or none.

use std::rc::Rc;

use sockspan_ebpf::{Evidence, HEIR, Inheritance};

use crate::{connection::Origin, http::Nanos, metrics::LinkEvidence, propagation, span::SpanKind};

use super::{HOLD, Identity, Link, ties::Ties};

/// Children one exchange can have; what is beyond is no trace but a mistake.
pub(super) const MAX_CHILDREN: u32 = 10_000;
/// Exchanges from a root down to a parent at most; a chain this long is no trace.
pub(super) const MAX_DEPTH: usize = 256;
/// An exchange is no parent for longer than this after it began.
pub(super) const MAX_AGE: Nanos = 3_600_000_000_000;

impl Ties {
    /// A client's request: its parent is the exchange in whose context the kernel side saw it made.
    pub fn link_caller(&mut self, identity: &Rc<Identity>, origin: &Origin, at: Nanos) {
        let evidence = match origin.evidence {
            Evidence::None => return,
            Evidence::Task => LinkEvidence::Task,
            Evidence::Thread => LinkEvidence::Thread,
            Evidence::Connect => LinkEvidence::Connect,
        };
        // Requests that share one call share its evidence only if nothing says that they differ; nothing can.
        if origin.shared {
            return;
        }
        if let Some(parent) = self.bound(origin.parent) {
            link(identity, &parent, evidence, at);
        } else if origin.parent & HEIR != 0 {
            self.expect(origin.parent, identity, evidence, at);
        }
    }

    /// A task has ended that worked for what its maker worked for. If that is over for longer than it takes to end, the
    /// task may have worked for others too, and nothing that it did is anyone's.
    pub fn inherit(&mut self, told: &Inheritance) {
        let expecting = self.expecting(told.heir);
        if told.of & HEIR != 0 && self.is_open_question(told.of) {
            expecting
                .iter()
                .for_each(|(identity, evidence)| self.expect(told.of, identity, *evidence, told.at));
            return;
        }
        let in_time = |maker: &Rc<Identity>| maker.ended.get().is_none_or(|end| told.at <= end + HOLD);
        let maker = self.bound(told.of).filter(in_time);
        self.answer(told.heir, maker.as_ref(), told.at);
        for (identity, evidence) in expecting {
            identity.awaited.set(None);
            if let Some(maker) = &maker {
                link(&identity, maker, evidence, identity.started.get());
            }
        }
    }

    /// Ties the two ends of one request together, whichever is seen first.
    pub fn join(&mut self, identity: &Rc<Identity>, at: Nanos) {
        let Some(wire) = identity.wire else { return };
        let (client, server) = match identity.kind {
            SpanKind::Client => (Some(identity.clone()), self.client(wire, identity, at)),
            SpanKind::Server => (self.server(wire, identity, at), Some(identity.clone())),
        };
        let (Some(client), Some(server)) = (client, server) else { return };
        let open = client.was_open(server.started.get()) && !client.left.get();
        let fits = server.is_free() && !client.descends_from(&server) && client.depth() < MAX_DEPTH;
        if open && fits {
            client.children.set(client.children.get() + 1);
            // What was received had been sent: the send is stamped when it returns.
            client.started.set(client.started.get().min(server.started.get()));
            *server.link.borrow_mut() = Some(Link { parent: client, evidence: LinkEvidence::Wire });
        }
    }

    /// A client's request that carries a trace context: if the process received that trace and forwards it, the
    /// exchange that received it is the parent, whatever the thread says; if it did not, the trace is the
    /// application's own, and no thread can say that it belongs to another. Returns the evidence that said otherwise.
    pub fn link_forwarder(
        &self,
        identity: &Rc<Identity>,
        context: &propagation::Context,
        at: Nanos,
    ) -> Option<LinkEvidence> {
        let server = self.forwarder(identity.tgid, context.trace_id, context.parent, at);
        let mut overruled = None;
        if let Some(link) = identity.link.take() {
            let same_trace = link.parent.trace().id == context.trace_id;
            let children = link.parent.children.get();
            if server.is_none() && same_trace {
                *identity.link.borrow_mut() = Some(link);
                return None;
            }
            link.parent.children.set(children.saturating_sub(1));
            let agree = server.as_ref().is_some_and(|server| Rc::ptr_eq(server, &link.parent));
            overruled = (!agree).then_some(link.evidence);
        }
        if let Some(server) = server {
            link(identity, &server, LinkEvidence::Header, at);
        }
        overruled
    }
}

/// A client's request hands on an id that `sender` alone received. All other evidence is stronger, a trace context of the
/// application's own too. Returns whether it says otherwise.
pub(super) fn link_by_id(identity: &Rc<Identity>, sender: &Rc<Identity>, at: Nanos) -> bool {
    let other_trace = |c: &propagation::Context| c.trace_id != sender.trace().id;
    let other_trace = identity.context.borrow().as_deref().is_some_and(other_trace);
    let linked = identity.link.borrow().as_ref().map(|link| Rc::ptr_eq(&link.parent, sender));
    if linked.is_none() && !other_trace {
        link(identity, sender, LinkEvidence::ForwardedId, at);
    }
    other_trace || linked == Some(false)
}

/// Makes `parent` the parent of `child`, if it can be: open at the time, not too old, not too deep, not too many
/// children, in the same process.
fn link(child: &Rc<Identity>, parent: &Rc<Identity>, evidence: LinkEvidence, at: Nanos) {
    let young = parent.started.get().saturating_add(MAX_AGE) >= at;
    let few = parent.children.get() < MAX_CHILDREN && parent.depth() < MAX_DEPTH;
    let fits = young && few && child.is_free() && !parent.descends_from(child);
    if fits && parent.tgid == child.tgid && parent.was_open(at) {
        parent.children.set(parent.children.get() + 1);
        *child.link.borrow_mut() = Some(Link { parent: parent.clone(), evidence });
    }
}
