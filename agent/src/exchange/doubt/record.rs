//! What is remembered of an exchange of an event loop, as far as it proves something of others.

use std::{
    cell::{Cell, RefCell},
    fmt,
    rc::Rc,
};

use sockspan_ebpf::via;

use crate::http::Nanos;

use super::super::Identity;

/// The call that `value`, an event's `via`, names; `None` for none.
pub fn after(value: u64) -> Option<u64> {
    Some(value & !via::WORK).filter(|id| *id != 0)
}

/// A server's request, or several that came in one call.
pub struct Served {
    identity: Rc<Identity>,
    /// Those that came in the same call.
    others: RefCell<Vec<Rc<Identity>>>,
    /// When it began.
    pub began: Nanos,
    /// When the first of its response was sent.
    pub answered: Cell<Option<Nanos>>,
    /// When some of it was sent last in its own context, and when not; 0 for never.
    own: Cell<Nanos>,
    other: Cell<Nanos>,
}

impl Served {
    pub fn new(identity: &Rc<Identity>, began: Nanos) -> Self {
        Self {
            identity: identity.clone(),
            others: RefCell::default(),
            began,
            answered: Cell::new(None),
            own: Cell::new(0),
            other: Cell::new(0),
        }
    }

    fn any(&self, is: impl Fn(&Rc<Identity>) -> bool) -> bool {
        is(&self.identity) || self.others.borrow().iter().any(is)
    }

    /// Another request has the same id.
    pub fn joins(&self, identity: &Rc<Identity>) {
        if !self.is(identity) {
            self.others.borrow_mut().push(identity.clone());
        }
    }

    pub fn is(&self, identity: &Rc<Identity>) -> bool {
        self.any(|i| Rc::ptr_eq(i, identity))
    }

    pub fn is_open_at(&self, at: Nanos) -> bool {
        self.any(|i| i.was_open(at))
    }

    /// Whether something can still come of it at `now`.
    pub fn is_of_use(&self, now: Nanos) -> bool {
        self.any(|i| i.is_of_use(now))
    }

    pub fn is_over(&self) -> bool {
        !self.any(|i| i.ended.get().is_none())
    }

    /// Some of its response was sent, in its own context or not.
    pub fn answers(&self, at: Nanos, own: bool) {
        if self.answered.get().is_none() {
            self.answered.set(Some(at));
        }
        let last = if own { &self.own } else { &self.other };
        last.set(last.get().max(at));
    }

    /// Whether it is still to show in whose context it goes on after `at`.
    pub fn is_pending(&self, at: Nanos) -> bool {
        self.own.get() < at && self.other.get() < at && !self.is_over()
    }

    /// Whether it went on after `at` in its own context alone.
    pub fn is_explained(&self, at: Nanos) -> bool {
        self.own.get() >= at && self.other.get() < at
    }
}

/// How far a call is proven to be of the exchange in whose context it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Proof {
    /// Not at all.
    #[default]
    None,
    /// By its end others were made that led to the exchange's answer.
    Through,
    /// By its end the exchange answered.
    Direct,
}

/// A client's request.
pub struct Call {
    /// The exchange in whose context it was made, as the kernel side calls it.
    pub parent: u64,
    /// By whose end the thread came to that context.
    pub via: u64,
    /// The thread.
    pub tid: u32,
    /// When it began.
    pub at: Nanos,
    proof: Cell<Proof>,
    contradicted: Cell<bool>,
}

impl Call {
    pub fn new(parent: u64, via: u64, tid: u32, at: Nanos) -> Self {
        Self { parent, via, tid, at, proof: Cell::default(), contradicted: Cell::new(false) }
    }

    pub fn proof(&self) -> Proof {
        self.proof.get()
    }

    pub fn is_contradicted(&self) -> bool {
        self.contradicted.get()
    }

    /// Takes this proof in; returns whether there was none before.
    pub fn confirm(&self, proof: Proof) -> bool {
        let before = self.proof.get();
        self.proof.set(before.max(proof));
        before == Proof::None
    }

    /// Another exchange was answered by its end.
    pub fn contradict(&self) {
        self.contradicted.set(true);
    }
}

/// A call's link before its verdict.
pub struct Doubt {
    /// The call.
    pub call: Rc<Call>,
    /// The exchange in whose context it was made: what is known of that stays while this waits for its verdict.
    pub parent: Option<Rc<Served>>,
    /// The other exchanges that may have made it; `None`: too many.
    pub others: Option<Vec<Rc<Served>>>,
}

impl Doubt {
    /// Whether nobody else can have made the call.
    pub fn is_none(&self) -> bool {
        self.others.as_ref().is_some_and(Vec::is_empty)
    }
}

impl fmt::Debug for Doubt {
    /// Briefly: the others are exchanges with doubts of their own.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Doubt").field("parent", &self.call.parent).finish_non_exhaustive()
    }
}
