//! What the agent says when it can't work: the cause, and what to do about it, in words that a stranger can act on.
//!
//! In: command lines, environments and machines that lack something. Out: exit codes and messages.

use std::{
    fs,
    os::unix::{
        fs::PermissionsExt,
        process::{CommandExt, ExitStatusExt},
    },
    process::Command,
    thread,
    time::Duration,
};

use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, unshare},
};
use sockspan_tests::{
    agent::{self, command, finish},
    child::Scratch,
    given,
    services::free_port,
};

const LIMIT: Duration = Duration::from_secs(20);
/// A user that may nothing.
const NOBODY: u32 = 65534;

/// Runs a command that must fail; its whole message.
fn refusal(command: &mut Command) -> String {
    let ended = finish(command, LIMIT);
    println!("$ {command:?}\n{}", ended.log);
    assert_eq!(ended.status.code(), Some(1), "signal {:?}: {}", ended.status.signal(), ended.log);
    ended.log
}

/// `sockspan run` of this very process, with these variables.
fn with(variables: &[(&str, &str)]) -> String {
    let mut command = command();
    command.args(["run", "--admin-address", "off", "--pid", &std::process::id().to_string()]);
    refusal(command.envs(variables.iter().copied()))
}

/// `sockspan` with these arguments.
fn by(arguments: &[&str]) -> String {
    refusal(command().args(arguments))
}

#[track_caller]
fn assert_says(message: &str, parts: &[&str]) {
    for part in parts {
        assert!(message.contains(part), "{part:?} is missing in:\n{message}");
    }
}

#[test]
fn without_rights() {
    // The folders above the agent may be closed to others.
    let copy = Scratch::new("sockspan");
    fs::copy(given::agent(), &copy.0).expect("the agent can be copied");
    fs::set_permissions(&copy.0, fs::Permissions::from_mode(0o755)).expect("a file of our own");
    let mut run = agent::command_of(&copy.0);
    run.args(["run", "--all"]).uid(NOBODY).gid(NOBODY);
    let message = refusal(&mut run);
    assert_says(
        &message,
        &[
            "capabilities: no CAP_BPF, no CAP_PERFMON: BPF programs can't be loaded",
            "cure: run it as root, or `setcap cap_bpf,cap_perfmon,",
            "capabilities.add: [BPF, PERFMON, SYS_PTRACE, DAC_READ_SEARCH]",
        ],
    );
    let mut preflight = agent::command_of(&copy.0);
    preflight.arg("preflight").uid(NOBODY).gid(NOBODY);
    assert_says(
        &refusal(&mut preflight),
        &["XX  capabilities", "cure: run it as root", "The agent can't work here"],
    );
}

/// Runs a command where the kernel seems not to describe its types.
fn without_btf(mut command: Command) -> String {
    let hidden = thread::spawn(move || {
        unshare(CloneFlags::CLONE_NEWNS).expect("root may make mount namespaces");
        let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
        mount(None::<&str>, "/", None::<&str>, private, None::<&str>).expect("mounts can be made private");
        mount(Some("none"), "/sys/kernel/btf", Some("tmpfs"), MsFlags::empty(), None::<&str>)
            .expect("root may mount");
        refusal(&mut command)
    });
    hidden.join().expect("it refused")
}

#[test]
fn without_btf_in_the_kernel() {
    let mut run = command();
    run.args(["run", "--all"]);
    assert_says(
        &without_btf(run),
        &[
            "btf: /sys/kernel/btf/vmlinux",
            "the kernel does not describe its types",
            "CONFIG_DEBUG_INFO_BTF=y",
        ],
    );
    let mut preflight = command();
    preflight.args(["preflight", "--json"]);
    let report = without_btf(preflight);
    let report: serde_json::Value = serde_json::from_str(&report).expect("it is JSON");
    let checks = report["checks"].as_array().expect("it has checks");
    let btf = checks.iter().find(|check| check["name"] == "btf").expect("it has this one");
    assert_eq!((&report["verdict"], &btf["verdict"]), (&"fatal".into(), &"fatal".into()));
    assert!(btf["cure"].as_str().is_some_and(|cure| cure.contains("CONFIG_DEBUG_INFO_BTF")), "{btf}");
}

#[test]
fn endpoints_that_are_none() {
    let accepted = "accepted are http://host:port, https://host:port and host:port";
    for value in ["collector:port", "ftp://collector:4317", "http://"] {
        let message = with(&[("OTEL_EXPORTER_OTLP_ENDPOINT", value)]);
        assert_says(&message, &[&format!("OTEL_EXPORTER_OTLP_ENDPOINT={value:?}: {accepted}")]);
    }
    let message = with(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://me:hunter2@collector:4317")]);
    assert_says(&message, &["credentials do not belong in the URL; send them by OTEL_EXPORTER_OTLP_HEADERS"]);
    assert!(!message.contains("hunter2"), "{message}");
}

#[test]
fn standard_variables_that_are_not_understood() {
    let table = [
        (
            "OTEL_EXPORTER_OTLP_PROTOCOL",
            "http/json",
            "JSON is not supported; accepted are grpc, http/protobuf",
        ),
        ("OTEL_TRACES_EXPORTER", "zipkin", "accepted are otlp, console, none"),
        ("OTEL_TRACES_SAMPLER", "often", "accepted are always_on, always_off, traceidratio"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "many", "a whole number of at least 1 is accepted"),
        ("OTEL_RESOURCE_ATTRIBUTES", "team", "is not of the form key=value"),
    ];
    for (name, value, part) in table {
        assert_says(&with(&[(name, value)]), &[name, part]);
    }
    let tls = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://localhost:4317"),
        ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/nonexistent.pem"),
    ];
    assert_says(&with(&tls), &["OTEL_EXPORTER_OTLP_CERTIFICATE", "/nonexistent.pem", "No such file"]);
}

#[test]
fn a_settings_file_with_mistakes() {
    let yaml = "probes: auto\n\nprobse: sock\nring-buffer: much\notel:\n  OTEL_BSP_MAX_QUEUE_SIZE: 100\n";
    let file = Scratch::with("settings.yaml", yaml);
    let path = file.0.to_str().expect("a path of our own making");
    let message = by(&["run", "--all", "--config", path]);
    assert_says(
        &message,
        &[
            &format!("{path}:3: unknown setting probse; did you mean probes?"),
            &format!("{path}:4: ring-buffer: \"much\": a size is accepted"),
        ],
    );
    let broken = Scratch::with("broken.yaml", "probes: auto\n  port: 80\n");
    let path = broken.0.to_str().expect("a path of our own making");
    assert_says(&by(&["config", "--config", path]), &[&format!("{path}:2: not YAML: ")]);
    assert_says(
        &by(&["config", "--config", "/nonexistent.yaml"]),
        &["/nonexistent.yaml (--config)", "No such file"],
    );
}

#[test]
fn processes_that_are_not_there() {
    let mut gone = Command::new("true").spawn().expect("true is everywhere");
    let pid = gone.id().to_string();
    gone.wait().expect("it ends");
    let message = by(&["run", "--pid", &pid]);
    assert_says(
        &message,
        &[&format!("--pid {pid}: there is no such process"), "`--exe GLOB` or `--port PORT`"],
    );
    assert_says(&by(&["run", "--pid", "x"]), &["--pid \"x\": a process id is accepted"]);
    assert_says(
        &by(&["run"]),
        &["no process is selected", "--pid PID", "--exe GLOB", "--port PORT", "--all"],
    );
}

#[test]
fn an_admin_port_that_is_taken() {
    let port = free_port();
    let _taken = std::net::TcpListener::bind(("127.0.0.1", port)).expect("it was free a moment ago");
    let message = by(&["run", "--all", "--admin-address", &format!("127.0.0.1:{port}")]);
    assert_says(&message, &["something else (another sockspan?) listens on port", "--admin-address"]);
}

#[test]
fn streams_that_are_none() {
    let text = Scratch::with("text", "hello\n");
    let path = text.0.to_str().expect("a path of our own making");
    assert_says(&by(&["replay", path]), &[path, "not an event stream; `sockspan record FILE` writes one"]);
    assert_says(&by(&["replay", "/nonexistent"]), &["/nonexistent", "No such file"]);
    assert_says(
        &by(&["record", "/nonexistent/stream", "--all", "--admin-address", "off"]),
        &["/nonexistent/stream", "No such file"],
    );
}
