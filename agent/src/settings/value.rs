//! Values from text and back: what each kind of setting accepts, in words for the one who got it wrong.

use crate::http::head::is_token;
use globset::{GlobBuilder, GlobMatcher};
use std::{
    fmt,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

/// A value of a setting. `parse(show(value))` is the value again.
pub(super) trait Value: Sized {
    /// Whether a comma outside of braces and brackets separates values of a list that is written in one text.
    const SEPARATED: bool = true;
    /// Reads it; the error says what is accepted.
    fn parse(text: &str) -> Result<Self, String>;
    /// As it is written in the file.
    fn show(&self) -> String;
}

macro_rules! choice {
    ($(#[$doc:meta])* $name:ident { $($(#[$value_doc:meta])* $value:ident = $text:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum $name { $($(#[$value_doc])* $value,)+ }

        impl $name {
            /// As it is written.
            pub fn text(self) -> &'static str {
                match self { $(Self::$value => $text,)+ }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.text())
            }
        }

        impl Value for $name {
            fn parse(text: &str) -> Result<Self, String> {
                match text {
                    $($text => Ok(Self::$value),)+
                    _ => Err(format!("accepted are {}", [$($text),+].join(", "))),
                }
            }
            fn show(&self) -> String {
                self.text().to_owned()
            }
        }
    };
}

choice! {
    /// How sockets are read.
    Probes {
        /// By the sockets' tracepoints where the kernel has them, else by system calls.
        Auto = "auto",
        /// By the tracepoints `sock_send_length` and `sock_recv_length`.
        Sock = "sock",
        /// By the system calls' tracepoints.
        Syscalls = "syscalls",
    }
}

choice! {
    /// How much is logged; each level includes those before it.
    Level {
        /// Nothing.
        Off = "off",
        /// What keeps the agent from its work.
        Error = "error",
        /// What costs spans.
        Warn = "warn",
        /// What an operator wants to know once.
        Info = "info",
        /// Details.
        Debug = "debug",
        /// Every step.
        Trace = "trace",
    }
}

choice! {
    /// Whether the console exporter uses colour.
    Color {
        /// On a terminal, unless `NO_COLOR` is set.
        Auto = "auto",
        /// In files and pipes too.
        Always = "always",
        /// Nowhere.
        Never = "never",
    }
}

impl Color {
    /// The user's word; `None` leaves it to the terminal and `NO_COLOR`.
    pub fn forced(self) -> Option<bool> {
        match self {
            Self::Auto => None,
            Self::Always => Some(true),
            Self::Never => Some(false),
        }
    }
}

choice! {
    /// What becomes of processes that a tracer of their own traces already.
    Treatment {
        /// They are left alone.
        Leave = "leave",
        /// They are traced like others, and what they do is told twice.
        Trace = "trace",
    }
}

choice! {
    /// A language whose runtime is hooked, by the name that OpenTelemetry has for it.
    Hooked {
        /// Node.js.
        Nodejs = "nodejs",
        /// Python: asyncio and greenlets.
        Python = "python",
        /// Go.
        Go = "go",
        /// The JVM.
        Java = "java",
    }
}

choice! {
    /// Whether the Kubernetes API is used.
    Use {
        /// In a pod, or where a kubeconfig is named.
        Auto = "auto",
        /// Always.
        On = "on",
        /// Never.
        Off = "off",
    }
}

impl Value for crate::kubernetes::Selector {
    fn parse(text: &str) -> Result<Self, String> {
        Self::parse(text)
    }
    fn show(&self) -> String {
        self.to_string()
    }
}

/// A name or a path; nothing where it is empty.
#[derive(Clone, Debug, Default)]
pub(super) struct Maybe(pub Option<String>);

impl Value for Maybe {
    fn parse(text: &str) -> Result<Self, String> {
        Ok(Self(Some(text.to_owned()).filter(|text| !text.is_empty())))
    }
    fn show(&self) -> String {
        self.0.clone().unwrap_or_default()
    }
}

impl Value for bool {
    fn parse(text: &str) -> Result<Self, String> {
        match text {
            "true" | "1" => Ok(true),
            "false" | "0" => Ok(false),
            _ => Err("accepted are true and false".into()),
        }
    }
    fn show(&self) -> String {
        self.to_string()
    }
}

/// A file, unread. Settings are UTF-8, so that a path from one is too.
impl Value for PathBuf {
    fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() { Err("the path of a file is accepted".into()) } else { Ok(text.into()) }
    }
    fn show(&self) -> String {
        self.display().to_string()
    }
}

/// A process id.
impl Value for u32 {
    fn parse(text: &str) -> Result<Self, String> {
        // The kernel's PID_MAX_LIMIT.
        let pid = text.parse().ok().filter(|pid| (1..=1 << 22).contains(pid));
        pid.ok_or_else(|| "a process id is accepted, 1 to 4194304".into())
    }
    fn show(&self) -> String {
        self.to_string()
    }
}

/// A TCP port.
impl Value for u16 {
    fn parse(text: &str) -> Result<Self, String> {
        let port = text.parse().ok().filter(|port| *port > 0);
        port.ok_or_else(|| "a port is accepted, 1 to 65535".into())
    }
    fn show(&self) -> String {
        self.to_string()
    }
}

/// A number of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Size(pub u64);

const UNITS: [(&str, u64); 3] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];

impl Value for Size {
    fn parse(text: &str) -> Result<Self, String> {
        let (number, unit) = UNITS
            .iter()
            .find_map(|(suffix, unit)| Some((text.strip_suffix(suffix)?.trim_end(), *unit)))
            .unwrap_or((text, 1));
        let bytes = number.parse::<u64>().ok().and_then(|n| n.checked_mul(unit));
        bytes
            .map(Self)
            .ok_or_else(|| "a size is accepted: bytes, or a number with KiB, MiB or GiB, e.g. 8MiB".into())
    }
    fn show(&self) -> String {
        let unit = UNITS.iter().find(|(_, unit)| self.0 > 0 && self.0.is_multiple_of(*unit));
        unit.map_or(self.0.to_string(), |(suffix, unit)| format!("{}{suffix}", self.0 / unit))
    }
}

/// A number of things.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Count(pub u64);

impl Value for Count {
    fn parse(text: &str) -> Result<Self, String> {
        text.parse().map(Self).map_err(|_| "a whole number is accepted".into())
    }
    fn show(&self) -> String {
        self.0.to_string()
    }
}

const TIMES: [(&str, u64); 4] = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000)];

/// Whole milliseconds at the finest.
impl Value for Duration {
    fn parse(text: &str) -> Result<Self, String> {
        let time = TIMES.iter().find_map(|(suffix, unit)| {
            text.strip_suffix(suffix)?.trim_end().parse::<u64>().ok()?.checked_mul(*unit)
        });
        time.map(Self::from_millis)
            .ok_or_else(|| "a time is accepted: a number with ms, s, m or h, e.g. 30s".into())
    }
    fn show(&self) -> String {
        let milliseconds = self.as_millis();
        let unit = TIMES.iter().rev().find(|(_, unit)| milliseconds.is_multiple_of(u128::from(*unit)));
        unit.map_or_else(String::new, |(suffix, unit)| {
            format!("{}{suffix}", milliseconds / u128::from(*unit))
        })
    }
}

/// `off`, or an address.
impl Value for Option<SocketAddr> {
    fn parse(text: &str) -> Result<Self, String> {
        if text == "off" {
            return Ok(None);
        }
        text.parse()
            .map(Some)
            .map_err(|_| "accepted are off, or IP:PORT such as 127.0.0.1:7625 or [::]:7625".into())
    }
    fn show(&self) -> String {
        self.map_or("off".into(), |address| address.to_string())
    }
}

/// `auto`, or a number of columns.
impl Value for Option<u16> {
    fn parse(text: &str) -> Result<Self, String> {
        if text == "auto" {
            return Ok(None);
        }
        let columns = text.parse().ok().filter(|columns| (60..=1000).contains(columns));
        columns.map(Some).ok_or_else(|| "accepted are auto, or a number of columns, 60 to 1000".into())
    }
    fn show(&self) -> String {
        self.map_or("auto".into(), |columns| columns.to_string())
    }
}

impl Value for crate::span::route::Rule {
    fn parse(text: &str) -> Result<Self, String> {
        text.parse().map_err(|error: crate::span::route::RuleError| error.to_string())
    }
    fn show(&self) -> String {
        self.to_string()
    }
}

/// One text is one expression: commas and brackets mean something in it.
impl Value for crate::span::redact::Expression {
    const SEPARATED: bool = false;
    fn parse(text: &str) -> Result<Self, String> {
        text.parse().map_err(|error: crate::span::redact::ExpressionError| error.to_string())
    }
    fn show(&self) -> String {
        self.to_string()
    }
}

/// The name of a header field, in lower case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderName(String);

impl HeaderName {
    /// The name.
    pub fn text(&self) -> &str {
        &self.0
    }
}

impl Value for HeaderName {
    fn parse(text: &str) -> Result<Self, String> {
        let fits = (1..=64).contains(&text.len()) && text.bytes().all(is_token);
        let name = fits.then(|| Self(text.to_ascii_lowercase()));
        name.ok_or_else(|| "the name of a header is accepted, e.g. x-request-id".into())
    }
    fn show(&self) -> String {
        self.0.clone()
    }
}

/// A glob over a whole text, in which `*` stops at a slash only where that is asked for.
fn glob(text: &str, stops_at_slash: bool) -> Result<GlobMatcher, String> {
    let glob = GlobBuilder::new(text).literal_separator(stops_at_slash).build();
    glob.map(|glob| glob.compile_matcher()).map_err(|error| format!("not a glob: {}", error.kind()))
}

/// A glob over executables: over the path if it has a slash (`*` stays within a directory, `**` does not), else over
/// the base name.
#[derive(Clone, Debug)]
pub struct ExeGlob(GlobMatcher);

impl ExeGlob {
    /// As it was written.
    pub fn text(&self) -> &str {
        self.0.glob().glob()
    }
    /// True if the executable at `path` is meant.
    pub fn matches(&self, path: &Path) -> bool {
        let over_path = self.text().contains('/');
        let subject = if over_path { Some(path.as_os_str()) } else { path.file_name() };
        subject.is_some_and(|subject| self.0.is_match(subject))
    }
}

impl Value for ExeGlob {
    fn parse(text: &str) -> Result<Self, String> {
        glob(text, true).map(Self)
    }
    fn show(&self) -> String {
        self.text().to_owned()
    }
}

/// `GLOB=NAME`: the `service.name` of the executables that match.
#[derive(Clone, Debug)]
pub struct ServiceName {
    /// Which executables.
    pub exe: ExeGlob,
    /// Their `service.name`.
    pub name: String,
}

impl Value for ServiceName {
    fn parse(text: &str) -> Result<Self, String> {
        let parts = text.rsplit_once('=').map(|(exe, name)| (exe.trim(), name.trim()));
        match parts {
            Some((exe, name)) if !exe.is_empty() && !name.is_empty() => {
                Ok(Self { exe: ExeGlob::parse(exe)?, name: name.to_owned() })
            }
            _ => Err("accepted is GLOB=NAME, e.g. /srv/shop/*=shop".into()),
        }
    }
    fn show(&self) -> String {
        format!("{}={}", self.exe.text(), self.name)
    }
}

/// A glob over a request's path or user agent, in which `*` matches anything. Each request is held against several:
/// most are plain, or end with the only `*`, and need no more than a look.
#[derive(Clone, Debug)]
pub struct TextGlob {
    glob: GlobMatcher,
    plain: Plain,
}

/// What a glob says in fewer words, if it can be said.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Plain {
    /// The text itself.
    Is(Box<[u8]>),
    /// All that begins with it.
    Begins(Box<[u8]>),
    /// It takes a matcher.
    No,
}

impl Plain {
    fn of(glob: &str) -> Self {
        let (text, begins) = match glob.strip_suffix('*') {
            Some(text) => (text, true),
            None => (glob, false),
        };
        // What means something to a glob, and what matchers take apart.
        if text.contains(['*', '?', '[', ']', '{', '}', '\\']) {
            return Self::No;
        }
        let text = text.as_bytes().into();
        if begins { Self::Begins(text) } else { Self::Is(text) }
    }
}

impl TextGlob {
    /// Reads a glob.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn new(text: &str) -> Result<Self, String> {
        Ok(Self { glob: glob(text, false)?, plain: Plain::of(text) })
    }
    /// As it was written.
    pub fn text(&self) -> &str {
        self.glob.glob().glob()
    }
    /// True if all of `text` matches.
    pub fn matches(&self, text: &[u8]) -> bool {
        use std::{ffi::OsStr, os::unix::ffi::OsStrExt};
        match &self.plain {
            Plain::Is(all) => text == &**all,
            Plain::Begins(start) => text.starts_with(start),
            Plain::No => self.glob.is_match(OsStr::from_bytes(text)),
        }
    }
}

impl Value for TextGlob {
    fn parse(text: &str) -> Result<Self, String> {
        Self::new(text)
    }
    fn show(&self) -> String {
        self.text().to_owned()
    }
}
