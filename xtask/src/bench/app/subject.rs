//! What is measured: the sample application, and single services that answer a hello.
//!
//! In: names. Out: services that run, as they are and with OpenTelemetry's SDK inside.

use std::{fs, time::Duration};

use anyhow::{Context, Result, bail};

use super::load::Asked;
use crate::{
    services::{self, Application, Instrumented, Program, Service, runtime},
    workspace,
};

/// A virtual machine starts slowly beside others.
const START_LIMIT: Duration = Duration::from_secs(90);

/// A subject.
#[derive(Clone, Copy, Debug)]
pub struct Subject {
    /// Its name in tables.
    pub name: &'static str,
    /// What it is asked.
    pub asked: Asked,
    kind: Kind,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    /// The sample application; its frontend is asked.
    Application,
    /// A service of `tests/runtimes` alone.
    Runtime,
    /// A service below `tests/hello`.
    Hello,
}

const fn hello(name: &'static str, kind: Kind) -> Subject {
    Subject { name, asked: Asked { method: "GET", path: "/", connections: 20 }, kind }
}

impl Subject {
    /// The one that answers the most a second.
    pub const FASTEST: Self = hello("go-net-http", Kind::Runtime);

    /// All. The sample application sleeps as its database would: it takes many requests to keep the processors busy.
    pub const ALL: [Self; 6] = [
        Self {
            name: "application",
            asked: Asked { method: "POST", path: "/checkout", connections: 160 },
            kind: Kind::Application,
        },
        hello("node-hello", Kind::Hello),
        hello("python-gunicorn-sync", Kind::Runtime),
        hello("java-tomcat", Kind::Runtime),
        hello("go-net-http", Kind::Runtime),
        hello("nginx", Kind::Runtime),
    ];

    /// Makes it ready to start; `sdk`: with OpenTelemetry's SDK too.
    pub fn prepare(self, sdk: bool) -> Result<Prepared> {
        let (plain, instrumented) = match self.kind {
            Kind::Application => {
                let folder = workspace::root().join("deploy/e-commerce");
                let folders = ["frontend", "product", "order"].map(|name| folder.join(name));
                let plain = services::prepare_three(&folder)?.map(Start::plain).to_vec();
                let prepare = |folder| services::prepare_instrumented(folder);
                let sdks: Option<Vec<_>> = match sdk {
                    true => folders.iter().map(|folder| prepare(folder)).collect::<Result<_>>()?,
                    false => None,
                };
                (plain, sdks.map(|sdks| sdks.into_iter().map(Start::instrumented).collect()))
            }
            Kind::Hello => {
                let folder = workspace::root().join("tests/hello").join(self.name);
                let sdk = if sdk { services::prepare_instrumented(&folder)? } else { None };
                (
                    vec![Start::plain(services::prepare(&folder)?)],
                    sdk.map(|sdk| vec![Start::instrumented(sdk)]),
                )
            }
            Kind::Runtime => {
                let mut all = runtime::prepare(|name| name == self.name, sdk)?;
                let Some(runtime) = all.pop() else {
                    bail!("no service in tests/runtimes is called {}", self.name)
                };
                let own = |start: Start| start.with(&runtime.environment());
                let sdk = runtime.reference().cloned().map(|sdk| vec![own(Start::instrumented(sdk))]);
                (vec![own(Start::plain(runtime.program().clone()))], sdk)
            }
        };
        Ok(Prepared { subject: self, plain, instrumented })
    }
}

/// A program and what its environment must say.
#[derive(Clone, Debug)]
struct Start {
    program: Program,
    environment: Vec<(String, String)>,
}

impl Start {
    fn plain(program: Program) -> Self {
        Self { program, environment: Vec::new() }
    }

    /// Apart by its name, so that it has a log of its own.
    fn instrumented(sdk: Instrumented) -> Self {
        let program = Program { name: format!("{}-sdk", sdk.program.name), ..sdk.program };
        let environment = sdk.environment.iter().map(|(name, value)| ((*name).to_owned(), value.clone()));
        Self { program, environment: environment.collect() }
    }

    fn with(mut self, environment: &[(&str, String)]) -> Self {
        self.environment.extend(environment.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
        self
    }
}

/// A subject whose services can start.
pub struct Prepared {
    /// Which.
    pub subject: Subject,
    plain: Vec<Start>,
    instrumented: Option<Vec<Start>>,
}

impl Prepared {
    /// Starts the services as they are.
    pub fn start(&self) -> Result<Running> {
        start(&self.plain, &[])
    }

    /// Starts them with the SDK inside, which sends to `receiver`; `None` where there is no SDK.
    pub fn start_instrumented(&self, receiver: &str) -> Result<Option<Running>> {
        let environment = [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.to_owned()),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf".to_owned()),
            ("OTEL_TRACES_EXPORTER", "otlp".to_owned()),
            ("OTEL_METRICS_EXPORTER", "none".to_owned()),
            ("OTEL_LOGS_EXPORTER", "none".to_owned()),
            // Sent within its own measurement.
            ("OTEL_BSP_SCHEDULE_DELAY", "1000".to_owned()),
            ("OTEL_SEMCONV_STABILITY_OPT_IN", "http".to_owned()),
        ];
        self.instrumented.as_ref().map(|all| start(all, &environment)).transpose()
    }
}

fn start(all: &[Start], more: &[(&'static str, String)]) -> Result<Running> {
    let environment = |start: &'_ Start| -> Vec<(String, String)> {
        let more = more.iter().map(|(name, value)| ((*name).to_owned(), value.clone()));
        start.environment.iter().cloned().chain(more).collect()
    };
    let owned: Vec<_> = all.iter().map(environment).collect();
    let borrowed = |n: usize| owned[n].iter().map(|(name, value)| (name.as_str(), value.clone())).collect();
    if let [a, b, c] = all {
        let programs = [(&a.program, borrowed(0)), (&b.program, borrowed(1)), (&c.program, borrowed(2))];
        let application = Application::start_in(programs, START_LIMIT)?;
        return Ok(Running { port: application.port(), services: application.into_services().into() });
    }
    let one = all.first().context("a subject has no program")?;
    let [port] = services::free_ports()?;
    let scratch = workspace::output().join("scratch").join(&one.program.name);
    fs::create_dir_all(&scratch).with_context(|| format!("cannot create {}", scratch.display()))?;
    // A hello asks nobody.
    let own = [
        ("NEXT", "http://127.0.0.1:9".to_owned()),
        ("SCRATCH", scratch.display().to_string()),
        ("OTEL_SERVICE_NAME", one.program.name.clone()),
    ];
    let all: Vec<_> = borrowed(0);
    let mut service = Service::start(&one.program, port, &[all, own.to_vec()].concat())?;
    service.wait_ready(START_LIMIT)?;
    Ok(Running { port, services: vec![service] })
}

/// Services that run.
pub struct Running {
    /// Where they are asked.
    pub port: u16,
    services: Vec<Service>,
}

impl Running {
    /// The processes that were started, each the head of its group.
    pub fn pids(&self) -> Vec<u32> {
        self.services.iter().map(Service::pid).collect()
    }
}
