//! `action_mean_std.pkl`: the statistics the original server denormalises with.
//!
//! A dict of `mean` and `std`, seven numbers each, as numpy arrays of any version or as plain lists.

use std::path::{Path, PathBuf};

use super::ndarray::numbers;
use super::pickle::{self, PickleError};
use crate::policy::stats::{ACTION_DIM, ActionStats};

/// Largest statistics file read; the real one has 251 bytes.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// Why statistics were refused.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StatsPickleError {
    /// The file could not be read, or holds something else.
    #[error("{path}: {reason}")]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What was wrong.
        reason: String,
    },
    /// Its pickle was refused.
    #[error("{path}: {source}")]
    Pickle {
        /// The file.
        path: PathBuf,
        /// Why.
        source: PickleError,
    },
}

/// Reads mean and standard deviation.
///
/// # Errors
/// [`StatsPickleError`] names the file and the key that is missing, short or not finite.
pub fn read(path: &Path) -> Result<ActionStats, StatsPickleError> {
    let invalid = |reason: String| StatsPickleError::Invalid { path: path.to_owned(), reason };
    let length = std::fs::metadata(path).map_err(|error| invalid(error.to_string()))?.len();
    if length > MAX_FILE_BYTES {
        return Err(invalid(format!("has {length} bytes; action statistics are a few hundred")));
    }
    let bytes = std::fs::read(path).map_err(|error| invalid(error.to_string()))?;
    let objects =
        pickle::parse(&bytes).map_err(|source| StatsPickleError::Pickle { path: path.to_owned(), source })?;
    let root = objects.root();
    if root.entries().is_none() {
        return Err(invalid(format!("holds {}, expected a dict with `mean` and `std`", root.kind())));
    }
    let seven = |key: &str| -> Result<[f32; ACTION_DIM], String> {
        let value = root
            .get(key)
            .ok_or_else(|| format!("has no `{key}`; its keys are {}", root.key_names(8).join(", ")))?;
        let numbers = numbers(value).map_err(|reason| format!("`{key}` {reason}"))?;
        let narrow: Vec<f32> = numbers.iter().map(|number| *number as f32).collect();
        let count = narrow.len();
        narrow.try_into().map_err(|_| format!("`{key}` has {count} numbers, expected {ACTION_DIM}"))
    };
    let mean = seven("mean").map_err(invalid)?;
    let std = seven("std").map_err(invalid)?;
    ActionStats::new("action_stats", mean, std).map_err(invalid)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEAN: [f32; 7] = [-5.6e-06, 1.7e-05, 4.0e-05, -5.5e-05, -2.4e-04, -9.5e-05, 0.1132];
    const STD: [f32; 7] = [0.005, 0.0066, 0.0068, 0.0136, 0.0172, 0.0182, 0.021];

    fn fixtures() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/import")
    }

    #[test]
    fn every_numpy_version_protocol_and_spelling_gives_the_same_numbers() {
        let mut files: Vec<PathBuf> =
            std::fs::read_dir(fixtures().join("stats")).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.push(fixtures().join("action_mean_std.pkl"));
        assert!(files.len() > 20);
        for file in files {
            let stats = read(&file).unwrap();
            assert_eq!((stats.mean, stats.std), (MEAN, STD), "{}", file.display());
        }
    }

    fn refused(bytes: &[u8]) -> String {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("stats.pkl");
        std::fs::write(&path, bytes).unwrap();
        let message = read(&path).unwrap_err().to_string();
        assert!(message.contains("stats.pkl"), "{message}");
        message
    }

    #[test]
    fn what_is_wrong_is_named() {
        assert!(refused(b"cos\nsystem\n(S'true'\ntR.").contains("os.system: not on the allow-list"));
        assert!(refused(b"(lp0\n.").contains("a list"));
        assert!(refused(b"}X\x01\x00\x00\x00aNs.").contains("no `mean`; its keys are a"));
        assert!(
            refused(b"}(X\x04\x00\x00\x00mean](K\x01K\x02eX\x03\x00\x00\x00std]u.").contains("2 numbers")
        );
        assert!(refused(b"").contains("ends at byte 0"));
    }
}
