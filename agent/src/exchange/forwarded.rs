//! Request ids that applications hand on, such as `x-request-id`: which exchange alone received one.
//!
//! In: the correlation headers of every request's head. Out: the server's exchange that a client's ids name, if there is
//! one and no other. Only hashes of values are kept.
//!
//! An id can stand for a whole trace: then several requests bring it, and it says nothing. So what counts is that the
//! value came once, as far back as is remembered, not that one of its requests is still open: a retry brings the ids
//! of the request that was given up, which may still be at work.

use std::{hash::Hasher as _, rc::Rc, sync::Arc};

use siphasher::sip128::{Hasher128 as _, SipHasher24};

use crate::{
    http::{Header, Nanos, RequestHead},
    span::SpanKind,
};

use super::{Identity, Seed, fading::Fading};

/// Shorter values are counters, which two programs can have in common by chance.
const MIN_VALUE: usize = 8;
/// Longer values are no ids.
const MAX_VALUE: usize = 256;
/// Ids of one request that are looked at.
const MAX_IDS: usize = 16;
/// Values that are remembered.
const MOST: usize = 65_536;
/// No exchange is a parent for longer.
const AGE: Nanos = 3_600_000_000_000;

/// What processes received.
pub(super) struct Ids {
    names: Arc<[String]>,
    key: [u8; 16],
    /// Who received a value alone, and is still of use.
    received: Fading<u128, Rc<Identity>>,
    /// All values; what goes by its age alone.
    seen: Fading<u128, Alone>,
}

/// Whether one exchange alone received a value.
#[derive(Clone, Copy, Debug)]
struct Alone(bool);

impl Ids {
    /// By the headers of these names.
    pub fn new(seed: &Seed, names: Arc<[String]>) -> Self {
        let (received, seen) = (Fading::new(MOST), Fading::new(MOST).patient(AGE));
        Self { names, key: seed.0, received, seen }
    }

    /// By the headers of other names, from now on. What was received is not forgotten.
    pub fn rename(&mut self, names: Arc<[String]>) {
        self.names = names;
    }

    /// Takes in a request's head. Of a client's, returns the exchange whose ids it hands on.
    pub fn take(&mut self, identity: &Rc<Identity>, head: &RequestHead, at: Nanos) -> Option<Rc<Identity>> {
        let ids = head.headers.iter().filter_map(|header| self.id(identity.tgid, header)).take(MAX_IDS);
        let ids: Vec<u128> = ids.collect();
        match identity.kind {
            SpanKind::Server => {
                ids.into_iter().for_each(|id| self.receive(id, identity, at));
                None
            }
            SpanKind::Client => self.sender(&ids).filter(|sender| sender.was_open(at)),
        }
    }

    /// The hash by which a value is known: the same name, the same value, the same process.
    fn id(&self, tgid: u32, header: &Header) -> Option<u128> {
        let named = |name: &&String| header.name.eq_ignore_ascii_case(name.as_bytes());
        let name = self.names.iter().find(named)?;
        let value = header.value.trim_ascii();
        if !(MIN_VALUE..=MAX_VALUE).contains(&value.len()) {
            return None;
        }
        let mut hasher = SipHasher24::new_with_key(&self.key);
        hasher.write(b"forwarded id");
        hasher.write_u32(tgid);
        hasher.write_usize(name.len());
        hasher.write(name.as_bytes());
        hasher.write(value);
        Some(hasher.finish128().as_u128())
    }

    fn receive(&mut self, id: u128, identity: &Rc<Identity>, at: Nanos) {
        if self.seen.get(&id).is_none() {
            self.seen.insert(id, Alone(true), at);
            self.received.insert(id, identity.clone(), at);
        } else if !self.received.get(&id).is_some_and(|same| Rc::ptr_eq(same, identity)) {
            self.seen.insert(id, Alone(false), at);
            self.received.take(&id);
        }
    }

    /// The only exchange that received any of these; none if they name different ones, or one that is long over.
    fn sender(&self, ids: &[u128]) -> Option<Rc<Identity>> {
        let alone = ids.iter().filter(|id| matches!(self.seen.get(id), Some(Alone(true))));
        let mut senders = alone.map(|id| self.received.get(id));
        let first = senders.next()??;
        senders.all(|other| other.is_some_and(|other| Rc::ptr_eq(first, other))).then(|| first.clone())
    }

    /// Lets go of what is too old. Of a request that is over, it is remembered that there was one.
    pub fn tick(&mut self, now: Nanos) {
        self.received.fade(now, |_, one, at| one.is_of_use(now) && at.saturating_add(AGE) > now);
        self.seen.fade(now, |_, _, _| false);
    }
}
