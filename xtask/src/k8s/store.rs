//! The images that the running cluster has.
//!
//! In: archives from `image`. Out: containerd has each under its names; what it has already is not given again.

use std::{collections::BTreeMap, fs, path::Path, thread, time::Duration};

use anyhow::{Context, Result, anyhow, bail};

use super::{
    image::Archive,
    layout::{self, state},
    node,
};
use crate::process;

const LIMIT: Duration = Duration::from_secs(10 * 60);
const KEPT: &str = "images.json";

/// Gives containerd those of `archives` that it does not have as they are; returns their kinds.
pub fn import(archives: &[Archive]) -> Result<Vec<&'static str>> {
    let mut known = known();
    let changed = |archive: &&Archive| {
        archive.images.iter().any(|(names, id)| names.iter().any(|name| known.get(name) != Some(id)))
    };
    let wanted: Vec<_> = archives.iter().filter(changed).collect();
    // Unpacking is mostly decompression and small writes: two at a time keep both processors busy.
    for pair in wanted.chunks(2) {
        thread::scope(|scope| {
            let running: Vec<_> = pair.iter().map(|archive| scope.spawn(|| import_one(archive))).collect();
            running.into_iter().try_for_each(|thread| {
                thread.join().map_err(|_| anyhow!("the import of an image panicked"))?
            })
        })?;
    }
    for (names, id) in wanted.iter().flat_map(|archive| &archive.images) {
        known.extend(names.iter().map(|name| (name.clone(), id.clone())));
    }
    fs::write(state(KEPT), serde_json::to_string_pretty(&known)?)?;
    Ok(wanted.iter().map(|archive| archive.kind).collect())
}

/// The names of the images that were given to containerd, with their ids.
pub fn known() -> BTreeMap<String, String> {
    let text = fs::read_to_string(state(KEPT)).unwrap_or_default();
    serde_json::from_str(&text).unwrap_or_default()
}

fn import_one(archive: &Archive) -> Result<()> {
    let log = layout::log(&format!("import-{}", archive.kind));
    let mut command = node::enter()?;
    command.args(["ctr", "--namespace", "k8s.io", "images", "import"]).arg(&archive.path);
    process::run(&mut command, &log, LIMIT)
        .with_context(|| format!("the image {} cannot be imported", archive.kind))
}

/// The folder of the CNI plugins on this machine.
pub fn network_plugins() -> Result<&'static str> {
    let folders = ["/usr/lib/cni", "/opt/cni/bin", "/usr/libexec/cni"];
    match folders.into_iter().find(|folder| Path::new(folder).join("bridge").is_file()) {
        Some(folder) => Ok(folder),
        None => bail!("the CNI plugins are in none of {}", folders.join(", ")),
    }
}
