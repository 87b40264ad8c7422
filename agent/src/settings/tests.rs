//! Settings by command line, environment and file: which wins, and what a wrong one is told.

use super::*;
use std::io::Write;

fn environment(variables: &[(&str, &str)]) -> BTreeMap<String, String> {
    variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// `$FILE` in an argument stands for a file that holds `yaml`, and in the error for its path.
fn invoke(args: &str, variables: &[(&str, &str)], yaml: &str) -> Result<Invocation, String> {
    let mut file = tempfile::Builder::new().suffix(".yaml").tempfile().unwrap();
    file.write_all(yaml.as_bytes()).unwrap();
    let path = file.path().to_str().unwrap();
    let args = args.split_whitespace().map(|arg| OsString::from(arg.replace("$FILE", path)));
    let args = std::iter::once(OsString::from("sockspan")).chain(args);
    Invocation::parse(args, &environment(variables)).map_err(|error| error.to_string().replace(path, "$FILE"))
}

fn settings(args: &str, variables: &[(&str, &str)], yaml: &str) -> Settings {
    invoke(&format!("config {args}"), variables, yaml).unwrap().settings
}

fn source(settings: &Settings, name: &str) -> String {
    let entry = settings.entries().iter().find(|entry| entry.name == name).unwrap();
    let text = entry.source.to_string();
    text.rsplit_once('/')
        .map_or(text.clone(), |(_, file)| format!("line {}", file.rsplit_once(':').unwrap().1))
}

#[test]
fn every_flag_is_a_setting_and_every_setting_a_flag() {
    let settings = settings("", &[], "");
    let mut shown: Vec<_> = settings.entries().iter().map(|entry| entry.name.to_owned()).collect();
    let mut flags = cli::names();
    shown.sort();
    flags.sort();
    assert_eq!(shown, flags);
}

#[test]
fn the_command_line_is_sound_and_names_its_variables() {
    let mut command = cli::command();
    command.clone().debug_assert();
    let help = command.render_long_help().to_string().split_whitespace().collect::<Vec<_>>().join(" ");
    for name in cli::names() {
        assert!(help.contains(&format!("[env: {}]", cli::variable(&name))), "{name} in {help}");
    }
}

#[test]
fn defaults() {
    let s = settings("", &[], "");
    assert_eq!((s.probes, s.uprobes, s.head_limit, s.ring_buffer), (Probes::Auto, true, 8192, 8 << 20));
    assert_eq!(
        (s.max_connections, s.max_processes, s.max_duration),
        (16_384, 4_096, Duration::from_secs(300))
    );
    assert_eq!(s.btf, Path::new("/sys/kernel/btf/vmlinux"));
    assert_eq!(s.admin_address, Some("127.0.0.1:7625".parse().unwrap()));
    assert_eq!((s.evidence, s.query_string, s.guess_routes), (false, false, false));
    assert_eq!(
        (s.bpf_log, s.log, s.console_color, s.console_width),
        (Level::Off, Level::Info, Color::Auto, None)
    );
    assert!(
        s.selection.is_empty() && s.warnings.is_empty() && s.routes.is_empty() && s.service_names.is_empty()
    );
    assert!(s.entries().iter().all(|entry| entry.source == Source::Default));
}

#[test]
fn command_line_over_environment_over_file_over_defaults() {
    let yaml = "probes: syscalls\nlog: warn\nmax-processes: 7\n";
    let variables = [("SOCKSPAN_PROBES", "auto"), ("SOCKSPAN_LOG", "debug"), ("SOCKSPAN_EVIDENCE", "")];
    let s = settings("--config $FILE --probes sock", &variables, yaml);
    assert_eq!((s.probes, s.log, s.max_processes, s.evidence), (Probes::Sock, Level::Debug, 7, false));
    let sources = ["probes", "log", "max-processes", "evidence"].map(|name| source(&s, name));
    assert_eq!(sources, ["command line", "environment", "line 3", "default"]);
}

#[test]
fn the_file_can_be_named_by_the_environment() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&file, "all: true\n").unwrap();
    let variables = environment(&[("SOCKSPAN_CONFIG", file.path().to_str().unwrap())]);
    let invocation = Invocation::parse([OsString::from("sockspan")], &variables).unwrap();
    assert!(invocation.settings.selection.all);
}

#[test]
fn verbs_and_flags_in_either_order() {
    let verb = |args: &str| invoke(args, &[], "").map(|invocation| invocation.verb);
    assert_eq!(verb("--all"), Ok(Verb::Run));
    assert_eq!(verb("run --pid 1"), Ok(Verb::Run));
    assert_eq!(verb("--pid 1 run"), Ok(Verb::Run));
    assert_eq!(verb("preflight --json"), Ok(Verb::Preflight { json: true }));
    assert_eq!(verb("config"), Ok(Verb::Config));
    assert_eq!(verb("record out.bin --all"), Ok(Verb::Record { file: "out.bin".into() }));
    assert_eq!(verb("replay in.bin"), Ok(Verb::Replay { file: "in.bin".into() }));
    assert!(invoke("run --pid 5", &[], "").unwrap().settings.selection.pids == [5]);
}

#[test]
fn lists_come_from_repeated_flags_commas_and_yaml_lists() {
    let s = settings("--pid 1,2 --pid 3 --exe {node,java} --exe a,b", &[("SOCKSPAN_PORT", "80, 443")], "");
    assert_eq!(
        (s.selection.pids.as_slice(), s.selection.ports.as_slice()),
        ([1, 2, 3].as_slice(), [80, 443].as_slice())
    );
    assert_eq!(s.selection.exes.iter().map(ExeGlob::text).collect::<Vec<_>>(), ["{node,java}", "a", "b"]);
    let s = settings("--config $FILE", &[], "port: [80, 443]\nexe:\n  - node\npid: 7\n");
    assert_eq!(s.selection.to_string(), "--pid 7 --exe node --port 80,443");
    assert_eq!(source(&s, "exe"), "line 2");
}

#[test]
fn to_trace_something_must_be_selected() {
    for args in ["", "run", "record out.bin"] {
        let error = invoke(args, &[], "").unwrap_err();
        assert!(
            error.starts_with(
                "no process is selected: name some by --pid PID, --exe GLOB or --port PORT, or "
            ),
            "{error}"
        );
        assert!(error.contains("--all"), "{error}");
    }
    assert!(invoke("preflight", &[], "").is_ok());
    assert!(invoke("run", &[("SOCKSPAN_EXE", "node")], "").is_ok());
}

#[test]
fn unknown_keys_are_named_with_file_line_and_the_nearest_key() {
    let yaml = "probes: auto\nring_bufer: 8MiB\nnonsense: true\nOTEL_TRACES_EXPORTER: console\nconfig: x\n";
    assert_eq!(
        invoke("config --config $FILE", &[], yaml).unwrap_err(),
        "$FILE:2: unknown setting ring_bufer; did you mean ring-buffer?\n\
         $FILE:3: unknown setting nonsense; `sockspan config` prints all settings\n\
         $FILE:4: unknown setting OTEL_TRACES_EXPORTER; OTEL_* variables stand under `otel:`\n\
         $FILE:5: unknown setting config; a settings file can't name another"
    );
}

#[test]
fn unknown_flags_are_errors_with_the_nearest_flag() {
    let error = invoke("--ring-bufer 8MiB", &[], "").unwrap_err();
    assert!(
        error.contains("unexpected argument '--ring-bufer'") && error.contains("'--ring-buffer'"),
        "{error}"
    );
}

#[test]
fn unknown_variables_are_warned_of_but_not_those_of_kubernetes() {
    let variables = [
        ("SOCKSPAN_RINGBUFFER", "1"),
        ("SOCKSPAN_SERVICE_HOST", "10.0.0.1"),
        ("SOCKSPAN_SERVICE_PORT", "7625"),
        ("SOCKSPAN_PORT_7625_TCP_ADDR", "10.0.0.1"),
        ("SOCKSPAN_PORT", "tcp://10.0.0.1:7625"),
    ];
    let s = settings("", &variables, "");
    assert_eq!(
        s.warnings,
        [
            "SOCKSPAN_PORT=tcp://10.0.0.1:7625 is a Kubernetes service link and says nothing of ports to trace",
            "SOCKSPAN_RINGBUFFER is no setting and has no effect; did you mean SOCKSPAN_RING_BUFFER?"
        ]
    );
}

#[test]
fn every_problem_is_told_at_once_with_place_value_and_cure() {
    let yaml = "probes: fast\nport:\n  - 80\n  - http\nlog: [info]\nall:\n  x: 1\n";
    let variables = [("SOCKSPAN_MAX_DURATION", "soon"), ("SOCKSPAN_ADMIN_ADDRESS", "7625")];
    let error = invoke("config --config $FILE --head-limit 1 --pid me --ring-buffer 8MB", &variables, yaml)
        .unwrap_err();
    let expected = [
        "--pid \"me\": a process id is accepted, 1 to 4194304",
        "$FILE:4: port: \"http\": a port is accepted, 1 to 65535",
        "$FILE:6: all: \"…\": a value or a list is accepted, not a map",
        "$FILE:1: probes: \"fast\": accepted are auto, sock, syscalls",
        "--head-limit \"1\": accepted is 256 to 32KiB",
        "--ring-buffer \"8MB\": a size is accepted: bytes, or a number with KiB, MiB or GiB, e.g. 8MiB",
        "SOCKSPAN_MAX_DURATION=\"soon\": a time is accepted: a number with ms, s, m or h, e.g. 30s",
        "SOCKSPAN_ADMIN_ADDRESS=\"7625\": accepted are off, or IP:PORT such as 127.0.0.1:7625 or [::]:7625",
        "$FILE:5: log: \"info\": one value is accepted, not a list",
    ];
    assert_eq!(error.lines().collect::<Vec<_>>(), expected);
}

#[test]
fn more_values_that_are_not_understood() {
    let table = [
        ("--exe a[", "--exe \"a[\": not a glob: unclosed character class; missing ']'"),
        ("--port 0", "--port \"0\": a port is accepted, 1 to 65535"),
        ("--service-name shop", "--service-name \"shop\": accepted is GLOB=NAME, e.g. /srv/shop/*=shop"),
        ("--route products", "--route \"products\": route `products`: it must start with `/`"),
        (
            "--correlation-header a:b",
            "--correlation-header \"a:b\": the name of a header is accepted, e.g. x-request-id",
        ),
        ("--evidence=maybe", "--evidence \"maybe\": accepted are true and false"),
        (
            "--max-duration 2d",
            "--max-duration \"2d\": a time is accepted: a number with ms, s, m or h, e.g. 30s",
        ),
        ("--max-duration 25h", "--max-duration \"25h\": accepted is 1s to 24h"),
        ("--max-connections 1", "--max-connections \"1\": accepted is 16 to 1048576"),
        ("--console-width 3", "--console-width \"3\": accepted are auto, or a number of columns, 60 to 1000"),
        ("--console-color red", "--console-color \"red\": accepted are auto, always, never"),
        (
            "--ring-buffer 99999999999GiB",
            "--ring-buffer \"99999999999GiB\": a size is accepted: bytes, or a number with KiB, MiB or GiB, e.g. 8MiB",
        ),
    ];
    for (args, message) in table {
        assert_eq!(invoke(&format!("config {args}"), &[], "").unwrap_err(), message);
    }
}

#[test]
fn a_file_that_cannot_be_read_is_named_with_what_named_it() {
    let error = invoke("config --config /nowhere/x.yaml", &[], "").unwrap_err();
    let start = "can't read the settings file /nowhere/x.yaml (--config): No such file or directory";
    assert!(error.starts_with(start), "{error}");
    let error = invoke("config --config $FILE", &[], "log: info\n\tall: true\n").unwrap_err();
    assert!(error.starts_with("$FILE:"), "{error}");
}

#[test]
fn a_ring_buffer_is_rounded_up_and_says_so() {
    let s = settings("--ring-buffer 10000000", &[], "");
    assert_eq!(s.ring_buffer, 16 << 20);
    assert_eq!(
        s.warnings,
        ["ring-buffer (command line): 10000000 is rounded up to 16MiB, the kernel takes powers of two"]
    );
    assert!(s.to_yaml(&[]).contains("ring-buffer: 16MiB "), "{}", s.to_yaml(&[]));
}

#[test]
fn flags_without_a_value_are_true_and_can_be_taken_back() {
    let s = settings("--no-uprobes --evidence", &[], "");
    assert!(!s.uprobes && s.evidence);
    let s = settings("--no-hooks python,go", &[], "");
    assert_eq!(s.no_hooks, [Hooked::Python, Hooked::Go]);
    let s = settings("--evidence=false", &[("SOCKSPAN_EVIDENCE", "true")], "");
    assert!(!s.evidence);
    assert_eq!(settings("--admin-address off", &[], "").admin_address, None);
}

#[test]
fn the_kernels_types_can_be_in_any_file() {
    let variable = [("SOCKSPAN_BTF", "/boot/kernel, mine.btf")];
    assert_eq!(settings("", &variable, "").btf, Path::new("/boot/kernel, mine.btf"));
    assert_eq!(settings("--config $FILE --btf ./k.btf", &variable, "btf: /x\n").btf, Path::new("./k.btf"));
    assert_eq!(settings("--config $FILE", &[], "btf: /x\n").btf, Path::new("/x"));
    let error = invoke("--all --btf=", &[], "").unwrap_err();
    assert!(error.contains("the path of a file is accepted"), "{error}");
}

#[test]
fn colour_is_forced_or_left_to_the_terminal() {
    let forced = |args| settings(args, &[], "").console_color.forced();
    assert_eq!(forced(""), None);
    assert_eq!(forced("--console-color always"), Some(true));
    assert_eq!(forced("--console-color never"), Some(false));
}

#[test]
fn probes_and_scrapes_are_left_out_by_default() {
    let exclude = settings("", &[], "").exclude;
    assert_eq!(exclude.rule(b"/healthz", None), Some("/healthz"));
    assert_eq!(exclude.rule(b"/metrics?x=1", None), Some("/metrics"));
    assert_eq!(exclude.rule(b"http://shop:80/metrics?x=1", None), Some("/metrics"), "as a proxy is asked");
    assert_eq!(exclude.rule(b"/", Some(b"kube-probe/1.31")), Some("kube-probe/*"));
    assert_eq!(exclude.rule(b"/", Some(b"Prometheus/3.0.1")), Some("Prometheus/*"));
    assert_eq!(exclude.rule(b"/healthz/deep", Some(b"curl/8")), None);
    assert_eq!(exclude.rule(b"\xff", Some(b"\xff")), None);
    let none = settings("--config $FILE", &[], "exclude-path: []\nexclude-user-agent: []\n").exclude;
    assert_eq!(none.rule(b"/healthz", Some(b"kube-probe/1.31")), None);
    assert_eq!(none.rule(b"/v1/traces", Some(b"sockspan/0.1.0")), Some("sockspan/"), "always");
    let own = settings("--exclude-path /internal/*", &[], "").exclude;
    assert_eq!(own.rule(b"/internal/a/b", None), Some("/internal/*"));
    assert_eq!(own.rule(b"/healthz", None), None);
}

#[test]
fn executables_match_by_path_or_base_name() {
    let matches = |glob: &str, path: &str| ExeGlob::parse(glob).unwrap().matches(Path::new(path));
    assert!(matches("node", "/usr/bin/node"));
    assert!(matches("python3*", "/usr/bin/python3.11"));
    assert!(!matches("node", "/usr/bin/nodejs"));
    assert!(!matches("bin", "/usr/bin/node"));
    assert!(matches("/usr/bin/*", "/usr/bin/node"));
    assert!(!matches("/usr/*", "/usr/bin/node"));
    assert!(matches("/usr/**", "/usr/bin/node"));
}

#[test]
fn service_names_by_executable_the_first_rule_wins() {
    let s = settings("--service-name /srv/shop/*=shop,node=web", &[], "");
    assert_eq!(s.service_name(Path::new("/srv/shop/run")), Some("shop"));
    assert_eq!(s.service_name(Path::new("/usr/bin/node")), Some("web"));
    assert_eq!(s.service_name(Path::new("/usr/bin/java")), None);
}

#[test]
fn correlation_headers_have_defaults_and_can_be_none() {
    let names = |settings: Settings| {
        settings.correlation_headers.iter().map(|name| name.text().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(names(settings("", &[], "")), CORRELATION_HEADERS);
    let named =
        settings("--correlation-header X-Trace,a --correlation-header b", &[], "correlation-header: c\n");
    assert_eq!(names(named), ["x-trace", "a", "b"]);
    assert!(names(settings("--config $FILE", &[], "correlation-header: []\n")).is_empty());
    assert!(names(settings("", &[("SOCKSPAN_CORRELATION_HEADER", ",")], "")).is_empty());
}

#[test]
fn an_expression_is_one_text_wherever_it_stands() {
    let shown = |s: &Settings| s.redact.iter().map(ToString::to_string).collect::<Vec<_>>();
    let s = settings(r"--redact a{1,2},b --redact [,]", &[], "");
    assert_eq!(shown(&s), ["a{1,2},b", "[,]"]);
    assert_eq!(shown(&settings("", &[("SOCKSPAN_REDACT", "(a,b)")], "")), ["(a,b)"]);
    let s = settings("--config $FILE", &[], "redact:\n  - '^/reset/([^/]+)'\n  - \"\\\\d{9,}\"\n");
    assert_eq!(shown(&s), ["^/reset/([^/]+)", r"\d{9,}"]);
    let again = settings("--config $FILE", &[], &s.to_yaml(&[]));
    assert_eq!(shown(&again), shown(&s), "what is printed reads back");
    let error =
        invoke("config --config $FILE", &[], "log: info\nredact:\n  - x\n  - '/reset/('\n").unwrap_err();
    assert_eq!(error, "$FILE:4: redact: \"/reset/(\": not a regular expression: unclosed group");
}

/// A file that sets everything otherwise than by default, each setting on a line of its own.
const OTHERWISE: &str = "pid: 7\nexe: node\nport: 80\nall: true\ninstrumented: trace\nexclude-path: /a\nexclude-user-agent: b\nbtf: /c\n\
    probes: sock\nno-uprobes: true\nno-hooks: go\nhead-limit: 1KiB\nring-buffer: 1MiB\nmax-connections: 20\nmax-processes: 21\n\
    max-duration: 9s\nbpf-log: info\nevidence: true\ncorrelation-header: h\nquery-string: true\nredact: d\nroute: /e\nguess-routes: true\n\
    service-name: f=g\nadmin-address: off\nconsole-width: 99\nconsole-color: never\nlog: warn\n\
    kubernetes: on\nkubeconfig: /k\nnode-name: n\nnamespace-selector: a=b\npod-selector: c=d\n\
    exclude-namespace: x\nnamespace-label: l\nnamespace-annotation: m\npod-label: o\npod-annotation: p\n\
    service-name-from-labels: true\notel:\n  OTEL_TRACES_SAMPLER: always_off\n";

#[test]
fn what_can_change_changes_and_the_rest_waits_for_a_restart() {
    let (mut own, new) = (settings("", &[], ""), settings("--config $FILE", &[], OTHERWISE));
    assert!(new.entries().iter().all(|entry| entry.source != Source::Default), "the file sets everything");
    let before = own.clone();
    let waiting = own.adopt(new.clone());
    for (entry, (old, new)) in own.entries().iter().zip(before.entries().iter().zip(new.entries())) {
        let live = LIVE.contains(&entry.name);
        assert_ne!(old.value, new.value, "{}", entry.name);
        assert_eq!(entry, if live { new } else { old });
        assert_eq!(waiting.contains(&entry.name.to_owned()), !live, "{}", entry.name);
    }
    assert!(waiting.contains(&"OTEL_TRACES_SAMPLER".to_owned()) && own.otel("OTEL_TRACES_SAMPLER").is_none());
    assert_eq!(own.selection.to_string(), "--pid 7 --exe node --port 80 --all");
    assert_eq!((own.exclude.paths.len(), own.exclude.user_agents.len(), own.routes.len()), (1, 1, 1));
    assert_eq!((own.redact.len(), own.service_names.len(), own.log), (1, 1, Level::Warn));
    assert!(own.evidence && own.query_string && own.guess_routes);
    assert_eq!((own.probes, own.head_limit, own.console_width), (Probes::Auto, 8192, None));
    assert_eq!(own.adopt(before), Vec::<String>::new(), "nothing waits once the file says what is in effect");
}

#[test]
fn what_stands_on_another_line_is_told_there() {
    let mut own = settings("--config $FILE", &[], "head-limit: 1KiB\nlog: warn\n");
    let moved = settings("--config $FILE", &[], "# moved\nlog: warn\nhead-limit: 1KiB\n");
    assert!(own.adopt(moved).is_empty());
    assert_eq!(["log", "head-limit"].map(|name| source(&own, name)), ["line 2", "line 3"]);
}

#[test]
fn settings_are_made_anew_from_the_same_command_line_and_the_file_as_it_is_now() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let path = file.path().to_str().unwrap();
    std::fs::write(path, "exe: node\nlog: warn\n").unwrap();
    let args = ["sockspan", "run", "--config", path, "--log", "debug"].map(OsString::from);
    let invocation = Invocation::parse(args, &environment(&[("SOCKSPAN_EVIDENCE", "true")])).unwrap();
    assert_eq!(invocation.origin.file().as_deref(), Some(file.path()));
    std::fs::write(path, "exe: java\nlog: error\n").unwrap();
    let again = invocation.origin.settings().unwrap();
    assert_eq!(
        (again.selection.to_string().as_str(), again.log, again.evidence),
        ("--exe java", Level::Debug, true)
    );
    std::fs::write(path, "log: error\n").unwrap();
    assert!(matches!(invocation.origin.settings(), Err(Error::NothingSelected)), "as at the start");
}

#[test]
fn otel_variables_of_the_environment_win_over_the_file() {
    let yaml =
        "otel:\n  OTEL_TRACES_SAMPLER: always_off\n  OTEL_TRACES_SAMPLER_ARG: 0.10\n  OTEL_SERVICE_NAME:\n";
    let error = invoke("config --config $FILE", &[], yaml).unwrap_err();
    assert_eq!(error, "$FILE:4: a value is expected here");
    let yaml = yaml.replace("  OTEL_SERVICE_NAME:\n", "");
    let variables = [("OTEL_TRACES_SAMPLER", "always_on"), ("OTEL_SERVICE_NAME", " ")];
    let s = settings("--config $FILE", &variables, &yaml);
    assert_eq!(s.otel("OTEL_TRACES_SAMPLER").as_deref(), Some("always_on"));
    assert_eq!(s.otel("OTEL_TRACES_SAMPLER_ARG").as_deref(), Some("0.10"));
    assert_eq!(s.otel("OTEL_SERVICE_NAME"), None);
}

#[test]
fn what_was_printed_instead_of_a_secret_is_not_taken_for_one() {
    let yaml = "otel:\n  OTEL_EXPORTER_OTLP_HEADERS: authorization=[redacted]\n";
    let stands = "stands for a secret that `sockspan config` does not print; write the secret itself";
    assert_eq!(
        invoke("config --config $FILE", &[], yaml).unwrap_err(),
        format!("$FILE:2: OTEL_EXPORTER_OTLP_HEADERS: [redacted] {stands}")
    );
    let variables =
        [("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "https://c/v1?[redacted]"), ("OTEL_X", "[redacted]")];
    let error = invoke("config", &variables, "").unwrap_err();
    assert_eq!(error, format!("environment: OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: [redacted] {stands}"));
    let true_one = [("OTEL_EXPORTER_OTLP_HEADERS", "authorization=hunter2")];
    assert!(invoke("config --config $FILE", &true_one, yaml).is_ok(), "the environment wins");
}

#[test]
fn unknown_otel_variables_in_the_file_are_errors() {
    let yaml = "otel:\n  OTEL_EXPORTER_OTLP_ENDPONT: x\n  HOME: /\n";
    assert_eq!(
        invoke("config --config $FILE", &[], yaml).unwrap_err(),
        "$FILE:2: otel: unknown variable OTEL_EXPORTER_OTLP_ENDPONT; did you mean OTEL_EXPORTER_OTLP_ENDPOINT?\n\
         $FILE:3: otel: unknown variable HOME; the agent reads no such variable"
    );
    let error = invoke("config --config $FILE", &[], "otel: console\n").unwrap_err();
    assert_eq!(
        error,
        "$FILE:1: otel: a map of OTEL_* variables is expected, such as `OTEL_TRACES_EXPORTER: console`"
    );
}

#[test]
fn what_config_prints_reads_back_as_the_same_settings() {
    let yaml = "exclude-user-agent: ['a: b', '# c', 'say \"hi\"', 'no', '*', ünï]\nroute: ['/products/:id', '/a/{b}/*']\n\
                service-name: ['/srv/{a,b}/*=shop', 'x=my shop']\nexe: [\"*/[ab]\"]\nmax-duration: 90s\notel:\n  OTEL_TRACES_SAMPLER_ARG: 0.10\n";
    let flags = "--config $FILE --pid 4 --admin-address [::1]:80 --console-width 100 --probes sock";
    let first = settings(flags, &[("OTEL_TRACES_EXPORTER", "console")], yaml);
    let printed = first.to_yaml(&[]);
    let second = settings("--config $FILE", &[], &printed);
    let values = |s: &Settings| s.entries().iter().map(|e| (e.name, e.value.clone())).collect::<Vec<_>>();
    assert_eq!(values(&first), values(&second), "{printed}");
    assert_eq!(first.otel("OTEL_TRACES_SAMPLER_ARG"), second.otel("OTEL_TRACES_SAMPLER_ARG"));
    assert_eq!(second.otel("OTEL_TRACES_EXPORTER").as_deref(), Some("console"));
}

#[test]
fn config_tells_each_source_and_no_secret() {
    let variables = [
        ("SOCKSPAN_LOG", "debug"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=hunter2"),
        ("OTEL_OTHER", "x"),
    ];
    let s = settings("--config $FILE --probes sock", &variables, "evidence: true\n");
    let printed = s.to_yaml(&[]);
    let lines: Vec<_> =
        printed.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    for line in [
        "probes: sock # command line",
        "log: debug # environment",
        "head-limit: 8KiB # default",
        "pid: [] # default",
        "otel:",
        "# OTEL_EXPORTER_OTLP_HEADERS: \"authorization=[redacted]\" # environment",
    ] {
        assert!(lines.iter().any(|l| l == line), "no line {line:?} in\n{printed}");
    }
    assert!(
        lines.iter().any(|line| line.starts_with("evidence: true # /") && line.ends_with(".yaml:1")),
        "{printed}"
    );
    let json = s.to_json(&[]).to_string();
    assert!(!printed.contains("hunter2") && !json.contains("hunter2") && !printed.contains("OTEL_OTHER"));
    assert_eq!(s.to_json(&[])["log"], serde_json::json!({"value": "debug", "source": "environment"}));
}
