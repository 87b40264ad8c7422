//! Recordings that are written, read back, cut short and damaged.

use super::*;
use std::os::{fd::AsRawFd as _, unix::fs::PermissionsExt as _};

#[test]
fn a_stream_reads_back_as_it_was_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("stream");
    let resource = Resource {
        service_name: "shop".into(),
        attributes: vec![Attribute::int("process.pid", 7), Attribute::str("service.name", "shop")],
    };
    let mut writer = Writer::create(&path, [7; 16]).unwrap();
    writer.write(&Input::Batch(Bytes::from_static(b"events"))).unwrap();
    writer.write(&Input::Process { tgid: 7, resource: resource.clone(), complete: false }).unwrap();
    writer.write(&Input::Clock { monotonic: 1, wall: u64::MAX }).unwrap();
    writer.flush().unwrap();
    let mut reader = Reader::open(&path).unwrap();
    assert_eq!(reader.seed, [7; 16]);
    assert!(matches!(reader.read(), Ok(Some(Input::Batch(b))) if b.as_ref() == b"events"));
    assert!(
        matches!(reader.read(), Ok(Some(Input::Process { tgid: 7, resource: r, complete: false })) if r == resource)
    );
    assert!(matches!(reader.read(), Ok(Some(Input::Clock { monotonic: 1, wall: u64::MAX }))));
    assert!(matches!(reader.read(), Ok(None)));
}

#[test]
fn a_stream_is_its_owners_alone_and_written_over_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let (new, old, link) = (folder.path().join("new"), folder.path().join("old"), folder.path().join("link"));
    Writer::create(&new, [0; 16]).unwrap();
    assert_eq!(std::fs::metadata(&new).unwrap().permissions().mode() & 0o7777, 0o600);
    std::fs::write(&old, "precious").unwrap();
    std::os::unix::fs::symlink(&old, &link).unwrap();
    for path in [&old, &link, &new] {
        let message = Writer::create(path, [0; 16]).err().map(|e| e.to_string()).unwrap_or_default();
        assert!(message.contains("is there already"), "{message}");
    }
    assert_eq!(std::fs::read_to_string(&old).unwrap(), "precious");
}

#[test]
fn a_device_or_a_pipe_may_be_there() {
    Writer::create(Path::new("/dev/null"), [0; 16]).unwrap();
    let (mut reader, writer) = std::io::pipe().unwrap();
    let path = format!("/proc/self/fd/{}", writer.as_raw_fd());
    let mut stream = Writer::create(Path::new(&path), [0; 16]).unwrap();
    stream.flush().unwrap();
    drop((stream, writer));
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    assert!(text.contains(FORMAT), "{text}");
}

#[test]
fn what_is_no_stream_is_refused_and_a_cut_one_ends() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("stream");
    std::fs::write(&path, "hello\n").unwrap();
    assert!(matches!(Reader::open(&path), Err(Error::Format(_))));
    std::fs::remove_file(&path).unwrap();
    let mut writer = Writer::create(&path, [0; 16]).unwrap();
    writer.write(&Input::Batch(Bytes::from_static(b"events"))).unwrap();
    drop(writer);
    let whole = std::fs::read(&path).unwrap();
    std::fs::write(&path, &whole[..whole.len() - 2]).unwrap();
    assert!(matches!(Reader::open(&path).unwrap().read(), Ok(None)));
    let other = String::from_utf8_lossy(&whole).replacen(&format!("\"abi\":{ABI_VERSION}"), "\"abi\":9", 1);
    std::fs::write(&path, other).unwrap();
    let message = Reader::open(&path).err().map(|e| e.to_string()).unwrap_or_default();
    assert!(message.contains("version 9"), "{message}");
}
