//! Contexts put aside under an object of the program's: by an event loop's own requests (libuv's `req`) until their callback
//! runs, by the connections of Go's HTTP client until they carry another request, by what is put into a pool's queue.

use aya_ebpf::{macros::map, maps::LruHashMap};

use crate::kernel::context::{self, Handle, Work};

#[map]
static REQUESTS: LruHashMap<Handle, Work> = LruHashMap::with_max_entries(16384, 0);

/// Puts the thread's context aside under a request of its event loop; `mark` is added to how it came there.
#[inline(always)]
pub fn save(tid: u32, tgid: u32, request: u64, mark: u64) {
    let mut work = context::current(tid, tgid);
    work.via |= mark;
    put(tgid, request, work);
}

/// Takes up the context that was put aside under a request; none if there was none.
#[inline(always)]
pub fn resume(tid: u32, tgid: u32, request: u64) {
    let work = under(tgid, request);
    let _ = REQUESTS.remove(Handle::new(tgid, request));
    context::enter(tid, tgid, work);
}

/// Puts what is worked for aside under an object.
#[inline(always)]
pub fn put(tgid: u32, object: u64, work: Work) {
    let _ = REQUESTS.insert(Handle::new(tgid, object), work, 0);
}

/// What was put aside under an object.
#[inline(always)]
pub fn under(tgid: u32, object: u64) -> Work {
    // SAFETY: copied out at once.
    unsafe { REQUESTS.get(Handle::new(tgid, object)) }.map_or(Work::NONE, |work| *work)
}
