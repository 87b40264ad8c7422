//! Things that are dear to make and keep: tools, dependencies of the sample services, kernels, images.
//!
//! In: a kind, a key, and how to make it. Out: a folder that was made completely, once, also when several
//! checkouts ask for it at the same time.

use std::{
    collections::hash_map::DefaultHasher,
    fs::{self, File, TryLockError},
    hash::{Hash, Hasher},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

use crate::{ui::Step, workspace};

/// A folder of the cache under its lock: nobody else makes or removes it while this value lives.
struct Locked {
    path: PathBuf,
    _lock: File,
}

impl Locked {
    fn new(kind: &str, key: &str) -> Result<Self> {
        let parent = workspace::cache().join(kind);
        fs::create_dir_all(&parent)
            .with_context(|| format!("cannot create the cache {}", parent.display()))?;
        let lock = File::create(parent.join(format!("{key}.lock")))?;
        match lock.try_lock() {
            Err(TryLockError::WouldBlock) => {
                // Somebody is at it, and that can take minutes.
                let step = Step::begin(format!("waiting for what makes {kind} already"));
                lock.lock().context("cannot lock the cache")?;
                step.quiet();
            }
            result => result.context("cannot lock the cache")?,
        }
        Ok(Self { path: parent.join(key), _lock: lock })
    }
    fn marker(&self) -> PathBuf {
        self.path.join(".complete")
    }
}

/// The folder `kind/key` if it is there and complete.
pub fn find(kind: &str, key: &str) -> Option<PathBuf> {
    let path = workspace::cache().join(kind).join(key);
    path.join(".complete").is_file().then_some(path)
}

/// The folder `kind/key`, made by `make` if it is missing. What a broken attempt left is removed first.
///
/// The folder is made in its final place: virtual environments and `cargo install` write absolute paths.
pub fn get(kind: &str, key: &str, make: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
    if let Some(path) = find(kind, key) {
        return Ok(path);
    }
    let entry = Locked::new(kind, key)?;
    if entry.marker().is_file() {
        return Ok(entry.path);
    }
    if entry.path.exists() {
        fs::remove_dir_all(&entry.path).with_context(|| format!("cannot remove {}", entry.path.display()))?;
    }
    fs::create_dir_all(&entry.path)?;
    make(&entry.path)?;
    fs::write(entry.marker(), [])?;
    Ok(entry.path)
}

/// Removes all but the `keep` most recently made folders of `kind`: images are large and their keys change often.
pub fn prune(kind: &str, keep: usize) {
    let Ok(entries) = fs::read_dir(workspace::cache().join(kind)) else { return };
    let mut folders: Vec<_> = entries
        .flatten()
        .filter(|entry| entry.path().is_dir())
        .filter_map(|entry| Some((entry.metadata().ok()?.modified().ok()?, entry.path())))
        .collect();
    folders.sort();
    let old = folders.len().saturating_sub(keep);
    for (_, path) in folders.into_iter().take(old) {
        // Best effort: a folder that stays costs disk space only.
        let _ = fs::remove_dir_all(path);
    }
}

/// A key out of anything that hashes. It may change with the compiler: then things are made anew.
pub fn key(parts: impl Hash) -> String {
    let mut hasher = DefaultHasher::new();
    parts.hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}

/// A key out of the names and contents of all files below `dirs`, in order, and of `extra`.
pub fn content_key(dirs: &[&Path], extra: impl Hash) -> Result<String> {
    let mut hasher = DefaultHasher::new();
    extra.hash(&mut hasher);
    for dir in dirs {
        for file in files(dir)? {
            file.strip_prefix(dir).unwrap_or(&file).hash(&mut hasher);
            fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?.hash(&mut hasher);
        }
    }
    Ok(format!("{:016x}", hasher.finish()))
}

/// Folders that tools leave in source trees; never part of a source.
const LEAVINGS: [&str; 5] = ["node_modules", "__pycache__", "target", ".venv", ".git"];

/// All files below `path` (or `path` itself), sorted, without what tools leave there.
pub fn files(path: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut pending = vec![path.to_path_buf()];
    while let Some(path) = pending.pop() {
        if path.file_name().is_some_and(|name| LEAVINGS.iter().any(|l| name == *l)) {
            continue;
        }
        if path.is_dir() {
            for entry in fs::read_dir(&path).with_context(|| format!("cannot read {}", path.display()))? {
                pending.push(entry?.path());
            }
        } else if path.exists() {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// Copies the sources below `from` to `to`.
pub fn copy_sources(from: &Path, to: &Path) -> Result<()> {
    for file in files(from)? {
        let target = to.join(file.strip_prefix(from)?);
        if let Some(parent) = target.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::copy(&file, &target).with_context(|| format!("cannot copy {}", file.display()))?;
    }
    Ok(())
}
