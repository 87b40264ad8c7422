//! An exchange from its beginning until it is told.

use std::rc::Rc;

use crate::{
    connection::{Endpoints, Origin},
    http::{Body, Nanos},
    metrics::LinkEvidence,
};

use super::{Identity, Parent, Request, Trace, links::link_by_id};

/// What happened on one connection between a request's first byte and its response's last.
#[derive(Debug)]
pub struct Exchange {
    /// Its place among others.
    pub identity: Rc<Identity>,
    /// Where it ran.
    pub endpoints: Rc<Endpoints>,
    /// The request.
    pub request: Option<Request>,
    /// The response's status code.
    pub status: Option<u16>,
    /// The request's body.
    pub request_body: Option<Body>,
    /// The response's body.
    pub response_body: Option<Body>,
    /// When it was over; 0 while it is not.
    pub ended: Nanos,
    /// What went wrong besides the status.
    pub error: Option<&'static str>,
    /// Its end was missed; it ends with the last that is known of what it caused.
    pub unseen: bool,
    /// The exchange whose request ids it hands on; weaker than all other evidence.
    pub(super) forwarded: Option<Rc<Identity>>,
    pub(super) origin: Option<Origin>,
}

/// An exchange that is told for good.
pub struct Settled {
    /// The exchange.
    pub exchange: Box<Exchange>,
    /// Its trace.
    pub trace: Trace,
    /// Its parent.
    pub parent: Option<Parent>,
}

impl Exchange {
    /// The client that this server answers, if both ends were seen.
    fn caller(&self) -> Option<Rc<Identity>> {
        let link = self.identity.link.borrow();
        link.as_ref().filter(|l| l.evidence == LinkEvidence::Wire).map(|l| l.parent.clone())
    }

    pub(super) fn caller_is_open(&self) -> bool {
        self.caller().is_some_and(|client| client.ended.get().is_none() && !client.lost.get())
    }

    /// Where nothing stronger names a parent, a request id does; but not where a span was told by what holds until now.
    pub(super) fn link_by_id(&self) {
        if let Some(sender) = self.forwarded.as_ref().filter(|_| !self.identity.is_told()) {
            link_by_id(&self.identity, sender, self.identity.started.get());
        }
    }

    /// Its end will not be seen. Whether it becomes a span all the same: so it must where a span was told that names
    /// it as its parent, directly or not. Else what is below it belongs to what is above.
    pub(super) fn break_off(&mut self) -> bool {
        self.unseen = self.identity.is_told() && self.request.is_some();
        self.identity.lost.set(!self.unseen);
        self.ended = self.identity.latest.get().max(self.identity.started.get());
        self.unseen
    }

    /// The evidence the kernel side had, for those who ask why.
    pub fn origin(&self) -> Option<&Origin> {
        self.origin.as_ref()
    }

    pub(super) fn settle(mut self: Box<Self>) -> Settled {
        // A response that was read to its end had been written: the write is stamped when it returns.
        let answered = self.caller().filter(|client| client.complete.get());
        if let Some(end) = answered.and_then(|client| client.ended.get()) {
            self.ended = self.ended.min(end.max(self.identity.started.get()));
        }
        self.identity.tell(self.ended);
        let (trace, parent) = (self.identity.trace(), self.identity.parent());
        Settled { exchange: self, trace, parent }
    }
}
