//! Registers and system call numbers of the machine: the only place that knows them.

use crate::kernel::read;

/// How a system call names its user memory.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Shape {
    /// Not a call this program can decode.
    Unknown = 0,
    /// `(fd, buffer, length)`.
    Flat = 1,
    /// `(fd, iovec, count)`.
    Vector = 2,
    /// `(fd, msghdr)`.
    Message = 3,
    /// `(fd, mmsghdr, count)`.
    Messages = 4,
    /// Moves bytes inside the kernel: there is no user memory.
    Opaque = 5,
}

/// What a system call number stands for.
#[derive(Clone, Copy)]
pub struct Form {
    pub shape: Shape,
    /// The call can send, the call can receive.
    pub sends: bool,
    pub receives: bool,
}

const fn form(shape: Shape, sends: bool, receives: bool) -> Form {
    Form { shape, sends, receives }
}

#[cfg(machine = "x86_64")]
mod machine {
    pub const READ: u64 = 0;
    pub const WRITE: u64 = 1;
    pub const READV: u64 = 19;
    pub const WRITEV: u64 = 20;
    pub const SENDFILE: u64 = 40;
    pub const SENDTO: u64 = 44;
    pub const RECVFROM: u64 = 45;
    pub const SENDMSG: u64 = 46;
    pub const RECVMSG: u64 = 47;
    pub const SPLICE: u64 = 275;
    pub const RECVMMSG: u64 = 299;
    pub const SENDMMSG: u64 = 307;
    pub const PREADV2: u64 = 327;
    pub const PWRITEV2: u64 = 328;

    // Indices into struct pt_regs, in words.
    pub const NUMBER: usize = 15;
    pub const ARGUMENTS: [usize; 4] = [14, 13, 12, 7]; // di si dx r10
    /// Function arguments at a function's entry, by the System V ABI.
    pub const FUNCTION: [usize; 2] = [14, 13]; // di si
    /// A function whose result is an object finds its address before the other arguments.
    pub const BEHIND_RESULT: usize = 1;
    /// The same by Go's own ABI, and the register that holds the running goroutine.
    pub const GO_FUNCTION: [usize; 2] = [10, 5]; // ax bx
    pub const GOROUTINE: usize = 1; // r14
    const CS: usize = 17;
    const USER32_CS: u64 = 0x23;
    /// TS_COMPAT in thread_info.status: the call came by a 32-bit entry.
    const COMPAT: u32 = 2;

    pub fn is_32_bit(registers: *const u64, status: u32) -> bool {
        // SAFETY: `registers` is a pt_regs of the running kernel, checked by the caller for null.
        let cs = unsafe { core::ptr::read_volatile(registers.add(CS)) };
        cs & 0xffff == USER32_CS || status & COMPAT != 0
    }
}

#[cfg(machine = "aarch64")]
mod machine {
    pub const READ: u64 = 63;
    pub const WRITE: u64 = 64;
    pub const READV: u64 = 65;
    pub const WRITEV: u64 = 66;
    pub const SENDFILE: u64 = 71;
    pub const SPLICE: u64 = 76;
    pub const SENDTO: u64 = 206;
    pub const RECVFROM: u64 = 207;
    pub const SENDMSG: u64 = 211;
    pub const RECVMSG: u64 = 212;
    pub const RECVMMSG: u64 = 243;
    pub const SENDMMSG: u64 = 269;
    pub const PREADV2: u64 = 286;
    pub const PWRITEV2: u64 = 287;

    pub const NUMBER: usize = 35;
    pub const ARGUMENTS: [usize; 4] = [34, 1, 2, 3]; // orig_x0 x1 x2 x3
    pub const FUNCTION: [usize; 2] = [0, 1]; // x0 x1
    /// A function whose result is an object finds its address in a register of its own (x8).
    pub const BEHIND_RESULT: usize = 0;
    pub const GO_FUNCTION: [usize; 2] = [0, 1]; // x0 x1
    pub const GOROUTINE: usize = 28; // x28
    const PSTATE: usize = 33;
    const MODE32: u64 = 0x10;

    pub fn is_32_bit(registers: *const u64, _status: u32) -> bool {
        // SAFETY: as above.
        unsafe { core::ptr::read_volatile(registers.add(PSTATE)) & MODE32 != 0 }
    }
}

pub use machine::{BEHIND_RESULT, FUNCTION, GO_FUNCTION, GOROUTINE, is_32_bit};

/// The form of system call `number`.
#[inline(always)]
pub fn form_of(number: u64) -> Form {
    use machine::*;
    match number {
        READ | RECVFROM => form(Shape::Flat, false, true),
        WRITE | SENDTO => form(Shape::Flat, true, false),
        READV | PREADV2 => form(Shape::Vector, false, true),
        WRITEV | PWRITEV2 => form(Shape::Vector, true, false),
        RECVMSG => form(Shape::Message, false, true),
        SENDMSG => form(Shape::Message, true, false),
        RECVMMSG => form(Shape::Messages, false, true),
        SENDMMSG => form(Shape::Messages, true, false),
        SENDFILE => form(Shape::Opaque, true, false),
        SPLICE => form(Shape::Opaque, true, true),
        _ => form(Shape::Unknown, false, false),
    }
}

/// The argument that holds the descriptor of the socket written to; splice's is its third.
#[inline(always)]
pub fn sending_descriptor(number: u64) -> usize {
    if number == machine::SPLICE { 2 } else { 0 }
}

/// Whether `number` is recvmsg, whose flags are its third argument.
#[inline(always)]
pub fn is_recvmsg(number: u64) -> bool {
    number == machine::RECVMSG
}

/// The number and first three arguments of a system call, from saved registers.
#[derive(Clone, Copy)]
pub struct Registers {
    pub number: u64,
    pub arguments: [u64; 3],
}

/// The registers that the current task saved when it entered the kernel; `None` for kernel threads, io
/// workers (theirs are copies) and 32-bit calls (whose structures have other layouts).
#[inline(always)]
fn saved() -> Option<*const u64> {
    use aya_ebpf::helpers::generated as helper;
    const PF_IO_WORKER: u32 = 0x10;
    const PF_KTHREAD: u32 = 0x0020_0000;
    // SAFETY: both helpers take and give pointers that the verifier knows.
    let (task, registers) = unsafe {
        let task = helper::bpf_get_current_task_btf();
        (task, helper::bpf_task_pt_regs(task.cast()) as *const u64)
    };
    if registers.is_null() {
        return None;
    }
    let flags: u32 = read::kernel(task as u64 + read::offset!(task_flags));
    let status: u32 = read::kernel(task as u64 + read::offset!(task_status));
    (flags & (PF_IO_WORKER | PF_KTHREAD) == 0 && !is_32_bit(registers, status)).then_some(registers)
}

/// The number and arguments of the system call that the current task is in.
#[inline(always)]
pub fn saved_registers() -> Option<Registers> {
    let registers = saved()?;
    // SAFETY: a pt_regs of the running kernel; the loads are checked by the verifier.
    let at = |index: usize| unsafe { core::ptr::read_volatile(registers.add(index)) };
    Some(Registers {
        number: at(machine::NUMBER) & 0xffff_ffff,
        arguments: [at(machine::ARGUMENTS[0]), at(machine::ARGUMENTS[1]), at(machine::ARGUMENTS[2])],
    })
}

/// What the register that is a Go program's running goroutine held when the current task entered the kernel.
#[inline(always)]
pub fn saved_goroutine() -> Option<u64> {
    // SAFETY: as above.
    saved().map(|registers| unsafe { core::ptr::read_volatile(registers.add(GOROUTINE)) })
}
