//! Settings that are one TOML file: every key known, and every error with the file, the line and the key.

use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

/// Why settings were refused: one line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// The file cannot be read.
    #[error("{}: cannot read the settings: {reason}", .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        reason: String,
    },
    /// It is not TOML, a key is unknown, or a value is of another kind.
    #[error("{}:{line}: {}{reason}", .path.display(), at(.key))]
    Refused {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// The key with the tables it is in; empty for the whole file.
        key: String,
        /// What is wrong, and what was expected.
        reason: String,
    },
    /// A value that makes no sense.
    #[error("{}: `{key}` {problem}", .path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// The key with the tables it is in.
        key: String,
        /// The value, and what was expected.
        problem: String,
    },
}

fn at(key: &str) -> String {
    if key.is_empty() || key == "." { String::new() } else { format!("`{key}`: ") }
}

/// A key with the tables it is in, and what is wrong with its value.
type Fault = (String, String);

/// Reads a file and checks what it says.
///
/// # Errors
/// With the file, the key, and what was expected.
pub fn load<T: DeserializeOwned>(
    path: &Path,
    check: impl Fn(&T) -> Result<(), Fault>,
) -> Result<T, SettingsError> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| SettingsError::Unreadable { path: path.to_owned(), reason: error.to_string() })?;
    parse(path, &text, check)
}

/// Reads the text of a file and checks what it says; `path` is what errors name.
///
/// # Errors
/// With the file, the key, and what was expected.
pub fn parse<T: DeserializeOwned>(
    path: &Path,
    text: &str,
    check: impl Fn(&T) -> Result<(), Fault>,
) -> Result<T, SettingsError> {
    let refused = |error: &toml::de::Error, key: String| {
        let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
        SettingsError::Refused {
            path: path.to_owned(),
            line: before.matches('\n').count().saturating_add(1),
            key,
            reason: error.message().replace('\n', "; "),
        }
    };
    let document = toml::Deserializer::parse(text).map_err(|error| refused(&error, String::new()))?;
    let settings = serde_path_to_error::deserialize(document).map_err(|error| {
        let key = error.path().to_string();
        refused(error.inner(), key)
    })?;
    check(&settings).map_err(|(key, problem)| SettingsError::Invalid {
        path: path.to_owned(),
        key,
        problem,
    })?;
    Ok(settings)
}
