//! What a process has mapped, and the runtime that this is.

use super::*;
use crate::process::fixture::Fixture;

/// The runtime of a process with this executable (a name, or a real file) and these mapped files.
fn detect(exe: &str, files: &[&str]) -> Runtime {
    let fixture = Fixture::new();
    fixture.process(9, &[exe], "/");
    let lines = files.iter().flat_map(|file| {
        ["r--p 00000000", "r-xp 00001000"].map(|rest| format!("7f00-7f01 {rest} 08:01 42   {file}\n"))
    });
    let anonymous =
        "7ffc-7ffd rw-p 00000000 00:00 0    [stack]\n7f02-7f03 rw-p 00000000 00:00 0 \n".to_owned();
    fixture.write(9, "maps", lines.chain([anonymous]).collect::<String>().as_bytes());
    let procfs = fixture.procfs();
    Runtime::detect(&procfs, &procfs.process(9).unwrap())
}

fn python(asyncio: bool, greenlet: bool, uvloop: bool) -> Runtime {
    Runtime::Python { asyncio, greenlet, gevent: false, uvloop }
}

#[test]
fn by_mapped_libraries() {
    assert_eq!(detect("/x/java", &["/usr/lib/jvm/17/lib/server/libjvm.so"]), Runtime::Java);
    let library = "/usr/lib/x86_64-linux-gnu/libnode.so.108";
    assert_eq!(detect("/x/nodejs", &[library]), Runtime::Node { library: Some(library.into()) });
    assert_eq!(detect("/x/web", &["/usr/share/dotnet/libcoreclr.so"]), Runtime::Dotnet);
    assert_eq!(detect("/x/puma", &["/usr/lib/libruby-3.1.so.3.1"]), Runtime::Ruby);
    assert_eq!(detect("/x/apache2", &["/usr/lib/apache2/modules/libphp8.2.so"]), Runtime::Php);
    assert_eq!(detect("/x/uwsgi", &["/usr/lib/libpython3.11.so.1.0"]), python(false, false, false));
}

#[test]
fn event_loops_of_python() {
    let site = "/app/.venv/lib/python3.12/site-packages";
    assert_eq!(
        detect(
            "/x/python3.12",
            &["/usr/lib/python3.12/lib-dynload/_asyncio.cpython-312-x86_64-linux-gnu.so"]
        ),
        python(true, false, false)
    );
    let uvloop = format!("{site}/uvloop/loop.cpython-312-x86_64-linux-gnu.so");
    let greenlet = format!("{site}/greenlet/_greenlet.cpython-312-x86_64-linux-gnu.so");
    assert_eq!(detect("/x/python3.12", &[&uvloop, &greenlet]), python(false, true, true));
    let hub = format!("{site}/gevent/_gevent_c_hub_local.cpython-312-x86_64-linux-gnu.so");
    let gevent = Runtime::Python { asyncio: false, greenlet: true, gevent: true, uvloop: false };
    assert_eq!(detect("/x/python3.12", &[&hub, &greenlet]), gevent);
}

#[test]
fn by_the_name_of_the_executable() {
    assert_eq!(detect("/x/node", &[]), Runtime::Node { library: None });
    assert_eq!(detect("/x/python3", &[]), python(false, false, false));
    assert_eq!(detect("/x/php-fpm8.2", &[]), Runtime::Php);
    assert_eq!(detect("/x/ruby3.1", &[]), Runtime::Ruby);
    assert_eq!(detect("/x/node_exporter", &["/lib/libc.so.6"]), Runtime::Native);
}

#[test]
fn this_test_is_native() {
    let procfs = Procfs::new("/proc").unwrap();
    let process = procfs.process(std::process::id()).unwrap();
    let runtime = Runtime::detect(&procfs, &process);
    assert_eq!((runtime.language(), runtime.name()), ("generic", None));
}

#[test]
fn names_by_the_conventions() {
    let node = Runtime::Node { library: None };
    assert_eq!((node.language(), node.name()), ("nodejs", Some("nodejs")));
    assert_eq!((Runtime::Java.language(), Runtime::Java.name()), ("java", None));
}
