//! A socket call that is over, as both ways in describe it.

use aya_ebpf::{macros::map, maps::PerCpuArray};

use crate::kernel::{arch::Shape, emit::Piece, message::Token};

/// A socket call that is over.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Call {
    pub sock: u64,
    /// The user memory, as `shape` says: a buffer or an array of iovec.
    pub address: u64,
    pub at: u64,
    pub began: u64,
    pub shape: Shape,
    pub count: u32,
    pub direction: u32,
    /// Bytes it moved.
    pub length: u32,
    /// Bytes the same system call moved after these.
    pub after: u32,
    pub tgid: u32,
    pub tid: u32,
    /// What names the task that makes it, where the runtime has tasks; see [`crate::kernel::task::running`].
    pub task: u64,
    /// Its first bytes, those of the pieces before included, and what they begin.
    pub lead: u64,
    pub lead_count: u32,
    pub resumed: u32,
    pub token: Token,
    /// Position of its first byte.
    pub start: u32,
    /// How the telling of it goes on: bytes told, bytes that may still be copied, the part to tell next.
    pub done: u32,
    pub budget: u32,
    pub piece: Piece,
}

/// The call under way, by direction: programs call each other, and share one small stack.
#[map]
static CALLS: PerCpuArray<Call> = PerCpuArray::with_max_entries(2, 0);

/// Room for a call of this direction.
#[inline(always)]
pub fn call(direction: u32) -> Option<&'static mut Call> {
    // SAFETY: this CPU's, of this direction, used by one program at a time.
    CALLS.get_ptr_mut(direction & 1).map(|call| unsafe { &mut *call })
}

/// Whether the call's user memory was found.
#[inline(always)]
pub fn readable(call: &Call) -> bool {
    call.shape == Shape::Flat || call.shape == Shape::Vector
}
