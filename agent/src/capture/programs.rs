//! Loading and attaching the programs: what the kernel is told before, and what became of each probe.

use aya::{
    Ebpf, EbpfLoader,
    programs::{ProgramError, RawTracePoint, TracePoint, UProbe},
};
use serde::Serialize;
use sockspan_ebpf::Offsets;

use crate::memory;

use super::{
    Error, Mode, Options, Uprobes,
    attached::{Attached, Attachment},
    breakpoints::Breakpoints,
    btf::Btf,
    multi::Multi,
    offsets,
    pod::Plain,
};

/// The programs, as the kernel takes them; empty in a build without them.
static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/sockspan-ebpf"));

/// System calls that can move bytes on a socket, by their tracepoints' names.
const CALLS: [&str; 14] = [
    "read",
    "readv",
    "preadv2",
    "recvfrom",
    "recvmsg",
    "recvmmsg",
    "write",
    "writev",
    "pwritev2",
    "sendto",
    "sendmsg",
    "sendmmsg",
    "sendfile64",
    "splice",
];

const LIFECYCLE: [&str; 4] =
    ["sched_process_fork", "sched_process_exec", "sched_process_exit", "inet_sock_set_state"];

const SOCKET: [&str; 2] = ["sock_send_length", "sock_recv_length"];

/// The programs that uprobes run.
pub const UPROBES: [&str; 25] = [
    "uv_save_first",
    "uv_save_second",
    "uv_save_work",
    "uv_resume",
    "uv_clear",
    "uv_take",
    "uv_call_first",
    "uv_call_second",
    "uv_end",
    "greenlet_switch",
    "greenlet_lend",
    "greenlet_end",
    "greenlet_make",
    "py_birth",
    "py_death",
    "py_enter",
    "py_write",
    "go_start",
    "go_end",
    "go_send",
    "go_write",
    "thread_waits",
    "pool_put",
    "pool_ask",
    "pool_take",
];

/// The reader is woken when one part in so many of the ring buffer is full.
const WAKE_SHARE: u32 = 8;

/// What became of a probe.
#[derive(Clone, Debug, Serialize)]
pub struct Verdict {
    /// The tracepoint or function.
    pub probe: String,
    /// Whether it is attached.
    pub attached: bool,
    /// Why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
}

fn offsets_of(options: &Options) -> Result<Offsets, Error> {
    let path = &options.btf;
    let bytes = std::fs::read(path).map_err(|source| Error::NoBtf { path: path.clone(), source })?;
    let btf = Btf::parse(&bytes).map_err(|source| Error::Btf { path: path.clone(), source })?;
    offsets::resolve(&btf).map_err(|source| Error::Btf { path: path.clone(), source })
}

/// Loads the object with the running kernel's offsets and the settings' bounds, and loads (does not attach) the
/// programs of `mode`, and those that breakpoints run.
pub fn load(options: &Options, mode: Mode) -> Result<(Ebpf, Breakpoints), Error> {
    if OBJECT.is_empty() {
        return Err(Error::NoObject);
    }
    let offsets = Plain(offsets_of(options)?);
    let watch = u32::from(options.watch_all);
    let wake = options.ring_bytes / WAKE_SHARE;
    let mut ebpf = EbpfLoader::new()
        .override_global("OFFSETS", &offsets, true)
        .override_global("WATCH_ALL", &watch, true)
        .override_global("WAKE_BYTES", &wake, true)
        .override_global("HEAD_LIMIT", &options.head_limit, true)
        .override_global("AYA_LOG_LEVEL", &options.log_level, false)
        .map_max_entries("EVENTS", options.ring_bytes)
        .map_max_entries("CONNECTIONS", options.connections)
        .map_max_entries("PROCESSES", options.processes)
        .load(OBJECT)
        .map_err(|source| Error::Load(Box::new(source)))?;
    let raw = |name: &'static str| move |error| Error::program(name, error);
    for name in LIFECYCLE.into_iter().chain(SOCKET.into_iter().filter(|_| mode == Mode::Sock)) {
        let program: &mut RawTracePoint =
            ebpf.program_mut(name).ok_or(Error::NoProgram(name))?.try_into().map_err(raw(name))?;
        program.load().map_err(raw(name))?;
    }
    if mode == Mode::Syscalls {
        for name in ["syscall_enter", "syscall_enter_recvfrom", "syscall_exit"] {
            let program: &mut TracePoint =
                ebpf.program_mut(name).ok_or(Error::NoProgram(name))?.try_into().map_err(raw(name))?;
            program.load().map_err(raw(name))?;
        }
    }
    let breakpoints = load_uprobes(&mut ebpf, options.uprobes)?;
    memory::release(OBJECT);
    Ok((ebpf, breakpoints))
}

fn load_uprobes(ebpf: &mut Ebpf, wanted: Uprobes) -> Result<Breakpoints, Error> {
    match wanted {
        Uprobes::Off => return Ok(Breakpoints::Off),
        Uprobes::Perf => {}
        Uprobes::Multi => match Multi::load(OBJECT, ebpf, &UPROBES) {
            Ok(multi) => return Ok(Breakpoints::Multi(multi)),
            Err(error) => tracing::warn!("uprobes are set one by one: {}", super::chain(&error)),
        },
    }
    for name in UPROBES {
        let wrong = |error| Error::program(name, error);
        let program: &mut UProbe =
            ebpf.program_mut(name).ok_or(Error::NoProgram(name))?.try_into().map_err(wrong)?;
        program.load().map_err(wrong)?;
    }
    Ok(Breakpoints::Perf)
}

fn raw_program<'a>(ebpf: &'a mut Ebpf, name: &'static str) -> Result<&'a mut RawTracePoint, Error> {
    let program = ebpf.program_mut(name).ok_or(Error::NoProgram(name))?;
    program.try_into().map_err(|error| Error::program(name, error))
}

/// Attaches what `load` loaded. Every probe but a single system call's is needed: without it the agent would
/// tell half the truth.
pub fn attach(ebpf: &mut Ebpf, mode: Mode) -> Result<(Vec<Verdict>, Attached), Error> {
    let (mut verdicts, mut attached) = (Vec::new(), Attached::default());
    let mut note = |probe: String, outcome: Result<(), ProgramError>| {
        let cause = outcome.err().map(|error| super::chain(&error));
        verdicts.push(Verdict { probe, attached: cause.is_none(), cause });
    };
    for name in LIFECYCLE.into_iter().chain(SOCKET.into_iter().filter(|_| mode == Mode::Sock)) {
        let program = raw_program(ebpf, name)?;
        let link = program.attach(name).and_then(|link| program.take_link(link));
        attached.add(Attachment::Raw(link.map_err(|error| Error::program(name, error))?));
        note(format!("raw_tracepoint:{name}"), Ok(()));
    }
    if mode == Mode::Syscalls {
        // Exits first: an enter without its exit would leave an entry behind.
        for prefix in ["sys_exit_", "sys_enter_"] {
            for call in CALLS {
                let program = match (prefix, call) {
                    ("sys_exit_", _) => "syscall_exit",
                    (_, "recvfrom") => "syscall_enter_recvfrom",
                    _ => "syscall_enter",
                };
                let tracepoint: &mut TracePoint = ebpf
                    .program_mut(program)
                    .ok_or(Error::NoProgram(program))?
                    .try_into()
                    .map_err(|error| Error::program(program, error))?;
                let name = format!("{prefix}{call}");
                let link = tracepoint.attach("syscalls", &name).and_then(|link| tracepoint.take_link(link));
                let outcome = link.map(|link| attached.add(Attachment::Call(link)));
                note(format!("tracepoint:syscalls:{name}"), outcome);
            }
        }
        if let Some(failed) = verdicts.iter().find(|v| !v.attached && !optional(&v.probe)) {
            let cause = failed.cause.clone().unwrap_or_default();
            return Err(Error::Attach { probe: failed.probe.clone(), cause });
        }
    }
    Ok((verdicts, attached))
}

/// Calls that no runtime needs for HTTP; some kernels are built without them.
fn optional(probe: &str) -> bool {
    ["preadv2", "pwritev2", "recvmmsg", "sendmmsg", "splice", "sendfile64"].iter().any(|c| probe.ends_with(c))
}
