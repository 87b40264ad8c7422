//! The machine that the processes run on.

use std::{fs, path::Path};

use super::Procfs;

/// The host's part of every resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// `host.name`: the host name of the agent's UTS namespace.
    pub name: Option<String>,
    /// `host.id`: the machine id (machine-id(5)).
    pub id: Option<String>,
    /// `host.arch`, in the conventions' words.
    pub arch: &'static str,
}

impl Host {
    /// Reads the host through `procfs` and the file system at `root`: `/`, or wherever the host's root can be seen from
    /// inside a container (`/proc/1/root`), whose own machine id would be another.
    pub fn read(procfs: &Procfs, root: &Path) -> Self {
        let line = |path: &Path| {
            let text = fs::read_to_string(path).ok()?;
            let line = text.trim();
            (!line.is_empty()).then(|| line.to_owned())
        };
        let machine_id = |file: &str| line(&root.join(file)).filter(|id| is_machine_id(id));
        Self {
            name: line(&procfs.root().join("sys/kernel/hostname")),
            id: machine_id("etc/machine-id").or_else(|| machine_id("var/lib/dbus/machine-id")),
            arch: arch(std::env::consts::ARCH),
        }
    }
}

/// An image may hold the word `uninitialized` instead.
fn is_machine_id(text: &str) -> bool {
    text.len() == 32 && text.bytes().all(|b| b.is_ascii_hexdigit())
}

fn arch(rust: &'static str) -> &'static str {
    match rust {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "arm" => "arm32",
        "powerpc64" => "ppc64",
        "powerpc" => "ppc32",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::fixture::Fixture;

    #[test]
    fn a_host_is_read() {
        let fixture = Fixture::new();
        let root = fixture.root();
        let host = Host::read(&fixture.procfs(), root);
        assert_eq!((host.name, host.id), (None, None));
        fs::write(root.join("sys/kernel/hostname"), "node-1\n").unwrap();
        for dir in ["etc", "var/lib/dbus"] {
            fs::create_dir_all(root.join(dir)).unwrap();
        }
        fs::write(root.join("etc/machine-id"), "uninitialized\n").unwrap();
        fs::write(root.join("var/lib/dbus/machine-id"), "0123456789abcdef0123456789abcdef\n").unwrap();
        let host = Host::read(&fixture.procfs(), root);
        assert_eq!(host.name.as_deref(), Some("node-1"));
        assert_eq!(host.id.as_deref(), Some("0123456789abcdef0123456789abcdef"));
    }

    #[test]
    fn architectures_have_the_conventions_names() {
        assert_eq!((arch("x86_64"), arch("aarch64"), arch("riscv64")), ("amd64", "arm64", "riscv64"));
    }
}
