//! Why an export did not come to its end.

use std::io;

use zip::result::ZipError;

/// An export that ended early: what it had written is of no use.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// Every picture failed.
    #[error("none of {pictures} pictures could be drawn; the first: {reason}")]
    NoPictures {
        /// How many were tried.
        pictures: u64,
        /// Why the first is missing.
        reason: String,
    },
    /// Only pictures go into a folder.
    #[error("{format} is written to a file, not to a folder")]
    NotForFolders {
        /// The name of the format.
        format: &'static str,
    },
    /// The output cannot be written.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The MCAP library refused something.
    #[error("writing MCAP failed: {0}")]
    Mcap(mcap::McapError),
    /// The zip library refused something.
    #[error("writing the zip archive failed: {0}")]
    Zip(ZipError),
    /// A schema is not among those compiled in.
    #[error("there is no schema {0}")]
    Schema(&'static str),
    /// Whoever asked is gone.
    #[error("the export was given up")]
    GivenUp,
}

impl From<mcap::McapError> for ExportError {
    fn from(error: mcap::McapError) -> Self {
        match error {
            mcap::McapError::Io(error) => Self::Io(error),
            other => Self::Mcap(other),
        }
    }
}

impl From<ZipError> for ExportError {
    fn from(error: ZipError) -> Self {
        match error {
            ZipError::Io(error) => Self::Io(error),
            other => Self::Zip(other),
        }
    }
}
