//! What can be attached while calls are measured, and which calls.
//!
//! In: nothing. Out: names and settings.

/// The calls, as `callcost` names them and as people do.
pub const CALLS: [(&str, &str); 5] = [
    ("getppid", "getppid"),
    ("read_dev_zero", "read(/dev/zero)"),
    ("write_dev_null", "write(/dev/null)"),
    ("tcp_write_read", "TCP write+read pair"),
    ("http_exchange", "HTTP exchange (2 writes, 2 reads)"),
];

/// A row of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// No agent runs.
    Nothing,
    /// An agent traces another process.
    Untraced(&'static str),
    /// An agent traces the process whose calls are measured.
    Traced(&'static str),
}

impl State {
    /// All, in the table's order; the first is what the others are compared to.
    pub const ALL: [Self; 5] = [
        Self::Nothing,
        Self::Untraced("sock"),
        Self::Untraced("syscalls"),
        Self::Traced("sock"),
        Self::Traced("syscalls"),
    ];

    /// The agent's `--probes`.
    pub fn probes(self) -> Option<&'static str> {
        match self {
            Self::Nothing => None,
            Self::Untraced(probes) | Self::Traced(probes) => Some(probes),
        }
    }

    /// The row's title.
    pub fn text(self) -> String {
        match self {
            Self::Nothing => "nothing attached".to_owned(),
            Self::Untraced(probes) => format!("{probes}, not traced"),
            Self::Traced(probes) => format!("{probes}, traced"),
        }
    }
}
