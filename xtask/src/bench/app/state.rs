//! What watches the services while they are measured.
//!
//! In: nothing. Out: names and settings.

/// A row of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Nobody.
    Nothing,
    /// The agent, by these probes, with or without hooks in the runtimes.
    Agent {
        /// As `--probes` has it.
        probes: &'static str,
        /// Whether runtimes are hooked.
        hooks: bool,
    },
    /// OpenTelemetry's SDK inside the services.
    Sdk,
}

impl State {
    /// All, in the table's order; the first is what the others are compared to.
    pub const ALL: [Self; 5] = [
        Self::Nothing,
        Self::Agent { probes: "sock", hooks: false },
        Self::Agent { probes: "sock", hooks: true },
        Self::Agent { probes: "syscalls", hooks: true },
        Self::Sdk,
    ];

    /// The row's title.
    pub fn text(self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::Agent { probes, hooks: true } => probes,
            // The only one that is measured without.
            Self::Agent { hooks: false, .. } => "sock, no hooks",
            Self::Sdk => "OpenTelemetry SDK",
        }
    }
}
