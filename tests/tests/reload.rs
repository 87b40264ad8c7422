//! The settings file changes while the agent is at work.
//!
//! In: a file that is changed as editors and as Kubernetes do, under load. Out: spans by the new rules from two seconds
//! after each change on; a file that is refused changes nothing.

use std::{
    fs,
    os::unix::fs::symlink,
    path::PathBuf,
    process::Command,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use sockspan_tests::{
    agent::Launch,
    child::{Running, Scratch, scratch},
    given::{self, any_mode, modes},
    judge::judge,
    load::{self, Load},
    services::{Behaviour, Shop},
    shop,
    span::{Kind, Span},
    stage::Stage,
    wait_until,
};

/// So soon a changed file is in effect.
const PROMPT: Duration = Duration::from_secs(2);

/// How a file is changed.
#[derive(Clone, Copy, Debug)]
enum Way {
    /// A new file takes its name.
    Rename,
    /// As Kubernetes updates a volume: the link to the folder of all files is replaced.
    Swap,
}

/// A settings file in a folder of its own; both go with this value.
struct File {
    folder: PathBuf,
    way: Way,
    version: u32,
}

impl File {
    fn new(way: Way, yaml: &str) -> Self {
        let mut file = Self { folder: scratch("settings"), way, version: 0 };
        fs::create_dir(&file.folder).expect("the folder for temporary files can be written");
        if let Way::Swap = way {
            symlink("..data/settings.yaml", file.path()).expect("a link can be made");
        }
        file.change(yaml);
        file
    }

    fn path(&self) -> PathBuf {
        self.folder.join("settings.yaml")
    }

    fn text(&self) -> String {
        self.path().display().to_string()
    }

    fn change(&mut self, yaml: &str) {
        self.version += 1;
        let (new, name) = match self.way {
            Way::Rename => (self.folder.join("new"), self.path()),
            Way::Swap => (self.folder.join("..data_tmp"), self.folder.join("..data")),
        };
        match self.way {
            Way::Rename => fs::write(&new, yaml).expect("a file can be written"),
            Way::Swap => {
                let folder = format!("..{}", self.version);
                fs::create_dir(self.folder.join(&folder)).expect("a folder can be made");
                fs::write(self.folder.join(&folder).join("settings.yaml"), yaml)
                    .expect("a file can be written");
                symlink(&folder, &new).expect("a link can be made");
            }
        }
        fs::rename(&new, &name).expect("it can be renamed");
        let _ = fs::remove_dir_all(self.folder.join(format!("..{}", self.version - 1)));
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Ends the load, also when the test panics.
struct Stops<'a>(&'a AtomicBool);

impl Drop for Stops<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn start(file: &File) -> Stage {
    Stage::start(Launch::run(any_mode()).args(&["--config", &file.text()]))
}

/// The number of reloads with this result.
fn reloads(stage: &Stage, result: &str) -> u32 {
    stage.agent.metric("sockspan_settings_reloads_total", &[&format!("result=\"{result}\"")]) as u32
}

/// Changes the file and gives the spans of requests that began when it had to be in effect.
fn spans_after(stage: &Stage, file: &mut File, yaml: &str) -> Vec<Span> {
    let (before, changed) = (reloads(stage, "applied"), Instant::now());
    file.change(yaml);
    let applied = wait_until(given::limit(PROMPT), || reloads(stage, "applied") > before);
    let took = changed.elapsed();
    assert!(applied, "not in effect after {took:?}:\n{yaml}\n{}", stage.agent.status()["reload"]);
    thread::sleep(given::limit(PROMPT).saturating_sub(took));
    let from = load::now();
    thread::sleep(given::limit(Duration::from_secs(2)));
    let mut spans = stage.collector.take();
    spans.retain(|span| span.start > from);
    println!("taken over after {took:?}, {} spans after {PROMPT:?}:\n{yaml}", spans.len());
    spans
}

fn assert_all(spans: &[Span], what: &str, is: impl Fn(&Span) -> bool) {
    assert!(spans.len() > 20, "{what}: {} spans", spans.len());
    let other = spans.iter().find(|span| !is(span));
    assert!(other.is_none(), "{what}: {}", other.map(Span::line).unwrap_or_default());
}

fn process(stage: &Stage, pid: u32) -> serde_json::Value {
    let status = stage.agent.status();
    let all = status["processes"].as_array().cloned().unwrap_or_default();
    all.into_iter().find(|process| process["pid"] == pid).expect("the process is there")
}

/// Rules for spans, what is left out, names, and who is traced.
#[test]
fn a_changed_file_takes_effect_under_load() {
    let shop = Shop::two(&Behaviour::default());
    let (front, product) = (shop.frontend.pid(), shop.product.pid());
    let both = format!("pid: [{front}, {product}]\n");
    for way in [Way::Rename, Way::Swap] {
        let mut file = File::new(way, &both);
        let stage = start(&file);
        let stop = AtomicBool::new(false);
        let load = Load::get(shop.frontend.port, "/products/{}").at(2);
        thread::scope(|scope| {
            let stops = Stops(&stop);
            let running = scope.spawn(|| load.run_until(&stop));
            let after = |file: &mut File, yaml: &str| spans_after(&stage, file, &format!("{both}{yaml}"));

            let spans = after(&mut file, "# nothing else\n");
            assert_all(&spans, "no route", |span| span.name == "GET" && span.path() != "/products/REDACTED");
            let spans = after(&mut file, "route: ['/products/:id']\n");
            assert_all(&spans, "a route", |span| span.name == "GET /products/:id");
            let spans = after(&mut file, "redact: ['/products/([^/?]+)']\nguess-routes: true\n");
            assert_all(&spans, "redacted", |span| {
                span.path() == "/products/REDACTED" && span.name == "GET /products/REDACTED"
            });
            let spans = after(&mut file, "service-name: ['**/*node*=web']\nevidence: true\n");
            let named = ["web", "product"];
            assert_all(&spans, "named", |span| named.contains(&span.service()));
            assert!(spans.iter().any(|span| span.attribute("sockspan.parent.evidence") == "wire"));
            let spans = after(&mut file, "exclude-path: ['/products/*']\n");
            assert!(spans.is_empty(), "excluded: {:?}", spans.first().map(Span::line));

            let spans = spans_after(&stage, &mut file, &format!("pid: {product}\n"));
            assert_all(&spans, "product alone", |span| span.service() == "product" && span.parent.is_empty());
            let left = process(&stage, front);
            assert_eq!(left["traced"], false, "{left}");
            let spans = spans_after(&stage, &mut file, &format!("port: {}\n", shop.frontend.port));
            assert_all(&spans, "the frontend alone", |span| span.service() == "frontend");
            let reason = process(&stage, front)["reason"].to_string();
            assert!(reason.contains("it listens there"), "{reason}");
            let spans = after(&mut file, "");
            assert_all(&spans, "both", |span| span.service() == "product" || span.service() == "frontend");
            drop(stops);
            let answers = running.join().expect("the load does not panic");
            assert_eq!(load::count(&answers, 200), answers.len(), "the services notice nothing");
        });
        thread::sleep(given::limit(Duration::from_secs(1)));
        stage.collector.take();
        let answers = Load::get(shop.frontend.port, "/products/{}").at(4).run(60);
        let verdict = stage.judge(&shop::expect(&answers, shop::products));
        assert!(verdict.is_perfect(), "{way:?}, in the end: {verdict}");
        println!("{way:?}: {} applied; {}", reloads(&stage, "applied"), stage.drops());
        for kind in ["kind=\"server\"", "kind=\"client\""] {
            let [all, made, dropped] = ["exchanges", "spans", "exchanges_dropped"]
                .map(|name| stage.agent.metric(&format!("sockspan_{name}_total"), &[kind]));
            assert!((all - made - dropped).abs() < 0.5, "{kind}: {all} = {made} + {dropped}");
        }
        stage.stop();
    }
}

/// Requests that are under way in a process that is let go are dropped and counted; it answers them all the same.
#[test]
fn what_a_process_has_open_when_it_is_let_go_is_counted() {
    let shop = Shop::two(&Behaviour { delay: "3000-3000", ..Behaviour::default() });
    let (front, product) = (shop.frontend.pid(), shop.product.pid());
    for mode in modes() {
        let mut file = File::new(Way::Swap, &format!("pid: [{front}, {product}]\n"));
        let stage = Stage::start(Launch::run(mode).args(&["--config", &file.text()]));
        let answers = thread::scope(|scope| {
            let load = Load::get(shop.frontend.port, "/products/{}").at(4);
            let running = scope.spawn(move || load.run(4));
            thread::sleep(Duration::from_millis(500));
            file.change(&format!("pid: {product}\n"));
            running.join().expect("the load does not panic")
        });
        assert_eq!(load::count(&answers, 200), 4);
        let spans = stage.spans(4);
        let lines: Vec<_> = spans.iter().map(Span::line).collect();
        let alone = |span: &Span| span.service() == "product" && span.kind == Kind::Server;
        assert!(spans.len() == 4 && spans.iter().all(alone), "{mode}: {lines:#?}");
        for kind in ["kind=\"server\"", "kind=\"client\""] {
            let labels = [kind, "reason=\"not_selected\""];
            let released = stage.agent.metric("sockspan_exchanges_dropped_total", &labels);
            assert!((released - 4.0).abs() < 0.5, "{mode}, {kind}: {released}");
        }
        println!("{mode}: {}", stage.drops());
        stage.stop();
    }
}

/// What a selected process started stays with it, though that one has ended: as long as a rule names that one.
#[test]
fn descendants_stay_as_long_as_a_rule_names_their_ancestor() {
    let launcher = Scratch::new("launch");
    fs::copy("/bin/sh", &launcher.0).expect("a shell can be copied");
    let name = launcher.0.display().to_string();
    let mut file = File::new(Way::Rename, &format!("exe: ['{name}']\n"));
    let stage = start(&file);
    let mut shell =
        Running::spawn("launch", Command::new(&launcher.0).args(["-c", "sleep 300 & sleep 1; echo"]));
    let sleeping = || {
        let status = stage.agent.status();
        let all = status["processes"].as_array().cloned().unwrap_or_default();
        let sleeps =
            |p: &serde_json::Value| p["executable"].as_str().is_some_and(|exe| exe.contains("sleep"));
        let traced = all.into_iter().filter(|p| p["traced"] == true && sleeps(p));
        traced.filter_map(|p| p["pid"].as_i64()).collect::<Vec<_>>()
    };
    assert!(wait_until(Duration::from_secs(5), || sleeping().len() == 2), "{:?}", sleeping());
    shell.wait(Duration::from_secs(5));
    assert!(
        wait_until(Duration::from_secs(5), || sleeping().len() == 1),
        "the orphan is left: {:?}",
        sleeping()
    );
    let orphan = sleeping()[0];
    for (n, (exe, traced)) in [
        (format!("exe: ['{name}', other]\n"), true),
        (format!("exe: ['{name}', another]\nevidence: true\n"), true),
        ("exe: another\n".to_owned(), false),
    ]
    .iter()
    .enumerate()
    {
        file.change(exe);
        assert!(wait_until(PROMPT, || reloads(&stage, "applied") == n as u32 + 1));
        assert!(wait_until(PROMPT, || sleeping().contains(&orphan) == *traced), "{exe}: {:?}", sleeping());
        thread::sleep(Duration::from_millis(600));
        assert_eq!(sleeping().contains(&orphan), *traced, "{exe}");
    }
    let _ = Command::new("kill").arg(orphan.to_string()).status();
    stage.stop();
}

/// A file that is refused changes nothing, and is told with its line; SIGHUP has it read at once.
#[test]
fn a_broken_file_changes_nothing() {
    let shop = Shop::two(&Behaviour::default());
    let good = format!("pid: [{}, {}]\nroute: ['/products/:id']\n", shop.frontend.pid(), shop.product.pid());
    let mut file = File::new(Way::Swap, &good);
    let stage = start(&file);
    let settings = stage.agent.status()["settings"].clone();
    let broken = [
        (format!("{good}redact:\n  - '/reset/('\n"), "settings.yaml:4: redact: \"/reset/(\": not a regular"),
        (format!("{good}rote: ['/orders']\n"), "settings.yaml:3: unknown setting rote; did you mean route?"),
        (good.replace("pid: [", "pid: [4194304, "), "settings.yaml: --pid 4194304: there is no such process"),
        (
            format!("{good}otel:\n  OTEL_TRACES_SAMPLER: often\n"),
            "OTEL_TRACES_SAMPLER=\"often\" is not a sampler",
        ),
        ("route: []\n".to_owned(), "settings.yaml: no process is selected"),
        ("all: true\npid: [1\n".to_owned(), "settings.yaml:2: not YAML"),
    ];
    for (n, (yaml, why)) in broken.iter().enumerate() {
        file.change(yaml);
        let count = n as u32 + 1;
        assert!(wait_until(given::limit(PROMPT), || reloads(&stage, "refused") == count), "{why}");
        let status = stage.agent.status();
        let told = status["reload"]["refused"].as_str().unwrap_or_default();
        assert!(told.contains(why), "{told}");
        assert!(stage.agent.log().contains(why), "the log tells it too: {}", stage.agent.log());
        assert_eq!(status["settings"], settings);
    }
    let answers = Load::get(shop.frontend.port, "/products/{}").run(10);
    let spans = stage.spans(30);
    assert!(judge(&shop::expect(&answers, shop::products), &spans).is_perfect());
    assert!(spans.iter().all(|span| span.name == "GET /products/:id"));

    file.change(&format!("{good}head-limit: 4KiB\nlog: debug\notel:\n  OTEL_TRACES_SAMPLER: always_off\n"));
    assert!(wait_until(given::limit(PROMPT), || reloads(&stage, "applied") == 1));
    let status = stage.agent.status();
    println!("{}", status["reload"]);
    assert!(status["reload"]["refused"].is_null() && status["reload"]["reloaded_at"].is_string());
    let waiting = serde_json::json!(["OTEL_TRACES_SAMPLER", "head-limit"]);
    assert_eq!(status["reload"]["restart_needed"], waiting);
    assert_eq!(status["settings"]["head-limit"], settings["head-limit"], "in effect is what was");
    assert_eq!(status["settings"]["log"]["value"], "debug");
    stage.agent.hang_up();
    assert!(wait_until(given::limit(Duration::from_secs(1)), || reloads(&stage, "applied") == 2));
    Load::get(shop.frontend.port, "/products/{}").run(1);
    assert_eq!(stage.spans(3).len(), 3, "the sampler is the one of the start");
    assert!(stage.agent.log().contains("DEBUG"), "the log's level is another");
    assert_eq!(reloads(&stage, "refused"), broken.len() as u32);
    assert!(stage.agent.stop().status.success());
}
