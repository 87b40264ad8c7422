//! What is remembered of a connection, keyed by its `struct sock` and told from the next one at the same
//! address by the socket's inode number.

use aya_ebpf::{
    macros::map,
    maps::{Array, LruHashMap},
};
use sockspan_ebpf::{Counter, Direction, Family, Skip, flag};

use crate::kernel::{context, count, read, read::offset};

/// Bits of [`Connection::flags`] beside those of [`flag`] that events carry on.
pub mod known {
    /// `next` holds a position for this direction (shift by the direction).
    pub const NEXT: u32 = 1 << 16;
    /// `context` was set by who opened the connection, or took it when it was idle, and no request has used it yet.
    pub const CONNECT: u32 = 1 << 18;
    /// The connection has left the established state.
    pub const CLOSED: u32 = 1 << 19;
    /// `context` was set by a task that wrote to the connection, and its event loop has not sent it yet.
    pub const WRITTEN: u32 = 1 << 20;
    /// A request came before the one ahead of it was answered: what reads here says nothing of what is served, and
    /// to which of them bytes of a response belong is not known.
    pub const PIPELINED: u32 = 1 << 21;
    /// `accepted` is set.
    pub const ACCEPTED: u32 = 1 << 22;
}

/// Whose turn it is in the conversation.
pub const REQUEST: u8 = 0;
/// The answer has begun.
pub const RESPONSE: u8 = 1;

/// After so many positions that went back, sequence numbers are not this connection's (kTLS, sockmap).
const DISORDER_LIMIT: u8 = 3;

const TCP: u16 = 6;
const SOCK_STREAM: u16 = 1;
const RCV_SHUTDOWN: u8 = 1;
const BOTH_SHUTDOWN: u8 = 3;

#[repr(C)]
#[derive(Clone, Copy)]
pub struct Connection {
    pub generation: u64,
    pub exchange: u64,
    /// Client: the exchange in whose context the request was made (or connect() was called).
    pub context: u64,
    /// How that context came to the thread that called connect().
    pub via: u64,
    /// First bytes of a message that came in pieces smaller than its token, by direction.
    pub lead: [u64; 2],
    pub lead_count: [u32; 2],
    /// The position that should come next, by direction.
    pub next: [u32; 2],
    /// Bytes that may still be copied of the message under way, by direction.
    pub budget: [u32; 2],
    pub flags: u32,
    /// Server: the thread that counts this exchange among its unanswered ones; 0 for none.
    pub owner: u32,
    /// Its process: thread ids are reused.
    pub owner_tgid: u32,
    pub local_base: u32,
    pub peer_base: u32,
    pub netns: u32,
    pub local_port: u16,
    pub peer_port: u16,
    pub role: u8,
    pub phase: u8,
    pub family: u8,
    pub disorder: u8,
    /// Server: the thread that read the request last.
    pub server: u32,
    /// Server: when the kernel accepted the connection or later, in jiffies.
    pub accepted: u32,
    pub reserved: u32,
    pub local: [u8; 16],
    pub peer: [u8; 16],
}

/// Bounded: the least recently used connection makes room for a new one. The agent sets the size.
#[map]
static CONNECTIONS: LruHashMap<u64, Connection> = LruHashMap::with_max_entries(16384, 0);

/// What the agent does not need to see, by socket.
#[map]
static SKIPS: LruHashMap<u64, Skip> = LruHashMap::with_max_entries(4096, 0);

/// A connection of nothing but zeroes, to begin one from: too large for the stack.
#[map]
static BLANK: Array<Connection> = Array::with_max_entries(1, 0);

/// The connection at `sock`, whatever its generation.
#[inline(always)]
pub fn at(sock: u64) -> Option<*mut Connection> {
    CONNECTIONS.get_ptr_mut(sock)
}

/// The connection of `sock`, made if it is new. `None` for what is no stream of bytes.
#[inline(always)]
pub fn of(sock: u64, generation: u64) -> Option<*mut Connection> {
    if let Some(connection) = CONNECTIONS.get_ptr_mut(sock) {
        // SAFETY: a map value stays valid while the program runs.
        unsafe {
            if (*connection).generation == generation {
                return Some(connection);
            }
            context::release(&mut *connection);
        }
    }
    let kind: u16 = read::kernel(sock + offset!(sock_type));
    if kind != SOCK_STREAM {
        return None;
    }
    create(sock, generation, false)
}

/// Makes the connection. `opening`: connect() is under way, so there is no peer to read of yet.
#[inline(always)]
pub fn create(sock: u64, generation: u64, opening: bool) -> Option<*mut Connection> {
    let family: u16 = read::kernel(sock + offset!(sock_family));
    let family = match family {
        2 => Family::Inet as u8,
        10 => Family::Inet6 as u8,
        1 => Family::Unix as u8,
        _ => return None,
    };
    if CONNECTIONS.insert(sock, BLANK.get(0)?, 0).is_err() {
        count::one(Counter::ConnectionsFull);
    }
    let connection = CONNECTIONS.get_ptr_mut(sock)?;
    // SAFETY: a map value stays valid while the program runs.
    let fresh = unsafe { &mut *connection };
    fresh.generation = generation;
    fresh.family = family;
    // MPTCP's socket is no tcp_sock: only plain TCP has sequence numbers where we look for them.
    let protocol: u16 = read::kernel(sock + offset!(sock_protocol));
    if family != Family::Unix as u8 && protocol == TCP {
        fresh.flags |= flag::SEQUENCE as u32;
    }
    if opening {
        fresh.flags |= flag::OPENER as u32;
    }
    Some(connection)
}

/// Forgets the connection at `sock`.
#[inline(always)]
pub fn remove(sock: u64) {
    let _ = CONNECTIONS.remove(sock);
}

/// What the agent said may be skipped, if it was said of this very connection.
#[inline(always)]
pub fn skip(sock: u64, generation: u64) -> Option<*mut Skip> {
    let skip = SKIPS.get_ptr_mut(sock)?;
    // SAFETY: a map value stays valid while the program runs.
    unsafe { ((*skip).generation == generation).then_some(skip) }
}

/// Fills in addresses and namespace: once, when HTTP was recognised.
#[inline(always)]
pub fn identify(sock: u64, connection: &mut Connection) {
    let net: u64 = read::kernel(sock + offset!(sock_net));
    connection.netns = read::kernel(net + offset!(net_inum));
    if connection.family == Family::Unix as u8 {
        return;
    }
    connection.local_port = read::kernel(sock + offset!(sock_num));
    connection.peer_port = u16::from_be(read::kernel(sock + offset!(sock_dport)));
    if connection.family == Family::Inet as u8 {
        let local: [u8; 4] = read::kernel(sock + offset!(sock_rcv_saddr));
        let peer: [u8; 4] = read::kernel(sock + offset!(sock_daddr));
        connection.local[..4].copy_from_slice(&local);
        connection.peer[..4].copy_from_slice(&peer);
    } else {
        connection.local = read::kernel(sock + offset!(sock_v6_rcv_saddr));
        connection.peer = read::kernel(sock + offset!(sock_v6_daddr));
    }
}

/// The numbers of the two directions' first bytes, whichever moment they are read at: sent and acknowledged
/// (received) bytes are taken off the running numbers. The opener's own count includes its SYN.
#[inline(always)]
pub fn find_bases(sock: u64, connection: &mut Connection) {
    let known = connection.flags & flag::WIRE as u32 != 0;
    if connection.flags & flag::SEQUENCE as u32 == 0 || known || connection.disorder >= DISORDER_LIMIT {
        return;
    }
    let look = || {
        let acknowledged: u32 = read::kernel(sock + offset!(tcp_snd_una));
        let sent: u64 = read::kernel(sock + offset!(tcp_bytes_acked));
        let expected: u32 = read::kernel(sock + offset!(tcp_rcv_nxt));
        let received: u64 = read::kernel(sock + offset!(tcp_bytes_received));
        (acknowledged.wrapping_sub(sent as u32), expected.wrapping_sub(received as u32))
    };
    // The kernel changes number and count one after the other: only two looks that agree are believed.
    let (first, second) = (look(), look());
    if first != second {
        return;
    }
    let opener = connection.flags & flag::OPENER as u32 != 0;
    connection.local_base = first.0.wrapping_add(u32::from(opener));
    connection.peer_base = first.1;
    connection.flags |= flag::WIRE as u32;
}

/// Whether `position` is where this direction's stream began. Who opened a connection that is older than the
/// agent is not known before its role is.
#[inline(always)]
pub fn is_start(c: &Connection, direction: u32, position: u32) -> bool {
    let base = if direction == Direction::Send as u32 { c.local_base } else { c.peer_base };
    c.flags & flag::WIRE as u32 != 0 && (position == base || position == base.wrapping_add(1))
}

/// Notes, at its first request, when the kernel accepted the connection: until then nothing was sent.
#[inline(always)]
pub fn note_accepted(sock: u64, c: &mut Connection) {
    if c.flags & flag::SEQUENCE as u32 != 0 && c.exchange == 0 {
        c.accepted = read::kernel(sock + offset!(tcp_lsndtime));
        c.flags |= known::ACCEPTED;
    }
}

/// The process turned out to be the client: it opened the connection, and its own count includes its SYN.
#[inline(always)]
pub fn adopt_client(c: &mut Connection) {
    if c.flags & (flag::OPENER as u32) == 0 {
        c.flags |= flag::OPENER as u32;
        if c.flags & flag::WIRE as u32 != 0 {
            c.local_base = c.local_base.wrapping_add(1);
        }
    }
}

/// Position of the first of `length` bytes that just passed (`after` more of the same call behind them), and
/// how many bytes went by unseen before it.
#[inline(always)]
pub fn advance(sock: u64, c: &mut Connection, direction: u32, length: u32, after: u32) -> (u32, u32) {
    let side = (direction & 1) as usize;
    let known_next = known::NEXT << side;
    let expected = c.next[side];
    let mut position = expected;
    let mut missed = 0;
    if c.flags & flag::SEQUENCE as u32 != 0 {
        let receive = direction == Direction::Receive as u32;
        let end: u32 = if receive {
            read::kernel(sock + offset!(tcp_copied_seq))
        } else {
            read::kernel(sock + offset!(tcp_write_seq))
        };
        position = end.wrapping_sub(length).wrapping_sub(after);
        let fresh = c.flags & known_next == 0;
        if receive && position != expected && (fresh || position == expected.wrapping_add(1)) {
            position = position.wrapping_sub(consumed_fin(sock, end));
        }
        if !fresh {
            let ahead = position.wrapping_sub(expected) as i32;
            if ahead > 0 {
                missed = ahead as u32;
                count::add(Counter::MissedBytes, u64::from(missed));
            } else if ahead < 0 {
                count::one(Counter::Disordered);
                if c.disorder < DISORDER_LIMIT {
                    c.disorder += 1;
                } else {
                    c.flags &= !(flag::WIRE as u32);
                }
            }
        }
    }
    c.next[side] = position.wrapping_add(length);
    c.flags |= known_next;
    (position, missed)
}

/// The position up to which the process has read what the other end sent, whatever it read it by. `may_have_fin`: the
/// other end may have ended its stream; closing a socket looks the same as that from here.
#[inline(always)]
pub fn read_up_to(sock: u64, c: &Connection, may_have_fin: bool) -> u32 {
    if c.flags & flag::SEQUENCE as u32 == 0 {
        return c.next[Direction::Receive as usize];
    }
    let copied: u32 = read::kernel(sock + offset!(tcp_copied_seq));
    if may_have_fin { copied.wrapping_sub(consumed_fin(sock, copied)) } else { copied }
}

/// Where this direction's next byte will be, as far as is known: nothing may have passed yet.
#[inline(always)]
pub fn next(c: &Connection, direction: Direction) -> u32 {
    let side = direction as usize;
    if c.flags & (known::NEXT << side) != 0 || c.flags & flag::WIRE as u32 == 0 {
        return c.next[side];
    }
    if side == Direction::Send as usize { c.local_base } else { c.peer_base }
}

/// Whether this end takes part no more: both directions are shut down.
#[inline(always)]
pub fn is_left(sock: u64) -> bool {
    shutdown(sock) & BOTH_SHUTDOWN == BOTH_SHUTDOWN
}

/// Whether nothing more is to be received: the peer said so, or this end.
#[inline(always)]
pub fn is_ended(sock: u64) -> bool {
    shutdown(sock) & RCV_SHUTDOWN != 0
}

/// The directions that are shut down, as bits.
#[inline(always)]
fn shutdown(sock: u64) -> u8 {
    read::kernel(sock + offset!(sock_shutdown))
}

/// 1 if the read that ended at `copied` also took the peer's FIN, which has a sequence number of its own.
#[inline(always)]
fn consumed_fin(sock: u64, copied: u32) -> u32 {
    let expected: u32 = read::kernel(sock + offset!(tcp_rcv_nxt));
    u32::from(is_ended(sock) && expected == copied)
}
