//! Where trainers keep what they have learned: a folder for every run of a session. Going back to a snapshot begins a new
//! run, so that checkpoints of the way that was given up are never gone on from.

use std::path::{Path, PathBuf};

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use crate::fleet::snapshot::manifest::Manifest;
use crate::proto::neuro::ext;

/// What a trainer writes inside a snapshot: a file, or a folder of files.
pub const IN_SNAPSHOT: &str = "checkpoint";
/// What may not stand in a URI's path as it is.
const ESCAPED: &AsciiSet = &CONTROLS.add(b' ').add(b'%').add(b'#').add(b'?').add(b'"').add(b'<').add(b'>');

/// A `file://` URI.
#[must_use]
pub fn uri(path: &Path) -> String {
    format!("file://{}", utf8_percent_encode(&path.display().to_string(), ESCAPED))
}

/// The order to write one.
#[must_use]
pub fn order(path: &Path) -> ext::Snapshot {
    ext::Snapshot { uri: uri(path), checkpoint: true }
}

/// The trainer's part of a snapshot, if it has one.
#[must_use]
pub fn of_snapshot(manifest: &Manifest, folder: &Path) -> Option<String> {
    (!manifest.checkpoint.is_empty()).then(|| uri(&folder.join(IN_SNAPSHOT)))
}

/// The folder of a run.
#[must_use]
pub fn run_folder(session: &Path, run: u32) -> PathBuf {
    session.join(format!("run-{run}"))
}

/// A run that was not there before.
#[must_use]
pub fn next_run(session: &Path) -> u32 {
    let entries = std::fs::read_dir(session).into_iter().flatten().flatten();
    let runs =
        entries.filter_map(|entry| entry.file_name().to_str()?.strip_prefix("run-")?.parse::<u32>().ok());
    runs.max().unwrap_or(0).saturating_add(1)
}

/// What another trainer goes on from: the run's folder, of which trainers read the newest checkpoint; empty when nothing
/// was kept yet.
#[must_use]
pub fn newest(folder: &Path) -> String {
    let kept = std::fs::read_dir(folder).into_iter().flatten().flatten().any(|entry| {
        let name = entry.file_name();
        name.to_str().is_some_and(|name| !name.starts_with('.') && !name.ends_with(".part"))
    });
    if kept { uri(folder) } else { String::new() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_numbered_on_and_nothing_kept_is_nothing_to_go_on_from() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(next_run(folder.path()), 1);
        let second = run_folder(folder.path(), 2);
        std::fs::create_dir(&second).unwrap();
        assert_eq!(next_run(folder.path()), 3);
        std::fs::write(second.join("checkpoint-1.safetensors.1.part"), "").unwrap();
        assert_eq!(newest(&second), "");
        std::fs::write(second.join("checkpoint-1.safetensors"), "").unwrap();
        assert_eq!(newest(&second), uri(&second));
    }

    #[test]
    fn a_uri_says_nothing_but_the_path() {
        assert_eq!(uri(Path::new("/a b/50%#?")), "file:///a%20b/50%25%23%3F");
    }
}
