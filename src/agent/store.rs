//! The journal: a file an instance, replaced whole and synced, so that a crash leaves the old one or the new one.

use std::collections::BTreeSet;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tracing::warn;

use super::error::AgentError;
use super::id::InstanceId;
use super::record::{Operation, Record, Wanted};

/// Name of the journal's file in an instance's folder.
const RECORD: &str = "record.json";
/// How a file's name ends that is to replace another.
const FRESH: &str = "new";
/// Empty files that say what is wished where no record could be written.
const MARKS: [(&str, Wanted); 2] = [("wanted-gone", Wanted::Gone), ("wanted-stopped", Wanted::Stopped)];
/// What a folder is called that is on its way out.
const GONE: &str = ".gone-";
/// Layout that this program writes and reads.
pub const VERSION: u32 = 1;

/// Called with the name of every step of the journal, so that a test can crash there.
pub type Crash = Arc<dyn Fn(&str) + Send + Sync>;

/// See the module.
#[derive(Clone)]
pub struct Store {
    data: PathBuf,
    crash: Option<Crash>,
}

/// What a new life of the agent finds.
#[derive(Debug, Default)]
pub struct Found {
    /// What can be read.
    pub records: Vec<Record>,
    /// Instances whose record cannot be read, with the reason: nobody touches them.
    pub damaged: Vec<(InstanceId, String)>,
}

impl Store {
    /// Over a data folder that is there.
    #[must_use]
    pub fn new(data: PathBuf, crash: Option<Crash>) -> Self {
        Self { data, crash }
    }

    /// An instance's own folder.
    #[must_use]
    pub fn folder(&self, id: &InstanceId) -> PathBuf {
        self.data.join("instances").join(id.as_str())
    }

    /// An instance's own folder for sockets.
    #[must_use]
    pub fn sockets(&self, id: &InstanceId) -> PathBuf {
        self.data.join("run").join(id.short())
    }

    /// Names a step.
    pub fn step(&self, name: &str) {
        if let Some(crash) = &self.crash {
            crash(name);
        }
    }

    /// Writes it, and is done when it would survive a power cut.
    ///
    /// # Errors
    /// The disk is full or broken.
    pub async fn write(&self, record: &Record) -> Result<(), AgentError> {
        let folder = self.folder(&record.id);
        let path = folder.join(RECORD);
        let fault = |error: &dyn fmt::Display| AgentError::internal(path.display(), error);
        let bytes = serde_json::to_vec(record).map_err(|error| fault(&error))?;
        let target = path.clone();
        let written = tokio::task::spawn_blocking(move || {
            match fs::create_dir(&folder) {
                Ok(()) => sync_parent(&folder)?,
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
            replace(&target, &bytes)?;
            // The record says it now.
            for (name, _) in MARKS {
                absent(&folder.join(name))?;
            }
            sync_parent(&target)
        });
        written.await.map_err(|error| fault(&error))?.map_err(|error| fault(&error))
    }

    /// Says what is wished of an instance on a disk that is too full for its record. Holds until the next record is written.
    ///
    /// # Errors
    /// Not even an empty file can be had.
    pub async fn mark(&self, id: &InstanceId, wanted: Wanted) -> Result<(), AgentError> {
        let Some((name, _)) = MARKS.iter().find(|(_, meaning)| *meaning == wanted) else { return Ok(()) };
        let path = self.folder(id).join(name);
        let fault = |error: &dyn fmt::Display| AgentError::internal(path.display(), error);
        let target = path.clone();
        let marked = tokio::task::spawn_blocking(move || {
            File::create(&target)?;
            sync_parent(&target)
        });
        marked.await.map_err(|error| fault(&error))?.map_err(|error| fault(&error))
    }

    /// Removes an instance's folders. What is gone already is no error.
    ///
    /// # Errors
    /// The disk is broken, or something is still mounted there.
    pub async fn remove(&self, id: &InstanceId) -> Result<(), AgentError> {
        let (folder, sockets) = (self.folder(id), self.sockets(id));
        let gone = self.data.join("instances").join(format!("{GONE}{id}"));
        let fault = |error: &dyn fmt::Display| AgentError::internal(format!("removing {id}"), error);
        let removed = tokio::task::spawn_blocking(move || {
            remove_all(&sockets)?;
            remove_all(&gone)?;
            match fs::rename(&folder, &gone) {
                Ok(()) => sync_parent(&folder)?,
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
            remove_all(&gone)
        });
        removed.await.map_err(|error| fault(&error))?.map_err(|error| fault(&error))
    }

    /// What is there, after removing what was half removed. Blocks.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn load(&self) -> Result<Found, AgentError> {
        let folder = self.data.join("instances");
        let fault = |error| AgentError::internal(folder.display(), error);
        let mut found = Found::default();
        for entry in fs::read_dir(&folder).map_err(fault)? {
            let entry = entry.map_err(fault)?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.starts_with(GONE) {
                remove_all(&entry.path()).map_err(fault)?;
                continue;
            }
            let Ok(id) = name.parse::<InstanceId>() else {
                warn!(folder = %entry.path().display(), "no instance's folder: left alone");
                continue;
            };
            match read(&entry.path().join(RECORD), &id) {
                Ok(Some(record)) => found.records.push(marked(record, &entry.path())),
                // Its maker crashed between the folder and the file.
                Ok(None) if is_bare(&entry.path()).map_err(fault)? => {
                    remove_all(&entry.path()).map_err(fault)?;
                }
                Ok(None) => found.damaged.push((id, format!("there is no {RECORD} beside the rest of it"))),
                Err(reason) => found.damaged.push((id, reason)),
            }
        }
        found.records.sort_by(|one, two| one.id.cmp(&two.id));
        self.sweep_sockets(&found);
        Ok(found)
    }

    fn sweep_sockets(&self, found: &Found) {
        let known: BTreeSet<String> = found.records.iter().map(|record| record.id.short()).collect();
        let damaged: BTreeSet<String> = found.damaged.iter().map(|(id, _)| id.short()).collect();
        for entry in fs::read_dir(self.data.join("run")).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if !known.contains(&name)
                && !damaged.contains(&name)
                && let Err(error) = remove_all(&entry.path())
            {
                warn!(folder = %entry.path().display(), %error, "not removed");
            }
        }
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Store").field("data", &self.data).finish_non_exhaustive()
    }
}

/// With what was wished after it could be written.
fn marked(mut record: Record, folder: &Path) -> Record {
    let mark = MARKS.iter().find(|(name, _)| folder.join(name).exists());
    if let Some((_, wanted)) = mark {
        record.wanted = *wanted;
        // The run that it speaks of may have been ended in the middle.
        record.operation = match (wanted, record.operation) {
            (Wanted::Gone, _) => Some(Operation::Delete { grace_ms: 0 }),
            (_, Some(Operation::Restart { grace_ms })) => Some(Operation::Stop { grace_ms }),
            (_, None) if record.handle.is_some() => Some(Operation::Stop { grace_ms: 0 }),
            (_, operation) => operation,
        };
    }
    record
}

/// Nothing was made in a folder yet.
fn is_bare(folder: &Path) -> io::Result<bool> {
    let unfinished = Path::new(RECORD).with_extension(FRESH);
    for entry in fs::read_dir(folder)? {
        if entry?.file_name() != unfinished.as_os_str() {
            return Ok(false);
        }
    }
    Ok(true)
}

fn read(path: &Path, id: &InstanceId) -> Result<Option<Record>, String> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.to_string()),
    };
    let record: Record = serde_json::from_slice(&bytes).map_err(|error| error.to_string())?;
    if record.version != VERSION {
        return Err(format!("version is {}; expected {VERSION}", record.version));
    }
    if record.id != *id {
        return Err(format!("id is {}; expected {id}", record.id));
    }
    Ok(Some(record))
}

/// Replaces a file so that a crash leaves the old one or the new one. Blocks.
///
/// # Errors
/// The disk is full or broken.
pub fn write_synced(path: &Path, bytes: &[u8]) -> io::Result<()> {
    replace(path, bytes)?;
    sync_parent(path)
}

fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let fresh = path.with_extension(FRESH);
    let mut file = File::create(&fresh)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&fresh, path)
}

fn absent(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

fn sync_parent(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), |parent| File::open(parent)?.sync_all())
}

fn remove_all(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
