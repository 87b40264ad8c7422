//! A real Kubernetes on this machine: one node in namespaces of its own, built from source, without any registry.
//!
//! In: a verb. Out: a cluster that kubectl and pods see as any other. Everything it writes is below
//! `/var/lib/sockspan-k8s`, everything it runs in the cgroup `sockspan-k8s`; it outlives the command that started it.

pub mod binaries;
mod cgroup;
mod config;
mod daemon;
mod down;
mod image;
mod kubeconfig;
pub mod kubectl;
pub mod layout;
mod node;
mod pki;
mod preflight;
mod status;
mod store;
mod sysctl;
pub mod test;
mod up;

pub use daemon::Daemon;

use std::process::ExitCode;

use anyhow::Result;
use clap::Subcommand;

/// What can be done with the cluster.
#[derive(Subcommand)]
pub enum Verb {
    /// Start it with our images; if it is up, give it those that have changed
    Up {
        /// Only the images that the cluster itself needs
        #[arg(long)]
        no_images: bool,
    },
    /// Run the tests on it; one that was not up before is removed afterwards
    Test {
        /// Only tests whose names contain one of these
        names: Vec<String>,
        /// Leave it up
        #[arg(long)]
        keep: bool,
    },
    /// Remove everything of it
    Down,
    /// Say what of it is here
    Status,
    /// Ask it: kubectl of its version, with its KUBECONFIG
    #[command(disable_help_flag = true)]
    Kubectl {
        /// kubectl's arguments
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Stop or start one of its daemons
    #[command(subcommand)]
    Daemon(Turn),
}

/// What is done with a daemon.
#[derive(Subcommand)]
pub enum Turn {
    /// End it; the others go on
    Stop {
        /// Which
        name: Daemon,
    },
    /// Start it again
    Start {
        /// Which
        name: Daemon,
    },
}

/// Does what `verb` says.
pub fn run(verb: Verb) -> Result<ExitCode> {
    match verb {
        Verb::Up { no_images } => up(no_images)?,
        Verb::Test { names, keep } => return test::run(&test::Options { names, keep }),
        Verb::Down => down()?,
        Verb::Status => return Ok(if status::print()? { ExitCode::SUCCESS } else { ExitCode::FAILURE }),
        Verb::Kubectl { arguments } => match kubectl::exec(&arguments)? {},
        Verb::Daemon(Turn::Stop { name }) => name.stop()?,
        Verb::Daemon(Turn::Start { name }) => start(name)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Brings the cluster up, or its images up to date; `no_images` leaves out all but its own.
pub fn up(no_images: bool) -> Result<()> {
    up::run(up::Options { without_images: no_images })
}

/// Removes everything of it.
pub fn down() -> Result<()> {
    down::run()
}

/// Starts a daemon; returns when the API server answers, if it is that.
pub fn start(daemon: Daemon) -> Result<()> {
    daemon.start()?;
    if daemon == Daemon::ApiServer { up::api_ready(std::time::Duration::from_secs(120)) } else { Ok(()) }
}
