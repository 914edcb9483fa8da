//! `manifest.json`: what a snapshot holds, and enough of its session to make it again.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::fleet::error::FleetError;
use crate::fleet::spec::{Mode, SessionSpec};

/// Its name in the snapshot's folder.
pub const FILE_NAME: &str = "manifest.json";
/// The form below.
const VERSION: u32 = 1;

/// `manifest.json`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Manifest {
    /// 1.
    pub version: u32,
    /// A UUID.
    pub snapshot_id: String,
    /// Of which session.
    pub session_id: String,
    /// `manual`, `training`, `hybrid`.
    pub mode: String,
    /// Whose session it was.
    pub owner: String,
    /// Unix ms.
    pub created_at_ms: i64,
    /// The session's spec, a protobuf message in base64.
    pub spec: String,
    /// Changes of the scene since it was loaded: `neuro.ext.v1.UpdateScene` messages in base64.
    pub scene_changes: Vec<String>,
    /// A file each simulator, by environment.
    pub scenes: Vec<SavedFile>,
    /// The trainer's files; empty without a checkpoint.
    pub checkpoint: Vec<SavedFile>,
    /// What the caller gave.
    pub metadata: BTreeMap<String, String>,
}

/// A file of a snapshot.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SavedFile {
    /// Relative to the snapshot's folder.
    pub path: String,
    /// Its length.
    pub size_bytes: u64,
    /// Hexadecimal.
    pub sha256: String,
}

impl Manifest {
    /// One without files.
    #[must_use]
    pub fn new(mode: Mode, spec: &SessionSpec) -> Self {
        let spec = STANDARD.encode(prost::Message::encode_to_vec(spec));
        Self { version: VERSION, mode: mode.name().to_owned(), spec, ..Self::default() }
    }

    /// What the session ran.
    ///
    /// # Errors
    /// `Precondition` when the manifest does not hold it.
    pub fn session_spec(&self) -> Result<(Mode, SessionSpec), FleetError> {
        let mode =
            [Mode::Manual, Mode::Training, Mode::Hybrid].into_iter().find(|mode| mode.name() == self.mode);
        let mode =
            mode.ok_or_else(|| damaged(&self.snapshot_id, &format!("mode {:?} is unknown", self.mode)))?;
        let bytes = STANDARD.decode(&self.spec).map_err(|error| damaged(&self.snapshot_id, &error))?;
        let spec =
            prost::Message::decode(bytes.as_slice()).map_err(|error| damaged(&self.snapshot_id, &error))?;
        Ok((mode, spec))
    }

    /// The changes of the scene, decoded.
    ///
    /// # Errors
    /// `Precondition` when they cannot be read.
    pub fn changes(&self) -> Result<Vec<crate::proto::neuro::ext::UpdateScene>, FleetError> {
        let decode = |text: &String| {
            let bytes = STANDARD.decode(text).map_err(|error| damaged(&self.snapshot_id, &error))?;
            prost::Message::decode(bytes.as_slice()).map_err(|error| damaged(&self.snapshot_id, &error))
        };
        self.scene_changes.iter().map(decode).collect()
    }

    /// Keeps the changes of the scene.
    pub fn set_changes(&mut self, changes: &[crate::proto::neuro::ext::UpdateScene]) {
        self.scene_changes =
            changes.iter().map(|change| STANDARD.encode(prost::Message::encode_to_vec(change))).collect();
    }

    /// Bytes of all files.
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        self.scenes.iter().chain(&self.checkpoint).map(|file| file.size_bytes).sum()
    }

    /// Writes it into its folder: to another name first, then durable, then renamed.
    ///
    /// # Errors
    /// `Internal` when the disk refuses.
    pub fn write(&self, folder: &Path) -> Result<String, FleetError> {
        let text = serde_json::to_string_pretty(self).map_err(FleetError::internal)?;
        let partial = folder.join("manifest.json.partial");
        let failed = |error: std::io::Error| disk(&partial, &error);
        let mut file = File::create(&partial).map_err(failed)?;
        file.write_all(text.as_bytes()).map_err(failed)?;
        file.sync_all().map_err(failed)?;
        std::fs::rename(&partial, folder.join(FILE_NAME)).map_err(failed)?;
        Ok(text)
    }

    /// Reads it from its folder, and every file it names: a snapshot that was changed is not restored.
    ///
    /// # Errors
    /// `NotFound` without a manifest, `Precondition` when a file is missing or is not what was saved.
    pub fn read(folder: &Path) -> Result<Self, FleetError> {
        let path = folder.join(FILE_NAME);
        let text = std::fs::read_to_string(&path)
            .map_err(|_| FleetError::not_found("snapshot", folder.display()))?;
        let manifest: Self = serde_json::from_str(&text).map_err(|error| damaged(&path.display(), &error))?;
        if manifest.version != VERSION {
            let problem = format!("version {} is not {VERSION}", manifest.version);
            return Err(damaged(&path.display(), &problem));
        }
        for file in manifest.scenes.iter().chain(&manifest.checkpoint) {
            let plain = Path::new(&file.path)
                .components()
                .all(|part| matches!(part, std::path::Component::Normal(_)));
            if !plain {
                return Err(damaged(&path.display(), &format!("{:?} leads out of the snapshot", file.path)));
            }
            let found = describe(folder, &file.path)?;
            if found != *file {
                let problem = format!(
                    "{} has {} bytes and SHA-256 {}; {} bytes and {} were saved",
                    file.path, found.size_bytes, found.sha256, file.size_bytes, file.sha256
                );
                return Err(damaged(&manifest.snapshot_id, &problem));
            }
        }
        Ok(manifest)
    }
}

/// Length and SHA-256 of a file of a snapshot, read from the disk.
///
/// # Errors
/// `Precondition` when it is not there or cannot be read: whoever was asked to write it did not, or not on this disk.
pub fn describe(folder: &Path, path: &str) -> Result<SavedFile, FleetError> {
    let full = folder.join(path);
    let missing = |error: std::io::Error| {
        FleetError::Precondition(format!("the snapshot's file {} cannot be read: {error}", full.display()))
    };
    let mut file = File::open(&full).map_err(missing)?;
    let mut hash = Sha256::new();
    let mut size_bytes = 0_u64;
    let mut block = vec![0_u8; 64 * 1024];
    loop {
        let read = file.read(&mut block).map_err(missing)?;
        let Some(bytes) = block.get(..read).filter(|bytes| !bytes.is_empty()) else { break };
        hash.update(bytes);
        size_bytes += read as u64;
    }
    let sha256 = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(SavedFile { path: path.to_owned(), size_bytes, sha256 })
}

/// Every file below `folder/below`, described, in order of their paths.
///
/// # Errors
/// As [`describe`].
pub fn describe_all(folder: &Path, below: &str) -> Result<Vec<SavedFile>, FleetError> {
    let start = folder.join(below);
    if start.is_file() {
        return Ok(vec![describe(folder, below)?]);
    }
    let mut files = Vec::new();
    let mut open = vec![below.to_owned()];
    while let Some(path) = open.pop() {
        let full = folder.join(&path);
        let Ok(entries) = std::fs::read_dir(&full) else { continue };
        for entry in entries {
            let entry = entry.map_err(|error| disk(&full, &error))?;
            let name = entry.file_name();
            let name =
                name.to_str().ok_or_else(|| damaged(&full.display(), &"a file's name is not UTF-8"))?;
            let below = format!("{path}/{name}");
            let kind = entry.file_type().map_err(|error| disk(&full, &error))?;
            if kind.is_dir() {
                open.push(below);
            } else if kind.is_file() {
                files.push(describe(folder, &below)?);
            }
        }
    }
    files.sort_by(|one, other| one.path.cmp(&other.path));
    Ok(files)
}

fn damaged(what: &dyn std::fmt::Display, problem: &dyn std::fmt::Display) -> FleetError {
    FleetError::Precondition(format!("snapshot {what} is damaged: {problem}"))
}

/// A disk that refuses.
pub fn disk(path: &Path, error: &std::io::Error) -> FleetError {
    FleetError::Internal(format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn saved(folder: &Path) -> Manifest {
        std::fs::write(folder.join("scene-0.json"), "scene").unwrap();
        std::fs::create_dir_all(folder.join("checkpoint/deep")).unwrap();
        std::fs::write(folder.join("checkpoint/weights"), "weights").unwrap();
        std::fs::write(folder.join("checkpoint/deep/state"), "state").unwrap();
        let mut manifest = Manifest::new(Mode::Hybrid, &SessionSpec { simulators: 3, ..Default::default() });
        manifest.scenes = describe_all(folder, "scene-0.json").unwrap();
        manifest.checkpoint = describe_all(folder, "checkpoint").unwrap();
        manifest.write(folder).unwrap();
        manifest
    }

    #[test]
    fn a_manifest_is_read_back_with_its_session_and_every_file() {
        let folder = tempfile::tempdir().unwrap();
        let manifest = saved(folder.path());
        let read = Manifest::read(folder.path()).unwrap();
        assert_eq!(read, manifest);
        assert_eq!(read.size_bytes(), 17);
        assert_eq!(read.session_spec().unwrap().1.simulators, 3);
        let paths: Vec<_> = read.checkpoint.iter().map(|file| file.path.as_str()).collect();
        assert_eq!(paths, ["checkpoint/deep/state", "checkpoint/weights"]);
        let known = Sha256::digest("scene").iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        assert_eq!(read.scenes[0].sha256, known);
    }

    #[test]
    fn a_file_that_was_changed_or_is_gone_is_named() {
        let folder = tempfile::tempdir().unwrap();
        saved(folder.path());
        std::fs::write(folder.path().join("checkpoint/weights"), "weightz").unwrap();
        let error = Manifest::read(folder.path()).unwrap_err().to_string();
        assert!(error.contains("checkpoint/weights"), "{error}");
        std::fs::remove_file(folder.path().join("scene-0.json")).unwrap();
        let error = Manifest::read(folder.path()).unwrap_err().to_string();
        assert!(error.contains("scene-0.json"), "{error}");
    }

    #[test]
    fn a_manifest_that_names_a_file_outside_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let mut manifest = saved(folder.path());
        manifest.scenes[0].path = "../secret".to_owned();
        manifest.write(folder.path()).unwrap();
        assert!(Manifest::read(folder.path()).unwrap_err().to_string().contains("leads out"));
    }
}
