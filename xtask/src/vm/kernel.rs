//! The guest's kernel, and an initial RAM disk that finds the root image.
//!
//! In: a version such as `6.1`. Out: the newest Debian kernel of that version, with the few modules it needs to reach
//! its disk and the folder it shares with us.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};

use super::cpio::Archive;
use crate::{
    cache, process,
    tools::{INSTALL_LIMIT, apt},
    ui::Step,
    workspace,
};

/// What the guest needs beside the kernel itself; their dependencies come by modprobe.
const MODULES: [&str; 6] = ["virtio_pci", "virtio_blk", "ext4", "9p", "9pnet_virtio", "virtio_rng"];

/// First process of the guest: loads the modules and hands over to the root image.
const INIT: &str = "#!/bin/busybox sh
/bin/busybox mount -t devtmpfs dev /dev
for module in $(/bin/busybox cat /modules/order); do /bin/busybox insmod /modules/$module; done
/bin/busybox mount -t ext4 /dev/vda /root
/bin/busybox umount /dev
exec /bin/busybox switch_root /root /init
";

/// A kernel that QEMU can boot.
pub struct Kernel {
    /// The compressed kernel.
    pub image: PathBuf,
    /// Its initial RAM disk.
    pub ramdisk: PathBuf,
}

/// Finds the kernel `version` in the cache, or fetches and unpacks Debian's package.
pub fn prepare(version: &str) -> Result<Kernel> {
    let key = format!("{version}-{}", cache::key((INIT, MODULES)));
    let dir = cache::get("kernel", &key, |dir| {
        let package = newest_package(version)?;
        let log = workspace::log("kernel");
        process::start_log(&log)?;
        Step::run(format!("fetching Debian's kernel ({package})"), |step| {
            step.watch(&log);
            unpack(&package, dir, &log)
        })
    })?;
    Ok(Kernel { image: dir.join("vmlinuz"), ramdisk: dir.join("initrd") })
}

/// The newest package of that version that apt can fetch.
fn newest_package(version: &str) -> Result<String> {
    if !version.split('.').all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit())) {
        bail!("`{version}` is not a kernel version such as 6.1");
    }
    apt::refresh()?;
    let pattern = format!(r"^linux-image-{}[0-9.]*-[0-9]+-amd64$", version.replace('.', r"\."));
    let found = process::output(Command::new("apt-cache").args(["search", "--names-only", &pattern]));
    let mut packages: Vec<_> = found
        .unwrap_or_default()
        .lines()
        .filter_map(|line| line.split_whitespace().next().map(str::to_owned))
        .filter(|package| apt::known(package))
        .collect();
    // linux-image-6.1.0-9-amd64 comes before linux-image-6.1.0-10-amd64.
    packages.sort_by_key(|p| p.split(['.', '-']).filter_map(|n| n.parse().ok()).collect::<Vec<u32>>());
    packages.pop().with_context(|| {
        format!("apt knows no Debian kernel {version} (6.1 is in Debian 12, bookworm): add that release to its sources")
    })
}

fn unpack(package: &str, dir: &Path, log: &Path) -> Result<()> {
    let tree = dir.join("tree");
    fs::create_dir_all(&tree)?;
    process::run(Command::new("apt-get").args(["download", package]).current_dir(dir), log, INSTALL_LIMIT)?;
    let package = with_extension(dir, "deb")?;
    process::run(Command::new("dpkg-deb").arg("-x").arg(&package).arg(&tree), log, INSTALL_LIMIT)?;
    let modules = tree.join("lib/modules");
    let release =
        fs::read_dir(&modules)?.flatten().next().context("the package holds no modules")?.file_name();
    let release = release.to_string_lossy();
    let depmod = process::which("depmod").context("depmod is missing")?;
    process::run(Command::new(depmod).arg("-b").arg(&tree).arg(&*release), log, INSTALL_LIMIT)?;
    fs::write(dir.join("initrd"), ramdisk(&tree, &release)?)?;
    fs::rename(tree.join(format!("boot/vmlinuz-{release}")), dir.join("vmlinuz"))?;
    // The rest is some 400 MB that nobody reads again.
    fs::remove_dir_all(&tree)?;
    fs::remove_file(&package)?;
    Ok(())
}

fn with_extension(dir: &Path, extension: &str) -> Result<PathBuf> {
    let mut files = fs::read_dir(dir)?.flatten().map(|entry| entry.path());
    let found = files.find(|path| path.extension().is_some_and(|e| e == extension));
    found.with_context(|| format!("no .{extension} file in {}", dir.display()))
}

fn ramdisk(tree: &Path, release: &str) -> Result<Vec<u8>> {
    let mut archive = Archive::default();
    for folder in ["bin", "dev", "modules", "root"] {
        archive.folder(folder);
    }
    archive.file("bin/busybox", &fs::read("/bin/busybox").context("busybox is missing")?);
    archive.file("init", INIT.as_bytes());
    let mut order = Vec::new();
    for path in module_paths(tree, release)? {
        let name = path.file_name().context("a module without a name")?.to_string_lossy().into_owned();
        if !order.contains(&name) {
            archive.file(&format!("modules/{name}"), &fs::read(&path)?);
            order.push(name);
        }
    }
    archive.file("modules/order", order.join("\n").as_bytes());
    Ok(archive.finish())
}

/// The files of all needed modules, dependencies first; what is built in has none.
fn module_paths(tree: &Path, release: &str) -> Result<Vec<PathBuf>> {
    let modprobe = process::which("modprobe").context("modprobe is missing")?;
    let mut paths = Vec::new();
    for module in MODULES {
        let mut command = Command::new(&modprobe);
        command.arg("-d").arg(tree).args(["-S", release, "--show-depends", module]);
        let answer = process::output(&mut command).with_context(|| format!("modprobe knows no {module}"))?;
        paths.extend(
            answer.lines().filter_map(|l| l.trim().strip_prefix("insmod ")).map(|p| PathBuf::from(p.trim())),
        );
    }
    if let Some(compressed) = paths.iter().find(|p| p.extension().is_none_or(|e| e != "ko")) {
        bail!("busybox cannot load {}", compressed.display());
    }
    Ok(paths)
}
