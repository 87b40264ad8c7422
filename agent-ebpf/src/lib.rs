//! What the kernel side and the agent say to each other: events, the keys and values of shared maps,
//! and the offsets of kernel structures.
//!
//! Every type is `repr(C)`, made of integers only and free of padding (asserted below), so that its
//! bytes mean the same on both sides and a recorded stream can be read back.

#![no_std]

mod event;
pub mod name;
mod process;

pub use event::{
    DATA_BYTES, Data, Direction, EVENT_BYTES, EventKind, Evidence, Family, HEIR, Inheritance, LEFT,
    Lifecycle, Role, flag, via,
};
pub use process::{
    Counter, GoLayout, GreenletLayout, Layout, Offsets, Policy, Process, PythonLayout, Skip, process_flag,
};

/// The version of this contract; a recorded stream carries it and a replay checks it.
pub const ABI_VERSION: u32 = 2;

/// Head bytes one event can carry; a longer head takes several events.
pub const HEAD_BYTES: usize = 8192;

/// Bytes of a large mid-body call's end that are copied: enough to show a chunked body's terminator.
pub const TAIL_BYTES: usize = 16;

/// A mid-body call of at most this many bytes is copied whole: chunk sizes, trailers, the last chunk.
pub const SMALL_BYTES: u32 = 512;
