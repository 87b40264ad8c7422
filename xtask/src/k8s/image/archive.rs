//! Images as files: what `docker save` writes and containerd imports, made without a container engine.
//!
//! In: images with their layers. Out: one tar file. The same files always give the same digests: owners are root,
//! entries are in order, only files have a time.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, BufReader, BufWriter, Read, Write},
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tar::{Builder, EntryType, Header};

use super::{Image, Layer, Source};

/// Writes `images` as one archive to `path`; returns the id of each.
pub fn write(images: &[Image], path: &Path) -> Result<Vec<String>> {
    let mut archive = Builder::new(BufWriter::new(File::create(path)?));
    let mut manifest = Vec::new();
    let mut ids = Vec::new();
    // Layers that images share are written once.
    let mut written = BTreeMap::new();
    for image in images {
        let mut digests = Vec::new();
        for layer in &image.layers {
            let folder = path.parent().unwrap_or(Path::new("."));
            let (digest, file) = save(layer, folder)?;
            if written.insert(digest.clone(), ()).is_none() {
                let mut header = header(EntryType::Regular, 0o644);
                header.set_size(file.metadata()?.len());
                archive.append_data(&mut header, layer_name(&digest), BufReader::new(file))?;
            }
            digests.push(digest);
        }
        let config = configuration(image, &digests).to_string();
        let id = hexadecimal(&Sha256::digest(&config));
        append(&mut archive, &format!("{id}.json"), config.as_bytes())?;
        let layers: Vec<_> = digests.iter().map(|d| layer_name(d)).collect();
        manifest.push(json!({"Config": format!("{id}.json"), "RepoTags": image.names, "Layers": layers}));
        ids.push(id);
    }
    append(&mut archive, "manifest.json", Value::from(manifest).to_string().as_bytes())?;
    archive.into_inner()?.flush()?;
    Ok(ids)
}

/// What a runtime must know to run it.
fn configuration(image: &Image, digests: &[String]) -> Value {
    let digests: Vec<_> = digests.iter().map(|digest| format!("sha256:{digest}")).collect();
    let ports: serde_json::Map<_, _> =
        image.ports.iter().map(|port| (format!("{port}/tcp"), json!({}))).collect();
    json!({
        "architecture": architecture(),
        "os": "linux",
        "config": {
            "Entrypoint": image.entrypoint, "Cmd": image.arguments, "Env": image.environment,
            "WorkingDir": image.folder, "User": image.user, "ExposedPorts": ports,
        },
        "rootfs": {"type": "layers", "diff_ids": digests},
        "history": digests.iter().map(|_| json!({"created_by": "cargo xtask k8s"})).collect::<Vec<_>>(),
    })
}

/// This machine's, by the name that images use.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn layer_name(digest: &str) -> String {
    format!("{digest}/layer.tar")
}

/// The layer as a tar file without a name in `folder`, at its start, and its digest.
fn save(layer: &Layer, folder: &Path) -> Result<(String, File)> {
    let path = folder.join("layer.tar");
    let file = File::options().read(true).write(true).create(true).truncate(true).open(&path)?;
    std::fs::remove_file(&path)?;
    let mut archive = Builder::new(Hashing { to: BufWriter::new(file), hash: Sha256::new() });
    pack(layer, &mut archive)?;
    let Hashing { to, hash } = archive.into_inner()?;
    let mut file = to.into_inner().map_err(io::IntoInnerError::into_error)?;
    io::Seek::rewind(&mut file)?;
    Ok((hexadecimal(&hash.finalize()), file))
}

/// The entries in order, each after the folders above it.
fn pack(layer: &Layer, archive: &mut Builder<impl Write>) -> Result<()> {
    let mut entries: BTreeMap<PathBuf, Option<&Source>> = BTreeMap::new();
    for (path, source) in &layer.0 {
        let path = path.strip_prefix("/").unwrap_or(path);
        for folder in path.ancestors().skip(1).filter(|folder| !folder.as_os_str().is_empty()) {
            entries.entry(folder.to_path_buf()).or_insert(None);
        }
        entries.insert(path.to_path_buf(), Some(source));
    }
    for (path, source) in entries {
        add(&path, source, archive).with_context(|| format!("cannot put {} into a layer", path.display()))?;
    }
    Ok(())
}

fn add(path: &Path, source: Option<&Source>, archive: &mut Builder<impl Write>) -> Result<()> {
    match source {
        None | Some(Source::Folder(_)) => {
            let mode = if let Some(Source::Folder(mode)) = source { *mode } else { 0o755 };
            archive.append_data(&mut header(EntryType::Directory, mode), path, io::empty())?;
        }
        Some(Source::Link(target)) => {
            archive.append_link(&mut header(EntryType::Symlink, 0o777), path, target)?;
        }
        Some(Source::Text(text)) => {
            let mut header = header(EntryType::Regular, 0o644);
            header.set_size(text.len() as u64);
            archive.append_data(&mut header, path, text.as_bytes())?;
        }
        Some(Source::File(host)) => {
            let file = File::open(host).with_context(|| format!("cannot read {}", host.display()))?;
            let meta = file.metadata()?;
            // Whoever the container runs as can read it: what only root may read here is no secret there.
            let mode = if meta.permissions().mode() & 0o111 == 0 { 0o644 } else { 0o755 };
            let mut header = header(EntryType::Regular, mode);
            header.set_size(meta.len());
            // Java's and Python's caches of what they load name the times of their sources.
            header.set_mtime(u64::try_from(meta.mtime()).unwrap_or(0));
            archive.append_data(&mut header, path, BufReader::new(file).take(meta.len()))?;
        }
    }
    Ok(())
}

fn append(archive: &mut Builder<impl Write>, name: &str, content: &[u8]) -> Result<()> {
    let mut header = header(EntryType::Regular, 0o644);
    header.set_size(content.len() as u64);
    Ok(archive.append_data(&mut header, name, content)?)
}

fn header(kind: EntryType, mode: u32) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    header.set_size(0);
    header
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Passes on what is written, and its digest at the end.
struct Hashing<W> {
    to: W,
    hash: Sha256,
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.to.write(bytes)?;
        self.hash.update(bytes.get(..count).unwrap_or_default());
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(name: &str, layers: &[Layer]) -> Image {
        let mut image = Image::new(&[name.to_owned()], &["/bin/app"]);
        image.layers = layers.to_vec();
        image.ports = vec![8080];
        image
    }

    fn entries(bytes: &[u8]) -> BTreeMap<String, Vec<u8>> {
        let mut archive = tar::Archive::new(bytes);
        let read = |entry: io::Result<tar::Entry<'_, &[u8]>>| {
            let mut entry = entry.expect("an entry");
            let path = entry.path().expect("a path").display().to_string();
            let mut content = Vec::new();
            entry.read_to_end(&mut content).expect("content");
            (path, content)
        };
        archive.entries().expect("a tar file").map(read).collect()
    }

    #[test]
    fn layers_are_shared_and_named_by_their_digest() {
        let folder = std::env::temp_dir().join(format!("sockspan-archive-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        let mut base = Layer::default();
        base.0.insert("/etc/name".into(), Source::Text("base".to_owned()));
        base.0.insert("/bin".into(), Source::Link("usr/bin".into()));
        let mut top = Layer::default();
        top.0.insert("/usr/bin/app".into(), Source::File("/bin/sh".into()));
        let images =
            [image("docker.io/library/a:1", &[base.clone(), top]), image("docker.io/library/b:1", &[base])];
        let path = folder.join("image.tar");
        let ids = write(&images, &path).expect("an archive");
        let again = write(&images, &folder.join("again.tar")).expect("an archive");
        let bytes = std::fs::read(&path).expect("a file");
        assert_eq!(ids, again, "the same contents have the same digests");
        std::fs::remove_dir_all(&folder).expect("the folder goes");

        let entries = entries(&bytes);
        assert_eq!(entries.keys().filter(|name| name.ends_with("layer.tar")).count(), 2, "one is shared");
        let manifest: Value = serde_json::from_slice(&entries["manifest.json"]).expect("JSON");
        assert_eq!(manifest[0]["RepoTags"][0], "docker.io/library/a:1");
        assert_eq!(manifest[0]["Layers"][0], manifest[1]["Layers"][0]);
        for (at, id) in ids.iter().enumerate() {
            let config = &entries[&format!("{id}.json")];
            assert_eq!(hexadecimal(&Sha256::digest(config)), *id);
            let config: Value = serde_json::from_slice(config).expect("JSON");
            assert_eq!(config["config"]["Entrypoint"][0], "/bin/app");
            for (digest, layer) in config["rootfs"]["diff_ids"]
                .as_array()
                .expect("digests")
                .iter()
                .zip(manifest[at]["Layers"].as_array().expect("layers"))
            {
                let content = &entries[layer.as_str().expect("a name")];
                assert_eq!(*digest, format!("sha256:{}", hexadecimal(&Sha256::digest(content))));
            }
        }
    }

    #[test]
    fn folders_come_before_what_is_in_them() {
        let mut layer = Layer::default();
        layer.0.insert("/app/lib/x".into(), Source::Text(String::new()));
        layer.0.insert("/tmp".into(), Source::Folder(0o1777));
        let mut archive = Builder::new(Vec::new());
        pack(&layer, &mut archive).expect("a layer");
        let bytes = archive.into_inner().expect("bytes");
        let mut archive = tar::Archive::new(&bytes[..]);
        let found: Vec<_> = archive
            .entries()
            .expect("a tar file")
            .map(|e| e.expect("an entry"))
            .map(|e| (e.path().expect("a path").display().to_string(), e.header().mode().expect("a mode")))
            .collect();
        let expected = [("app", 0o755), ("app/lib", 0o755), ("app/lib/x", 0o644), ("tmp", 0o1777)];
        assert_eq!(found, expected.map(|(path, mode)| (path.to_owned(), mode)));
    }
}
