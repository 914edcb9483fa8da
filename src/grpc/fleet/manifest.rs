//! What of a snapshot's manifest is told over the wire: where its files are.

use serde::Deserialize;

/// The part of `manifest.json` that is read here; the rest is for who restores.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Manifest {
    files: Vec<File>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct File {
    path: String,
}

impl Manifest {
    pub(super) fn read(json: &str) -> Self {
        serde_json::from_str(json).unwrap_or_default()
    }

    fn urls<'a>(&'a self, folder: &'a str, checkpoints: bool) -> impl Iterator<Item = String> + 'a {
        let folder = folder.trim_start_matches("file://").trim_end_matches('/');
        let wanted = self.files.iter().filter(move |file| file.path.contains("checkpoint") == checkpoints);
        wanted.map(move |file| format!("file://{folder}/{}", file.path))
    }

    /// One address for each simulator's scene.
    pub(super) fn scenes(&self, folder: &str) -> Vec<String> {
        self.urls(folder, false).collect()
    }

    /// The trainer's checkpoint; empty without one.
    pub(super) fn checkpoint(&self, folder: &str) -> String {
        self.urls(folder, true).next().unwrap_or_default()
    }
}
