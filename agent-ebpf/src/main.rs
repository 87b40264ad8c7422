//! The programs: one entry each, no logic. Socket calls come in by `socket` (raw tracepoints, after the
//! fact) or by `syscall` (enter and exit); both end in `observe`. `lifecycle` follows processes and
//! connections; `libuv`, `asyncio`, `greenlet`, `goroutine` and `wait` what runtimes do between.
#![cfg_attr(target_arch = "bpf", no_std)]
#![cfg_attr(target_arch = "bpf", no_main)]

#[cfg(target_arch = "bpf")]
mod kernel;

/// Built for the host only by tools that look at the whole workspace.
#[cfg(not(target_arch = "bpf"))]
fn main() {
    eprintln!("these are eBPF programs: `cargo xtask build` builds them for the kernel");
}

#[cfg(target_arch = "bpf")]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    // SAFETY: the verifier refuses any program in which this could be reached.
    unsafe { core::hint::unreachable_unchecked() }
}

/// The helpers that read registers and user memory are for GPL-compatible programs.
#[cfg(target_arch = "bpf")]
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
