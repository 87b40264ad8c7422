//! What the agent may do.

use super::{Check, Helper, System};

const CAP_DAC_READ_SEARCH: (u32, &str) = (2, "CAP_DAC_READ_SEARCH");
const CAP_SYS_PTRACE: (u32, &str) = (19, "CAP_SYS_PTRACE");
const CAP_SYS_ADMIN: (u32, &str) = (21, "CAP_SYS_ADMIN");
const CAP_PERFMON: (u32, &str) = (38, "CAP_PERFMON");
const CAP_BPF: (u32, &str) = (39, "CAP_BPF");

const GIVE: &str = "run it as root, or `setcap cap_bpf,cap_perfmon,cap_sys_ptrace,cap_dac_read_search+ep` on the binary, \
                    or in Kubernetes securityContext.capabilities.add: [BPF, PERFMON, SYS_PTRACE, DAC_READ_SEARCH]";

/// The capabilities in effect; `None` where they can't be told.
fn effective(system: &System<'_>) -> Option<u64> {
    u64::from_str_radix(&system.status("CapEff")?, 16).ok()
}

/// The names of those that `effective` lacks.
fn lacking(effective: u64, of: &[(u32, &'static str)]) -> Vec<&'static str> {
    of.iter().filter(|(bit, _)| effective & (1 << bit) == 0).map(|(_, name)| *name).collect()
}

/// CAP_BPF and CAP_PERFMON to load and attach; the two others to look into processes of other users.
pub(super) fn capabilities(system: &System<'_>) -> Check {
    let name = "capabilities";
    let Some(effective) = effective(system) else {
        return Check::fatal(name, "/proc/self/status can't be read", "mount proc at /proc");
    };
    let may_all = lacking(effective, &[CAP_SYS_ADMIN]).is_empty();
    let load = lacking(effective, &[CAP_BPF, CAP_PERFMON]);
    if !may_all && !load.is_empty() {
        return Check::fatal(name, format!("no {}: BPF programs can't be loaded", load.join(", no ")), GIVE);
    }
    let look = lacking(effective, &[CAP_SYS_PTRACE, CAP_DAC_READ_SEARCH]);
    if look.is_empty() {
        return Check::ok(name, "all that are needed");
    }
    let cause = format!(
        "no {}: executables and environments of other users' processes can't be read, so they are not found by --exe \
         and their names are guesses",
        look.join(", no ")
    );
    Check::degraded(name, cause, GIVE)
}

/// Whether breakpoints may be set: some kernels ask for more than CAP_PERFMON.
pub(super) fn may_probe_users(system: &System<'_>) -> bool {
    effective(system).is_some_and(|effective| lacking(effective, &[CAP_SYS_ADMIN]).is_empty())
}

/// The system call itself.
pub(super) fn bpf(system: &System<'_>) -> Check {
    let name = "bpf";
    let Err(error) = system.kernel.ring_buffer() else { return Check::ok(name, "the system call is there") };
    match error.raw_os_error() {
        Some(ENOSYS) => Check::fatal(
            name,
            "there is no bpf() system call: the kernel was built without it, or a seccomp filter hides it",
            "run a kernel built with CONFIG_BPF_SYSCALL=y; in a container, allow bpf and perf_event_open by its seccomp profile",
        ),
        Some(EPERM | EACCES) => {
            let (cause, cure) = refusal(system);
            Check::fatal(name, format!("bpf() is refused ({error}): {cause}"), cure)
        }
        _ => Check::fatal(
            name,
            format!("bpf() failed: {error}"),
            "look for the cause in the kernel's log (dmesg)",
        ),
    }
}

const EPERM: i32 = 1;
const EACCES: i32 = 13;
const ENOSYS: i32 = 38;

/// The likeliest cause of a refusal and its cure.
fn refusal(system: &System<'_>) -> (&'static str, &'static str) {
    let effective = effective(system).unwrap_or_default();
    let may = lacking(effective, &[CAP_SYS_ADMIN]).is_empty() || lacking(effective, &[CAP_BPF]).is_empty();
    if !may {
        return ("the capability is missing", GIVE);
    }
    if system.first_namespace("user") == Some(false) {
        return (
            "the agent is in a user namespace (a rootless container?), where capabilities do not count",
            "run it as the machine's own root: not rootless, without user-namespace remapping, hostUsers: true in Kubernetes",
        );
    }
    if system.version() < (5, 11) && locked_memory(system).is_some() {
        return (
            "too little memory may be locked",
            "ulimit -l unlimited, or LimitMEMLOCK=infinity in systemd",
        );
    }
    if system.status("Seccomp").is_some_and(|mode| mode != "0") {
        return (
            "the capabilities are there, so a seccomp filter refuses it",
            "allow bpf and perf_event_open by the container's seccomp profile (seccompProfile: Unconfined in Kubernetes)",
        );
    }
    (
        "the capabilities are there, so a security module (SELinux, AppArmor) refuses it",
        "look for the refusal in the audit log, and allow the agent bpf and perf_event_open by the module's policy",
    )
}

/// Lockdown for confidentiality keeps BPF from reading kernel memory; for integrity it does not.
pub(super) fn lockdown(system: &System<'_>) -> Check {
    let name = "lockdown";
    let shown = system.text("/sys/kernel/security/lockdown").ok();
    let mode =
        shown.as_deref().and_then(|text| text.split_once('[')?.1.split_once(']')).map(|(mode, _)| mode);
    let confidential = match mode {
        Some(mode) => mode == "confidentiality",
        // Where securityfs is not mounted, what is left of BPF tells.
        None => matches!(system.kernel.helper(Helper::ReadKernel), Ok(false)),
    };
    if confidential {
        return Check::fatal(
            name,
            "confidentiality: BPF programs may not read kernel memory",
            "boot with lockdown=integrity, or without lockdown; Secure Boot alone asks for integrity, which is enough",
        );
    }
    match mode {
        Some(mode) => Check::ok(name, format!("{mode}, which is no hindrance")),
        None => Check::ok(name, "no hindrance was found"),
    }
}

/// The limit of locked memory in bytes; `None` if there is none.
fn locked_memory(system: &System<'_>) -> Option<u64> {
    let limits = system.text("/proc/self/limits").ok()?;
    let line = limits.lines().find_map(|line| line.strip_prefix("Max locked memory"))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

/// Before 5.11 maps were counted as locked memory.
pub(super) fn memlock(system: &System<'_>) -> Check {
    let name = "memlock";
    if system.version() >= (5, 11) {
        return Check::ok(name, "no matter since kernel 5.11");
    }
    match locked_memory(system) {
        None => Check::ok(name, "unlimited"),
        Some(limit) if limit >= 256 << 20 => Check::ok(name, format!("{} MiB", limit >> 20)),
        Some(limit) => Check::degraded(
            name,
            format!(
                "{} KiB of memory may be locked; before kernel 5.11 BPF maps count as such and may not fit",
                limit >> 10
            ),
            "ulimit -l unlimited, or LimitMEMLOCK=infinity in systemd",
        ),
    }
}

/// Other processes are found by /proc, which shows one namespace.
pub(super) fn pid_namespace(system: &System<'_>) -> Check {
    let name = "pid namespace";
    match system.first_namespace("pid") {
        Some(true) => Check::ok(name, "the machine's own"),
        Some(false) => Check::degraded(
            name,
            "a container's own: processes outside of it are not found, and process ids differ from the kernel's",
            "to trace other containers, share the machine's: hostPID: true in Kubernetes, --pid=host for docker and podman",
        ),
        None => Check::ok(name, "can't be told (/proc/self/ns/pid)"),
    }
}
