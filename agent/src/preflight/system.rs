//! What the checks look at: files below a root, and a kernel that can be asked. Tests bring their own of both.

use crate::settings::KERNEL_BTF;
use aya::{
    maps::MapType,
    programs::{ProgramError, ProgramType},
    sys::{BpfHelper, SyscallError, is_helper_supported, is_map_supported},
};
use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// What only the kernel itself can answer. `Ok(false)` is a clear no; an error says why there is no answer.
pub trait Kernel {
    /// A BPF ring buffer can be made.
    ///
    /// # Errors
    /// The system call's, such as EPERM.
    fn ring_buffer(&self) -> io::Result<bool>;
    /// A raw tracepoint's program may use `helper`.
    ///
    /// # Errors
    /// The system call's, such as EPERM.
    fn helper(&self, helper: Helper) -> io::Result<bool>;
    /// Mounts tracefs at `path`.
    ///
    /// # Errors
    /// The system call's, such as EPERM.
    fn mount_tracefs(&self, path: &Path) -> io::Result<()>;
}

/// A BPF helper that the programs call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Helper {
    /// `bpf_task_pt_regs`: the registers that a task saved when it entered the kernel.
    TaskRegisters,
    /// `bpf_probe_read_kernel`, which a lockdown for confidentiality takes away.
    ReadKernel,
}

/// The running kernel.
#[derive(Clone, Copy, Debug, Default)]
pub struct Running;

impl Kernel for Running {
    fn ring_buffer(&self) -> io::Result<bool> {
        is_map_supported(MapType::RingBuf).map_err(|SyscallError { io_error, .. }| io_error)
    }

    fn helper(&self, helper: Helper) -> io::Result<bool> {
        let helper = match helper {
            Helper::TaskRegisters => BpfHelper::BPF_FUNC_task_pt_regs,
            Helper::ReadKernel => BpfHelper::BPF_FUNC_probe_read_kernel,
        };
        is_helper_supported(ProgramType::RawTracePoint, helper).map_err(|error| match error {
            ProgramError::SyscallError(SyscallError { io_error, .. }) => io_error,
            other => io::Error::other(other),
        })
    }

    fn mount_tracefs(&self, path: &Path) -> io::Result<()> {
        use rustix::mount::{MountFlags, mount};
        let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
        mount("nodev", path, "tracefs", flags, None).map_err(io::Error::from)
    }
}

/// A machine to check.
pub struct System<'a> {
    /// What comes before `/proc` and `/sys`.
    pub root: PathBuf,
    /// The file with its kernel's type information, as the user names it.
    pub btf: PathBuf,
    /// Its operating system, as [`std::env::consts::OS`] has it.
    pub os: &'a str,
    /// Its processors, as [`std::env::consts::ARCH`] has them.
    pub arch: &'a str,
    /// Its kernel.
    pub kernel: &'a dyn Kernel,
}

impl System<'static> {
    /// The machine that this runs on, with the type information where the kernel has it.
    pub fn running() -> Self {
        Self {
            root: "/".into(),
            btf: KERNEL_BTF.into(),
            os: std::env::consts::OS,
            arch: std::env::consts::ARCH,
            kernel: &Running,
        }
    }
}

impl System<'_> {
    /// Where `path`, which starts with a slash, is on this machine.
    pub(super) fn path(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    /// The file with the type information: below the root if its path is absolute, else from the working directory.
    pub(super) fn btf_file(&self) -> PathBuf {
        self.btf.strip_prefix("/").map_or_else(|_| self.btf.clone(), |below| self.root.join(below))
    }

    /// The file's text without the blanks around it.
    pub(super) fn text(&self, path: &str) -> io::Result<String> {
        fs::read_to_string(self.path(path)).map(|text| text.trim().to_owned())
    }

    /// The value of `key` in `/proc/self/status`.
    pub(super) fn status(&self, key: &str) -> Option<String> {
        let status = self.text("/proc/self/status").ok()?;
        let mut fields = status.lines().filter_map(|line| line.split_once(':'));
        fields.find(|(name, _)| *name == key).map(|(_, value)| value.trim().to_owned())
    }

    /// The kernel's release, such as `6.1.0-31-amd64`.
    pub(super) fn release(&self) -> Option<String> {
        self.text("/proc/sys/kernel/osrelease").ok()
    }

    /// The kernel's version; (0, 0) where it can't be told, which is older than anything.
    pub fn version(&self) -> (u32, u32) {
        self.release().and_then(|release| version(&release)).unwrap_or_default()
    }

    /// This process is in the machine's own namespace of `kind`; `None` where it can't be told. The kernel gives the
    /// first namespaces fixed numbers (include/linux/proc_ns.h).
    pub(super) fn first_namespace(&self, kind: &str) -> Option<bool> {
        let number = match kind {
            "pid" => "4026531836",
            "user" => "4026531837",
            _ => return None,
        };
        let link = fs::read_link(self.path("/proc/self/ns").join(kind)).ok()?;
        Some(link.to_str()? == format!("{kind}:[{number}]"))
    }
}

/// Major and minor number of a release.
fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_of_distributions() {
        for (release, expected) in [
            ("6.1.0-31-amd64", Some((6, 1))),
            ("5.14.0-503.el9.x86_64", Some((5, 14))),
            ("6.18.44-cloud", Some((6, 18))),
            ("7.0-rc1", Some((7, 0))),
            ("linux", None),
            ("6", None),
        ] {
            assert_eq!(version(release), expected, "{release}");
        }
    }
}
