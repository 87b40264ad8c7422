//! A small `/proc` in a temporary folder, for tests.

use std::{fs, os::unix::fs::symlink, path::Path};

use super::Procfs;

pub(super) struct Fixture(tempfile::TempDir);

impl Fixture {
    pub(super) fn new() -> Self {
        let fixture = Self(tempfile::tempdir().unwrap());
        let random = fixture.0.path().join("sys/kernel/random");
        fs::create_dir_all(&random).unwrap();
        fs::write(random.join("boot_id"), "6c1a8e2e-0c2b-4d4c-9d1e-3f7f3d2b1a00\n").unwrap();
        fixture
    }

    pub(super) fn procfs(&self) -> Procfs {
        Procfs::new(self.0.path()).unwrap()
    }

    pub(super) fn root(&self) -> &Path {
        self.0.path()
    }

    pub(super) fn write(&self, pid: u32, file: &str, content: &[u8]) {
        let path = self.0.path().join(pid.to_string()).join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    pub(super) fn link(&self, pid: u32, file: &str, target: &str) {
        let path = self.0.path().join(pid.to_string()).join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let _ = fs::remove_file(&path);
        symlink(target, path).unwrap();
    }

    /// A process whose executable is its zeroth argument.
    pub(super) fn process(&self, pid: u32, arguments: &[&str], directory: &str) {
        let exe = arguments.first().unwrap();
        let comm = Path::new(exe).file_name().unwrap().to_str().unwrap();
        let stat = format!("{pid} ({comm}) S 1 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 {} 0 0\n", 1_000 + pid);
        self.write(pid, "stat", stat.as_bytes());
        self.write(pid, "cmdline", (arguments.join("\0") + "\0").as_bytes());
        self.link(pid, "exe", exe);
        self.link(pid, "cwd", directory);
        self.link(pid, "ns/net", "net:[4026531840]");
    }
}
