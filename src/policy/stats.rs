//! Action statistics: the affine map from the network's z-scored output to metres, radians and gripper.
//!
//! Wrong or missing statistics are the field's most reported cause of a robot that moves wrongly, so a model
//! without them does not load, and every answer names the set it used by id and hash.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Numbers in an action.
pub const ACTION_DIM: usize = 7;

/// Why statistics were refused.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StatsError {
    /// The folder holds none.
    #[error(
        "{path}: no action statistics; a model is not served without them (`--stats identity` asks for mean 0, std 1 by name)"
    )]
    Missing {
        /// The file looked for.
        path: PathBuf,
    },
    /// They could not be read or make no sense.
    #[error("{path}: {reason}")]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What was wrong.
        reason: String,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StatsFile {
    mean: Vec<f64>,
    std: Vec<f64>,
    #[serde(default)]
    id: Option<String>,
}

/// Per-component mean and standard deviation of the actions a model was trained on.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ActionStats {
    /// Name of the set: from the file, else the file's stem; `identity` for the set that changes nothing.
    pub id: String,
    /// First 16 hex digits of the SHA-256 over mean then std as little-endian f32.
    pub sha256: String,
    /// Mean: metres, radians, gripper units.
    pub mean: [f32; ACTION_DIM],
    /// Standard deviation, same units.
    pub std: [f32; ACTION_DIM],
}

impl ActionStats {
    /// Builds a set from numbers.
    ///
    /// # Errors
    /// Says which component is not finite or not positive.
    pub fn new(id: &str, mean: [f32; ACTION_DIM], std: [f32; ACTION_DIM]) -> Result<Self, String> {
        for (index, value) in mean.iter().enumerate() {
            if !value.is_finite() {
                return Err(format!("`mean[{index}]` is {value}, expected a finite number"));
            }
        }
        for (index, value) in std.iter().enumerate() {
            if !(value.is_finite() && *value >= 0.0) {
                return Err(format!("`std[{index}]` is {value}, expected a finite number, not negative"));
            }
        }
        let mut hash = Sha256::new();
        for value in mean.iter().chain(&std) {
            hash.update(value.to_le_bytes());
        }
        let sha256: String = hash.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        Ok(Self { id: id.to_owned(), sha256, mean, std })
    }

    /// The set that changes nothing; only for who asks for it by name.
    #[must_use]
    pub fn identity() -> Self {
        let (mean, std) = ([0.0; ACTION_DIM], [1.0; ACTION_DIM]);
        Self::new("identity", mean, std).unwrap_or(Self {
            id: "identity".into(),
            sha256: String::new(),
            mean,
            std,
        })
    }

    /// Reads `dir/action_stats.json`.
    ///
    /// # Errors
    /// [`StatsError`] names the file and the component.
    pub fn load(dir: &Path) -> Result<Self, StatsError> {
        Self::load_file(&dir.join("action_stats.json"))
    }

    /// Reads one statistics file: `{"mean": [7], "std": [7], "id"?: "..."}`.
    ///
    /// # Errors
    /// [`StatsError`] names the file and the component.
    pub fn load_file(path: &Path) -> Result<Self, StatsError> {
        let invalid = |reason: String| StatsError::Invalid { path: path.to_owned(), reason };
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(StatsError::Missing { path: path.to_owned() });
            }
            Err(error) => return Err(invalid(error.to_string())),
        };
        let mut json = serde_json::Deserializer::from_str(&text);
        let file: StatsFile = serde_path_to_error::deserialize(&mut json)
            .map_err(|error| invalid(format!("key `{}`: {}", error.path(), error.inner())))?;
        let stem = path.file_stem().map_or_else(|| "action_stats".into(), |stem| stem.to_string_lossy());
        let id = file.id.unwrap_or_else(|| stem.into_owned());
        let mean = seven("mean", &file.mean).map_err(invalid)?;
        let std = seven("std", &file.std).map_err(invalid)?;
        Self::new(&id, mean, std).map_err(invalid)
    }

    /// `action_norm * std + mean`, in f32 as the original computes it.
    #[must_use]
    pub fn denormalise(&self, action_norm: &[f32; ACTION_DIM]) -> [f32; ACTION_DIM] {
        std::array::from_fn(|i| action_norm[i] * self.std[i] + self.mean[i])
    }
}

fn seven(key: &str, values: &[f64]) -> Result<[f32; ACTION_DIM], String> {
    let narrow: Vec<f32> = values.iter().map(|value| *value as f32).collect();
    narrow.try_into().map_err(|_| format!("`{key}` has {} numbers, expected {ACTION_DIM}", values.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_without_statistics_says_so() {
        let dir = tempfile::tempdir().unwrap();
        let message = ActionStats::load(dir.path()).unwrap_err().to_string();
        assert!(message.contains("action_stats.json") && message.contains("identity"), "{message}");
    }

    #[test]
    fn a_wrong_count_or_a_negative_deviation_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("action_stats.json");
        std::fs::write(&path, r#"{"mean":[0,0,0,0,0,0],"std":[1,1,1,1,1,1,1]}"#).unwrap();
        assert!(ActionStats::load(dir.path()).unwrap_err().to_string().contains("`mean` has 6"));
        std::fs::write(&path, r#"{"mean":[0,0,0,0,0,0,0],"std":[1,1,-1,1,1,1,1]}"#).unwrap();
        assert!(ActionStats::load(dir.path()).unwrap_err().to_string().contains("`std[2]`"));
    }

    #[test]
    fn the_hash_tells_sets_apart() {
        let other = ActionStats::new("x", [0.0; 7], [2.0; 7]).unwrap();
        assert_ne!(other.sha256, ActionStats::identity().sha256);
        assert_eq!(other.denormalise(&[1.0; 7]), [2.0; 7]);
    }
}
