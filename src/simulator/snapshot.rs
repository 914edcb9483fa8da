//! A session's state as a file: JSON, written whole or not at all.

use std::io::Write;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::error::SimulatorError;
use super::session::Session;
use super::surroundings::SavedObstacles;
use crate::instance::contract::Saved;

/// What such a file says it is.
const FORMAT: &str = "neuro-simulator-snapshot-1";
/// No snapshot is larger.
const LARGEST_BYTES: u64 = 16 << 20;

/// A session's state.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    format: String,
    environment: String,
    sim_ns: i64,
    frames: i64,
    obstacles: SavedObstacles,
    world: Value,
}

impl Snapshot {
    /// Of a session as it is.
    #[must_use]
    pub fn of(session: &Session) -> Self {
        Self {
            format: FORMAT.to_owned(),
            environment: session.world.spec().environment,
            sim_ns: session.sim_ns,
            frames: session.frames,
            obstacles: session.around.save(),
            world: session.world.save(),
        }
    }

    /// Makes a session what it was. Whether time passes and who drives stays as it is.
    ///
    /// # Errors
    /// When it is of another world.
    pub fn put_into(&self, session: &mut Session) -> Result<(), SimulatorError> {
        let environment = session.world.spec().environment;
        if self.environment != environment {
            return Err(SimulatorError::Invalid(format!(
                "the snapshot is of {:?}, and this session simulates {environment:?}",
                self.environment
            )));
        }
        let mut around = session.around.clone();
        around.restore(&self.obstacles)?;
        session.world.restore(&self.world)?;
        session.around = around;
        (session.sim_ns, session.frames) = (self.sim_ns, self.frames);
        Ok(())
    }

    /// Writes it. Blocks.
    ///
    /// # Errors
    /// When the URI is no file's, or the file cannot be written.
    pub fn write(&self, uri: &str) -> Result<Saved, SimulatorError> {
        let path = path(uri)?;
        let bytes = serde_json::to_vec(self).map_err(|error| SimulatorError::File(error.to_string()))?;
        let cannot = |error: std::io::Error| {
            SimulatorError::File(format!("cannot write the snapshot {}: {error}", path.display()))
        };
        let folder = path.parent().unwrap_or(Path::new("/"));
        std::fs::create_dir_all(folder).map_err(cannot)?;
        let partial = path.with_extension("partial");
        let mut file = std::fs::File::create(&partial).map_err(cannot)?;
        file.write_all(&bytes).and_then(|()| file.sync_all()).map_err(cannot)?;
        std::fs::rename(&partial, &path).map_err(cannot)?;
        Ok(Saved {
            uri: uri.to_owned(),
            size_bytes: bytes.len() as u64,
            sha256: Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect(),
        })
    }

    /// Reads one. Blocks.
    ///
    /// # Errors
    /// When there is no such file, or it is no snapshot.
    pub fn read(uri: &str) -> Result<Self, SimulatorError> {
        let path = path(uri)?;
        let cannot = |reason: String| {
            SimulatorError::File(format!("cannot read the snapshot {}: {reason}", path.display()))
        };
        let size = std::fs::metadata(&path).map_err(|error| cannot(error.to_string()))?.len();
        if size > LARGEST_BYTES {
            return Err(cannot(format!("it has {size} bytes, and a snapshot has at most {LARGEST_BYTES}")));
        }
        let bytes = std::fs::read(&path).map_err(|error| cannot(error.to_string()))?;
        let snapshot: Self = serde_json::from_slice(&bytes).map_err(|error| cannot(error.to_string()))?;
        if snapshot.format != FORMAT {
            return Err(cannot(format!("its format is {:?}, not {FORMAT:?}", snapshot.format)));
        }
        Ok(snapshot)
    }
}

/// The file that a `file://` URI means.
fn path(uri: &str) -> Result<PathBuf, SimulatorError> {
    let invalid = || {
        SimulatorError::Invalid(format!("{uri:?} is not the URI of a file, such as file:///data/one.json"))
    };
    let path = uri.strip_prefix("file://").ok_or_else(invalid)?;
    let path = percent_encoding::percent_decode_str(path).decode_utf8().map_err(|_| invalid())?;
    let path = PathBuf::from(path.into_owned());
    let plain = path.components().all(|part| !matches!(part, std::path::Component::ParentDir));
    if path.is_absolute() && path.file_name().is_some() && plain { Ok(path) } else { Err(invalid()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_absolute_files_are_meant() {
        assert_eq!(path("file:///a/b%20c.json").unwrap(), PathBuf::from("/a/b c.json"));
        for wrong in ["", "/a/b", "http://a/b", "file://a/b", "file:///", "file:///a/../b", "file:///%ff"] {
            assert!(path(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn what_was_written_is_read_and_rubbish_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let uri = format!("file://{}/deep/one.json", dir.path().display());
        let snapshot = Snapshot {
            format: FORMAT.to_owned(),
            environment: "balance".to_owned(),
            sim_ns: 20_000_000,
            frames: 1,
            obstacles: SavedObstacles::default(),
            world: serde_json::json!({"x": 0.125}),
        };
        let saved = snapshot.write(&uri).unwrap();
        assert_eq!(Snapshot::read(&uri).unwrap(), snapshot);
        let file = dir.path().join("deep/one.json");
        assert_eq!(saved.size_bytes, std::fs::metadata(&file).unwrap().len());
        assert_eq!(saved.sha256.len(), 64);
        std::fs::write(&file, "{}").unwrap();
        assert!(Snapshot::read(&uri).unwrap_err().to_string().contains("one.json"));
    }
}
