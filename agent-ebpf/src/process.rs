//! What the agent tells the kernel side: whom to trace and how, what it may skip, where the kernel
//! keeps its fields; and the counters that the kernel side answers with.

use bytemuck::{Pod, Zeroable};

/// How a process's calls are tied to the exchange they serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Policy {
    /// Not by the kernel side: headers and the wire only.
    None = 0,
    /// A thread serves one exchange at a time and makes its calls itself.
    Thread = 1,
    /// One event loop a thread (libuv): a read resumes its connection's context, hooks do the rest.
    Loop = 2,
    /// The runtime's own tasks: CPython's asyncio, by the context that a task runs in.
    Asyncio = 3,
    /// The runtime's own tasks: greenlets.
    Greenlet = 4,
    /// The runtime's own tasks: goroutines.
    Goroutine = 5,
}

impl Policy {
    /// The policy behind a number, if it is one.
    pub const fn from_number(number: u32) -> Option<Self> {
        Some(match number {
            0 => Self::None,
            1 => Self::Thread,
            2 => Self::Loop,
            3 => Self::Asyncio,
            4 => Self::Greenlet,
            5 => Self::Goroutine,
            _ => return None,
        })
    }

    /// Whether the key is a task of the runtime's own instead of a thread.
    pub const fn has_tasks(self) -> bool {
        matches!(self, Self::Asyncio | Self::Greenlet | Self::Goroutine)
    }
}

/// Bits of [`Process::flags`].
pub mod process_flag {
    /// Exchanges were seen to share or change threads: the thread is no evidence in this process.
    pub const MULTIPLEXED: u32 = 1;
    /// The agent has not looked at it yet: it is traced in case that it is selected.
    pub const UNJUDGED: u32 = 2;
}

/// A traced process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Process {
    /// [`Policy`].
    pub policy: u32,
    /// Bits of [`process_flag`].
    pub flags: u32,
    /// Where its runtime keeps what names a task, for policies that go by tasks.
    pub layout: Layout,
}

/// Where a runtime keeps what names the task that runs. Addresses are the process's own; offsets are in bytes.
/// Zero where they are not needed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Layout {
    /// CPython's.
    pub python: PythonLayout,
    /// Go's.
    pub go: GoLayout,
    /// Of a process with greenlets.
    pub greenlet: GreenletLayout,
}

/// What goes for threads beside greenlets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct GreenletLayout {
    /// 1: a thread that changes no greenlets serves one request at a time, as under [`Policy::Thread`].
    pub threads: u32,
    /// Zero.
    pub reserved: u32,
}

/// How to get from a thread to the `contextvars.Context` that it runs in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct PythonLayout {
    /// Address of `_PyRuntime`.
    pub runtime: u64,
    /// Address of `PyContext_Type`.
    pub context_type: u64,
    /// `_PyRuntimeState.interpreters.head`.
    pub interpreters_head: u32,
    /// `PyInterpreterState.threads.head`.
    pub threads_head: u32,
    /// `PyThreadState.next`.
    pub thread_next: u32,
    /// `PyThreadState.thread_id`.
    pub thread_id: u32,
    /// `PyThreadState.context`.
    pub thread_context: u32,
    /// `PyInterpreterState.next`.
    pub interpreter_next: u32,
    /// uvloop's `UVHandle._handle`: where a stream has libuv's; 0 where uvloop is not used.
    pub stream_handle: u32,
    /// libuv's `uv_stream_t.io_watcher.fd`.
    pub handle_descriptor: u32,
}

/// How to get from the goroutine's register to its id, and to what its thread executes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct GoLayout {
    /// `runtime.g.m`.
    pub g_m: u32,
    /// `runtime.m.curg`.
    pub m_curg: u32,
    /// `runtime.g.goid`.
    pub goid: u32,
    /// Zero.
    pub reserved: u32,
}

/// Bytes of one connection that the agent does not need to see.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Skip {
    /// The socket's generation this was said of.
    pub generation: u64,
    /// Per direction: position up to which (exclusive) calls need no event.
    pub until: [u32; 2],
    /// Per direction: whether `until` is valid.
    pub valid: [u32; 2],
    /// Not HTTP (any more): no event at all.
    pub ignore: u32,
    /// Zero.
    pub reserved: u32,
}

/// Offsets of the kernel's fields in bytes, from the running kernel's BTF.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
#[allow(missing_docs)] // Each is named after its structure and field.
pub struct Offsets {
    pub task_tgid: u32,
    pub task_pid: u32,
    pub task_signal: u32,
    /// `signal_struct.live`: threads that have not begun to exit.
    pub signal_live: u32,
    /// `signal_struct.flags`.
    pub signal_flags: u32,
    pub task_files: u32,
    pub task_flags: u32,
    /// `thread_info.status` (x86-64) or `thread_info.flags` (arm64): says whether the call is 32-bit.
    pub task_status: u32,
    pub files_fdt: u32,
    pub fdtable_fd: u32,
    pub fdtable_max_fds: u32,
    pub file_private_data: u32,
    pub file_inode: u32,
    pub inode_mode: u32,
    pub inode_ino: u32,
    pub socket_sk: u32,
    pub socket_inode: u32,
    pub sock_family: u32,
    pub sock_protocol: u32,
    pub sock_type: u32,
    pub sock_socket: u32,
    pub sock_shutdown: u32,
    pub sock_num: u32,
    pub sock_dport: u32,
    pub sock_daddr: u32,
    pub sock_rcv_saddr: u32,
    pub sock_v6_daddr: u32,
    pub sock_v6_rcv_saddr: u32,
    pub sock_net: u32,
    pub net_inum: u32,
    pub tcp_write_seq: u32,
    pub tcp_copied_seq: u32,
    pub tcp_snd_una: u32,
    pub tcp_bytes_acked: u32,
    pub tcp_rcv_nxt: u32,
    pub tcp_bytes_received: u32,
    /// `tcp_sock.lsndtime`: until it has sent, when a connection was accepted by the kernel, in jiffies.
    pub tcp_lsndtime: u32,
    /// `thread_struct.fsbase`: what a thread's `pthread_self` is on x86-64; 0 elsewhere.
    pub task_fsbase: u32,
}

/// What the kernel side counts, by index into its counter map.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u32)]
pub enum Counter {
    /// Ids handed out (not a count).
    NextId = 0,
    /// Socket calls of traced processes.
    Calls,
    /// Events written.
    Events,
    /// Events lost because the ring buffer was full.
    RingFull,
    /// Calls on HTTP connections whose memory was not read: not a call this program can decode.
    Unreadable,
    /// Calls whose registers belonged to another call.
    ForeignRegisters,
    /// User memory that could not be read whole.
    ShortRead,
    /// Bytes that passed unseen, by sequence number.
    MissedBytes,
    /// Connections that are not HTTP/1.
    NotHttp,
    /// Of those: TLS.
    Tls,
    /// Of those: HTTP/2 with prior knowledge.
    Http2,
    /// Calls skipped inside bodies.
    Skipped,
    /// Connections not tracked because the map was full.
    ConnectionsFull,
    /// Processes not traced because the map was full.
    ProcessesFull,
    /// Calls not followed because the map of calls under way was full.
    CallsFull,
    /// Exchanges that took a thread's context while another was unanswered.
    SharedThread,
    /// Processes whose threads were found to be no evidence.
    Multiplexed,
    /// Client requests with thread evidence that connect() contradicted.
    Contradicted,
    /// Positions that went back: concurrent writers, or a layer that rewrites.
    Disordered,
}

impl Counter {
    /// How many there are.
    pub const COUNT: u32 = Self::Disordered as u32 + 1;

    /// All of them, in the order of their indices.
    pub const ALL: [Self; Self::COUNT as usize] = [
        Self::NextId,
        Self::Calls,
        Self::Events,
        Self::RingFull,
        Self::Unreadable,
        Self::ForeignRegisters,
        Self::ShortRead,
        Self::MissedBytes,
        Self::NotHttp,
        Self::Tls,
        Self::Http2,
        Self::Skipped,
        Self::ConnectionsFull,
        Self::ProcessesFull,
        Self::CallsFull,
        Self::SharedThread,
        Self::Multiplexed,
        Self::Contradicted,
        Self::Disordered,
    ];
}
