//! What can be wrong with settings, and where a value came from.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Source {
    /// Nobody said anything.
    #[default]
    Default,
    /// A line of the configuration file.
    File {
        /// The file.
        path: Arc<PathBuf>,
        /// Counted from 1.
        line: usize,
    },
    /// An environment variable.
    Variable(String),
    /// A flag of the command line.
    Flag(String),
}

impl fmt::Display for Source {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => out.write_str("default"),
            Self::File { path, line } => write!(out, "{}:{line}", path.display()),
            Self::Variable(name) => write!(out, "environment {name}"),
            Self::Flag(name) => write!(out, "{name}"),
        }
    }
}

/// Why settings were refused: one line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("{}: cannot read the configuration file: {reason}", .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        reason: String,
    },
    /// The file is not TOML.
    #[error("{source_place}: not valid TOML: {reason}")]
    Syntax {
        /// File and line.
        source_place: Source,
        /// What the parser said.
        reason: String,
    },
    /// No such setting.
    #[error("{source_place}: `{name}` is not a setting{}", hint(.suggestion))]
    UnknownKey {
        /// Where it stands.
        source_place: Source,
        /// What stands there.
        name: String,
        /// The setting that looks most like it.
        suggestion: Option<String>,
    },
    /// A setting with a value that makes no sense.
    #[error("{source_place}: `{key}` is {value}, expected {expected}")]
    Invalid {
        /// Where it stands.
        source_place: Source,
        /// The setting.
        key: &'static str,
        /// The value, quoted; `<redacted>` for a secret.
        value: String,
        /// What would be right.
        expected: String,
    },
    /// Two settings that exclude each other.
    #[error("{source_place}: {reason}")]
    Conflict {
        /// Where the later one stands.
        source_place: Source,
        /// Which ones, and what to do.
        reason: String,
    },
}

fn hint(suggestion: &Option<String>) -> String {
    suggestion.as_ref().map_or_else(String::new, |name| format!("; did you mean `{name}`?"))
}
