//! The events of the ring buffer.

use bytemuck::{Pod, Zeroable};

/// What an event tells of; the first byte of every event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum EventKind {
    /// A socket call that moved bytes ([`Data`], followed by the captured bytes).
    Data = 1,
    /// The peer's end of stream was read ([`Data`] without bytes).
    EndOfStream = 2,
    /// The connection left the established state ([`Data`] without bytes; `role` still says whose).
    Closed = 3,
    /// A process of the traced set made a child ([`Lifecycle`]; `other` is the parent).
    Fork = 4,
    /// A process executed a new program ([`Lifecycle`]).
    Exec = 5,
    /// A process of the traced set ended ([`Lifecycle`]).
    Exit = 6,
    /// A process began to listen ([`Lifecycle`]; `other` is the port).
    Listen = 7,
    /// A process's threads were found to share exchanges ([`Lifecycle`]): what they proved is taken back.
    Multiplexed = 8,
    /// A process is no longer traced ([`Lifecycle`]); said by the agent itself, for its place among the events.
    Released = 9,
    /// A task that worked for what its maker worked for has ended ([`Inheritance`]).
    Inherited = 10,
}

impl EventKind {
    /// The kind behind a byte, if it is one.
    pub const fn from_byte(byte: u8) -> Option<Self> {
        Some(match byte {
            1 => Self::Data,
            2 => Self::EndOfStream,
            3 => Self::Closed,
            4 => Self::Fork,
            5 => Self::Exec,
            6 => Self::Exit,
            7 => Self::Listen,
            8 => Self::Multiplexed,
            9 => Self::Released,
            10 => Self::Inherited,
            _ => return None,
        })
    }
}

/// Which way the bytes went, seen from the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Direction {
    /// The process sent them.
    Send = 0,
    /// The process received them.
    Receive = 1,
}

/// Which end of the HTTP conversation the process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Role {
    /// Not known (yet).
    Unknown = 0,
    /// It receives requests.
    Server = 1,
    /// It sends requests.
    Client = 2,
    /// The bytes are not HTTP/1: the connection is left alone.
    NotHttp = 3,
}

/// How the kernel side knows the parent of a client's request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Evidence {
    /// It does not.
    None = 0,
    /// The runtime's own task identity.
    Task = 1,
    /// The thread that serves the exchange, or the callback of the read that resumed it.
    Thread = 2,
    /// The context that called connect(), or getaddrinfo() before it.
    Connect = 3,
}

/// The socket's address family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Family {
    /// AF_UNIX, or one we have no address for.
    Unix = 1,
    /// AF_INET.
    Inet = 2,
    /// AF_INET6.
    Inet6 = 10,
}

/// Set in [`Data::state`] beside the TCP state: this end has left the connection, it sends and receives no more.
pub const LEFT: u8 = 0x80;

/// What [`Data::via`] holds beside an exchange.
pub mod via {
    /// The context waited for the end of some work (a file, a job of the thread pool) after that.
    pub const WORK: u64 = 1 << 63;
}

/// Bits of [`Data::flags`].
pub mod flag {
    /// A message begins exactly at `position`: the bytes there begin like one.
    pub const STARTS_MESSAGE: u16 = 1;
    /// `exchange` was made by this very call: a request begins here.
    pub const STARTS_EXCHANGE: u16 = 1 << 1;
    /// `local_base` and `peer_base` are valid: the wire identity may be used.
    pub const WIRE: u16 = 1 << 2;
    /// The call's user memory was not read (io_uring, sendfile, splice, registers of another call).
    pub const UNREADABLE: u16 = 1 << 3;
    /// Fewer bytes than wanted could be read from user memory.
    pub const SHORT_READ: u16 = 1 << 4;
    /// The process opened the connection (seen, not guessed).
    pub const OPENER: u16 = 1 << 5;
    /// `position` is a TCP sequence number; otherwise it counts what was seen.
    pub const SEQUENCE: u16 = 1 << 6;
}

/// The shared part of a connection's events. Sizes in bytes, times in nanoseconds of CLOCK_MONOTONIC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Data {
    /// [`EventKind`].
    pub kind: u8,
    /// [`Direction`].
    pub direction: u8,
    /// [`Role`].
    pub role: u8,
    /// [`Evidence`] for `parent`.
    pub evidence: u8,
    /// Bits of [`flag`].
    pub flags: u16,
    /// [`Family`].
    pub family: u8,
    /// For [`EventKind::Closed`]: the new TCP state, and perhaps [`LEFT`].
    pub state: u8,
    /// Bytes at the end of the event that are the message's first.
    pub head: u16,
    /// Bytes after those that are the call's last.
    pub tail: u16,
    /// Bytes the call moved.
    pub length: u32,
    /// When the call was over.
    pub at: u64,
    /// When the call began, or 0 where that is not known.
    pub began: u64,
    /// The kernel's socket, as an identity.
    pub socket: u64,
    /// The socket's inode number: tells its owner from the next at the same address.
    pub generation: u64,
    /// The exchange the kernel side counts this call to; 0 for none.
    pub exchange: u64,
    /// The exchange in whose context a client's request was made, or bytes of an event loop's response were sent; 0 for
    /// none.
    pub parent: u64,
    /// By whose end that context came to the thread: the client's exchange whose response was read last, perhaps with
    /// [`via::WORK`]; 0 straight from `parent`'s own request.
    pub via: u64,
    /// Process.
    pub tgid: u32,
    /// Thread.
    pub tid: u32,
    /// Position of the first byte in its direction's stream.
    pub position: u32,
    /// Bytes of this direction that passed unseen before `position`; for [`EventKind::Closed`], whose `position` is
    /// the sending direction's, the position up to which the other direction was read.
    pub missed: u32,
    /// TCP sequence number of the first byte this end ever sends.
    pub local_base: u32,
    /// The same of the other end.
    pub peer_base: u32,
    /// Inode number of the network namespace.
    pub netns: u32,
    /// Port on this end, host byte order.
    pub local_port: u16,
    /// Port on the other end, host byte order.
    pub peer_port: u16,
    /// Address on this end; IPv4 in the first four bytes.
    pub local: [u8; 16],
    /// Address on the other end.
    pub peer: [u8; 16],
}

/// Size of [`Data`]: what an event has at least.
pub const DATA_BYTES: usize = size_of::<Data>();
/// The largest event.
pub const EVENT_BYTES: usize = DATA_BYTES + super::HEAD_BYTES + super::TAIL_BYTES;

/// Set in an id that stands for what a task inherited, instead of an exchange: [`Inheritance`] says which, in the end.
pub const HEIR: u64 = 1 << 63;

/// What a task that has ended inherited when it was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Inheritance {
    /// [`EventKind`].
    pub kind: u8,
    /// Zero.
    pub reserved: [u8; 3],
    /// The process.
    pub tgid: u32,
    /// The id that stood for its exchange; [`HEIR`] is set.
    pub heir: u64,
    /// The exchange, or what stood for it: a maker can be an heir itself.
    pub of: u64,
    /// When it ended, nanoseconds of CLOCK_MONOTONIC.
    pub at: u64,
}

/// A turn in a process's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Lifecycle {
    /// [`EventKind`].
    pub kind: u8,
    /// Zero.
    pub reserved: [u8; 3],
    /// The process.
    pub tgid: u32,
    /// The parent process or the port, by kind.
    pub other: u32,
    /// [`process_flag`](crate::process_flag)s: of a fork the parent's, of an exec those that stay; else zero.
    pub flags: u32,
    /// When, nanoseconds of CLOCK_MONOTONIC.
    pub at: u64,
}

const _: () = assert!(size_of::<Data>() == 16 + 7 * 8 + 6 * 4 + 8 + 32);
const _: () = assert!(size_of::<Lifecycle>() == 24);
const _: () = assert!(size_of::<Inheritance>() == 32);
const _: () = assert!(DATA_BYTES.is_multiple_of(8));
