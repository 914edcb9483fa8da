//! Where trainers keep what they have learned.

use std::path::Path;

use crate::fleet::snapshot::manifest::Manifest;
use crate::proto::neuro::ext;

/// What a trainer writes inside a snapshot: a file, or a folder of files.
pub const IN_SNAPSHOT: &str = "checkpoint";

/// A `file://` URI.
#[must_use]
pub fn uri(path: &Path) -> String {
    format!("file://{}", path.display())
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

/// The newest complete checkpoint of a session's folder: partial ones have a dot in front or end in `.partial`.
#[must_use]
pub fn newest(folder: &Path) -> Option<String> {
    let entries = std::fs::read_dir(folder).ok()?;
    let complete = entries.flatten().filter(|entry| {
        entry.file_name().to_str().is_some_and(|name| !name.starts_with('.') && !name.ends_with(".partial"))
    });
    let newest = complete.max_by_key(|entry| {
        let written = entry.metadata().and_then(|data| data.modified()).ok();
        (written, entry.file_name())
    })?;
    Some(uri(&newest.path()))
}
