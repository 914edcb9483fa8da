//! The scenes that can be drawn: USDZ files in some folders, found by their scene's id, read when first asked for.
//!
//! A file's id is read once and remembered with its size and time; files that are refused are remembered too. A few
//! scenarios stay in memory, those used last. Files that change on disk are noticed when the folders are listed.

use std::collections::BTreeMap;
use std::fs::Metadata;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use tracing::{info, warn};

use crate::scene::shelf::files_below;
use crate::scene::{LoadLimits, Scenario};

/// How many scenarios stay in memory.
const CAPACITY: usize = 8;

/// How many ids an error lists.
const LISTED: usize = 5;

/// Why there is no such scene.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ShelfError {
    /// No file has this id.
    #[error("scene {scene_id:?} is not among the {count} in {folders}; there are {some}")]
    Unknown {
        /// What was asked for.
        scene_id: String,
        /// How many there are.
        count: usize,
        /// Where they were looked for.
        folders: String,
        /// Some of them.
        some: String,
    },
    /// The file is no scenario.
    #[error("scene {scene_id:?}: {reason}")]
    Refused {
        /// What was asked for.
        scene_id: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A folder cannot be listed.
    #[error("{folder} cannot be listed: {reason}")]
    Unreadable {
        /// The folder.
        folder: String,
        /// What the system says.
        reason: String,
    },
    /// The thread that reads files stopped.
    #[error("reading the scenes stopped in the middle; see the log")]
    Stopped,
}

/// Scenes on disk and in memory.
#[derive(Debug)]
pub struct SceneShelf {
    folders: Vec<PathBuf>,
    limits: LoadLimits,
    /// Held while files are read, so that each is read once.
    files: Mutex<BTreeMap<PathBuf, File>>,
    /// Least recently used first.
    memory: Mutex<Vec<Arc<Scenario>>>,
}

#[derive(Debug, Clone)]
struct File {
    stamp: Stamp,
    scene_id: Option<String>,
}

type Stamp = (u64, Option<SystemTime>);

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl SceneShelf {
    /// The scenes in and below some folders; a file stands for itself.
    #[must_use]
    pub fn new(folders: Vec<PathBuf>, limits: LoadLimits) -> Self {
        Self { folders, limits, files: Mutex::default(), memory: Mutex::default() }
    }

    /// Scenarios that are in memory already, and no folder.
    #[must_use]
    pub fn holding(scenarios: Vec<Arc<Scenario>>) -> Self {
        let shelf = Self::new(Vec::new(), LoadLimits::default());
        *locked(&shelf.memory) = scenarios;
        shelf
    }

    /// How many scenarios stay in memory.
    #[must_use]
    pub fn capacity(&self) -> usize {
        CAPACITY
    }

    /// The ids of those in memory.
    #[must_use]
    pub fn loaded(&self) -> Vec<String> {
        locked(&self.memory).iter().map(|scenario| scenario.sequence_id.clone()).collect()
    }

    /// A scene, from memory or from its file.
    ///
    /// # Errors
    /// When no file has it, or the file is refused.
    pub async fn scene(shelf: &Arc<Self>, scene_id: &str) -> Result<Arc<Scenario>, ShelfError> {
        if let Some(scenario) = shelf.remembered(scene_id) {
            return Ok(scenario);
        }
        let (shelf, scene_id) = (Arc::clone(shelf), scene_id.to_owned());
        let reading = tokio::task::spawn_blocking(move || shelf.read(&scene_id));
        reading.await.map_err(|_| ShelfError::Stopped)?
    }

    /// All ids, sorted.
    ///
    /// # Errors
    /// When a folder cannot be listed.
    pub async fn ids(shelf: &Arc<Self>) -> Result<Vec<String>, ShelfError> {
        let shelf = Arc::clone(shelf);
        let listing = tokio::task::spawn_blocking(move || {
            let mut ids = shelf.loaded();
            ids.extend(shelf.list()?.into_values());
            ids.sort();
            ids.dedup();
            Ok(ids)
        });
        listing.await.map_err(|_| ShelfError::Stopped)?
    }

    fn remembered(&self, scene_id: &str) -> Option<Arc<Scenario>> {
        let mut memory = locked(&self.memory);
        let at = memory.iter().position(|scenario| scenario.sequence_id == scene_id)?;
        let scenario = memory.remove(at);
        memory.push(Arc::clone(&scenario));
        Some(scenario)
    }

    fn remember(&self, scenario: &Arc<Scenario>) {
        let mut memory = locked(&self.memory);
        if memory.len() >= CAPACITY {
            memory.remove(0);
        }
        memory.push(Arc::clone(scenario));
    }

    fn read(&self, scene_id: &str) -> Result<Arc<Scenario>, ShelfError> {
        let known = self.list()?;
        if let Some(scenario) = self.remembered(scene_id) {
            return Ok(scenario);
        }
        let Some(path) = known.iter().find(|(_, id)| *id == scene_id).map(|(path, _)| path) else {
            return Err(self.unknown(scene_id, known.into_values().collect()));
        };
        let refused = |reason: String| ShelfError::Refused { scene_id: scene_id.to_owned(), reason };
        let scenario = Scenario::open(path, &self.limits).map_err(|error| refused(error.to_string()))?;
        info!(scene = scene_id, path = %path.display(), "scene read");
        let scenario = Arc::new(scenario);
        self.remember(&scenario);
        Ok(scenario)
    }

    fn unknown(&self, scene_id: &str, mut ids: Vec<String>) -> ShelfError {
        ids.extend(self.loaded());
        ids.sort();
        ids.dedup();
        let shown: Vec<String> = self.folders.iter().map(|folder| folder.display().to_string()).collect();
        let some: Vec<String> = ids.iter().take(LISTED).map(|id| format!("{id:?}")).collect();
        ShelfError::Unknown {
            scene_id: scene_id.chars().take(200).collect(),
            count: ids.len(),
            folders: if shown.is_empty() { "memory".into() } else { shown.join(", ") },
            some: if some.is_empty() { "none".into() } else { some.join(", ") },
        }
    }

    /// Every readable file with its id.
    fn list(&self) -> Result<BTreeMap<PathBuf, String>, ShelfError> {
        let mut found = BTreeMap::new();
        for folder in &self.folders {
            let files = if folder.is_file() { Ok(vec![folder.clone()]) } else { files_below(folder) };
            for file in files.map_err(unreadable(folder))? {
                if let Ok(about) = std::fs::metadata(&file) {
                    found.insert(file, stamp(&about));
                }
            }
        }
        let mut files = locked(&self.files);
        files.retain(|path, _| found.contains_key(path));
        for (path, stamp) in found {
            if files.get(&path).is_some_and(|file| file.stamp == stamp) {
                continue;
            }
            let scene_id = self.identify(&path);
            files.insert(path, File { stamp, scene_id });
        }
        let named = files.iter().filter_map(|(path, file)| Some((path.clone(), file.scene_id.clone()?)));
        Ok(named.collect())
    }

    fn identify(&self, path: &Path) -> Option<String> {
        match Scenario::identify(path, &self.limits) {
            Ok(scene_id) => Some(scene_id),
            Err(error) => {
                warn!(path = %path.display(), %error, "a file is left out");
                None
            }
        }
    }
}

fn stamp(about: &Metadata) -> Stamp {
    (about.len(), about.modified().ok())
}

fn unreadable(folder: &Path) -> impl Fn(std::io::Error) -> ShelfError {
    let folder = folder.display().to_string();
    move |error| ShelfError::Unreadable { folder: folder.clone(), reason: error.to_string() }
}
