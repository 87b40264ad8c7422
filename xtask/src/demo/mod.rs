//! `cargo xtask demo`: the whole product on this machine, from nothing to a picture of a trace.
//!
//! In: options. Out: one checkout's waterfall and a table on standard output, everything cleaned up behind it.

mod console;
pub mod jaeger;
pub mod kubernetes;
mod report;

use std::{
    fs,
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};

use self::report::Report;
use crate::{
    agent::{Agent, Cost},
    build::{self, Profile},
    http,
    load::{self, Answers},
    process,
    services::{self, Application, Program},
    tools::{self, jaeger::Jaeger},
    trace::{self, Trace},
    ui::{self, Step},
    workspace,
};

/// The order service's virtual machine may start slowly on a busy machine.
const SERVICES_LIMIT: Duration = Duration::from_secs(120);
const AGENT_LIMIT: Duration = Duration::from_secs(20);
/// How long after the last answer its trace may take to be seen.
const SETTLE_LIMIT: Duration = Duration::from_secs(20);

/// What a person asked for.
#[derive(Clone, Debug)]
pub struct Options {
    /// Send the traces to a real Jaeger.
    pub jaeger: bool,
    /// How long requests are sent.
    pub duration: Duration,
    /// Requests a second.
    pub rate: f64,
    /// Leave everything running at the end.
    pub keep: bool,
}

/// What must be there before anything starts.
pub struct Ready {
    /// The agent's program.
    pub agent: PathBuf,
    /// The three services.
    pub programs: [Program; 3],
    /// Where traces go, if not to the console.
    pub jaeger: Option<Jaeger>,
}

/// Everything that runs. The agent ends before the services it traces, and Jaeger last (fields drop in order).
pub struct Stage {
    agent: Agent,
    /// What its start has cost.
    start: Cost,
    application: Application,
    jaeger: Option<jaeger::Running>,
}

/// The verb.
pub fn run(options: &Options) -> Result<()> {
    if !nix::unistd::geteuid().is_root() {
        bail!(
            "the demo loads eBPF programs into the kernel, which takes root: run it from a root shell, or by \
             `sudo --preserve-env=PATH,HOME cargo xtask demo`"
        );
    }
    announce(options.jaeger);
    let ready = Ready {
        agent: build::all(Profile::Release)?,
        programs: services::prepare_three(&workspace::root().join("deploy/e-commerce"))?,
        jaeger: if options.jaeger { Some(Jaeger::ensure()?) } else { None },
    };
    let mut stage = Stage::start(&ready)?;
    let report = stage.perform(options)?;
    report.print();
    if options.keep || options.jaeger {
        stage.keep(ready.jaeger.as_ref())?;
    }
    stage.stop()?;
    report.verdict()
}

/// Says what will be installed before anything is.
fn announce(jaeger: bool) {
    let missing = tools::missing(jaeger);
    if missing.is_empty() {
        ui::say("all prerequisites are here; builds and dependencies are cached where they can be");
    } else {
        ui::say(format!("will install or build first (cache: {}):", workspace::cache().display()));
        missing.iter().for_each(|what| ui::say(format!("  {what}")));
    }
}

impl Stage {
    /// Starts Jaeger if there is one, the services, and the agent.
    pub fn start(ready: &Ready) -> Result<Self> {
        let jaeger = match &ready.jaeger {
            Some(jaeger) => Some(Step::run("starting Jaeger", |_| jaeger::Running::start(jaeger))?),
            None => None,
        };
        let application = Step::run("starting frontend (Node.js), product (Python), order (Java)", |_| {
            Application::start(&ready.programs, SERVICES_LIMIT)
        })?;
        // The sample has few paths: its spans are better told apart with them in their names.
        let names = ("SOCKSPAN_GUESS_ROUTES", "true".to_owned());
        let export = match &jaeger {
            None => vec![names, ("OTEL_TRACES_EXPORTER", "console".to_owned())],
            Some(jaeger) => vec![
                names,
                ("OTEL_TRACES_EXPORTER", "otlp".to_owned()),
                ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc".to_owned()),
                ("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://127.0.0.1:{}", jaeger.otlp_port)),
            ],
        };
        let step = Step::begin("starting the agent");
        let ready_agent = Agent::start(&ready.agent, &application.pids(), &export).and_then(|mut agent| {
            let took = agent.wait_ready(AGENT_LIMIT)?;
            let start = agent.cost()?;
            Ok((agent, took, start))
        });
        match ready_agent {
            Ok((agent, took, start)) => {
                step.done(format!("traces after {} ms", took.as_millis()));
                Ok(Self { agent, start, application, jaeger })
            }
            Err(error) => {
                step.fail("");
                Err(error)
            }
        }
    }

    /// Sends the requests, waits for their traces, and takes the agent's measure.
    pub fn perform(&mut self, options: &Options) -> Result<Report> {
        let text =
            format!("sending {} requests a second for {}", options.rate, ui::seconds(options.duration));
        let answers = Step::run(text, |_| {
            let answers = load::run(&http::loopback(self.application.port()), options.rate, options.duration);
            self.agent.check()?;
            process::check_interrupted().map(|()| answers)
        })?;
        // Before the wait, in which the agent has nothing to do.
        let cost = self.agent.cost()?;
        let traces = Step::run("waiting for the last traces", |_| self.settle(&answers))?;
        Ok(Report {
            complete: trace::complete(&traces, &answers),
            traces,
            spans: self.agent.metric("sockspan_spans_total")?,
            lost: self.agent.lost()?,
            start: self.start,
            cost,
            answers,
        })
    }

    /// Ends everything; an agent that does not end in good order is an error.
    pub fn stop(mut self) -> Result<()> {
        self.agent.stop()
    }

    /// Waits until every request has its complete trace, or nothing more can be expected.
    fn settle(&mut self, answers: &Answers) -> Result<Vec<Trace>> {
        let started = Instant::now();
        loop {
            let traces = self.traces()?;
            if trace::complete(&traces, answers) == answers.sent() || started.elapsed() > SETTLE_LIMIT {
                return Ok(traces);
            }
            self.agent.check()?;
            process::check_interrupted()?;
            process::sleep(Duration::from_millis(250));
        }
    }

    fn traces(&self) -> Result<Vec<Trace>> {
        match &self.jaeger {
            Some(jaeger) => jaeger.traces(),
            None => Ok(console::traces(&String::from_utf8_lossy(&fs::read(&self.agent.output)?))),
        }
    }

    /// Leaves everything running until a person asks for the end.
    fn keep(&mut self, installed: Option<&Jaeger>) -> Result<()> {
        ui::say(format!(
            "the application: http://127.0.0.1:{} (/products, POST /checkout)",
            self.application.port()
        ));
        match (&self.jaeger, installed) {
            (Some(running), Some(jaeger)) => {
                let url = format!("http://127.0.0.1:{}", running.query_port);
                ui::say(format!("Jaeger: {url}/search?service=frontend"));
                if !jaeger.has_ui() {
                    ui::say(format!(
                        "(this Jaeger was built from its Go module, which has no pages: ask {url}/api/traces?service=frontend)"
                    ));
                }
            }
            _ => ui::say(format!("its traces: tail -f {}", workspace::display(&self.agent.output))),
        }
        ui::say("running until Ctrl-C");
        while !process::interrupted() {
            self.agent.check()?;
            process::sleep(Duration::from_secs(1));
        }
        Ok(())
    }
}
