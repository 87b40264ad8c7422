//! One boot: QEMU, a shared folder that carries the command in and its results out, and patience.
//!
//! In: a kernel, an image, a command. Out: the command's outcome, or what the guest's console said last.

use std::{
    fs::{self, File},
    io::{self, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

use super::{Outcome, kernel::Kernel};
use crate::{
    process::{self, Group},
    ui, workspace,
};

const MEMORY_MIB: u32 = 4096;
/// A kernel that locks up says where, on all CPUs, and ends the guest; after a minute, for an emulated CPU on a busy
/// machine can be away for the usual 20 s and be well.
const COMMAND_LINE: &str = "console=ttyS0 panic=-1 mitigations=off nokaslr \
     rcupdate.rcu_cpu_stall_timeout=60 sysctl.kernel.panic_on_rcu_stall=1 \
     watchdog_thresh=30 softlockup_panic=1 softlockup_all_cpu_backtrace=1";

/// The folder both sides see; removed when dropped.
struct Share(PathBuf);

impl Share {
    fn new(command: &str) -> Result<Self> {
        let dir = workspace::output().join(format!("vm-{}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(&dir)?;
        fs::write(dir.join("command"), format!("{command}\n"))?;
        Ok(Self(dir))
    }
    fn read(&self, name: &str) -> Option<String> {
        process::read_log(&self.0.join(name)).ok()
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Boots and waits for the end. An emulator that lost itself gets a second chance, and nothing else does.
pub fn boot(kernel: &Kernel, image: &Path, command: &str, limit: Duration, show: bool) -> Result<Outcome> {
    match attempt(kernel, image, command, limit, show) {
        Err(error) if emulator_is_lost(&process::read_log(&workspace::log("vm")).unwrap_or_default()) => {
            ui::warn(format!("{error:#}"));
            ui::warn(
                "the emulator lost itself, and the guest boots once more: its CPUs go on executing a breakpoint that \
                 the guest's kernel has taken out of its own code again",
            );
            attempt(kernel, image, command, limit, show)
        }
        outcome => outcome,
    }
}

/// Whether a guest ended because QEMU (7.2, two translating threads) runs on with code that one CPU had translated while
/// the kernel patched it, when a tracepoint was attached: a CPU takes int3 without end, where the memory has none. A
/// lockup of any other kind is the guest's own.
fn emulator_is_lost(console: &str) -> bool {
    let panicked = ["panic - not syncing: RCU Stall", "panic - not syncing: softlockup"];
    panicked.iter().any(|panic| console.contains(panic)) && console.contains("RIP: 0010:asm_exc_int3+0x0/")
}

fn attempt(kernel: &Kernel, image: &Path, command: &str, limit: Duration, show: bool) -> Result<Outcome> {
    let share = Share::new(command)?;
    let log = workspace::log("vm");
    process::start_log(&log)?;
    let mut qemu = qemu(kernel, image, &share.0);
    process::log_to(&mut qemu, &log)?;
    let mut guest = Group::spawn(&mut qemu)?;
    let started = Instant::now();
    let mut shown = 0;
    let ended = loop {
        let ended = guest.poll()?;
        if show {
            shown = pass_on(&share.0.join("output"), shown)?;
        }
        if let Some(ended) = ended {
            break ended;
        }
        process::check_interrupted()?;
        if started.elapsed() > limit {
            guest.stop();
            let output = share.read("output").unwrap_or_default();
            bail!(
                "the guest was not done within {}; its command wrote:\n{output}\nconsole, {}",
                ui::seconds(limit),
                ui::excerpt(&log)
            );
        }
        thread::sleep(Duration::from_millis(100));
    };
    let status = share.read("status").and_then(|s| s.trim().parse().ok());
    let output = share.read("output").unwrap_or_default();
    let status = status.with_context(|| {
        format!(
            "the guest ended ({ended}) without a result; it wrote:\n{output}\nconsole, {}",
            ui::excerpt(&log)
        )
    })?;
    Ok(Outcome { status, output })
}

fn qemu(kernel: &Kernel, image: &Path, share: &Path) -> Command {
    let mut qemu = Command::new("qemu-system-x86_64");
    qemu.args(["-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2", "-m", &MEMORY_MIB.to_string()])
        .args(["-nographic", "-no-reboot", "-nic", "none"])
        .arg("-kernel")
        .arg(&kernel.image)
        .arg("-initrd")
        .arg(&kernel.ramdisk)
        .args(["-append", COMMAND_LINE])
        .arg("-drive")
        .arg(format!("file={},if=virtio,format=raw,snapshot=on", image.display()))
        .args(["-device", "virtio-rng-pci", "-virtfs"])
        .arg(format!("local,path={},mount_tag=host,security_model=none", share.display()));
    qemu
}

/// Writes what `file` holds beyond `from` to standard output; returns the new end.
fn pass_on(file: &Path, from: u64) -> Result<u64> {
    let Ok(mut file) = File::open(file) else { return Ok(from) };
    file.seek(SeekFrom::Start(from))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    io::stdout().write_all(&bytes)?;
    io::stdout().flush()?;
    Ok(from + bytes.len() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_breakpoint_without_end_is_the_emulators_fault() {
        let (stall, int3) = ("Kernel panic - not syncing: RCU Stall\n", "RIP: 0010:asm_exc_int3+0x0/0x40\n");
        assert!(emulator_is_lost(&[int3, stall].concat()));
        assert!(!emulator_is_lost(stall));
        assert!(!emulator_is_lost(&[stall, "RIP: 0010:htab_lock_bucket+0x1/0x2\n"].concat()));
        assert!(!emulator_is_lost(int3));
    }
}
