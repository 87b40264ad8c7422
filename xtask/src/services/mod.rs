//! The services that are traced: the sample application, its variants for tests, and the runtimes' services.
//!
//! In: folders with a service each. Out: how to start it ([`Program`]), and services that listen ([`Service`]), each
//! in its own process group, with a log, ended when dropped.

mod folder;
mod reference;
pub mod runtime;

use std::{
    ffi::OsString,
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

use self::folder::Prepared;
pub use self::reference::{Instrumented, Reference};
use crate::{
    process::{self, Group},
    tools::python,
    ui, workspace,
};

/// How to start a service whose dependencies are there.
#[derive(Clone, Debug)]
pub struct Program {
    /// The service's name: that of its folder.
    pub name: String,
    /// The executable.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<OsString>,
    /// The folder it is started in.
    pub folder: PathBuf,
}

impl Program {
    /// As JSON, for test programs: `{"program", "arguments", "folder"}`.
    pub fn to_json(&self) -> serde_json::Value {
        let arguments: Vec<_> = self.arguments.iter().map(|a| a.to_string_lossy()).collect();
        serde_json::json!({ "program": self.program, "arguments": arguments, "folder": self.folder })
    }

    /// The files a guest needs to run it, each at its own path there. Java is left out: a virtual machine without
    /// hardware help takes a minute to start it.
    pub fn guest_files(&self) -> Result<Option<Vec<PathBuf>>> {
        match self.program.file_name().and_then(|name| name.to_str()) {
            Some("node") => Ok(Some(vec![self.program.clone(), self.folder.clone()])),
            Some("python") => {
                let mut files = python::guest_files(&self.program)?;
                files.push(self.folder.join("app.py"));
                Ok(Some(files))
            }
            _ => Ok(None),
        }
    }
}

/// Installs what the service in `folder` needs.
pub fn prepare(folder: &Path) -> Result<Program> {
    let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
    Ok(Prepared::new(folder, &[])?.program(name))
}

/// The service in `folder` with OpenTelemetry's own SDK inside; `None` if there is none for its kind.
pub fn prepare_instrumented(folder: &Path) -> Result<Option<Instrumented>> {
    let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let prepared = Prepared::new(folder, &[])?;
    let reference = Reference::new(folder, &prepared)?;
    Ok(reference.map(|sdk| sdk.service(&name, None, prepared.arguments())))
}

/// The three services below `folder`.
pub fn prepare_three(folder: &Path) -> Result<[Program; 3]> {
    Ok([
        prepare(&folder.join("frontend"))?,
        prepare(&folder.join("product"))?,
        prepare(&folder.join("order"))?,
    ])
}

/// Ports that nobody listened on a moment ago.
pub fn free_ports<const N: usize>() -> Result<[u16; N]> {
    let mut ports = [0; N];
    // All are held until the last is known, so that they differ.
    let mut held = Vec::new();
    for port in &mut ports {
        let listener = TcpListener::bind(("127.0.0.1", 0)).context("no free port on loopback")?;
        *port = listener.local_addr()?.port();
        held.push(listener);
    }
    Ok(ports)
}

/// A service that was started.
pub struct Service {
    name: String,
    /// The port it listens on.
    pub port: u16,
    log: PathBuf,
    group: Group,
}

impl Service {
    /// Starts `program` on `port` with `environment` added.
    pub fn start(program: &Program, port: u16, environment: &[(&str, String)]) -> Result<Self> {
        let log = workspace::log(&program.name);
        process::start_log(&log)?;
        let mut command = Command::new(&program.program);
        let filled = |argument: &OsString| argument.to_string_lossy().replace("{port}", &port.to_string());
        command.args(program.arguments.iter().map(filled)).current_dir(&program.folder);
        command
            .env("PORT", port.to_string())
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .env("PYTHONUNBUFFERED", "1");
        // What `cargo run` adds to the environment is none of a service's business.
        command.env_remove("LD_LIBRARY_PATH");
        command.envs(environment.iter().map(|(name, value)| (name, value)));
        process::log_to(&mut command, &log)?;
        let group = Group::spawn(&mut command)?;
        Ok(Self { name: program.name.clone(), port, log, group })
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.group.pid()
    }

    /// Waits until the port takes connections.
    pub fn wait_ready(&mut self, limit: Duration) -> Result<()> {
        let address = SocketAddr::from(([127, 0, 0, 1], self.port));
        let started = Instant::now();
        while TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_err() {
            process::check_interrupted()?;
            if let Some(status) = self.group.poll()? {
                bail!("{} ended at its start ({status}); {}", self.name, ui::excerpt(&self.log));
            }
            if started.elapsed() > limit {
                bail!(
                    "{} does not listen after {}; {}",
                    self.name,
                    ui::seconds(limit),
                    ui::excerpt(&self.log)
                );
            }
            process::sleep(Duration::from_millis(50));
        }
        Ok(())
    }
}

/// The three services, wired to each other and ready.
pub struct Application {
    services: [Service; 3],
}

impl Application {
    /// Starts frontend, product and order on free ports and waits until all listen.
    pub fn start(programs: &[Program; 3], limit: Duration) -> Result<Self> {
        Self::start_in(programs.each_ref().map(|program| (program, Vec::new())), limit)
    }

    /// The same, each with an environment of its own added.
    pub fn start_in(programs: [(&Program, Vec<(&str, String)>); 3], limit: Duration) -> Result<Self> {
        let ports: [u16; 3] = free_ports()?;
        let url = |port: u16| format!("http://localhost:{port}");
        let [frontend, product, order] = programs;
        let start = |(program, environment): (&Program, Vec<_>), port, wiring: &[(&'static str, String)]| {
            let named = [("OTEL_SERVICE_NAME", program.name.clone())];
            let all: Vec<_> = named.into_iter().chain(wiring.iter().cloned()).chain(environment).collect();
            Service::start(program, port, &all)
        };
        let wiring = [("PRODUCT_SERVICE_URL", url(ports[1])), ("ORDER_SERVICE_URL", url(ports[2]))];
        let mut services = [
            start(frontend, ports[0], &wiring)?,
            start(product, ports[1], &[])?,
            start(order, ports[2], &[])?,
        ];
        for service in &mut services {
            service.wait_ready(limit)?;
        }
        Ok(Self { services })
    }

    /// Its services, frontend first.
    pub fn into_services(self) -> [Service; 3] {
        self.services
    }

    /// The process ids, in the order frontend, product, order.
    pub fn pids(&self) -> [u32; 3] {
        self.services.each_ref().map(Service::pid)
    }

    /// The frontend's port.
    pub fn port(&self) -> u16 {
        self.services[0].port
    }
}
