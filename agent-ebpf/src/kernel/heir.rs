//! What a task or a thread inherits from the one that starts it.
//!
//! One that was started for an exchange may go on to work for others, as those of a pool do that grows when it is needed.
//! One that ends before the exchange is over has not: so what it inherited goes by an id of its own until it ends, and
//! only then is the agent told what that stood for.

use aya_ebpf::{macros::map, maps::LruHashMap};
use sockspan_ebpf::HEIR;

use crate::kernel::{context::Handle, count, emit};

/// What was inherited.
#[repr(C)]
#[derive(Clone, Copy)]
struct Heir {
    /// What stands for that until the heir ends.
    id: u64,
    /// What its maker worked for: an exchange, or what the maker inherited.
    of: u64,
    /// Whether anything was done in its name.
    used: u64,
}

/// Those that inherited something and have not ended: goroutines and threads by their ids, contexts and greenlets by
/// their addresses.
#[map]
static HEIRS: LruHashMap<Handle, Heir> = LruHashMap::with_max_entries(32768, 0);

/// One that was started in the name of `of`. Gives the id that stands for that.
#[inline(always)]
pub fn begin(heir: Handle, of: u64) -> u64 {
    let id = count::new_id() | HEIR;
    let _ = HEIRS.insert(heir, Heir { id, of, used: 0 }, 0);
    id
}

/// Something is done in the name of `exchange`, which may be what stands for it.
#[inline(always)]
pub fn acts(heir: Handle, exchange: u64) {
    if exchange & HEIR != 0
        && let Some(known) = HEIRS.get_ptr_mut(heir)
    {
        // SAFETY: a map value stays valid while the program runs.
        let known = unsafe { &mut *known };
        if known.id == exchange {
            known.used = 1;
        }
    }
}

/// The exchange that `id` stands for as far as is known here: the maker can have been an heir itself.
#[inline(always)]
pub fn stands_for(heir: Handle, id: u64) -> u64 {
    if id & HEIR == 0 {
        return id;
    }
    // SAFETY: copied out at once.
    unsafe { HEIRS.get(heir) }.filter(|known| known.id == id).map_or(0, |known| known.of)
}

/// It goes on, and has shown that what `id` stands for is this exchange, whoever was between them.
#[inline(always)]
pub fn prove(heir: Handle, id: u64, exchange: u64) {
    // SAFETY: copied out at once.
    let known = unsafe { HEIRS.get(heir) }.filter(|known| known.id == id && known.used != 0);
    if known.is_some() {
        emit::inheritance(heir.tgid as u32, id, exchange);
    }
    let _ = HEIRS.remove(heir);
}

/// It ends, and worked for `exchange`. One that was given other work since is an heir no more.
#[inline(always)]
pub fn end(heir: Handle, exchange: u64) {
    // SAFETY: copied out at once.
    let Some(known) = unsafe { HEIRS.get(heir) }.copied() else { return };
    let _ = HEIRS.remove(heir);
    if known.used != 0 && known.id == exchange {
        emit::inheritance(heir.tgid as u32, exchange, known.of);
    }
}
