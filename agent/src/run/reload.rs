//! The settings file while the agent runs.
//!
//! In: the file, when it says something else, and SIGHUP. Out: rules for the pipeline and the census, the log's level,
//! and what `/status` and `/metrics` tell of it. A file that is refused changes nothing.
//!
//! The file is read again and again, not watched. That holds however it is changed: written over, renamed into its
//! place, or behind symbolic links as Kubernetes swaps them; on file systems without inotify too. Four reads of a few
//! kilobytes a second cost nothing that could be measured.

use std::{
    fs, io,
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
        mpsc::{Sender, SyncSender},
    },
    thread::{Builder, JoinHandle, sleep},
    time::Duration,
};

use anyhow::bail;
use serde::Serialize;
use serde_json::Value;
use tokio::runtime::Handle;
use tracing_subscriber::fmt::{
    format::Writer,
    time::{FormatTime as _, SystemTime},
};

use crate::{
    chain::chain,
    kubernetes::Kin,
    log,
    metrics::{Metrics, ReloadResult},
    pipeline,
    process::selection::Selection,
    settings::{Origin, Settings},
};

use super::{
    assemble,
    plan::Plan,
    threads::{Call, Farewell},
};

/// How often the file is read.
const LOOK: Duration = Duration::from_millis(250);

/// What `/status` tells of the settings file.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Outcome {
    /// The file.
    pub file: Option<PathBuf>,
    /// When it was last taken over, by RFC 3339; `None` since the start.
    pub reloaded_at: Option<String>,
    /// Why what it says now is not in effect.
    pub refused: Option<String>,
    /// The settings that have other values in it, but in effect only after a restart.
    pub restart_needed: Vec<String>,
}

/// The settings in effect, as `/status` tells them.
#[derive(Debug)]
pub struct Told {
    /// All settings with their sources.
    pub settings: Value,
    /// What became of the file.
    pub reload: Outcome,
}

/// What is shared with `/status`.
pub type Shared = Arc<Mutex<Told>>;

/// Tells when the file says something else.
struct Watch {
    path: PathBuf,
    taken: Content,
    seen: Content,
}

type Content = Result<Vec<u8>, io::ErrorKind>;

/// A pipe can be read but once, and that was at the start.
fn read(path: &PathBuf) -> Content {
    let read = || match fs::metadata(path)?.is_file() {
        true => fs::read(path),
        false => Err(io::ErrorKind::Unsupported.into()),
    };
    read().map_err(|error| error.kind())
}

impl Watch {
    fn new(path: PathBuf) -> Self {
        let taken = read(&path);
        Self { path, seen: taken.clone(), taken }
    }

    /// Whether it says something else than at the last yes. Twice the same in a row: what is still being written is
    /// not taken. Who asks gets a yes at once.
    fn look(&mut self, asked: bool) -> bool {
        let now = read(&self.path);
        let settled = now == self.seen;
        self.seen = now;
        let changed = asked || settled && self.seen != self.taken;
        if changed {
            self.taken.clone_from(&self.seen);
        }
        changed
    }
}

/// Who is told of other settings.
pub struct Listeners {
    /// The pipeline.
    pub pipeline: Sender<pipeline::Rules>,
    /// The census.
    pub census: SyncSender<Call>,
    /// Counts.
    pub metrics: Arc<Metrics>,
    /// `/status`.
    pub told: Shared,
}

/// Takes over what the file says.
pub struct Reload {
    origin: Origin,
    watch: Watch,
    /// In effect now.
    settings: Settings,
    /// Of the start; they need a restart.
    attributes: Vec<(String, String)>,
    /// The namespaces that are never traced, where Kubernetes is used.
    pub kin: Option<Vec<Kin>>,
    defaults: Vec<(&'static str, String)>,
    runtime: Handle,
}

impl Reload {
    /// `None` if no file is named. Must be called within a tokio runtime, soon after the file was read.
    pub fn new(origin: &Origin, settings: &Settings, plan: &Plan) -> Option<Self> {
        Some(Self {
            watch: Watch::new(origin.file()?),
            origin: origin.clone(),
            settings: settings.clone(),
            attributes: plan.attributes.clone(),
            kin: None,
            defaults: plan.defaults.clone(),
            runtime: Handle::current(),
        })
    }

    /// Takes the file over whenever it changes or `asked` says so, until `stop`.
    pub fn keep(
        mut self,
        listeners: Listeners,
        asked: Arc<AtomicBool>,
        stop: Arc<AtomicBool>,
        farewell: Farewell,
    ) -> io::Result<JoinHandle<bool>> {
        Builder::new().name("sockspan-reload".into()).spawn(move || {
            let _farewell = farewell;
            while !stop.load(Relaxed) {
                sleep(LOOK);
                if self.watch.look(asked.swap(false, Relaxed)) {
                    match self.resolve() {
                        Ok((new, selection)) => self.apply(new, selection, &listeners),
                        Err(error) => self.refuse(&chain(error.as_ref()), &listeners),
                    }
                }
            }
            false
        })
    }

    /// The settings by what the file says now, if a start would take them.
    fn resolve(&self) -> anyhow::Result<(Settings, Selection)> {
        let path = &self.watch.path;
        if fs::metadata(path).is_ok_and(|file| !file.is_file()) {
            bail!("the settings file {} is no regular file and can be read only once", path.display());
        }
        let new = self.origin.settings()?;
        let _entered = self.runtime.enter();
        Plan::make(&new)?;
        // A process that was selected and has ended since is no mistake.
        let selection = super::selection(&new, &self.settings.selection.pids)?;
        Ok((new, selection))
    }

    fn apply(&mut self, new: Settings, selection: Selection, listeners: &Listeners) {
        let warnings = new.warnings.iter().filter(|warning| !self.settings.warnings.contains(warning));
        warnings.for_each(|warning| tracing::warn!("{warning}"));
        let restart_needed = self.settings.adopt(new);
        // Nobody listens once the agent is stopping.
        let _ = listeners.pipeline.send(assemble::rules(&self.settings));
        let rules = super::rules(&self.settings, selection, self.attributes.clone(), self.kin.as_deref());
        let _ = listeners.census.send(Call::Rules(Box::new(rules)));
        log::set(self.settings.log);
        listeners.metrics.settings_reloads.inc(ReloadResult::Applied);
        let file = self.watch.path.display();
        tracing::info!("the settings of {file} are in effect");
        if !restart_needed.is_empty() {
            tracing::warn!("{file}: only a restart brings into effect: {}", restart_needed.join(", "));
        }
        let reload = Outcome {
            file: Some(self.watch.path.clone()),
            reloaded_at: Some(now()),
            refused: None,
            restart_needed,
        };
        let settings = self.settings.to_json(&self.defaults);
        *listeners.told.lock().unwrap_or_else(PoisonError::into_inner) = Told { settings, reload };
    }

    fn refuse(&self, why: &str, listeners: &Listeners) {
        // Most problems name the file with a line.
        let file = self.watch.path.display().to_string();
        let why = if why.contains(&file) { why.to_owned() } else { format!("{file}: {why}") };
        tracing::error!("the settings file is not taken, what was in effect stays so: {why}");
        listeners.metrics.settings_reloads.inc(ReloadResult::Refused);
        let mut told = listeners.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.reload.refused = Some(why);
    }
}

/// As the log has it.
fn now() -> String {
    let mut text = String::new();
    // Writing to a String does not fail.
    let _ = SystemTime.format_time(&mut Writer::new(&mut text));
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    /// Looks until the file has settled.
    fn changes(watch: &mut Watch) -> usize {
        (0..4).filter(|_| watch.look(false)).count()
    }

    #[test]
    fn a_file_changes_however_it_is_changed() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let write = |name: &str, text: &str| {
            fs::create_dir_all(path(name).parent().unwrap()).unwrap();
            fs::write(path(name), text).unwrap();
        };
        // As Kubernetes lays out a volume.
        write("..1/settings.yaml", "all: true");
        write("..2/settings.yaml", "all: false");
        symlink("..1", path("..data")).unwrap();
        symlink("..data/settings.yaml", path("settings.yaml")).unwrap();
        let mut watch = Watch::new(path("settings.yaml"));
        assert_eq!(changes(&mut watch), 0);
        symlink("..2", path("..data_tmp")).unwrap();
        fs::rename(path("..data_tmp"), path("..data")).unwrap();
        assert_eq!(changes(&mut watch), 1);
        fs::remove_dir_all(path("..1")).unwrap();
        assert_eq!(changes(&mut watch), 0);
        write("..2/settings.yaml", "all: 0");
        assert_eq!(changes(&mut watch), 1);
        write("next", "all: 1");
        fs::rename(path("next"), path("settings.yaml")).unwrap();
        assert_eq!(changes(&mut watch), 1);
        fs::remove_file(path("settings.yaml")).unwrap();
        assert_eq!(changes(&mut watch), 1, "that it is gone is told once");
        write("settings.yaml", "all: 1");
        assert_eq!(changes(&mut watch), 1, "and that it is back");
    }

    #[test]
    fn what_is_being_written_is_not_taken() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut watch = Watch::new(file.path().to_owned());
        for text in ["", "a", "al", "all: t"] {
            fs::write(file.path(), text).unwrap();
            assert!(!watch.look(false), "{text}");
        }
        fs::write(file.path(), "all: true").unwrap();
        assert_eq!([false; 3].map(|asked| watch.look(asked)), [false, true, false]);
        fs::write(file.path(), "all: false").unwrap();
        assert_eq!([true, false, false].map(|asked| watch.look(asked)), [true, false, false]);
    }

    #[test]
    fn a_pipe_is_left_alone() {
        let mut watch = Watch::new("/dev/null".into());
        assert_eq!(watch.taken, Err(io::ErrorKind::Unsupported));
        assert_eq!(changes(&mut watch), 0);
    }
}
