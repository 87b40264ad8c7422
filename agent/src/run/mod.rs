//! The agent at work: threads and tasks around the pure stages.
//!
//! One thread drains the ring buffer and does nothing else, one runs the pipeline, one keeps the census; the
//! export and the admin port are tasks. Everything flows one way, through bounded channels:
//! ring buffer -> drain -> pipeline -> export, and turns of processes -> census -> pipeline. Where there is a settings
//! file, one more thread tells pipeline and census when it changes (`reload.rs`).

mod assemble;
mod cluster;
mod gauges;
mod plan;
mod reload;
mod replay;
mod signals;
mod status;
mod threads;

use std::{
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::Relaxed},
        mpsc,
    },
    time::Duration,
};

use anyhow::{Context as _, bail};

use crate::{
    admin::{Admin, Answers, Ready},
    capture::{self, Capture, Mode, Uprobes},
    census::{Census, Rules},
    export::{Counts, Exporter},
    kubernetes::{self, Kin, Link},
    metrics::{Metrics, Source},
    pipeline,
    preflight::{self, Way},
    process::{Procfs, selection::Selection},
    record::{Input, Writer},
    settings::{Invocation, Settings, Treatment},
};

pub use assemble::system;
use plan::Plan;
pub use plan::config;
use reload::{Reload, Told};
pub use replay::{options, replay, spans};
use threads::{Call, Sink, Work};

/// The longest that the export may take after a signal to stop.
const GOODBYE: Duration = Duration::from_secs(10);
/// Batches between the ring buffer's reader and the pipeline; when they are used up the ring buffer fills, and
/// says how much it lost.
const BATCHES: usize = 16;
/// Turns of processes that wait for the census; what is beyond is found by its next look at everything.
const TURNS: usize = 16_384;

/// Traces the selected processes until a signal says stop; spans go to the exporter, or events to `record`.
///
/// # Errors
/// What keeps the agent from its work, with the cure.
pub fn run(invocation: &Invocation, record: Option<&Path>) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("sockspan-io")
        .enable_all()
        .build()
        .context("cannot start the I/O threads")?;
    runtime.block_on(agent(invocation, record))
}

async fn agent(invocation: &Invocation, record: Option<&Path>) -> anyhow::Result<()> {
    let Invocation { settings, origin, .. } = invocation;
    let signals = signals::Signals::listen()?;
    let plan = Plan::make(settings)?;
    let mut reload = Reload::new(origin, settings, &plan);
    // A program without a file has nothing to read again: the signal ends it as before.
    let asked = if reload.is_some() { signals::hangups()? } else { Arc::default() };
    let Plan { export, sampler, attributes, push, defaults } = plan;
    let seed = assemble::seed()?;
    let pipeline_options = assemble::pipeline(settings, sampler, seed, pipeline::clock());
    let link = match settings.kubernetes.enabled {
        true => Some(Link::open(&settings.kubernetes).await?),
        false => None,
    };
    let kin = link.as_ref().map(|link| cluster::kin(link, &export));
    let rules = rules(settings, selection(settings, &[])?, attributes, kin.as_deref());
    if let Some(reload) = &mut reload {
        reload.kin = kin;
    }
    let way = check(settings)?;
    let metrics = Arc::new(Metrics::default());
    let counts = Arc::new(Counts::default());
    // Everything that can fail for a setting's sake comes before the kernel is touched.
    let admin = match settings.admin_address {
        Some(address) => Some(Admin::bind(address).await?),
        None => None,
    };
    let sink = match record {
        Some(path) => Sink::File(Writer::create(path, seed.0)?),
        None => Sink::Export(Arc::new(Exporter::start(&export, counts.clone())?)),
    };
    let capture = start_capture(settings, way, reload.is_some())?;
    let Capture { verdicts, ring, counters, feedback, traced } = capture;
    let bell = ring.bell();
    let (calls, called) = mpsc::sync_channel(TURNS);
    let caller = calls.clone();
    let known = link.map(|link| cluster::Known::new(link, &rules, calls.clone()));
    let seen = known.as_ref().map(|known| known.for_census(&settings.kubernetes));
    let census = Census::new(rules, traced, seen).context("cannot read /proc")?;

    let ready = Ready::default();
    let watches = known.as_ref().map(|known| known.watch(&metrics)).transpose()?;
    let known = known.map(|known| known.kubernetes);
    let gauges = gauges::Gauges::new(counters, census.entries(), counts, known.clone());
    let source = Source { metrics: metrics.clone(), gauges: gauges.clone() };
    let told = Told {
        settings: settings.to_json(&defaults),
        reload: reload::Outcome { file: origin.file(), ..reload::Outcome::default() },
    };
    let told = Arc::new(Mutex::new(told));
    let status = status::source(told.clone(), way, verdicts, census.entries(), gauges.clone(), known);
    let push = push.map(|prepared| prepared.start(&source));
    let serving = admin.map(|admin| {
        tracing::info!("admin port at http://{}", admin.address());
        let answers = Answers { ready: ready.clone(), status: Arc::new(status), metrics: source };
        tokio::spawn(admin.serve(answers))
    });

    let stop = Arc::new(AtomicBool::new(false));
    let (inputs, work) = mpsc::sync_channel(BATCHES);
    let (rules_out, rules_in) = mpsc::channel();
    let (farewell, mut ended) = tokio::sync::mpsc::unbounded_channel();
    let farewell = threads::Farewell(farewell);
    let exporter = sink.exporter();
    let reload = reload.map(|reload| {
        let (metrics, census) = (metrics.clone(), calls.clone());
        let listeners = reload::Listeners { pipeline: rules_out, census, metrics, told };
        reload.keep(listeners, asked, stop.clone(), farewell.clone())
    });
    let mut threads = vec![
        threads::drain(ring, inputs.clone(), stop.clone(), farewell.clone())?,
        threads::work(
            Work { options: pipeline_options, metrics, gauges, sink, feedback, rules: rules_in },
            work,
            calls,
            farewell.clone(),
        )?,
    ];
    let (kept, census_after) = mpsc::channel();
    threads.extend(reload.transpose()?);
    threads.push(threads::census(census, inputs, called, ready.clone(), stop.clone(), farewell, kept)?);
    tokio::select! {
        () = signals.wait() => tracing::info!("stopping"),
        _ = ended.recv() => tracing::error!("stopping: a thread of the agent has ended"),
    }
    ready.set(false);
    drop(watches);
    stop.store(true, Relaxed);
    bell.ring();
    let _ = caller.try_send(Call::Stop);
    let failed = tokio::task::spawn_blocking(move || threads::join(threads)).await.unwrap_or(true);
    if let Some(exporter) = exporter
        && let Err(unsent) = exporter.shutdown(GOODBYE).await
    {
        tracing::error!("{unsent}; is the receiver at the OTLP endpoint up?");
    }
    if let Some(push) = push
        && let Err(error) = push.shutdown().await
    {
        tracing::warn!("the agent's own last metrics were not delivered: {error}");
    }
    // What is finished has been sent by now: to detach many hooks takes seconds, and somebody may lose patience.
    if let Some(serving) = serving {
        serving.abort();
        let _ = serving.await;
    }
    tracing::info!("detaching");
    drop(census_after);
    if failed {
        bail!("a thread of the agent ended before its time; the log says why");
    }
    Ok(())
}

/// Checks what the kernel and the privileges allow.
fn check(settings: &Settings) -> anyhow::Result<Mode> {
    let options = preflight::Options { probes: settings.probes, uprobes: settings.uprobes, mount: true };
    let report = preflight::run(&assemble::system(settings), options);
    let fatal: Vec<String> = report.fatal().map(ToString::to_string).collect();
    if !fatal.is_empty() {
        bail!("this machine does not let the agent work:\n{}", fatal.join("\n"));
    }
    match preflight::probes(&report).way {
        Some(Way::Sock) => Ok(Mode::Sock),
        Some(Way::Syscalls) => Ok(Mode::Syscalls),
        None => bail!("no way to read sockets: {}", report.probes.why),
    }
}

/// Starts the kernel side; with `any_process` it tells of all processes, because a rule may come to select any.
fn start_capture(settings: &Settings, mode: Mode, any_process: bool) -> anyhow::Result<Capture> {
    let options = capture::Options {
        btf: settings.btf.clone(),
        head_limit: settings.head_limit,
        ring_bytes: settings.ring_buffer,
        connections: settings.max_connections,
        processes: settings.max_processes,
        watch_all: any_process
            || !settings.selection.exes.is_empty()
            || !settings.selection.ports.is_empty()
            || settings.selection.all
            || settings.kubernetes.enabled,
        uprobes: uprobes(settings),
        log_level: assemble::bpf_level(settings.bpf_log),
    };
    Ok(Capture::start(&options, mode)?)
}

/// How the runtimes are hooked, by what this kernel knows.
fn uprobes(settings: &Settings) -> Uprobes {
    match settings.uprobes {
        false => Uprobes::Off,
        true if assemble::system(settings).version() >= Uprobes::MULTI_SINCE => Uprobes::Multi,
        true => Uprobes::Perf,
    }
}

/// The rules of whom to trace. A process that is named by its id and not among `known` must be there.
fn selection(settings: &Settings, known: &[u32]) -> anyhow::Result<Selection> {
    let chosen = &settings.selection;
    let procfs = Procfs::new("/proc").context("cannot read /proc")?;
    for pid in chosen.pids.iter().filter(|pid| !known.contains(pid)) {
        if procfs.identity(*pid).is_err() {
            bail!(
                "--pid {pid}: there is no such process (it has ended, or has another id in the host's PID \
                 namespace); `--exe GLOB` or `--port PORT` finds processes whenever they start"
            );
        }
    }
    let exes: Vec<String> = chosen.exes.iter().map(|glob| glob.text().to_owned()).collect();
    let rules = Selection::new(std::process::id(), &chosen.pids, &exes, &chosen.ports, chosen.all)?;
    Ok(if settings.kubernetes.enabled { rules.beside_pods() } else { rules })
}

/// What the census goes by. `kin`, the namespaces that are never traced, are there where Kubernetes is used.
fn rules(
    settings: &Settings,
    selection: Selection,
    attributes: Vec<(String, String)>,
    kin: Option<&[Kin]>,
) -> Rules {
    let names = settings.service_names.clone();
    let named = move |path: &Path| names.iter().find(|r| r.exe.matches(path)).map(|r| r.name.clone());
    let pods = |kin: &[Kin]| kubernetes::Rules { kin: kin.to_vec(), ..settings.kubernetes.rules.clone() };
    let kubernetes = kin.map(pods);
    let leave_instrumented = settings.instrumented == Treatment::Leave;
    Rules {
        selection,
        service_name: Box::new(named),
        leave_instrumented,
        no_hooks: settings.no_hooks.clone(),
        attributes,
        kubernetes,
    }
}

/// What flows to the pipeline's thread.
pub type Inputs = mpsc::SyncSender<Input>;
