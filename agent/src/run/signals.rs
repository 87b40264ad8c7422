//! When to stop, and when to read the settings again.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering::Relaxed},
};

use anyhow::Context as _;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// The signals that end the agent in order.
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

/// From now on SIGHUP sets the flag that is returned, instead of ending the process.
pub fn hangups() -> anyhow::Result<Arc<AtomicBool>> {
    let mut hangup = signal(SignalKind::hangup()).context("cannot listen for signals")?;
    let asked = Arc::new(AtomicBool::new(false));
    let flag = asked.clone();
    tokio::spawn(async move {
        while hangup.recv().await.is_some() {
            flag.store(true, Relaxed);
        }
    });
    Ok(asked)
}

impl Signals {
    /// From now on the signals are waited for instead of ending the process.
    pub fn listen() -> anyhow::Result<Self> {
        let listen = |kind| signal(kind).context("cannot listen for signals");
        Ok(Self { terminate: listen(SignalKind::terminate())?, interrupt: listen(SignalKind::interrupt())? })
    }

    /// Waits for SIGTERM or SIGINT.
    pub async fn wait(mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
