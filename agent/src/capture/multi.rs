//! Breakpoints by `uprobe_multi` links (Linux 6.6): one link for all places of a program in a file. They take
//! CAP_BPF and CAP_PERFMON; breakpoints by perf events take CAP_SYS_ADMIN since Linux 6.17 and where that was brought
//! back, and a tenth of a second each to be detached.
//!
//! aya knows no such programs and links, so its loader's parts are put together here: the object's instructions are
//! tied to the maps that aya has made, and given to the kernel with the type of attachment that it wants to know
//! beforehand.
//!
//! In: the object and its maps. Out: [`Link`]s.

use std::{
    collections::{HashMap, HashSet},
    ffi::CString,
    io,
    os::{
        fd::{AsFd as _, AsRawFd as _, FromRawFd as _, OwnedFd, RawFd},
        unix::ffi::OsStrExt as _,
    },
    path::Path,
};

use aya::{Ebpf, maps::Map};
use aya_obj::{Function, Object};
use bytemuck::{Pod, Zeroable};

/// From the kernel's `bpf.h`: commands, the type of program, the type of attachment.
const PROG_LOAD: libc::c_long = 5;
const LINK_CREATE: libc::c_long = 28;
const PROG_TYPE_KPROBE: u32 = 2;
const TRACE_UPROBE_MULTI: u32 = 48;
/// What the verifier may say.
const LOG_BYTES: usize = 64 << 10;

/// Why there are no such programs.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The object is not what was built.
    #[error("the eBPF object cannot be read: {0}")]
    Object(String),
    /// The object lacks a program.
    #[error("the eBPF object has no program {0}")]
    NoProgram(&'static str),
    /// The kernel refused one.
    #[error("the kernel refused {name}: {source}{}", .log.trim_end())]
    Refused {
        /// The program.
        name: &'static str,
        /// What it said.
        source: io::Error,
        /// What the verifier said.
        log: String,
    },
}

/// What is attached; detached when dropped.
#[derive(Debug)]
pub struct Link(#[allow(dead_code, reason = "held, not read")] OwnedFd);

/// Programs that can be attached to many places at a time.
#[derive(Debug)]
pub struct Multi {
    programs: HashMap<&'static str, OwnedFd>,
}

/// `union bpf_attr` for `BPF_PROG_LOAD`, as far as it is used.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct ProgLoad {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
    kern_version: u32,
    prog_flags: u32,
    prog_name: [u8; 16],
    prog_ifindex: u32,
    expected_attach_type: u32,
}

/// `union bpf_attr` for `BPF_LINK_CREATE` of an `uprobe_multi` link.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct LinkCreate {
    prog_fd: u32,
    target_fd: u32,
    attach_type: u32,
    flags: u32,
    path: u64,
    offsets: u64,
    ref_ctr_offsets: u64,
    cookies: u64,
    cnt: u32,
    multi_flags: u32,
    pid: u32,
    reserved: u32,
}

impl Multi {
    /// Loads the programs `names` of `object`, which use the maps that `ebpf` holds.
    ///
    /// # Errors
    /// [`Error`]; a kernel that knows no such programs refuses them.
    pub fn load(object: &[u8], ebpf: &Ebpf, names: &[&'static str]) -> Result<Self, Error> {
        let object = relocated(object, ebpf)?;
        let mut programs = HashMap::new();
        for name in names.iter().copied() {
            let program = object.programs.get(name).ok_or(Error::NoProgram(name))?;
            let function = object.functions.get(&program.function_key()).ok_or(Error::NoProgram(name))?;
            programs.insert(name, load(name, &program.license, function)?);
        }
        Ok(Self { programs })
    }

    /// Attaches `program` to these offsets in `file`, each with what the program is told of it, for one process alone.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn attach(&self, program: &str, file: &Path, places: &[(u64, u64)], tgid: u32) -> io::Result<Link> {
        let (offsets, cookies): (Vec<u64>, Vec<u64>) = places.iter().copied().unzip();
        let unknown = || io::Error::new(io::ErrorKind::NotFound, "no such program");
        let program = self.programs.get(program).ok_or_else(unknown)?;
        let path = CString::new(file.as_os_str().as_bytes())?;
        let many = |_| io::Error::from(io::ErrorKind::InvalidInput);
        let attr = LinkCreate {
            prog_fd: program.as_raw_fd().cast_unsigned(),
            target_fd: 0,
            attach_type: TRACE_UPROBE_MULTI,
            flags: 0,
            path: path.as_ptr().expose_provenance() as u64,
            offsets: offsets.as_ptr().expose_provenance() as u64,
            ref_ctr_offsets: 0,
            cookies: cookies.as_ptr().expose_provenance() as u64,
            cnt: u32::try_from(offsets.len()).map_err(many)?,
            multi_flags: 0,
            pid: tgid,
            reserved: 0,
        };
        bpf(LINK_CREATE, &attr).map(Link)
    }
}

/// The object with its references to maps and functions resolved.
fn relocated(object: &[u8], ebpf: &Ebpf) -> Result<Object, Error> {
    let wrong = |error: &(dyn std::error::Error + 'static)| Error::Object(crate::chain::chain(error));
    let mut object = Object::parse(object).map_err(|error| Error::Object(error.to_string()))?;
    let texts: HashSet<usize> = object.functions.keys().map(|(section, _)| *section).collect();
    let maps = std::mem::take(&mut object.maps);
    let made = maps.iter().filter_map(|(name, map)| Some((name.as_str(), descriptor(ebpf.map(name)?)?, map)));
    object.relocate_maps(made, &texts).map_err(|error| wrong(&error))?;
    object.relocate_calls(&texts).map_err(|error| wrong(&error))?;
    Ok(object)
}

/// The descriptor of a map of one of the kinds that the programs use.
fn descriptor(map: &Map) -> Option<RawFd> {
    match map {
        Map::Array(data)
        | Map::PerCpuArray(data)
        | Map::HashMap(data)
        | Map::LruHashMap(data)
        | Map::RingBuf(data) => Some(data.fd().as_fd().as_raw_fd()),
        _ => None,
    }
}

fn load(name: &'static str, license: &CString, function: &Function) -> Result<OwnedFd, Error> {
    let mut attr = ProgLoad::zeroed();
    let instructions = &function.instructions;
    attr.prog_type = PROG_TYPE_KPROBE;
    attr.expected_attach_type = TRACE_UPROBE_MULTI;
    attr.insns = instructions.as_ptr().expose_provenance() as u64;
    attr.insn_cnt = u32::try_from(instructions.len()).map_err(|error| Error::Object(error.to_string()))?;
    attr.license = license.as_ptr().expose_provenance() as u64;
    for (to, from) in attr.prog_name.iter_mut().take(15).zip(name.bytes()) {
        *to = from;
    }
    let first = match bpf(PROG_LOAD, &attr) {
        Ok(program) => return Ok(program),
        Err(error) => error,
    };
    // Asked for from the start, what the verifier says would cost time; and too little room for it is an error.
    let mut log = vec![0u8; LOG_BYTES];
    attr.log_level = 1;
    attr.log_size = u32::try_from(log.len()).unwrap_or_default();
    attr.log_buf = log.as_mut_ptr().expose_provenance() as u64;
    match bpf(PROG_LOAD, &attr) {
        Ok(program) => Ok(program),
        Err(_) => {
            let said = String::from_utf8_lossy(log.split(|byte| *byte == 0).next().unwrap_or_default());
            Err(Error::Refused { name, source: first, log: format!("\n{said}") })
        }
    }
}

/// `bpf(2)` for commands that make a descriptor.
fn bpf<T: Pod>(command: libc::c_long, attr: &T) -> io::Result<OwnedFd> {
    let start: *const T = attr;
    // SAFETY: `attr` is as long as is said, without padding, and lives on; so does what the addresses in it name, which
    // the callers hold. The kernel writes nothing but the log, into memory that is the caller's alone.
    #[allow(unsafe_code)]
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, start, size_of::<T>()) };
    match RawFd::try_from(result) {
        Ok(descriptor) if descriptor >= 0 => {
            // SAFETY: the kernel has just made it, and nobody else knows of it.
            #[allow(unsafe_code)]
            Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
        }
        _ => Err(io::Error::last_os_error()),
    }
}
