//! The agent's threads.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
        mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender},
    },
    thread::{Builder, JoinHandle},
    time::{Duration, Instant},
};

use sockspan_ebpf::{EventKind, Lifecycle};

use crate::{
    admin::Ready,
    capture::{Feedback, Ring},
    census::{Arrival, Census, News, Rules},
    connection::Wish,
    event,
    exchange::Sign,
    export::Exporter,
    memory,
    metrics::Metrics,
    pipeline::{self, Options, Pipeline, Yield},
    record::{Input, Writer},
    span::clock,
};

use super::{Inputs, gauges::Gauges};

/// While events come, they are drained this often; the kernel side wakes the reader sooner when much waits.
const BUSY: Duration = Duration::from_millis(5);
/// So many times after the last event, too: the next one does not wake the reader if it comes within 10 ms.
const BUSY_AFTER: u32 = 4;
/// From then on this often, so many times: what the pipeline holds back, for some seconds at most, comes out little by little
/// and not in bursts that fill the queue.
const CALM: Duration = Duration::from_millis(100);
const CALM_AFTER: u32 = BUSY_AFTER + 60;
/// Else. An event after a silence wakes the reader at once.
const IDLE: Duration = Duration::from_millis(500);
/// How often all processes are looked at, in case a turn was missed: it reads much of /proc.
const RESCAN: Duration = Duration::from_secs(60);
/// How often it is asked whether a process is due for another look.
const REVIEW: Duration = Duration::from_millis(500);
/// How soon the census notices that it is to stop, should it not hear of it.
const PATIENCE: Duration = Duration::from_millis(500);

/// The longest that the agent waits for the Kubernetes API before it calls itself ready.
const PREPARED: Duration = Duration::from_secs(5);

/// What the census is called for.
pub enum Call {
    /// A turn in a process's life.
    Turn(EventKind, Lifecycle),
    /// A process was seen to have a tracer of its own.
    Instrumented(u32, Sign),
    /// The Kubernetes API has told something.
    Pods,
    /// It goes by these rules from now on.
    Rules(Box<Rules>),
    /// It is to look whether it is to stop.
    Stop,
}

/// Where the pipeline's output goes.
pub enum Sink {
    /// Spans, to the exporter.
    Export(Arc<Exporter>),
    /// Inputs, to a file.
    File(Writer),
}

impl Sink {
    /// The exporter, if there is one.
    pub fn exporter(&self) -> Option<Arc<Exporter>> {
        match self {
            Self::Export(exporter) => Some(exporter.clone()),
            Self::File(_) => None,
        }
    }
}

/// What the pipeline's thread needs.
pub struct Work {
    /// The pipeline's options.
    pub options: Options,
    /// Where it counts.
    pub metrics: Arc<Metrics>,
    /// Where it says how much it holds.
    pub gauges: Arc<Gauges>,
    /// Where its output goes.
    pub sink: Sink,
    /// The way back into the kernel.
    pub feedback: Feedback,
    /// Rules that replace the options', whenever they come.
    pub rules: Receiver<pipeline::Rules>,
}

/// Tells the agent when its thread ends, however it ends.
#[derive(Clone)]
pub struct Farewell(pub tokio::sync::mpsc::UnboundedSender<()>);

impl Drop for Farewell {
    fn drop(&mut self) {
        // Nobody listens once the agent is stopping.
        let _ = self.0.send(());
    }
}

fn clock_input() -> Input {
    let (monotonic, wall) = clock::sample();
    Input::Clock { monotonic, wall }
}

/// Copies events out of the ring buffer until `stop`, and then what is left.
pub fn drain(
    mut ring: Ring,
    inputs: Inputs,
    stop: Arc<AtomicBool>,
    farewell: Farewell,
) -> io::Result<JoinHandle<bool>> {
    Builder::new().name("sockspan-drain".into()).spawn(move || {
        let _farewell = farewell;
        // Waits since the last event.
        let mut idle = 0_u32;
        let mut stopping = false;
        while !stopping {
            ring.wait(pause(idle));
            stopping = stop.load(Relaxed);
            idle = idle.saturating_add(1);
            while let Some(batch) = ring.batch() {
                idle = 0;
                if inputs.send(Input::Batch(batch)).is_err() {
                    return true;
                }
            }
            if inputs.send(clock_input()).is_err() {
                return true;
            }
        }
        false
    })
}

/// How long to wait for events when the last so many waits brought none.
fn pause(idle: u32) -> Duration {
    match idle {
        0..BUSY_AFTER => BUSY,
        BUSY_AFTER..CALM_AFTER => CALM,
        CALM_AFTER.. => IDLE,
    }
}

/// Runs the pipeline until nobody feeds it any more.
pub fn work(
    work: Work,
    inputs: Receiver<Input>,
    calls: SyncSender<Call>,
    farewell: Farewell,
) -> io::Result<JoinHandle<bool>> {
    Builder::new().name("sockspan-work".into()).spawn(move || {
        let _farewell = farewell;
        let Work { options, metrics, gauges, mut sink, mut feedback, rules } = work;
        let mut pipeline = Pipeline::new(options, metrics);
        let mut out = Yield::default();
        let mut failed = false;
        for input in inputs {
            if let Sink::File(writer) = &mut sink
                && let Err(error) = writer.write(&input)
            {
                tracing::error!("cannot record any more: {error}");
                failed = true;
                break;
            }
            // Inputs come twice a second at least.
            rules.try_iter().for_each(|rules| pipeline.reload(rules));
            pipeline.take(input, &mut out);
            pass_on(&mut out, &sink, &mut feedback, &calls);
            gauges.hold(pipeline.held());
        }
        pipeline.finish(&mut out);
        pass_on(&mut out, &sink, &mut feedback, &calls);
        if let Sink::File(writer) = &mut sink
            && let Err(error) = writer.flush()
        {
            tracing::error!("cannot finish the recording: {error}");
            failed = true;
        }
        failed
    })
}

fn pass_on(out: &mut Yield, sink: &Sink, feedback: &mut Feedback, calls: &SyncSender<Call>) {
    for wish in out.wishes.drain(..) {
        match wish {
            Wish::Skip { socket, generation, way, position } => {
                feedback.skip(socket, generation, way, position);
            }
            Wish::Ignore { socket, generation } => feedback.ignore(socket, generation),
            Wish::Forget { socket } => feedback.forget(socket),
        }
    }
    for (kind, turn) in out.turns.drain(..) {
        // Never waited for: the census may itself wait for the pipeline. It ends first when the agent stops.
        let _ = calls.try_send(Call::Turn(kind, turn));
    }
    for (tgid, sign) in out.signs.drain(..) {
        let _ = calls.try_send(Call::Instrumented(tgid, sign));
    }
    let spans = std::mem::take(&mut out.spans);
    if let (false, Sink::Export(exporter)) = (spans.is_empty(), sink) {
        exporter.offer(spans);
    }
}

/// News of the census, as the pipeline takes it. What concerns events before it takes its place among them, as if
/// the kernel side had said so.
fn input(news: News) -> Input {
    let turn = |kind, tgid| Input::Batch(event::turn_of(kind, tgid, clock::sample().0));
    match news {
        News::Arrival(Arrival { tgid, resource, complete }) => Input::Process { tgid, resource, complete },
        News::Distrust(tgid) => turn(EventKind::Multiplexed, tgid),
        News::Departure(tgid) => turn(EventKind::Released, tgid),
    }
}

/// Keeps the census. Its first scan makes the agent ready, once the pods are known or have been waited for.
pub fn census(
    mut census: Census,
    inputs: Inputs,
    calls: Receiver<Call>,
    ready: Ready,
    stop: Arc<AtomicBool>,
    farewell: Farewell,
    kept: Sender<Census>,
) -> io::Result<JoinHandle<bool>> {
    Builder::new().name("sockspan-census".into()).spawn(move || {
        let _farewell = farewell;
        let send = |news: Vec<News>| news.into_iter().all(|one| inputs.send(input(one)).is_ok());
        if inputs.send(clock_input()).is_err() || !send(census.scan()) {
            return true;
        }
        let begun = Instant::now();
        let (mut scanned, mut reviewed, mut announced) = (begun, begun, false);
        while !stop.load(Relaxed) {
            if !announced && (census.is_prepared() || begun.elapsed() >= PREPARED) {
                announced = true;
                if !send(census.pods_changed()) {
                    return !stop.load(Relaxed);
                }
                // What only the start needed.
                memory::trim();
                memory::release_code();
                ready.set(true);
                match census.chosen() {
                    0 => tracing::info!(
                        "ready: nothing that runs is selected yet; /status says why not, process by process"
                    ),
                    1 => tracing::info!("ready: 1 process is traced"),
                    many => tracing::info!("ready: {many} processes are traced"),
                }
            }
            let alive = match calls.recv_timeout(PATIENCE) {
                Ok(Call::Turn(kind, turn)) => send(census.turn(kind, &turn)),
                Ok(Call::Instrumented(tgid, sign)) => send(census.recognise(tgid, sign)),
                Ok(Call::Pods) => send(census.pods_changed()),
                Ok(Call::Rules(rules)) => send(census.reload(*rules)),
                Ok(Call::Stop) | Err(RecvTimeoutError::Timeout) => true,
                Err(RecvTimeoutError::Disconnected) => false,
            };
            if !alive {
                return !stop.load(Relaxed);
            }
            if reviewed.elapsed() >= REVIEW {
                reviewed = Instant::now();
                // A call can be lost where many wait.
                if !send(census.review()) || !send(census.pods_changed()) {
                    return !stop.load(Relaxed);
                }
            }
            if scanned.elapsed() >= RESCAN {
                scanned = Instant::now();
                if !send(census.scan()) {
                    return !stop.load(Relaxed);
                }
            }
        }
        ready.set(false);
        let _ = kept.send(census);
        false
    })
}

/// Waits for all threads; says whether any failed.
pub fn join(threads: Vec<JoinHandle<bool>>) -> bool {
    let mut failed = false;
    // The pipeline ends when the others have let go of their ends of its channel.
    for thread in threads {
        failed |= thread.join().unwrap_or(true);
    }
    failed
}
