//! The guest's root file system.
//!
//! In: files and folders of this machine. Out: an ext4 image that holds them, the libraries they need, busybox, and an
//! init that runs one command; cached by what is in it.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};

use super::Mapping;
use crate::{
    cache, process,
    tools::INSTALL_LIMIT,
    tree::{self, Tree},
    ui::{self, Step},
    workspace,
};

/// How many images are kept: each is some hundred megabytes.
const KEPT: usize = 3;

/// First process of the root image: mounts what programs expect, runs the command from the shared folder, reports.
/// Nothing is mounted on /tmp: the clone may be there.
const INIT: &str = "#!/bin/sh
export PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin HOME=/root LANG=C.UTF-8 TERM=dumb TMPDIR=/run/tmp
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mkdir -p /dev/pts /dev/shm
mount -t devpts devpts /dev/pts
mount -t tmpfs tmpfs /dev/shm
mount -t tmpfs tmpfs /run
mkdir /run/tmp
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount -t bpf bpf /sys/fs/bpf
mount -t tracefs tracefs /sys/kernel/tracing
mount -t debugfs debugfs /sys/kernel/debug
ip link set lo up
hostname guest
ulimit -n 65536
ulimit -l unlimited
mount -t 9p -o trans=virtio,version=9p2000.L,msize=262144 host /share || poweroff -f
cd /root
sh /share/command </dev/null >/share/output 2>&1
echo $? >/share/status
sync
poweroff -f
";

const FOLDERS: [&str; 13] = [
    "usr/bin",
    "usr/sbin",
    "usr/lib",
    "usr/lib64",
    "etc",
    "proc",
    "sys",
    "dev",
    "tmp",
    "run",
    "root",
    "share",
    "var/tmp",
];

/// The image with `files` in it.
pub fn prepare(files: &[Mapping<'_>]) -> Result<PathBuf> {
    let plan = plan(files)?;
    let dir = cache::get("image", &cache::key((INIT, plan.stamps()?)), |dir| {
        Step::run("making the guest's root image", |_| build(&plan, dir))
    })?;
    cache::prune("image", KEPT);
    Ok(dir.join("root.img"))
}

/// Where each file of the guest comes from.
fn plan(files: &[Mapping<'_>]) -> Result<Tree> {
    let mut tree = Tree::default();
    tree.add(Path::new("/bin/busybox"), Path::new("/usr/bin/busybox"))?;
    for (host, guest) in files {
        tree.add(host, guest)?;
    }
    tree.add_libraries()?;
    Ok(tree)
}

fn build(plan: &Tree, dir: &Path) -> Result<()> {
    let tree = dir.join("tree");
    skeleton(&tree)?;
    for (guest, host) in plan.files() {
        let target = tree.join(guest.strip_prefix("/").unwrap_or(guest));
        fs::create_dir_all(target.parent().unwrap_or(&tree))?;
        if host.is_symlink() {
            symlink(fs::read_link(host)?, &target)?;
        } else {
            fs::copy(host, &target).with_context(|| format!("cannot copy {}", host.display()))?;
        }
    }
    let log = workspace::log("image");
    process::start_log(&log)?;
    let mke2fs = process::which("mke2fs").context("mke2fs is missing")?;
    let mut command = Command::new(mke2fs);
    command.args(["-q", "-t", "ext4", "-m", "0", "-O", "^has_journal", "-d"]).arg(&tree);
    command.arg(dir.join("root.img")).arg(format!("{}k", size_kib(&tree)?));
    process::run(&mut command, &log, INSTALL_LIMIT)?;
    fs::remove_dir_all(&tree).context("cannot remove the image's tree")
}

/// Folders, busybox under all its names, and the few files of /etc that programs miss.
fn skeleton(tree: &Path) -> Result<()> {
    for folder in FOLDERS {
        fs::create_dir_all(tree.join(folder))?;
    }
    for top in tree::MERGED {
        symlink(format!("usr/{top}"), tree.join(top))?;
    }
    let names = process::output(Command::new("/bin/busybox").arg("--list")).context("busybox is missing")?;
    for name in names.lines().filter(|n| *n != "busybox") {
        symlink("busybox", tree.join("usr/bin").join(name))?;
    }
    fs::write(
        tree.join("etc/passwd"),
        "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534::/:/bin/false\n",
    )?;
    fs::write(tree.join("etc/group"), "root:x:0:\nnogroup:x:65534:\n")?;
    fs::write(tree.join("etc/hosts"), "127.0.0.1 localhost guest\n::1 localhost\n")?;
    fs::write(tree.join("etc/nsswitch.conf"), "passwd: files\ngroup: files\nhosts: files\n")?;
    let init = tree.join("init");
    fs::write(&init, INIT)?;
    fs::set_permissions(&init, fs::Permissions::from_mode(0o755))?;
    Ok(())
}

/// The image's size: what is in it, and room to work.
fn size_kib(tree: &Path) -> Result<u64> {
    fn used(path: &Path) -> Result<u64> {
        let meta = fs::symlink_metadata(path)?;
        let mut sum = meta.len().next_multiple_of(4096) + 512;
        if meta.is_dir() {
            for entry in fs::read_dir(path)? {
                sum += used(&entry?.path())?;
            }
        }
        Ok(sum)
    }
    let kib = used(tree)? / 1024;
    ui::say(format!("the image holds {} MB", kib / 1024));
    Ok(kib + kib / 8 + 256 * 1024)
}
