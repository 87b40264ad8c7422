//! Reads of kernel and user memory. A read that fails gives zeroes, which no caller takes for a finding.

use core::mem::MaybeUninit;

use aya_ebpf::helpers::generated as helper;
use sockspan_ebpf::Offsets;

/// Where the running kernel keeps its fields: the agent sets it before it loads the programs.
#[unsafe(no_mangle)]
pub static OFFSETS: Offsets = zero();

const fn zero() -> Offsets {
    // SAFETY: Offsets is made of u32 alone.
    unsafe { MaybeUninit::<Offsets>::zeroed().assume_init() }
}

/// The offset of a field, as u64. Volatile: the value is patched in after compilation.
macro_rules! offset {
    ($field:ident) => {
        $crate::kernel::read::load(&$crate::kernel::read::OFFSETS.$field)
    };
}
pub(crate) use offset;

/// One of [`OFFSETS`], read when the program runs.
#[inline(always)]
pub fn load(offset: &u32) -> u64 {
    // SAFETY: a reference is valid to read.
    u64::from(unsafe { core::ptr::read_volatile(offset) })
}

/// A value of kernel memory.
#[inline(always)]
pub fn kernel<T: Copy>(address: u64) -> T {
    let mut value = MaybeUninit::<T>::uninit();
    // SAFETY: the helper writes all size_of::<T>() bytes, zeroes when it fails; callers read integers only, for
    // which any bytes are a value.
    unsafe {
        helper::bpf_probe_read_kernel(value.as_mut_ptr().cast(), size_of::<T>() as u32, address as *const _);
        value.assume_init()
    }
}

/// A value of the current task's user memory.
#[inline(always)]
pub fn user<T: Copy>(address: u64) -> Option<T> {
    let mut value = MaybeUninit::<T>::uninit();
    // SAFETY: as above.
    unsafe {
        let failed = helper::bpf_probe_read_user(
            value.as_mut_ptr().cast(),
            size_of::<T>() as u32,
            address as *const _,
        );
        (failed == 0).then(|| value.assume_init())
    }
}

/// A pointer in the current task's user memory; 0 where it cannot be read, which is what the helper then writes. Without a
/// branch: the verifier would follow both ways of each.
#[inline(always)]
pub fn pointer(address: u64) -> u64 {
    let mut value = 0u64;
    // SAFETY: as above.
    unsafe { helper::bpf_probe_read_user((&raw mut value).cast(), 8, address as *const _) };
    value
}

/// The first `count` (at most eight) bytes at `address`, the first one lowest, zero above.
#[inline(always)]
pub fn user_bytes(address: u64, count: u32) -> Option<u64> {
    let mut value = 0u64;
    if count > 8 {
        return None;
    }
    // SAFETY: at most eight bytes are written.
    unsafe {
        let failed = helper::bpf_probe_read_user((&raw mut value).cast(), count, address as *const _);
        (failed == 0).then_some(value)
    }
}

/// The `struct sock` behind the current task's descriptor `fd`; `None` where it is anything but a socket.
#[inline(always)]
pub fn descriptor(fd: u64) -> Option<u64> {
    const S_IFMT: u16 = 0o170_000;
    const S_IFSOCK: u16 = 0o140_000;
    // SAFETY: takes nothing, gives the current task.
    let task = unsafe { helper::bpf_get_current_task() };
    let files: u64 = kernel(task + offset!(task_files));
    let table: u64 = kernel(files + offset!(files_fdt));
    let fd = fd & 0xffff_ffff;
    if fd >= u64::from(kernel::<u32>(table + offset!(fdtable_max_fds))) {
        return None;
    }
    let array: u64 = kernel(table + offset!(fdtable_fd));
    let file: u64 = kernel(array + fd * 8);
    if file == 0 {
        return None;
    }
    let inode: u64 = kernel(file + offset!(file_inode));
    let mode: u16 = kernel(inode + offset!(inode_mode));
    if mode & S_IFMT != S_IFSOCK {
        return None;
    }
    let socket: u64 = kernel(file + offset!(file_private_data));
    let sock: u64 = kernel(socket + offset!(socket_sk));
    (sock != 0).then_some(sock)
}

/// The socket's inode number; 0 for a socket that no file holds.
#[inline(always)]
pub fn generation(sock: u64) -> u64 {
    let socket: u64 = kernel(sock + offset!(sock_socket));
    if socket == 0 { 0 } else { kernel(socket + offset!(socket_inode) + offset!(inode_ino)) }
}

/// Nanoseconds of CLOCK_MONOTONIC.
#[inline(always)]
pub fn now() -> u64 {
    // SAFETY: takes nothing.
    unsafe { helper::bpf_ktime_get_ns() }
}

/// `(tgid, tid)` of the current task.
#[inline(always)]
pub fn ids() -> (u32, u32) {
    let both = aya_ebpf::helpers::bpf_get_current_pid_tgid();
    ((both >> 32) as u32, both as u32)
}
