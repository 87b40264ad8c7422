//! Whether a process serves its requests on event loops, where a thread is no evidence of whose work it does.
//!
//! In: a runtime whose threads would be evidence otherwise, and what `/proc` shows of its use now: to have imported
//! asyncio says little, to hold an epoll descriptor beside it says enough. Out: the reason, or nothing. Where `/proc`
//! does not tell, the answer is the cautious one.

use std::{fs, path::Path};

use super::{
    Procfs, Runtime, elf,
    runtime::{file_name, libraries},
};

/// What a Python with a built-in asyncio exports.
const ASYNCIO: &[u8] = b"PyInit__asyncio";

/// In the names of a JVM's threads that serve several requests each: Netty, Reactor, Vert.x, XNIO, Akka, Pekko, Armeria,
/// Ktor, virtual threads. As far as the kernel keeps a name: 15 bytes, of which newer JVMs use seven for the beginning
/// and six for the end, with two dots between them. All in lower case.
const LOOPS: [&str; 23] = [
    "nioeven",
    "epollev",
    "kqueue",
    "ventloop",
    "eventlo",
    "multithreadioev",
    "..up-",
    "..p-",
    "netty",
    " i/o",
    "reactor",
    "vert.x",
    "-akk",
    "akka.",
    "-pek",
    "pekko.",
    "armeria",
    "forkjoinpool-1-",
    "virtualthread-u",
    "virtual..",
    "read-poller",
    "masterpoller",
    "master-poller",
];
/// How those names begin where the loops are a client library's: they read no requests.
const CLIENTS: [&str; 5] = ["lettuce", "redisson", "aws-java", "pulsar", "kafka"];

/// What a Python waits with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PythonLoop {
    /// asyncio's own loop, or one that may be.
    Asyncio,
    /// uvloop.
    Uvloop,
    /// Greenlets.
    Greenlets,
}

/// The event loop that the Python in process `pid` seems to wait with.
pub fn python_loop(procfs: &Procfs, pid: u32, runtime: &Runtime) -> Option<PythonLoop> {
    match python(procfs, pid, runtime)? {
        "uvloop" => Some(PythonLoop::Uvloop),
        "gevent" | "greenlet" => Some(PythonLoop::Greenlets),
        _ => Some(PythonLoop::Asyncio),
    }
}

/// The event loop that process `pid` seems to serve requests with.
pub fn event_loop(procfs: &Procfs, pid: u32, runtime: &Runtime) -> Option<String> {
    match runtime {
        Runtime::Java => {
            java(procfs, pid).map(|thread| format!("an event loop or virtual threads (thread {thread})"))
        }
        Runtime::Python { .. } => {
            python(procfs, pid, runtime).map(|module| format!("an event loop ({module})"))
        }
        Runtime::Ruby => {
            let fibers = libraries(procfs, pid).iter().any(|path| file_name(path).starts_with("IO_Event."));
            fibers.then(|| "an event loop (fibers)".to_owned())
        }
        _ => None,
    }
}

/// Whether process `pid` may run asyncio somewhere, whatever else it does.
pub fn may_run_asyncio(procfs: &Procfs, pid: u32, runtime: &Runtime) -> bool {
    let &Runtime::Python { asyncio, uvloop, .. } = runtime else { return false };
    asyncio || uvloop || may_have_asyncio(procfs, pid)
}

/// Whether a process on `runtime` has loaded nothing that an event loop could be made of.
pub fn has_no_event_loop_modules(runtime: &Runtime) -> bool {
    matches!(runtime, Runtime::Python { asyncio: false, greenlet: false, gevent: false, uvloop: false })
}

fn java(procfs: &Procfs, pid: u32) -> Option<String> {
    let tasks = fs::read_dir(procfs.path(pid, "task")).ok()?;
    let names = tasks.filter_map(|task| fs::read_to_string(task.ok()?.path().join("comm")).ok());
    names.map(|name| name.trim_end_matches('\n').to_owned()).find(|name| is_loop(name))
}

fn is_loop(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    !CLIENTS.iter().any(|client| name.starts_with(client)) && LOOPS.iter().any(|part| name.contains(part))
}

fn python(procfs: &Procfs, pid: u32, runtime: &Runtime) -> Option<&'static str> {
    let &Runtime::Python { asyncio, greenlet, gevent, uvloop } = runtime else { return None };
    match () {
        () if uvloop => Some("uvloop"),
        () if gevent => Some("gevent"),
        () if !holds_epoll(procfs, pid) => None,
        () if asyncio => Some("asyncio"),
        () if greenlet => Some("greenlet"),
        () => may_have_asyncio(procfs, pid).then_some("asyncio, perhaps"),
    }
}

fn holds_epoll(procfs: &Procfs, pid: u32) -> bool {
    let Ok(descriptors) = fs::read_dir(procfs.path(pid, "fd")) else { return true };
    descriptors
        .filter_map(|entry| fs::read_link(entry.ok()?.path()).ok())
        .any(|target| target == Path::new("anon_inode:[eventpoll]"))
}

/// Whether asyncio is built into the interpreter, or that cannot be told.
fn may_have_asyncio(procfs: &Procfs, pid: u32) -> bool {
    let mut answers = vec![elf::exports(&procfs.path(pid, "exe"), ASYNCIO)];
    for path in libraries(procfs, pid) {
        if file_name(&path).starts_with("libpypy") {
            return true;
        }
        if file_name(&path).starts_with("libpython") {
            let file = procfs.path(pid, "root").join(path.strip_prefix("/").unwrap_or(&path));
            answers.push(elf::exports(&file, ASYNCIO));
        }
    }
    answers.iter().any(|exported| *exported != Some(false))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::fixture::Fixture;

    const SERVER: u32 = 9;

    /// As `/proc/PID/task/*/comm` has them: Spring Boot 3 on Tomcat, on JDK 17 and as JDK 21 shortens names.
    const TOMCAT: [&str; 22] = [
        "java",
        "http-nio-8080-e",
        "http-nio-8080-P",
        "http-nio-8080-A",
        "http-ni..exec-1",
        "http-ni..Poller",
        "http-ni..ceptor",
        "Catalina-utilit",
        "container-0",
        "HikariPool-1 ho",
        "HikariP..keeper",
        "scheduling-1",
        "pool-1-thread-1",
        "ForkJoinPool.co",
        "ForkJoi..rker-1",
        "G1 Conc#0",
        "C2 CompilerThre",
        "Common-Cleaner",
        "qtp1562398427-3",
        "qtp1562..427-35",
        "lettuce-nioEven",
        "lettuce..up-4-1",
    ];
    const LOOPING: [&str; 29] = [
        "nioEventLoopGro",
        "nioEven..up-3-1",
        "epollEventLoopG",
        "epollEv..up-2-4",
        "kqueueEventLoop",
        "default-nioEven",
        "default..up-1-3",
        "multiThreadIoEv",
        "multiTh..up-2-1",
        "eventLoopGroupP",
        "eventLo..xy-4-1",
        "reactor-http-ni",
        "reactor..-nio-2",
        "vert.x-eventloo",
        "vert.x-..read-1",
        "XNIO-1 I/O-1",
        "default I/O-1",
        "shop-akka.actor",
        "application-akk",
        "application-pek",
        "my-pekko.actor.",
        "armeria-common-",
        "armeria..io-2-1",
        "ForkJoinPool-1-",
        "VirtualThread-u",
        "Virtual..parker",
        "Read-Poller",
        "MasterPoller",
        "netty-worker-1",
    ];

    #[test]
    fn threads_of_a_jvm() {
        for name in TOMCAT {
            assert!(!is_loop(name), "{name}");
        }
        for name in LOOPING {
            assert!(is_loop(name), "{name}");
        }
        let fixture = Fixture::new();
        for (thread, comm) in TOMCAT.iter().enumerate() {
            fixture.write(SERVER, &format!("task/{thread}/comm"), format!("{comm}\n").as_bytes());
        }
        assert_eq!(event_loop(&fixture.procfs(), SERVER, &Runtime::Java), None);
        fixture.write(SERVER, "task/99/comm", b"default I/O-1\n");
        let found = event_loop(&fixture.procfs(), SERVER, &Runtime::Java);
        assert_eq!(found.as_deref(), Some("an event loop or virtual threads (thread default I/O-1)"));
    }

    /// The loop of a Python with these modules, an epoll descriptor or none, and an executable that exports this.
    fn python_loop(modules: [bool; 4], epoll: bool, exports: &str) -> Option<String> {
        let fixture = Fixture::new();
        let target = if epoll { "anon_inode:[eventpoll]" } else { "socket:[4]" };
        fixture.link(SERVER, "fd/3", target);
        let exe = fixture.root().join("python");
        std::fs::write(&exe, elf::fixture::with_dynamic_names(exports)).unwrap();
        fixture.link(SERVER, "exe", exe.to_str().unwrap());
        let [asyncio, greenlet, gevent, uvloop] = modules;
        event_loop(&fixture.procfs(), SERVER, &Runtime::Python { asyncio, greenlet, gevent, uvloop })
    }

    const NOTHING: [bool; 4] = [false; 4];
    const IMPORTED: [bool; 4] = [true, false, false, false];
    const GREENLET: [bool; 4] = [false, true, false, false];

    #[test]
    fn what_is_imported_counts_when_it_is_used() {
        let none = "Py_BytesMain";
        // Django under gunicorn's sync workers, Flask with redis or SQLAlchemy.
        assert_eq!(python_loop(IMPORTED, false, none), None);
        assert_eq!(python_loop(GREENLET, false, none), None);
        // gunicorn's gthread selects by epoll, without asyncio.
        assert_eq!(python_loop(NOTHING, true, none), None);
        assert_eq!(python_loop(IMPORTED, true, none).as_deref(), Some("an event loop (asyncio)"));
        assert_eq!(python_loop(GREENLET, true, none).as_deref(), Some("an event loop (greenlet)"));
        // They bring their own ways to wait.
        assert!(python_loop([false, true, true, false], false, none).is_some());
        assert!(python_loop([false, false, false, true], false, none).is_some());
    }

    #[test]
    fn beside_greenlets_asyncio_may_run() {
        let fixture = Fixture::new();
        let exe = fixture.root().join("python");
        fixture.link(SERVER, "exe", exe.to_str().unwrap());
        let runtime = |asyncio| Runtime::Python { asyncio, greenlet: true, gevent: true, uvloop: false };
        for (exports, asyncio, expected) in
            [("Py_BytesMain", false, false), ("Py_BytesMain", true, true), ("PyInit__asyncio", false, true)]
        {
            std::fs::write(&exe, elf::fixture::with_dynamic_names(exports)).unwrap();
            assert_eq!(may_run_asyncio(&fixture.procfs(), SERVER, &runtime(asyncio)), expected, "{exports}");
        }
        std::fs::remove_file(&exe).unwrap();
        assert!(may_run_asyncio(&fixture.procfs(), SERVER, &runtime(false)));
    }

    #[test]
    fn a_built_in_asyncio_is_not_mapped() {
        assert!(python_loop(NOTHING, true, "PyInit__asyncio").is_some());
        assert_eq!(python_loop(NOTHING, false, "PyInit__asyncio"), None);
    }

    #[test]
    fn what_cannot_be_read_may_loop() {
        let fixture = Fixture::new();
        fixture.process(SERVER, &["/x/python3"], "/");
        let runtime = Runtime::Python { asyncio: true, greenlet: false, gevent: false, uvloop: false };
        assert!(event_loop(&fixture.procfs(), SERVER, &runtime).is_some());
    }
}
