//! What the kernel was built with.

use super::{Check, Helper, System};
use crate::{capture::Uprobes, settings::KERNEL_BTF};
use std::{fs::File, io::Read, path::Path};

/// Linux, on a processor whose registers and system calls are known.
pub(super) fn machine(system: &System<'_>) -> Check {
    let name = "machine";
    match (system.os, system.arch) {
        ("linux", "x86_64") => Check::ok(name, "Linux on x86_64"),
        ("linux", "aarch64") => Check::degraded(
            name,
            "Linux on aarch64, for which the agent is built but not tested",
            "compare its traces with what you know, and report what differs",
        ),
        ("linux", arch) => Check::fatal(
            name,
            format!("Linux on {arch}, whose registers the agent does not know"),
            "run it on x86_64 or aarch64",
        ),
        (os, _) => Check::fatal(name, format!("{os} has no eBPF"), "run it on Linux"),
    }
}

/// 5.15, or what distributions have brought of it into older ones.
pub(super) fn release(system: &System<'_>) -> Check {
    let name = "kernel";
    let cure = "run a kernel of 5.15 or later; 6.5 or later for the cheaper probes";
    let Some(release) = system.release() else {
        return Check::fatal(name, "/proc/sys/kernel/osrelease can't be read", "mount proc at /proc");
    };
    if system.version() >= (5, 15) {
        return Check::ok(name, release);
    }
    match system.kernel.helper(Helper::TaskRegisters) {
        Ok(true) => {
            Check::ok(name, format!("{release}, with what is needed of 5.15 (a distribution's addition)"))
        }
        Ok(false) => {
            Check::fatal(name, format!("{release} is older than 5.15 and lacks bpf_task_pt_regs"), cure)
        }
        Err(error) => Check::fatal(
            name,
            format!("{release} is older than 5.15, and it can't be asked what it has of it: {error}"),
            cure,
        ),
    }
}

/// The kernel's description of its types, in the file that the settings name.
pub(super) fn btf(system: &System<'_>) -> Check {
    let (name, shown) = ("btf", system.btf.display());
    let mut magic = [0; 2];
    let read = File::open(system.btf_file()).and_then(|mut file| file.read_exact(&mut magic));
    let own = system.btf == Path::new(KERNEL_BTF);
    match read {
        Ok(()) if u16::from_ne_bytes(magic) == 0xeb9f => Check::ok(name, shown.to_string()),
        Ok(()) if own => Check::fatal(name, format!("{shown} is not BTF"), "mount sysfs at /sys"),
        Ok(()) => Check::fatal(name, format!("{shown} is not BTF"), BTF_FILE),
        Err(error) if !own => Check::fatal(name, format!("{shown}: {error}"), BTF_FILE),
        Err(error) if system.path("/sys/kernel").exists() => Check::fatal(
            name,
            format!("{shown}: {error}: the kernel does not describe its types"),
            "run a kernel built with CONFIG_DEBUG_INFO_BTF=y, as those of Debian 12, Ubuntu 22.04, RHEL 9 and Amazon \
             Linux 2023 are, or name a file with this kernel's BTF by --btf",
        ),
        Err(error) => {
            Check::fatal(name, format!("{shown}: {error}: /sys is not there"), "mount sysfs at /sys")
        }
    }
}

/// What to do about a file that the user named.
const BTF_FILE: &str = "name a file with the BTF of exactly this kernel by --btf (`pahole --btf_encode_detached FILE` \
                        makes one of a vmlinux with debug information), or leave --btf out";

/// Where events wait for the agent.
pub(super) fn ring_buffer(system: &System<'_>) -> Check {
    let name = "ring buffer";
    match system.kernel.ring_buffer() {
        Ok(true) => Check::ok(name, "can be made"),
        Ok(false) => Check::fatal(name, "the kernel has no BPF ring buffer", "run a kernel of 5.8 or later"),
        Err(error) => untold(system, name, (5, 8), "BPF ring buffers", &error),
    }
}

/// Where the probes find a call's buffer.
pub(super) fn registers(system: &System<'_>) -> Check {
    let name = "registers";
    match system.kernel.helper(Helper::TaskRegisters) {
        Ok(true) => Check::ok(name, "bpf_task_pt_regs is there"),
        Ok(false) => Check::fatal(
            name,
            "the kernel has no bpf_task_pt_regs, without which a call's buffer can't be found",
            "run a kernel of 5.15 or later",
        ),
        Err(error) => untold(system, name, (5, 15), "bpf_task_pt_regs", &error),
    }
}

/// Without the right to ask, the version has to answer; the missing right is another check's matter.
fn untold(
    system: &System<'_>,
    name: &'static str,
    since: (u32, u32),
    what: &str,
    error: &std::io::Error,
) -> Check {
    let (major, minor) = since;
    let cause = format!("could not be tried ({error}); kernels have {what} since {major}.{minor}");
    if system.version() >= since {
        Check::ok(name, cause)
    } else {
        Check::fatal(name, cause, format!("run a kernel of {major}.{minor} or later"))
    }
}

/// Breakpoints in the runtimes.
pub(super) fn uprobes(system: &System<'_>, wanted: bool) -> Check {
    let name = "uprobes";
    if !wanted {
        return Check::ok(name, "not wanted (no-uprobes)");
    }
    if system.path("/sys/bus/event_source/devices/uprobe/type").exists() {
        if system.version() >= Uprobes::MULTI_SINCE {
            return Check::ok(name, "can be attached, all of a process's at a time");
        }
        if super::rights::may_probe_users(system) {
            return Check::ok(name, "can be attached, one by one");
        }
        return Check::degraded(
            name,
            "no CAP_SYS_ADMIN: kernels before 6.10 that ask for it refuse uprobes to CAP_PERFMON, and then Node.js has no \
             parents but by header and wire; /status says of each process whether its hooks are attached",
            "grant CAP_SYS_ADMIN too, or settle for less by --no-uprobes",
        );
    }
    Check::degraded(
        name,
        "the kernel has no uprobes, and then Node.js has no parents but by header and wire",
        "run a kernel built with CONFIG_UPROBE_EVENTS=y, or settle for less by --no-uprobes",
    )
}

/// Whether programs run as machine code.
pub(super) fn jit(system: &System<'_>) -> Check {
    let name = "jit";
    match system.text("/proc/sys/net/core/bpf_jit_enable").as_deref() {
        Ok("0") => Check::degraded(
            name,
            "BPF programs are interpreted, which makes every probe several times as costly",
            "sysctl -w net.core.bpf_jit_enable=1",
        ),
        Ok(_) => Check::ok(name, "BPF programs are compiled"),
        // Only the first network namespace shows it.
        Err(error) => Check::ok(name, format!("can't be told from here (net.core.bpf_jit_enable: {error})")),
    }
}
