//! tracefs and the tracepoints.

use super::{Check, Choice, System, Way};
use memchr::memmem;
use std::{fs, io, path::PathBuf};

/// Where tracefs belongs.
const PLACE: &str = "/sys/kernel/tracing";
const PLACES: [&str; 2] = [PLACE, "/sys/kernel/debug/tracing"];

const SOCK: [(&str, &str); 2] = [("sock", "sock_send_length"), ("sock", "sock_recv_length")];
const PROCESSES: [(&str, &str); 4] = [
    ("sched", "sched_process_fork"),
    ("sched", "sched_process_exec"),
    ("sched", "sched_process_exit"),
    ("sock", "inet_sock_set_state"),
];
/// The calls by which programs speak on sockets; without the rarer ones the agent does.
const CALLS: [&str; 8] = ["read", "readv", "recvfrom", "recvmsg", "write", "writev", "sendto", "sendmsg"];

/// Whether tracepoints are there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Presence {
    /// All of them.
    There,
    /// This one is not.
    Missing(String),
    /// It can't be told, for this reason.
    Unknown(String),
}

impl Presence {
    pub(super) fn is_there(&self) -> bool {
        *self == Self::There
    }

    /// Why they can't be used.
    pub(super) fn missing(&self) -> String {
        match self {
            Self::There => "nothing is missing".into(),
            Self::Missing(name) => format!("the kernel has no tracepoint {name}"),
            Self::Unknown(reason) => reason.clone(),
        }
    }
}

/// What was found of tracefs.
pub(super) struct Tracing {
    events: Result<PathBuf, Hidden>,
    mounted_now: bool,
    /// The kernel's types, which name its raw tracepoints; read only where tracefs is hidden.
    types: Vec<u8>,
}

/// Why tracefs can't be read.
enum Hidden {
    NotMounted(Option<io::Error>),
    Refused(io::Error),
}

impl Tracing {
    /// Finds tracefs, mounts it if it may and has to.
    pub(super) fn find(system: &System<'_>, mount: bool) -> Self {
        let mut events = look(system);
        let mut mounted_now = false;
        if mount && matches!(events, Err(Hidden::NotMounted(_))) {
            match system.kernel.mount_tracefs(&system.path(PLACE)) {
                Ok(()) => {
                    events = look(system);
                    mounted_now = events.is_ok();
                }
                Err(error) => events = Err(Hidden::NotMounted(Some(error))),
            }
        }
        let types = match events {
            Ok(_) => Vec::new(),
            Err(_) => fs::read(system.btf_file()).unwrap_or_default(),
        };
        Self { events, mounted_now, types }
    }

    /// The tracepoints of [`Way::Sock`], which are attached without tracefs.
    pub(super) fn sock(&self) -> Presence {
        self.all(&SOCK)
    }

    /// The tracepoints of [`Way::Syscalls`], which are attached by their numbers in tracefs.
    pub(super) fn syscalls(&self) -> Presence {
        let Ok(events) = &self.events else {
            return Presence::Unknown(
                "the system calls' tracepoints need tracefs, which can't be read".into(),
            );
        };
        let names = CALLS.iter().flat_map(|call| [format!("sys_enter_{call}"), format!("sys_exit_{call}")]);
        let missing = names.into_iter().find(|name| !events.join("syscalls").join(name).join("id").exists());
        missing.map_or(Presence::There, |name| Presence::Missing(format!("syscalls:{name}")))
    }

    fn all(&self, names: &[(&str, &str)]) -> Presence {
        if self.events.is_err() && self.types.is_empty() {
            return Presence::Unknown("neither tracefs nor BTF can be read to find its tracepoints".into());
        }
        let missing = names.iter().find(|(group, name)| match &self.events {
            Ok(events) => !events.join(group).join(name).exists(),
            Err(_) => memmem::find(&self.types, format!("\0btf_trace_{name}\0").as_bytes()).is_none(),
        });
        missing.map_or(Presence::There, |(group, name)| Presence::Missing(format!("{group}:{name}")))
    }

    /// tracefs itself; only the system calls' tracepoints need it.
    pub(super) fn check_mount(&self, choice: &Choice) -> Check {
        let name = "tracefs";
        let needed = choice.way != Some(Way::Sock);
        let (cause, cure) = match &self.events {
            Ok(events) if self.mounted_now => {
                return Check::ok(name, format!("{}, mounted just now", events.display()));
            }
            Ok(events) => return Check::ok(name, events.display().to_string()),
            Err(Hidden::NotMounted(error)) => {
                let tried = error
                    .as_ref()
                    .map_or(String::new(), |e| format!(", and the agent may not mount it ({e})"));
                let cure = "mount -t tracefs nodev /sys/kernel/tracing; in a container, mount the machine's /sys/kernel/tracing";
                (format!("is not mounted{tried}"), cure)
            }
            Err(Hidden::Refused(error)) => {
                (format!("can't be read ({error})"), "run the agent as root, or with CAP_DAC_READ_SEARCH")
            }
        };
        if needed {
            Check::fatal(name, cause, cure)
        } else {
            Check::ok(name, format!("{cause}; the sock probes do without it"))
        }
    }

    /// How processes and connections come and go.
    pub(super) fn check_processes(&self) -> Check {
        let name = "life cycle";
        match self.all(&PROCESSES) {
            Presence::There => Check::ok(name, "the tracepoints of processes and connections are there"),
            Presence::Unknown(reason) => Check::degraded(
                name,
                format!("can't be told: {reason}"),
                "mount -t tracefs nodev /sys/kernel/tracing, or see to BTF first",
            ),
            missing @ Presence::Missing(_) => {
                let cure =
                    "run a kernel built with CONFIG_TRACEPOINTS=y, CONFIG_EVENT_TRACING=y and CONFIG_INET=y";
                Check::fatal(name, missing.missing(), cure)
            }
        }
    }
}

fn look(system: &System<'_>) -> Result<PathBuf, Hidden> {
    let mut hidden = Hidden::NotMounted(None);
    for place in PLACES {
        let events = system.path(place).join("events");
        match fs::read_dir(&events) {
            Ok(_) => return Ok(events),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => hidden = Hidden::Refused(error),
            Err(_) => {}
        }
    }
    Err(hidden)
}
