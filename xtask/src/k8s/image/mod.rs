//! The images of the test cluster, made of this machine's files: no registry, no container engine.
//!
//! In: programs with the libraries they need, texts. Out: archives in the cache that containerd imports, made anew
//! only when something in them has changed.

mod archive;
mod list;

pub use list::{all, missing, pause_name, system};

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

use crate::{
    cache, process,
    tree::{self, Tree},
    ui::Step,
};

/// How many archives of a kind are kept: each is up to some hundred megabytes.
const KEPT: usize = 3;

/// Where the content of a path comes from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// A file of this machine.
    File(PathBuf),
    /// A symbolic link to this path.
    Link(PathBuf),
    /// This text.
    Text(String),
    /// An empty folder with this mode.
    Folder(u32),
}

/// Some of an image's files, by their paths in it.
#[derive(Clone, Debug, Default)]
pub struct Layer(BTreeMap<PathBuf, Source>);

impl Layer {
    /// What every root has: the folders and files that programs look for.
    fn base() -> Self {
        let mut layer = Self::default();
        for top in tree::MERGED {
            layer.0.insert(Path::new("/").join(top), Source::Link(Path::new("usr").join(top)));
            layer.0.insert(Path::new("/usr").join(top), Source::Folder(0o755));
        }
        layer.0.insert("/tmp".into(), Source::Folder(0o1777));
        layer.text("/etc/passwd", "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534::/:/bin/false\n");
        layer.text("/etc/group", "root:x:0:\nnogroup:x:65534:\n");
        layer.text("/etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files dns\n");
        layer
    }

    fn text(&mut self, path: &str, text: &str) {
        self.0.insert(path.into(), Source::Text(text.to_owned()));
    }

    fn link(&mut self, path: &str, target: &str) {
        self.0.insert(path.into(), Source::Link(target.into()));
    }

    /// Adds the files of a plan.
    fn tree(&mut self, tree: &Tree) -> Result<()> {
        for (there, host) in tree.files() {
            let source = if host.is_symlink() {
                Source::Link(fs::read_link(host).with_context(|| format!("cannot read {}", host.display()))?)
            } else {
                Source::File(host.to_owned())
            };
            self.0.insert(there.to_owned(), source);
        }
        Ok(())
    }

    /// What tells whether anything in it has changed.
    fn stamps(&self) -> Result<Vec<impl std::hash::Hash>> {
        use std::os::unix::fs::MetadataExt;
        let stamp = |(path, source): (&PathBuf, &Source)| -> Result<_> {
            let file = match source {
                Source::File(host) => {
                    let meta =
                        fs::metadata(host).with_context(|| format!("cannot read {}", host.display()))?;
                    Some((meta.len(), meta.mtime(), meta.mtime_nsec(), meta.mode()))
                }
                _ => None,
            };
            Ok((path.clone(), source.clone(), file))
        };
        self.0.iter().map(stamp).collect()
    }
}

/// An image that is not yet made.
#[derive(Clone, Debug, Default)]
pub struct Image {
    /// Its full names, `docker.io/library/NAME:TAG`.
    pub names: Vec<String>,
    layers: Vec<Layer>,
    entrypoint: Vec<String>,
    arguments: Vec<String>,
    environment: Vec<String>,
    folder: String,
    user: String,
    ports: Vec<u16>,
}

impl Image {
    fn new(names: &[String], entrypoint: &[&str]) -> Self {
        Self {
            names: names.to_vec(),
            entrypoint: entrypoint.iter().map(|&word| word.to_owned()).collect(),
            environment: vec!["PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin".to_owned()],
            folder: "/".to_owned(),
            ..Self::default()
        }
    }
}

/// Images that come in one archive, because they share layers or belong together.
#[derive(Clone, Debug)]
pub struct Set {
    /// What they are called on the terminal and in the cache.
    pub kind: &'static str,
    images: Vec<Image>,
}

/// A set as an archive.
#[derive(Clone, Debug)]
pub struct Archive {
    /// What it is called.
    pub kind: &'static str,
    /// The archive.
    pub path: PathBuf,
    /// Each image's names and id.
    pub images: Vec<(Vec<String>, String)>,
}

impl Set {
    /// Finds or makes its archive.
    pub fn archive(&self) -> Result<Archive> {
        let mut key = Vec::new();
        for image in &self.images {
            let stamps = image.layers.iter().map(Layer::stamps).collect::<Result<Vec<_>>>()?;
            let run = (&image.entrypoint, &image.arguments, &image.environment, &image.folder);
            key.push(cache::key((stamps, &image.names, run, &image.user, &image.ports)));
        }
        let kind = format!("k8s-image/{}", self.kind);
        let dir = cache::get(&kind, &cache::key(key), |dir| {
            process::check_interrupted()?;
            Step::run(format!("making the image {}", self.kind), |_| {
                let ids = archive::write(&self.images, &dir.join("image.tar"))?;
                Ok(fs::write(dir.join("ids"), ids.join("\n"))?)
            })
        })?;
        cache::prune(&kind, KEPT);
        let ids = fs::read_to_string(dir.join("ids")).context("the cache holds an image without its id")?;
        let images = self.images.iter().zip(ids.lines()).map(|(i, id)| (i.names.clone(), id.to_owned()));
        Ok(Archive { kind: self.kind, path: dir.join("image.tar"), images: images.collect() })
    }
}
