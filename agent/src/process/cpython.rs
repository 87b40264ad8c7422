//! CPython in a process: the file it is in, its version, and where it keeps what names a task.
//!
//! In: what a process has mapped, and the files. Out: [`CPython`], or the reason why its tasks cannot be told. Nothing is
//! read of the process's memory.

use std::{fs, path::PathBuf};

use sockspan_ebpf::PythonLayout;

use super::{
    Procfs,
    binary::{Binary, open},
    runtime::{file_name, libraries},
};

/// What CPython 3.13 and later begin `_PyRuntime` with: its own offsets.
const COOKIE: &[u8; 8] = b"xdebugpy";
/// `PyTypeObject.tp_dealloc`.
const DEALLOC: u64 = 48;
/// uvloop's `UVHandle._handle`, the first field of its class.
const STREAM_HANDLE: u32 = 24;
/// libuv 1's `uv_stream_t.io_watcher.fd`.
const HANDLE_DESCRIPTOR: u32 = 184;

/// A CPython whose tasks can be told, if its code is understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CPython {
    /// The file, as seen from here.
    pub file: PathBuf,
    /// Its version: 3 and this.
    pub minor: u8,
    /// Where the process has what names a task.
    pub layout: PythonLayout,
    /// The addresses of its functions in the file.
    pub functions: Functions,
    /// uvloop's module, as seen from here, if it is loaded.
    pub uvloop: Option<PathBuf>,
}

/// Functions that are hooked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Functions {
    /// `PyContext_CopyCurrent`.
    pub copy_current: u64,
    /// `PyContext_Enter`.
    pub enter: u64,
    /// What ends a context: `tp_dealloc` of its type.
    pub dealloc: u64,
}

impl CPython {
    /// The one of process `pid`.
    ///
    /// # Errors
    /// What is missing, for users.
    pub fn find(procfs: &Procfs, pid: u32) -> Result<Self, String> {
        let unreadable = |_| "its mappings cannot be read".to_owned();
        let maps = fs::read_to_string(procfs.path(pid, "maps")).map_err(unreadable)?;
        let mapped = libraries(procfs, pid);
        let here = |path: &PathBuf| procfs.path(pid, "root").join(path.strip_prefix("/").unwrap_or(path));
        let library = mapped.iter().find(|path| is_libpython(file_name(path)));
        let exe = procfs.path(pid, "exe");
        let (file, name) = match library {
            Some(path) => (here(path), path.clone()),
            None => (exe.clone(), fs::read_link(&exe).map_err(|_| "it has ended".to_owned())?),
        };
        let cache = open(&file).ok_or("the file of its Python cannot be read")?;
        let binary = Binary::parse(&cache).ok_or("the file of its Python is not understood")?;
        let bias = name.to_str().and_then(|name| binary.bias(&maps, name));
        let bias = bias.ok_or("where its Python is mapped is not known")?;
        let is_uvloop = |path: &&PathBuf| {
            path.parent().is_some_and(|folder| folder.ends_with("uvloop"))
                && file_name(path).starts_with("loop.")
        };
        let uvloop = mapped.iter().find(is_uvloop).map(here);
        let (minor, mut layout, functions) = look(&binary, bias)?;
        if uvloop.is_some() {
            (layout.stream_handle, layout.handle_descriptor) = (STREAM_HANDLE, HANDLE_DESCRIPTOR);
        }
        Ok(Self { file, minor, layout, functions, uvloop })
    }
}

fn is_libpython(name: &str) -> bool {
    // `libpython3.so` forwards to the one of a version.
    name.strip_prefix("libpython3.").is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
}

fn look(binary: &Binary<'_>, bias: u64) -> Result<(u8, PythonLayout, Functions), String> {
    let names = ["Py_Version", "_PyRuntime", "PyContext_Type", "PyContext_CopyCurrent", "PyContext_Enter"];
    let found = binary.symbols(names);
    let [version, runtime, class, copy_current, enter] = found;
    // Before 3.11 a Python does not say.
    let version = version.ok_or("its Python is older than 3.11, or no CPython")?;
    let missing =
        |at: usize| format!("its Python does not export {}", names.get(at).copied().unwrap_or_default());
    let runtime = runtime.ok_or_else(|| missing(1))?;
    let class = class.ok_or_else(|| missing(2))?;
    let copy_current = copy_current.ok_or_else(|| missing(3))?;
    let enter = enter.ok_or_else(|| missing(4))?;
    let version = binary.word(version).ok_or("its Python's version cannot be read")?;
    let minor = u8::try_from(version >> 16 & 0xff).unwrap_or_default();
    if version >> 24 != 3 {
        return Err(format!("its Python's version is {version:x}"));
    }
    let mut layout = layout(minor, binary.bytes(runtime, 512).unwrap_or_default())?;
    let place = |address: u64| bias.checked_add(address).ok_or("its Python's file is not understood");
    (layout.runtime, layout.context_type) = (place(runtime)?, place(class)?);
    let dealloc = class.checked_add(DEALLOC).and_then(|slot| binary.pointer(slot));
    let dealloc = dealloc.ok_or("what ends a context was not found in its Python")?;
    Ok((minor, layout, Functions { copy_current, enter, dealloc }))
}

/// The offsets of a version: those of 3.11 and 3.12 do not change any more, later ones say their own at the beginning
/// of `_PyRuntime`, all but the context's.
fn layout(minor: u8, runtime: &[u8]) -> Result<PythonLayout, String> {
    let zero = PythonLayout::default();
    match minor {
        11 => Ok(PythonLayout {
            interpreters_head: 40,
            interpreter_next: 0,
            threads_head: 16,
            thread_next: 8,
            thread_id: 152,
            thread_context: 224,
            ..zero
        }),
        12 => Ok(PythonLayout {
            interpreters_head: 40,
            interpreter_next: 0,
            threads_head: 72,
            thread_next: 8,
            thread_id: 136,
            thread_context: 208,
            ..zero
        }),
        13 => of_3_13(runtime).ok_or_else(|| "its Python says no offsets that are understood".to_owned())?,
        _ => Err(format!("Python 3.{minor} is not known")),
    }
}

/// By `_Py_DebugOffsets` of 3.13; `None` if they are not there.
fn of_3_13(runtime: &[u8]) -> Option<Result<PythonLayout, String>> {
    const CONTEXT: u32 = 208;
    let word = |at: usize| Some(u64::from_le_bytes(runtime.get(at..at.checked_add(8)?)?.try_into().ok()?));
    let offset = |at: usize| word(at).and_then(|word| u32::try_from(word).ok());
    if runtime.get(..8)? != COOKIE || word(8)? >> 16 != 0x030d {
        return None;
    }
    if word(16)? != 0 {
        return Some(Err("its Python runs threads in parallel (free-threaded)".into()));
    }
    let size_of_thread = offset(152)?;
    (size_of_thread > CONTEXT).then_some(())?;
    Some(Ok(PythonLayout {
        interpreters_head: offset(40)?,
        interpreter_next: offset(64)?,
        threads_head: offset(72)?,
        thread_next: offset(168)?,
        thread_id: offset(192)?,
        thread_context: CONTEXT,
        ..PythonLayout::default()
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The words at the beginning of `_PyRuntime` of CPython 3.13.0, as its file has them.
    fn runtime_3_13(free_threaded: u64) -> Vec<u8> {
        let mut words = [0u64; 64];
        for (at, word) in [
            (8, 0x030d_00f0),
            (16, free_threaded),
            (40, 632),
            (64, 7264),
            (72, 7344),
            (152, 440),
            (168, 8),
            (192, 152),
        ] {
            *words.get_mut(at / 8).unwrap() = word;
        }
        let mut bytes: Vec<u8> = words.into_iter().flat_map(u64::to_le_bytes).collect();
        bytes.splice(..8, COOKIE.iter().copied());
        bytes
    }

    #[test]
    fn offsets_by_version() {
        let of = |minor| {
            let l = layout(minor, &runtime_3_13(0)).unwrap();
            (
                l.interpreters_head,
                l.interpreter_next,
                l.threads_head,
                l.thread_next,
                l.thread_id,
                l.thread_context,
            )
        };
        assert_eq!(of(11), (40, 0, 16, 8, 152, 224));
        assert_eq!(of(12), (40, 0, 72, 8, 136, 208));
        assert_eq!(of(13), (632, 7264, 7344, 8, 152, 208));
    }

    #[test]
    fn what_is_not_known_is_refused() {
        for minor in [10, 14] {
            assert!(layout(minor, &runtime_3_13(0)).is_err());
        }
        assert!(layout(13, &runtime_3_13(1)).unwrap_err().contains("free-threaded"));
        let good = runtime_3_13(0);
        for end in 0..200 {
            assert!(layout(13, good.get(..end).unwrap()).is_err(), "{end}");
        }
        let mut other = good;
        *other.get_mut(10).unwrap() = 0x0e;
        assert!(layout(13, &other).is_err());
    }

    #[test]
    fn the_library_of_a_version() {
        assert!(is_libpython("libpython3.12.so.1.0") && is_libpython("libpython3.13.so"));
        assert!(!is_libpython("libpython3.so") && !is_libpython("libpython2.7.so.1.0"));
    }
}
