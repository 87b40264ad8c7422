//! A root file system made of files of this machine: for a virtual machine, for a container's image.
//!
//! In: files and folders here, and where they are seen there. Out: a plan that names the source of each file, with the
//! libraries that its programs need.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    io::Read,
    os::unix::fs::MetadataExt,
    path::{Component, Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};

/// The folders that are links into /usr there.
pub const MERGED: [&str; 4] = ["bin", "sbin", "lib", "lib64"];

/// Where each file comes from: by its path there, links of this machine kept as links.
#[derive(Clone, Debug, Default)]
pub struct Tree(BTreeMap<PathBuf, PathBuf>);

/// What tells whether a file is still the same: its path there and here, size, modification time (s, ns).
pub type Stamp = (PathBuf, PathBuf, u64, i64, i64);

impl Tree {
    /// Adds the file or folder `host` at the path `there`.
    pub fn add(&mut self, host: &Path, there: &Path) -> Result<()> {
        let host =
            host.canonicalize().with_context(|| format!("cannot put {} into an image", host.display()))?;
        self.gather(&host, &usr(there), &host)
    }

    /// Adds all libraries, the loader included, that the programs so far need.
    pub fn add_libraries(&mut self) -> Result<()> {
        let programs: Vec<_> = self.0.values().filter(|path| is_elf(path)).cloned().collect();
        for library in libraries(&programs)? {
            let real = library.canonicalize()?;
            self.0.entry(usr(&plain(&library))).or_insert(real);
        }
        Ok(())
    }

    /// Leaves out every file for whose path there `unwanted` says so.
    pub fn leave_out(&mut self, unwanted: impl Fn(&Path) -> bool) {
        self.0.retain(|there, _| !unwanted(there));
    }

    /// Each path there with its source here, sorted.
    pub fn files(&self) -> impl Iterator<Item = (&Path, &Path)> {
        self.0.iter().map(|(there, host)| (there.as_path(), host.as_path()))
    }

    /// What tells whether anything has changed since.
    pub fn stamps(&self) -> Result<Vec<Stamp>> {
        let stamp = |(there, host): (&Path, &Path)| -> Result<_> {
            let meta =
                fs::symlink_metadata(host).with_context(|| format!("cannot read {}", host.display()))?;
            Ok((there.to_owned(), host.to_owned(), meta.len(), meta.mtime(), meta.mtime_nsec()))
        };
        self.files().map(stamp).collect()
    }

    /// Adds what is below `host`. Links within `top` stay links; those that lead out of it become what they lead to.
    fn gather(&mut self, host: &Path, there: &Path, top: &Path) -> Result<()> {
        if host.is_symlink()
            && let Ok(real) = host.canonicalize()
            && !real.starts_with(top)
        {
            return self.gather(&real, there, &real);
        }
        if host.is_symlink() || !host.is_dir() {
            self.0.insert(there.to_path_buf(), host.to_path_buf());
            return Ok(());
        }
        for entry in fs::read_dir(host).with_context(|| format!("cannot read {}", host.display()))? {
            let name = entry?.file_name();
            self.gather(&host.join(&name), &there.join(&name), top)?;
        }
        Ok(())
    }
}

/// Without `..`: Java looks for its libraries in bin/../lib.
fn plain(path: &Path) -> PathBuf {
    let mut found = PathBuf::new();
    for part in path.components() {
        if part == Component::ParentDir {
            found.pop();
        } else {
            found.push(part);
        }
    }
    found
}

/// There /bin, /sbin, /lib and /lib64 are links into /usr.
fn usr(path: &Path) -> PathBuf {
    let merged = MERGED.iter().any(|top| path.starts_with(Path::new("/").join(top)));
    if merged { Path::new("/usr").join(path.strip_prefix("/").unwrap_or(path)) } else { path.to_path_buf() }
}

fn is_elf(path: &Path) -> bool {
    let mut magic = [0; 4];
    path.is_file()
        && File::open(path).and_then(|mut f| f.read_exact(&mut magic)).is_ok()
        && magic == *b"\x7fELF"
}

/// All libraries, the loader included, that ldd names for `programs`.
fn libraries(programs: &[PathBuf]) -> Result<BTreeSet<PathBuf>> {
    let mut found = BTreeSet::new();
    for some in programs.chunks(64) {
        // ldd answers 1 when one of them is static; what it says of the others is right all the same.
        let output = Command::new("ldd").args(some).output().context("ldd is missing")?;
        for line in String::from_utf8_lossy(&output.stdout).lines() {
            let words = line.split_whitespace();
            let path =
                words.map(|w| w.trim_end_matches(':')).find(|w| w.starts_with('/') && line.starts_with('\t'));
            found.extend(path.map(PathBuf::from).filter(|p| p.is_file()));
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_where_their_names_lead() {
        assert_eq!(plain(Path::new("/jvm/bin/../lib/libjli.so")), Path::new("/jvm/lib/libjli.so"));
        assert_eq!(usr(Path::new("/lib/x.so")), Path::new("/usr/lib/x.so"));
        assert_eq!(usr(Path::new("/library/x.so")), Path::new("/library/x.so"));
    }

    #[test]
    fn a_program_brings_its_libraries_to_usr() {
        let mut tree = Tree::default();
        tree.add(Path::new("/bin/sh"), Path::new("/bin/sh")).expect("a shell is here");
        tree.add_libraries().expect("ldd works");
        let paths: Vec<_> = tree.files().map(|(there, _)| there).collect();
        assert!(paths.contains(&Path::new("/usr/bin/sh")), "{paths:?}");
        assert!(paths.iter().any(|p| p.to_string_lossy().contains("libc.so")), "{paths:?}");
        assert!(paths.iter().all(|p| p.starts_with("/usr")), "{paths:?}");
    }
}
