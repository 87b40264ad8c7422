//! Machines that can trace and machines that cannot, each with its cure.

use super::*;
use crate::settings::KERNEL_BTF;
use std::{fs, io, os::unix::fs::symlink, path::Path};
use tempfile::TempDir;

/// A kernel that answers as it is told.
struct Fake {
    ring_buffer: Result<bool, i32>,
    registers: Result<bool, i32>,
    read_kernel: Result<bool, i32>,
    /// What mounting does: an error, or tracefs with sock tracepoints appears.
    mount: Result<(), i32>,
}

impl Default for Fake {
    fn default() -> Self {
        Self { ring_buffer: Ok(true), registers: Ok(true), read_kernel: Ok(true), mount: Err(1) }
    }
}

impl Kernel for Fake {
    fn ring_buffer(&self) -> io::Result<bool> {
        self.ring_buffer.map_err(io::Error::from_raw_os_error)
    }
    fn helper(&self, helper: Helper) -> io::Result<bool> {
        let answer = match helper {
            Helper::TaskRegisters => self.registers,
            Helper::ReadKernel => self.read_kernel,
        };
        answer.map_err(io::Error::from_raw_os_error)
    }
    fn mount_tracefs(&self, path: &Path) -> io::Result<()> {
        self.mount.map_err(io::Error::from_raw_os_error)?;
        tracepoints(path, &["sock", "syscalls", "sched"]);
        Ok(())
    }
}

fn tracepoints(tracefs: &Path, groups: &[&str]) {
    let calls = ["read", "readv", "recvfrom", "recvmsg", "write", "writev", "sendto", "sendmsg"];
    let calls = calls
        .iter()
        .flat_map(|call| [format!("syscalls/sys_enter_{call}"), format!("syscalls/sys_exit_{call}")]);
    let others = ["sched/sched_process_fork", "sched/sched_process_exec", "sched/sched_process_exit"];
    let socks = ["sock/sock_send_length", "sock/sock_recv_length", "sock/inet_sock_set_state"];
    let all = calls.chain(others.into_iter().chain(socks).map(str::to_owned));
    for event in all.filter(|event| groups.contains(&event.split_once('/').unwrap().0)) {
        let path = tracefs.join("events").join(event);
        fs::create_dir_all(&path).unwrap();
        fs::write(path.join("id"), "1\n").unwrap();
    }
}

/// A machine on which all is well; each test breaks something.
struct Machine {
    root: TempDir,
    kernel: Fake,
    arch: &'static str,
}

impl Machine {
    fn new() -> Self {
        let machine = Self { root: TempDir::new().unwrap(), kernel: Fake::default(), arch: "x86_64" };
        machine.write("proc/sys/kernel/osrelease", "6.8.0-45-generic\n");
        machine.write("proc/sys/net/core/bpf_jit_enable", "1\n");
        machine.write("proc/self/limits", "Limit  Soft Limit  Hard Limit  Units\nMax locked memory         8388608              8388608              bytes\n");
        machine.write("sys/kernel/security/lockdown", "none [integrity] confidentiality\n");
        machine.write("sys/bus/event_source/devices/uprobe/type", "9\n");
        machine.write("sys/kernel/btf/vmlinux", "");
        fs::write(machine.path("sys/kernel/btf/vmlinux"), 0xeb9f_u16.to_ne_bytes()).unwrap();
        machine.capabilities("000001ffffffffff");
        machine.namespaces("4026531836", "4026531837");
        tracepoints(&machine.path("sys/kernel/tracing"), &["sock", "syscalls", "sched"]);
        machine
    }
    fn path(&self, path: &str) -> std::path::PathBuf {
        self.root.path().join(path)
    }
    fn write(&self, path: &str, text: &str) {
        fs::create_dir_all(self.path(path).parent().unwrap()).unwrap();
        fs::write(self.path(path), text).unwrap();
    }
    fn remove(&self, path: &str) {
        let path = self.path(path);
        if path.is_dir() { fs::remove_dir_all(path).unwrap() } else { fs::remove_file(path).unwrap() }
    }
    fn capabilities(&self, effective: &str) {
        self.write(
            "proc/self/status",
            &format!("Name:\tsockspan\nCapPrm:\t0\nCapEff:\t{effective}\nSeccomp:\t0\n"),
        );
    }
    fn namespaces(&self, pid: &str, user: &str) {
        let _ = fs::remove_dir_all(self.path("proc/self/ns"));
        fs::create_dir_all(self.path("proc/self/ns")).unwrap();
        symlink(format!("pid:[{pid}]"), self.path("proc/self/ns/pid")).unwrap();
        symlink(format!("user:[{user}]"), self.path("proc/self/ns/user")).unwrap();
    }
    fn run(&self, probes: Probes, uprobes: bool, mount: bool) -> Report {
        run(&self.system(KERNEL_BTF), Options { probes, uprobes, mount })
    }
    fn system(&self, btf: &str) -> System<'_> {
        let root = self.root.path().to_owned();
        System { root, btf: btf.into(), os: "linux", arch: self.arch, kernel: &self.kernel }
    }
    fn report(&self) -> Report {
        self.run(Probes::Auto, true, false)
    }
    fn check(&self, name: &str) -> Check {
        find(&self.report(), name)
    }
}

fn find(report: &Report, name: &str) -> Check {
    report.checks.iter().find(|check| check.name == name).unwrap().clone()
}

#[track_caller]
fn assert_check(check: &Check, verdict: Verdict, cause: &str, cure: &str) {
    assert_eq!(check.verdict, verdict, "{check:?}");
    assert!(check.cause.contains(cause), "{check:?}");
    assert!(check.cure.as_deref().unwrap_or_default().contains(cure), "{check:?}");
    assert_eq!(check.cure.is_some(), verdict != Verdict::Ok, "{check:?}");
}

#[test]
fn where_all_is_well_nothing_is_said_to_be_wrong() {
    let report = Machine::new().report();
    assert_eq!(report.verdict, Verdict::Ok, "{report}");
    assert_eq!(probes(&report).way, Some(Way::Sock));
    assert!(report.to_string().ends_with("\nAll that is needed is there.\n"), "{report}");
}

#[test]
fn processors() {
    let mut machine = Machine::new();
    machine.arch = "aarch64";
    assert_check(&machine.check("machine"), Verdict::Degraded, "not tested", "compare");
    machine.arch = "riscv64";
    assert_check(&machine.check("machine"), Verdict::Fatal, "Linux on riscv64", "x86_64 or aarch64");
}

#[test]
fn old_kernels_are_fatal_unless_they_have_what_is_needed() {
    let mut machine = Machine::new();
    machine.write("proc/sys/kernel/osrelease", "5.14.0-503.el9.x86_64\n");
    assert_check(
        &machine.check("kernel"),
        Verdict::Ok,
        "5.14.0-503.el9.x86_64, with what is needed of 5.15",
        "",
    );
    machine.kernel.registers = Ok(false);
    assert_check(
        &machine.check("kernel"),
        Verdict::Fatal,
        "older than 5.15",
        "run a kernel of 5.15 or later",
    );
    assert_check(&machine.check("registers"), Verdict::Fatal, "no bpf_task_pt_regs", "5.15");
    machine.write("proc/sys/kernel/osrelease", "5.4.0-150-generic\n");
    machine.kernel.ring_buffer = Ok(false);
    assert_check(&machine.check("ring buffer"), Verdict::Fatal, "no BPF ring buffer", "5.8 or later");
}

#[test]
fn without_btf_the_configuration_is_named() {
    let machine = Machine::new();
    machine.remove("sys/kernel/btf/vmlinux");
    let check = machine.check("btf");
    assert_check(&check, Verdict::Fatal, "/sys/kernel/btf/vmlinux: No such file", "CONFIG_DEBUG_INFO_BTF=y");
    machine.write("sys/kernel/btf/vmlinux", "text");
    assert_check(&machine.check("btf"), Verdict::Fatal, "is not BTF", "mount sysfs");
    machine.remove("sys");
    assert_check(&machine.check("btf"), Verdict::Fatal, "/sys is not there", "mount sysfs at /sys");
}

#[test]
fn btf_can_be_in_another_file() {
    let machine = Machine::new();
    machine.remove("sys/kernel/btf/vmlinux");
    let check = |path: &str| kernel::btf(&machine.system(path));
    assert_check(&check("/boot/k.btf"), Verdict::Fatal, "/boot/k.btf: No such file", "by --btf (`pahole");
    machine.write("boot/k.btf", "\x7fELF");
    assert_check(&check("/boot/k.btf"), Verdict::Fatal, "/boot/k.btf is not BTF", "of exactly this kernel");
    fs::write(machine.path("boot/k.btf"), 0xeb9f_u16.to_ne_bytes()).unwrap();
    assert_check(&check("/boot/k.btf"), Verdict::Ok, "/boot/k.btf", "");
    // What is relative is so to the working directory, not to the machine's root.
    assert_check(&check("boot/k.btf"), Verdict::Fatal, "boot/k.btf: No such file", "by --btf");
}

#[test]
fn missing_capabilities_are_named_with_all_ways_to_give_them() {
    let machine = Machine::new();
    machine.capabilities("0000000000000000");
    let check = machine.check("capabilities");
    assert_check(
        &check,
        Verdict::Fatal,
        "no CAP_BPF, no CAP_PERFMON: BPF programs can't be loaded",
        "run it as root",
    );
    assert!(check.cure.unwrap().contains("[BPF, PERFMON, SYS_PTRACE, DAC_READ_SEARCH]"));
    machine.capabilities("0000008000000000");
    assert_check(&machine.check("capabilities"), Verdict::Fatal, "no CAP_PERFMON:", "setcap");
    machine.capabilities("000000c000000000");
    let cause = "no CAP_SYS_PTRACE, no CAP_DAC_READ_SEARCH: executables and environments of other users'";
    assert_check(&machine.check("capabilities"), Verdict::Degraded, cause, "setcap");
    machine.capabilities("000000c000080004");
    assert_check(&machine.check("capabilities"), Verdict::Ok, "all that are needed", "");
    // CAP_SYS_ADMIN stands for CAP_BPF and CAP_PERFMON, as the kernel has it.
    machine.capabilities("0000000000280004");
    assert_check(&machine.check("capabilities"), Verdict::Ok, "all that are needed", "");
}

#[test]
fn a_refused_system_call_is_explained_by_what_is_most_likely() {
    let mut machine = Machine::new();
    machine.kernel.ring_buffer = Err(38);
    assert_check(
        &machine.check("bpf"),
        Verdict::Fatal,
        "there is no bpf() system call",
        "CONFIG_BPF_SYSCALL=y",
    );
    machine.kernel.ring_buffer = Err(1);
    machine.capabilities("0000000000000000");
    assert_check(&machine.check("bpf"), Verdict::Fatal, "the capability is missing", "run it as root");
    machine.capabilities("000001ffffffffff");
    assert_check(&machine.check("bpf"), Verdict::Fatal, "so a security module", "audit log");
    machine.write("proc/self/status", "CapEff:\t000001ffffffffff\nSeccomp:\t2\n");
    assert_check(&machine.check("bpf"), Verdict::Fatal, "so a seccomp filter", "seccompProfile: Unconfined");
    machine.namespaces("4026531836", "4026532999");
    assert_check(&machine.check("bpf"), Verdict::Fatal, "in a user namespace", "hostUsers: true");
    machine.kernel.ring_buffer = Err(12);
    assert_check(&machine.check("bpf"), Verdict::Fatal, "bpf() failed: Cannot allocate memory", "dmesg");
    assert_check(&machine.check("ring buffer"), Verdict::Ok, "could not be tried", "");
}

#[test]
fn lockdown_is_fatal_only_for_confidentiality() {
    let mut machine = Machine::new();
    assert_check(&machine.check("lockdown"), Verdict::Ok, "integrity", "");
    machine.write("sys/kernel/security/lockdown", "none integrity [confidentiality]\n");
    assert_check(&machine.check("lockdown"), Verdict::Fatal, "confidentiality", "lockdown=integrity");
    machine.remove("sys/kernel/security/lockdown");
    assert_check(&machine.check("lockdown"), Verdict::Ok, "no hindrance", "");
    machine.kernel.read_kernel = Ok(false);
    assert_check(&machine.check("lockdown"), Verdict::Fatal, "confidentiality", "lockdown=integrity");
}

#[test]
fn tracefs_is_mounted_when_that_is_wanted_and_allowed() {
    let mut machine = Machine::new();
    machine.remove("sys/kernel/tracing");
    machine.kernel.mount = Ok(());
    let before = machine.run(Probes::Syscalls, true, false);
    assert_check(
        &find(&before, "tracefs"),
        Verdict::Fatal,
        "is not mounted",
        "mount -t tracefs nodev /sys/kernel/tracing",
    );
    let after = machine.run(Probes::Syscalls, true, true);
    assert_check(&find(&after, "tracefs"), Verdict::Ok, "mounted just now", "");
    assert_eq!(after.probes.way, Some(Way::Syscalls), "{after}");
}

#[test]
fn tracefs_that_may_not_be_mounted_matters_to_the_syscalls_way_only() {
    let machine = Machine::new();
    machine.remove("sys/kernel/tracing");
    let mut types = 0xeb9f_u16.to_ne_bytes().to_vec();
    let names = ["sock_send_length", "sock_recv_length", "inet_sock_set_state"];
    let names = names.into_iter().chain(["sched_process_fork", "sched_process_exec", "sched_process_exit"]);
    types.extend(names.flat_map(|name| format!("\0btf_trace_{name}\0").into_bytes()));
    fs::write(machine.path("sys/kernel/btf/vmlinux"), types).unwrap();
    let report = machine.run(Probes::Auto, true, true);
    assert_eq!((report.verdict, report.probes.way), (Verdict::Ok, Some(Way::Sock)), "{report}");
    assert_check(&find(&report, "tracefs"), Verdict::Ok, "the sock probes do without it", "");
    let report = machine.run(Probes::Syscalls, true, true);
    let cause = "is not mounted, and the agent may not mount it (Operation not permitted";
    assert_check(&find(&report, "tracefs"), Verdict::Fatal, cause, "in a container");
    assert_check(&find(&report, "probes"), Verdict::Fatal, "need tracefs, which can't be read", "tracefs");
}

#[test]
fn debugfs_shows_tracefs_too() {
    let machine = Machine::new();
    machine.remove("sys/kernel/tracing");
    tracepoints(&machine.path("sys/kernel/debug/tracing"), &["sock", "syscalls", "sched"]);
    assert_check(&machine.check("tracefs"), Verdict::Ok, "sys/kernel/debug/tracing/events", "");
}

#[test]
fn the_way_follows_from_kernel_tracepoints_and_wish() {
    use Probes::{Auto, Sock, Syscalls};
    let sock_only = ["sock", "sched"].as_slice();
    let calls_only = ["syscalls", "sched"].as_slice();
    let both = ["sock", "syscalls", "sched"].as_slice();
    let table = [
        (Auto, "6.8", both, Some(Way::Sock), Verdict::Ok, "cost other processes next to nothing"),
        (Auto, "6.4", both, Some(Way::Syscalls), Verdict::Ok, "kernel 6.4 does not tell of sendfile"),
        (Auto, "6.1", calls_only, Some(Way::Syscalls), Verdict::Ok, "no tracepoint sock:sock_send_length"),
        (Auto, "6.4", sock_only, Some(Way::Sock), Verdict::Degraded, "no tracepoint syscalls:sys_enter_read"),
        (Auto, "6.1", &["sched"], None, Verdict::Fatal, "no way to read sockets"),
        (Sock, "6.8", both, Some(Way::Sock), Verdict::Ok, "asked for by --probes sock"),
        (Sock, "6.4", both, Some(Way::Sock), Verdict::Degraded, "does not tell of sendfile"),
        (
            Sock,
            "6.1",
            calls_only,
            None,
            Verdict::Fatal,
            "--probes sock is asked for, and the kernel has no tracepoint sock:",
        ),
        (Syscalls, "6.1", calls_only, Some(Way::Syscalls), Verdict::Ok, "asked for by --probes syscalls"),
        (Syscalls, "6.8", both, Some(Way::Syscalls), Verdict::Degraded, "cost every process"),
        (Syscalls, "6.8", sock_only, None, Verdict::Fatal, "no tracepoint syscalls:sys_enter_read"),
    ];
    for (asked, release, groups, way, verdict, why) in table {
        let machine = Machine::new();
        machine.write("proc/sys/kernel/osrelease", release);
        machine.remove("sys/kernel/tracing");
        tracepoints(&machine.path("sys/kernel/tracing"), groups);
        let report = machine.run(asked, true, false);
        assert_eq!(probes(&report).way, way, "{asked} {release} {groups:?}\n{report}");
        let check = find(&report, "probes");
        assert_eq!(check.verdict, verdict, "{asked} {release} {groups:?}: {check:?}");
        assert!(check.cause.contains(why), "{asked} {release} {groups:?}: {check:?}");
    }
}

#[test]
fn missing_life_cycle_tracepoints_are_fatal() {
    let machine = Machine::new();
    machine.remove("sys/kernel/tracing/events/sched/sched_process_exec");
    assert_check(
        &machine.check("life cycle"),
        Verdict::Fatal,
        "sched:sched_process_exec",
        "CONFIG_EVENT_TRACING=y",
    );
}

#[test]
fn uprobes_matter_only_where_they_are_wanted() {
    let machine = Machine::new();
    machine.remove("sys/bus/event_source/devices/uprobe/type");
    assert_check(
        &machine.check("uprobes"),
        Verdict::Degraded,
        "no parents but by header and wire",
        "CONFIG_UPROBE_EVENTS=y",
    );
    let report = machine.run(Probes::Auto, false, false);
    assert_check(&find(&report, "uprobes"), Verdict::Ok, "not wanted", "");
}

#[test]
fn only_old_kernels_ask_for_more_before_they_set_breakpoints() {
    let machine = Machine::new();
    // CAP_DAC_READ_SEARCH, CAP_SYS_PTRACE, CAP_PERFMON, CAP_BPF.
    machine.capabilities("000000c000080004");
    assert_check(&machine.check("uprobes"), Verdict::Degraded, "no CAP_SYS_ADMIN", "--no-uprobes");
    machine.write("proc/sys/kernel/osrelease", "6.10.0\n");
    assert_check(&machine.check("uprobes"), Verdict::Ok, "all of a process's at a time", "");
}

#[test]
fn jit_memlock_and_namespaces() {
    let machine = Machine::new();
    machine.write("proc/sys/net/core/bpf_jit_enable", "0\n");
    assert_check(
        &machine.check("jit"),
        Verdict::Degraded,
        "interpreted",
        "sysctl -w net.core.bpf_jit_enable=1",
    );
    machine.remove("proc/sys/net/core/bpf_jit_enable");
    assert_check(&machine.check("jit"), Verdict::Ok, "can't be told from here", "");
    assert_check(&machine.check("memlock"), Verdict::Ok, "no matter since kernel 5.11", "");
    machine.write("proc/sys/kernel/osrelease", "5.10.0\n");
    assert_check(
        &machine.check("memlock"),
        Verdict::Degraded,
        "8192 KiB of memory may be locked",
        "LimitMEMLOCK=infinity",
    );
    machine.namespaces("4026532222", "4026531837");
    assert_check(&machine.check("pid namespace"), Verdict::Degraded, "a container's own", "hostPID: true");
}

#[test]
fn an_empty_root_gives_verdicts_and_no_panic() {
    let machine = Machine { root: TempDir::new().unwrap(), kernel: Fake::default(), arch: "x86_64" };
    let report = machine.report();
    assert_eq!(report.verdict, Verdict::Fatal);
    assert!(report.to_string().contains("The agent can't work here"), "{report}");
    for check in report.fatal() {
        assert!(check.cure.is_some(), "{check:?}");
    }
}

#[test]
fn the_table_is_aligned_and_json_has_the_same() {
    let machine = Machine::new();
    machine.write("proc/sys/net/core/bpf_jit_enable", "0\n");
    let report = machine.report();
    let text = report.to_string();
    assert!(text.contains("\nok  kernel         6.8.0-45-generic\n"), "{text}");
    assert!(text.contains("\n!!  jit            BPF programs are interpreted"), "{text}");
    assert!(text.contains("\n                   cure: sysctl -w net.core.bpf_jit_enable=1\n"), "{text}");
    let line = "jit: BPF programs are interpreted, which makes every probe several times as costly; cure: sysctl -w \
                net.core.bpf_jit_enable=1";
    assert_eq!(find(&report, "jit").to_string(), line);
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(json["verdict"], "degraded");
    assert_eq!(json["probes"]["way"], "sock");
    let jit = json["checks"].as_array().unwrap().iter().find(|check| check["name"] == "jit").unwrap();
    assert_eq!(
        (&jit["verdict"], &jit["cure"]),
        (&"degraded".into(), &"sysctl -w net.core.bpf_jit_enable=1".into())
    );
}

/// What this machine is, nobody knows; that every bad verdict has a cure, and the way fits the verdict, holds anywhere.
#[test]
fn the_real_machine_gets_a_consistent_report() {
    let options = Options { probes: Probes::Auto, uprobes: true, mount: false };
    let report = run(&System::running(), options);
    assert!(find(&report, "kernel").cause.contains('.'), "{report}");
    for check in &report.checks {
        assert_eq!(check.cure.is_some(), check.verdict != Verdict::Ok, "{check:?}");
    }
    assert_eq!(report.probes.way.is_none(), find(&report, "probes").verdict == Verdict::Fatal, "{report}");
}
