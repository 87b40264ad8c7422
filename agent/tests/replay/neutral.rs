//! Keeps the recorded streams small and free of the machine they were recorded on.

use std::{ffi::OsString, fs};

use sockspan::{
    record::Input,
    span::{Resource, Value},
};

use super::stream::{self, Part};

/// What a stream keeps of its processes: nothing that names a machine or a place on it.
const KEPT: [&str; 6] = [
    "host.arch",
    "os.type",
    "process.executable.name",
    "process.pid",
    "process.runtime.name",
    "service.name",
];
/// Bytes of a stream at most.
const SMALL: u64 = 40_000;

/// Takes over the recordings of a folder, in place of the streams.
fn take_over(from: OsString) {
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let (mut parts, _) = stream::read(&path);
        for part in &mut parts {
            if let Part::Other(Input::Process { resource, .. }) = part {
                resource.attributes.retain(|a| KEPT.contains(&a.key.as_ref()));
            }
        }
        stream::write(&stream::folder().join(path.file_name().unwrap()), [7; 16], &parts, |_| false);
    }
}

fn streams() -> Vec<std::path::PathBuf> {
    let entries = fs::read_dir(stream::folder()).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.extension().is_some_and(|e| e == "stream")).collect()
}

fn resources(parts: Vec<Part>) -> Vec<Resource> {
    let resource =
        |part| if let Part::Other(Input::Process { resource, .. }) = part { Some(resource) } else { None };
    parts.into_iter().filter_map(resource).collect()
}

#[test]
fn streams_are_small_and_name_no_machine() {
    // Asked for, new ones are taken over first.
    if let Some(folder) = std::env::var_os("SOCKSPAN_RECORDINGS") {
        take_over(folder);
    }
    assert_eq!(streams().len(), super::CASES.len() * super::MODES.len());
    for path in streams() {
        let bytes = fs::read(&path).unwrap();
        assert!(bytes.len() as u64 <= SMALL, "{}: {} bytes", path.display(), bytes.len());
        for place in ["/home/", "/root/", "/usr/", "/tmp/"] {
            assert!(memchr::memmem::find(&bytes, place.as_bytes()).is_none(), "{}: {place}", path.display());
        }
        for resource in resources(stream::read(&path).0) {
            for attribute in resource.attributes {
                assert!(KEPT.contains(&attribute.key.as_ref()), "{}: {}", path.display(), attribute.key);
                let absolute = matches!(&attribute.value, Value::Str(s) if s.starts_with('/') && attribute.key != "url.path");
                assert!(!absolute, "{}: {attribute:?}", path.display());
            }
        }
    }
}
