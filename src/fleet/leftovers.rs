//! What is on the disk without being of use to anybody: halves that a crash left, and checkpoints of sessions that are
//! forgotten.

use std::fs::{self, DirEntry};
use std::path::Path;

use tracing::{info, warn};

use super::snapshot::manifest;

/// What a folder is called while it is written.
const PARTIAL: &str = ".partial";
/// Folders of a request's base path that are looked into.
const DEEPEST: usize = 16;

/// Removes what was being written when the last orchestrator over these roots ended: `.ID.partial` of a snapshot,
/// `SESSION/ID.partial` of a demonstration. How many there were. Nothing may be writing there.
#[must_use]
pub fn sweep(snapshots: &Path, demonstrations: &Path) -> usize {
    let mut swept = sweep_snapshots(snapshots, DEEPEST);
    for session in folders(demonstrations) {
        let halves = folders(&session.path()).filter(|entry| is_half(entry, ""));
        swept += halves.filter(|half| remove(&half.path())).count();
    }
    swept
}

fn sweep_snapshots(folder: &Path, deeper: usize) -> usize {
    // Inside a snapshot nothing is being written.
    if deeper == 0 || folder.join(manifest::FILE_NAME).exists() {
        return 0;
    }
    let swept = folders(folder).map(|entry| match is_half(&entry, ".") {
        true => usize::from(remove(&entry.path())),
        false => sweep_snapshots(&entry.path(), deeper - 1),
    });
    swept.sum()
}

/// Removes a folder with all that is in it; a link is not followed. Whether it was there and is gone.
pub fn remove(folder: &Path) -> bool {
    match fs::remove_dir_all(folder) {
        Ok(()) => {
            info!(folder = %folder.display(), "removed");
            true
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => false,
        Err(error) => {
            warn!(folder = %folder.display(), %error, "not removed");
            false
        }
    }
}

/// Real folders inside one.
fn folders(folder: &Path) -> impl Iterator<Item = DirEntry> + use<> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
}

fn is_half(entry: &DirEntry, before: &str) -> bool {
    let name = entry.file_name();
    let id = name.to_str().and_then(|name| name.strip_prefix(before)?.strip_suffix(PARTIAL));
    id.is_some_and(|id| uuid::Uuid::try_parse(id).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_are_swept_and_whole_ones_and_other_peoples_folders_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let outside = tempfile::tempdir().unwrap();
        let id = uuid::Uuid::new_v4();
        let at = |path: String| folder.path().join(path);
        let halves = [
            at(format!("snapshots/s-1/.{id}.partial")),
            at(format!("snapshots/base/deep/s-1/.{id}.partial")),
            at(format!("demonstrations/s-1/{id}.partial")),
        ];
        let kept = [
            at(format!("snapshots/s-1/{id}")),
            at(format!("snapshots/s-1/{id}/.{id}.partial")),
            at("snapshots/s-1/.mine.partial".to_owned()),
            at("snapshots/.git.partial".to_owned()),
            at(format!("demonstrations/s-1/{id}")),
            at("demonstrations/s-1/notes.partial".to_owned()),
            outside.path().join(format!(".{id}.partial")),
        ];
        for path in halves.iter().chain(&kept) {
            fs::create_dir_all(path.join("frames")).unwrap();
        }
        fs::write(kept[0].join("manifest.json"), "{}").unwrap();
        std::os::unix::fs::symlink(outside.path(), at("snapshots/elsewhere".to_owned())).unwrap();
        let roots = (at("snapshots".to_owned()), at("demonstrations".to_owned()));
        assert_eq!(sweep(&roots.0, &roots.1), halves.len());
        assert!(halves.iter().all(|path| !path.exists()));
        assert!(kept.iter().all(|path| path.exists()));
        assert_eq!(sweep(&roots.0, &roots.1), 0);
        assert_eq!(sweep(Path::new("/nowhere/at/all"), Path::new("/nowhere/at/all")), 0);
    }
}
