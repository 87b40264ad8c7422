//! Which links of an event loop can be believed.
//!
//! An event loop reads a response in the context of the exchange whose call it answers, and all that runs then seems
//! to be that exchange's work. Where exchanges wait for each other (a lookup that several share, a semaphore, a queue
//! for connections), it may be another's; and no look at the call itself can tell. But who is answered in another's
//! context shows by the end of whose calls it was resumed, and who is answered in its own shows which of them were its
//! own. So a link waits until those have been answered to whom the call may belong as well.
//!
//! In: what the kernel side said of servers' requests, of calls and of responses, in the order of time. Out: of each
//! call's link, a [`Verdict`].

mod record;
#[cfg(test)]
mod tests;

use std::rc::Rc;

use crate::{connection::Answer, http::Nanos, metrics::Withdrawal, table::Table};

use super::{
    Identity, PATIENCE,
    fading::{Fading, LOOK},
};

pub use record::Doubt;
use record::{Call, Proof, Served, after};

/// Entries of each table at most.
const MOST: usize = 65_536;
/// What is older proves nothing any more.
const AGE: Nanos = 3_600_000_000_000;
/// Servers of one thread that are open at a time and looked at one by one; a call made among more is in doubt.
const MOST_OPEN: usize = 1_024;
/// For so long after a sign that exchanges wait for each other, a thread's links need more than that nothing speaks
/// against them.
const WARY: Nanos = 1_000_000_000;

/// What is to be done with a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It holds.
    Keep,
    /// It cannot be told yet.
    Wait,
    /// The call may be another exchange's.
    Withdraw(Withdrawal),
}

/// A thread's servers are looked through again when there are twice as many as were open the last time, but not for so few.
const FEW: usize = 16;
/// How often threads that serve nobody any more are looked for.
const SWEEP: Nanos = 10_000_000_000;

/// An event loop's thread.
#[derive(Default)]
struct Loop {
    open: Vec<Rc<Served>>,
    /// How many there may be before those that are over are let go.
    limit: usize,
    /// When exchanges were last seen to wait for each other; 0 for never.
    entangled: Nanos,
}

impl Loop {
    fn serves(&mut self, served: Rc<Served>, at: Nanos) {
        if self.open.len() >= self.limit.max(FEW) {
            self.open.retain(|s| s.is_open_at(at));
            self.limit = (2 * self.open.len()).min(MOST_OPEN);
        }
        if self.open.len() <= MOST_OPEN {
            self.open.push(served);
        }
    }
}

/// What is known of event loops.
pub struct Doubts {
    served: Fading<u64, Rc<Served>>,
    calls: Fading<u64, Rc<Call>>,
    /// The exchange's own work ran after this: an exchange, and what `via` says of its context.
    ran: Fading<(u64, u64), ()>,
    loops: Table<u32, Loop>,
    /// When threads were last looked through.
    swept: Nanos,
}

impl Default for Doubts {
    fn default() -> Self {
        Self {
            served: Fading::new(MOST),
            calls: Fading::new(MOST),
            ran: Fading::new(MOST).patient(PATIENCE + LOOK),
            loops: Table::default(),
            swept: 0,
        }
    }
}

impl Doubts {
    /// A server's request has begun, which the kernel side calls `id`.
    pub fn serves(&mut self, id: u64, tid: u32, identity: &Rc<Identity>, at: Nanos) {
        if id == 0 {
            return;
        }
        // Requests that came in one call have one id.
        if let Some(served) = self.served.get(&id) {
            return served.joins(identity);
        }
        let served = Rc::new(Served::new(identity, at));
        self.served.insert(id, served.clone(), at);
        self.loops.entry(tid).or_default().serves(served, at);
    }

    /// The kernel side calls this exchange `id` too.
    pub fn alias(&mut self, id: u64, identity: &Rc<Identity>, at: Nanos) {
        let same = self.loops.values().flat_map(|l| &l.open).find(|s| s.is(identity)).cloned();
        if let Some(served) = same {
            self.served.insert(id, served, at);
        }
    }

    /// A call has begun, which the kernel side calls `id`, in the context of `parent`. `linked`: that has made a link,
    /// of which a verdict will be asked.
    pub fn calls(
        &mut self,
        id: u64,
        context: (u64, u64),
        tid: u32,
        at: Nanos,
        linked: bool,
    ) -> Option<Doubt> {
        let (parent, via) = context;
        if id == 0 || parent == 0 || self.calls.get(&id).is_some() {
            return None;
        }
        let call = Rc::new(Call::new(parent, via, tid, at));
        self.calls.insert(id, call.clone(), at);
        let others = if linked && via != 0 { self.others(parent, tid, at) } else { Some(Vec::new()) };
        let parent = self.served.get(&parent).cloned();
        linked.then_some(Doubt { call, parent, others })
    }

    /// Those to whom a call can belong that was made in the context of `parent`: whoever is open on the thread, and has
    /// not been for long, nor been answered a part before `parent` began. `None`: too many.
    fn others(&mut self, parent: u64, tid: u32, at: Nanos) -> Option<Vec<Rc<Served>>> {
        let parent = self.served.get(&parent).cloned()?;
        let open = &mut self.loops.get_mut(&tid)?.open;
        open.retain(|s| s.is_open_at(at));
        if open.len() > MOST_OPEN {
            return None;
        }
        let can = |s: &&Rc<Served>| {
            let waits = s.answered.get().is_none_or(|at| at >= parent.began);
            let young = s.began.saturating_add(PATIENCE) >= parent.began;
            !Rc::ptr_eq(s, &parent) && waits && young
        };
        Some(open.iter().filter(can).cloned().collect())
    }

    /// Bytes of a response were sent.
    pub fn answers(&mut self, answer: &Answer) {
        let server = self.served.get(&answer.exchange).cloned();
        let context = self.served.get(&answer.context);
        let own = answer.context != 0
            && (answer.context == answer.exchange
                || server.as_ref().zip(context).is_some_and(|(a, b)| Rc::ptr_eq(a, b)));
        if let Some(server) = &server {
            server.answers(answer.at, own);
        }
        if own {
            self.confirm(answer);
        } else if answer.context != 0 {
            self.loops.entry(answer.tid).or_default().entangled = answer.at;
            // What began before this exchange did is not of its making.
            self.contradict(answer, server.map_or(0, |s| s.began));
        }
    }

    /// What led to the answer was its exchange's own.
    fn confirm(&mut self, answer: &Answer) {
        let mut via = answer.via;
        let mut proof = if after(via) == Some(via) { Proof::Direct } else { Proof::Through };
        self.ran.insert((answer.context, via), (), answer.at);
        while let Some(call) = after(via).and_then(|id| self.calls.get(&id)) {
            if call.parent != answer.context || !call.confirm(proof) {
                return;
            }
            (proof, via) = (Proof::Through, call.via);
            self.ran.insert((answer.context, via), (), answer.at);
        }
    }

    /// What led to the answer was not its context's alone.
    fn contradict(&self, answer: &Answer, began: Nanos) {
        let mut via = answer.via;
        while let Some(call) = after(via).and_then(|id| self.calls.get(&id)) {
            if call.parent != answer.context || call.at < began {
                return;
            }
            call.contradict();
            via = call.via;
        }
    }

    /// Whether a call's link holds. `last`: it is not asked again.
    pub fn verdict(&self, doubt: &Doubt, last: bool) -> Verdict {
        let call = &doubt.call;
        let is_over = last || doubt.parent.as_ref().is_none_or(|parent| parent.is_over());
        let proof = call.proof();
        if call.is_contradicted() {
            // Whose request was just read has made the call, whoever waits for it as well; but a request can also wake
            // another exchange.
            return match (call.via, proof) {
                (0, Proof::Direct | Proof::Through) => Verdict::Keep,
                (0, Proof::None) if !is_over => Verdict::Wait,
                _ => Verdict::Withdraw(Withdrawal::Contradicted),
            };
        }
        if call.via == 0 || proof == Proof::Direct {
            return Verdict::Keep;
        }
        let unproven = Verdict::Withdraw(Withdrawal::Unproven);
        let Some(others) = &doubt.others else { return unproven };
        if others.is_empty() {
            return Verdict::Keep;
        }
        let pending = others.iter().any(|s| s.is_pending(call.at));
        if !last && (pending || !is_over) {
            return Verdict::Wait;
        }
        let explained = || others.iter().all(|s| s.is_explained(call.at));
        let holds = match (proof, self.is_wary(call)) {
            (Proof::Through, false) => true,
            (Proof::Through, true) => explained(),
            (_, true) => false,
            // Calls that were made at once, of which the others were not waited for to the last.
            (_, false) => explained() && self.ran.get(&(call.parent, call.via)).is_some(),
        };
        match (holds, pending) {
            (true, _) => Verdict::Keep,
            (false, true) => Verdict::Withdraw(Withdrawal::Unanswered),
            (false, false) => unproven,
        }
    }

    /// Whether exchanges of the call's thread were seen to wait for each other, not long before the call or since.
    fn is_wary(&self, call: &Call) -> bool {
        let seen = self.loops.get(&call.tid).map_or(0, |l| l.entangled);
        seen != 0 && seen.saturating_add(WARY) >= call.at
    }

    /// Lets go of what is too old to prove anything.
    pub fn tick(&mut self, now: Nanos) {
        let young = |at: Nanos| at.saturating_add(AGE) > now;
        // Others than this table have it: whose verdict is still to come.
        let awaited = |served: &Rc<Served>| Rc::strong_count(served) > 1;
        self.served.fade(now, |_, served, at| young(at) && (served.is_of_use(now) || awaited(served)));
        // Of whom nothing is known any more, nobody asks.
        let served = &self.served;
        self.calls.fade(now, |_, call, at| young(at) && served.get(&call.parent).is_some());
        self.ran.fade(now, |(exchange, _), (), at| young(at) && served.get(exchange).is_some());
        if self.swept.saturating_add(SWEEP) <= now {
            self.swept = now;
            self.loops.retain(|_, l| {
                l.open.retain(|s| s.is_open_at(now));
                !l.open.is_empty() || l.entangled.saturating_add(WARY) >= now
            });
        }
    }
}
