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
/// A kernel that locks up says where, on all CPUs, and ends the guest; 60 s, for an emulated CPU on a busy machine can be
/// away for the usual 20 s and be well.
const COMMAND_LINE: &str = "console=ttyS0 panic=-1 mitigations=off nokaslr \
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
        fs::read(self.0.join(name)).ok().map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Boots and waits for the end.
pub fn boot(kernel: &Kernel, image: &Path, command: &str, limit: Duration, show: bool) -> Result<Outcome> {
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
