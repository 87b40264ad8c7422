//! Real services to trace: the sample application, and its variants with an id in every path.
//!
//! In: the list that the test runner gives, ports, environments. Out: [`Service`]s that answer.

use std::{
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::{child::Running, given, http, wait_until};

/// How to start a service.
#[derive(Clone, Debug)]
pub struct Program {
    name: String,
    program: PathBuf,
    arguments: Vec<String>,
    folder: PathBuf,
}

/// Where a service belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Application {
    /// The sample application, as people know it.
    Sample,
    /// The same with ids.
    Variants,
    /// The runtimes' services, each alone.
    Runtimes,
    /// Services that OpenTelemetry's SDKs trace.
    Instrumented,
}

/// The test runner's list of services, as text.
///
/// # Panics
/// If there is none.
pub fn list() -> String {
    let path = given::services();
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()))
}

impl Program {
    /// The service `name` of an application.
    ///
    /// # Panics
    /// If the test runner's list does not have it.
    pub fn find(application: Application, name: &str) -> Self {
        let group = match application {
            Application::Sample => "sample",
            Application::Variants => "variants",
            Application::Runtimes => "runtimes",
            Application::Instrumented => "instrumented",
        };
        Self::parse(&list(), group, name)
            .unwrap_or_else(|| panic!("{} has no {group}.{name}", given::services().display()))
    }

    /// The executable.
    pub fn executable(&self) -> &Path {
        &self.program
    }

    fn parse(list: &str, group: &str, name: &str) -> Option<Self> {
        let list: Value = serde_json::from_str(list).ok()?;
        Self::from_entry(name, list.get(group)?.get(name)?)
    }

    /// The service that an entry of the list tells how to start.
    pub fn from_entry(name: &str, entry: &Value) -> Option<Self> {
        let text = |key: &str| entry.get(key)?.as_str().map(str::to_owned);
        let arguments = entry.get("arguments")?.as_array()?.iter();
        Some(Self {
            name: name.to_owned(),
            program: text("program")?.into(),
            arguments: arguments.map(|a| a.as_str().map(str::to_owned)).collect::<Option<_>>()?,
            folder: text("folder")?.into(),
        })
    }
}

/// A port that nobody listened on a moment ago.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("loopback has a free port");
    listener.local_addr().expect("a bound socket has an address").port()
}

/// A service that answers; killed when dropped.
#[derive(Debug)]
pub struct Service {
    /// Where it listens on loopback.
    pub port: u16,
    process: Running,
}

impl Service {
    /// Starts a service on `port` and waits until it answers.
    ///
    /// # Panics
    /// If it ends, or does not answer in time.
    pub fn start(program: &Program, port: u16, environment: &[(&str, String)]) -> Self {
        let service = Self::launch(program, port, environment);
        service.wait_ready()
    }

    fn launch(program: &Program, port: u16, environment: &[(&str, String)]) -> Self {
        let mut command = Command::new(&program.program);
        let arguments = program.arguments.iter().map(|text| text.replace("{port}", &port.to_string()));
        command.args(arguments).current_dir(&program.folder);
        command
            .env("PORT", port.to_string())
            .env("OTEL_SERVICE_NAME", &program.name)
            .env("PYTHONDONTWRITEBYTECODE", "1");
        command.envs(environment.iter().map(|(name, value)| (name, value)));
        Self { port, process: Running::spawn(&program.name, &mut command) }
    }

    fn wait_ready(mut self) -> Self {
        let started = Instant::now();
        let ready = wait_until(given::limit(Duration::from_secs(60)), || {
            assert!(self.process.ended().is_none(), "a service ended at its start");
            http::get(self.port, "/").is_ok_and(|response| response.status == 200)
        });
        assert!(ready, "a service did not answer within {:?}", started.elapsed());
        self
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Asks it to end, and waits for that as long as `grace`.
    pub fn end(&mut self, grace: Duration) {
        self.process.signal(Signal::SIGTERM);
        wait_until(grace, || self.process.ended().is_some());
    }
}

/// Frontend and product, and order if it is wanted, wired to each other.
#[derive(Debug)]
pub struct Shop {
    /// Node.
    pub frontend: Service,
    /// Python.
    pub product: Service,
    /// Java.
    pub order: Option<Service>,
}

/// How the variants are to behave.
#[derive(Clone, Debug)]
pub struct Behaviour {
    /// `KEEPALIVE` of the frontend.
    pub keep_alive: Option<bool>,
    /// Product fails one request in ten.
    pub errors: bool,
    /// `PRODUCT_DELAY_MS` and `ORDER_DELAY_MS`.
    pub delay: &'static str,
    /// The frontend reaches product by this port instead of product's own.
    pub product_by: Option<u16>,
    /// The frontend's `RESET_URL` is this port.
    pub resets: Option<u16>,
    /// The three ports, in the order frontend, product, order; free ones unless said.
    pub ports: Option<[u16; 3]>,
}

impl Default for Behaviour {
    fn default() -> Self {
        Self { keep_alive: None, errors: false, delay: "1-5", product_by: None, resets: None, ports: None }
    }
}

impl Shop {
    /// The sample application.
    pub fn sample() -> Self {
        Self::start(Application::Sample, true, &Behaviour::default())
    }

    /// All three variants.
    pub fn three(behaviour: &Behaviour) -> Self {
        Self::start(Application::Variants, true, behaviour)
    }

    /// The variants of frontend and product.
    pub fn two(behaviour: &Behaviour) -> Self {
        Self::start(Application::Variants, false, behaviour)
    }

    fn start(application: Application, with_order: bool, behaviour: &Behaviour) -> Self {
        let ports = behaviour.ports.unwrap_or_else(|| [(); 3].map(|()| free_port()));
        let [frontend_port, product_port, order_port] = ports;
        let program = |name| Program::find(application, name);
        let delay = |name| (name, behaviour.delay.to_owned());
        let url = |port: u16| format!("http://localhost:{port}");
        let order =
            with_order.then(|| Service::launch(&program("order"), order_port, &[delay("ORDER_DELAY_MS")]));
        let rate = if behaviour.errors { "0.1" } else { "0" };
        let product = [delay("PRODUCT_DELAY_MS"), ("PRODUCT_ERROR_RATE", rate.to_owned())];
        let product = Service::launch(&program("product"), product_port, &product);
        let mut frontend = vec![
            ("PRODUCT_SERVICE_URL", url(behaviour.product_by.unwrap_or(product_port))),
            ("ORDER_SERVICE_URL", url(order_port)),
        ];
        frontend.extend(behaviour.keep_alive.map(|keep| ("KEEPALIVE", u8::from(keep).to_string())));
        frontend.extend(behaviour.resets.map(|port| ("RESET_URL", url(port))));
        let frontend = Service::launch(&program("frontend"), frontend_port, &frontend);
        Self {
            frontend: frontend.wait_ready(),
            product: product.wait_ready(),
            order: order.map(Service::wait_ready),
        }
    }

    /// The process ids.
    pub fn pids(&self) -> Vec<u32> {
        let order = self.order.iter().map(Service::pid);
        [self.frontend.pid(), self.product.pid()].into_iter().chain(order).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_understood() {
        let list =
            r#"{"sample":{},"variants":{"product":{"program":"/p","arguments":["app.py"],"folder":"/f"}}}"#;
        let program = Program::parse(list, "variants", "product").unwrap();
        assert_eq!((program.program.to_str(), program.arguments.len()), (Some("/p"), 1));
        assert!(Program::parse(list, "sample", "product").is_none());
    }
}
