//! An event stream on disk: what the pipeline was given, so that it can be given again.
//!
//! A header line of JSON, then frames: kind (1 byte), length (4 bytes, little-endian), payload. Batches are as the
//! kernel wrote them, in the byte order and layout of the machine and version that the header names.

#[cfg(test)]
mod tests;

use std::{
    fs::File,
    io::{self, BufRead as _, BufReader, BufWriter, Read as _, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use sockspan_ebpf::ABI_VERSION;

use crate::span::{Attribute, Resource, Value};

const FORMAT: &str = "sockspan event stream";
/// A frame longer than this is no frame.
const MAX_FRAME: u32 = 64 * 1024 * 1024;

/// What the pipeline is given.
#[derive(Clone, Debug)]
pub enum Input {
    /// Raw events, as the ring buffer's reader batches them.
    Batch(Bytes),
    /// A process that is traced, and what its spans say of it.
    Process {
        /// The process.
        tgid: u32,
        /// Its resource.
        resource: Resource,
        /// Whether that is all there is to say. If not, its spans wait a while for the rest.
        complete: bool,
    },
    /// Time has come to `monotonic`, which is `wall`, both in nanoseconds.
    Clock {
        /// CLOCK_MONOTONIC.
        monotonic: u64,
        /// Since the Unix epoch.
        wall: u64,
    },
}

/// Why a stream cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file.
    #[error("{path}: {source}")]
    Io {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// There is a file already.
    #[error("{0}: is there already, for whoever may read it now; name a new file, or remove this one")]
    Exists(PathBuf),
    /// Not a stream.
    #[error("{0}: not an event stream; `sockspan record FILE` writes one")]
    Format(PathBuf),
    /// A stream of another version.
    #[error(
        "{path}: written by version {found} of the event format on a {endian}-endian machine, this is version \
         {ABI_VERSION}; replay it with the sockspan that recorded it"
    )]
    Version {
        /// Which.
        path: PathBuf,
        /// Its version.
        found: u32,
        /// Its byte order.
        endian: String,
    },
    /// A frame that is none.
    #[error("{path}: damaged after frame {frames}")]
    Damaged {
        /// Which.
        path: PathBuf,
        /// Whole frames before it.
        frames: u64,
    },
}

#[derive(Serialize, Deserialize)]
struct Header {
    format: String,
    abi: u32,
    endian: String,
    seed: [u8; 16],
}

#[derive(Serialize, Deserialize)]
struct Process {
    tgid: u32,
    service: String,
    attributes: serde_json::Map<String, serde_json::Value>,
    #[serde(default = "complete")]
    complete: bool,
}

fn complete() -> bool {
    true
}

#[derive(Serialize, Deserialize)]
struct Clock {
    monotonic: u64,
    wall: u64,
}

fn endian() -> &'static str {
    if cfg!(target_endian = "little") { "little" } else { "big" }
}

fn value(value: &Value) -> serde_json::Value {
    match value {
        Value::Str(s) => s.as_str().into(),
        Value::Int(i) => (*i).into(),
        Value::Bool(b) => (*b).into(),
        Value::Strs(list) => list.clone().into(),
    }
}

fn attribute((key, value): (String, serde_json::Value)) -> Attribute {
    let value = match value {
        serde_json::Value::Bool(b) => Value::Bool(b),
        serde_json::Value::Number(n) => Value::Int(n.as_i64().unwrap_or_default()),
        serde_json::Value::Array(a) => {
            Value::Strs(a.iter().filter_map(|v| v.as_str().map(str::to_owned)).collect())
        }
        serde_json::Value::String(s) => Value::Str(s.into()),
        other => Value::Str(other.to_string().into()),
    };
    Attribute { key: key.into(), value }
}

/// A new file that is its owner's alone, for heads carry cookies and tokens; or a pipe or device that is there, whose
/// permissions are others' matter. A file that is there may be open to others, and whoever may write to its folder could
/// have put it or a link there.
fn open(path: &Path) -> Result<File, Error> {
    let io = |source| Error::Io { path: path.into(), source };
    match File::options().write(true).create_new(true).mode(0o600).open(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        opened => return opened.map_err(io),
    }
    // Not truncated before it is known what it is.
    let file = File::options().write(true).open(path).map_err(io)?;
    if file.metadata().map_err(io)?.is_file() {
        return Err(Error::Exists(path.into()));
    }
    Ok(file)
}

/// Writes a stream.
pub struct Writer {
    path: PathBuf,
    file: BufWriter<File>,
}

impl Writer {
    /// Begins a stream. `seed` is what ids are made from, so that a replay makes the same.
    ///
    /// # Errors
    /// The file cannot be written, or is there already and is neither pipe nor device.
    pub fn create(path: &Path, seed: [u8; 16]) -> Result<Self, Error> {
        let io = |source| Error::Io { path: path.into(), source };
        let mut file = BufWriter::new(open(path)?);
        let header = Header { format: FORMAT.into(), abi: ABI_VERSION, endian: endian().into(), seed };
        let line = serde_json::to_string(&header).unwrap_or_default();
        writeln!(file, "{line}").map_err(io)?;
        Ok(Self { path: path.into(), file })
    }

    fn frame(&mut self, kind: u8, payload: &[u8]) -> Result<(), Error> {
        let mut write = || {
            self.file.write_all(&[kind])?;
            self.file.write_all(&(payload.len() as u32).to_le_bytes())?;
            self.file.write_all(payload)
        };
        write().map_err(|source| Error::Io { path: self.path.clone(), source })
    }

    /// Writes an input.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(&mut self, input: &Input) -> Result<(), Error> {
        match input {
            Input::Batch(bytes) => self.frame(1, bytes),
            Input::Process { tgid, resource, complete } => {
                let attributes =
                    resource.attributes.iter().map(|a| (a.key.to_string(), value(&a.value))).collect();
                let (service, complete) = (resource.service_name.clone(), *complete);
                let process = Process { tgid: *tgid, service, attributes, complete };
                self.frame(2, &serde_json::to_vec(&process).unwrap_or_default())
            }
            Input::Clock { monotonic, wall } => {
                let clock = Clock { monotonic: *monotonic, wall: *wall };
                self.frame(3, &serde_json::to_vec(&clock).unwrap_or_default())
            }
        }
    }

    /// Makes sure that everything is on its way to the disk.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn flush(&mut self) -> Result<(), Error> {
        self.file.flush().map_err(|source| Error::Io { path: self.path.clone(), source })
    }
}

/// Reads a stream.
pub struct Reader {
    path: PathBuf,
    file: BufReader<File>,
    frames: u64,
    /// What ids are made from.
    pub seed: [u8; 16],
}

impl Reader {
    /// Opens a stream.
    ///
    /// # Errors
    /// The file cannot be read, or is no stream of this version.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let io = |source| Error::Io { path: path.into(), source };
        let mut file = BufReader::new(File::open(path).map_err(io)?);
        let mut line = Vec::new();
        file.by_ref().take(4096).read_until(b'\n', &mut line).map_err(io)?;
        let header: Header = serde_json::from_slice(&line).map_err(|_| Error::Format(path.into()))?;
        if header.format != FORMAT {
            return Err(Error::Format(path.into()));
        }
        if header.abi != ABI_VERSION || header.endian != endian() {
            return Err(Error::Version { path: path.into(), found: header.abi, endian: header.endian });
        }
        Ok(Self { path: path.into(), file, frames: 0, seed: header.seed })
    }

    fn damaged(&self) -> Error {
        Error::Damaged { path: self.path.clone(), frames: self.frames }
    }

    /// The next input; `None` at the end. A last frame that was cut off (the recorder was killed) is the end too.
    ///
    /// # Errors
    /// The file cannot be read, or is damaged.
    pub fn read(&mut self) -> Result<Option<Input>, Error> {
        let mut head = [0u8; 5];
        if !self.fill(&mut head)? {
            return Ok(None);
        }
        let [kind, a, b, c, d] = head;
        let length = u32::from_le_bytes([a, b, c, d]);
        if length > MAX_FRAME {
            return Err(self.damaged());
        }
        let mut payload = vec![0; length as usize];
        if !self.fill(&mut payload)? {
            return Ok(None);
        }
        let input = match kind {
            1 => Input::Batch(payload.into()),
            2 => {
                let p: Process = serde_json::from_slice(&payload).map_err(|_| self.damaged())?;
                let attributes = p.attributes.into_iter().map(attribute).collect();
                let resource = Resource { service_name: p.service, attributes };
                Input::Process { tgid: p.tgid, resource, complete: p.complete }
            }
            3 => {
                let c: Clock = serde_json::from_slice(&payload).map_err(|_| self.damaged())?;
                Input::Clock { monotonic: c.monotonic, wall: c.wall }
            }
            _ => return Err(self.damaged()),
        };
        self.frames += 1;
        Ok(Some(input))
    }

    fn fill(&mut self, buffer: &mut [u8]) -> Result<bool, Error> {
        match self.file.read_exact(buffer) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
            Err(source) => Err(Error::Io { path: self.path.clone(), source }),
        }
    }
}
