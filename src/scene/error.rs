//! Why a scenario was refused: one sentence each, naming the member, the key, the index and the reason.

use std::path::PathBuf;

use thiserror::Error;

/// Why a scenario could not be opened. Nothing of it is kept.
#[derive(Debug, Error)]
pub enum SceneError {
    /// There is nothing at this path.
    #[error("USDZ file not found: {}", path.display())]
    NotFound {
        /// The path asked for.
        path: PathBuf,
    },
    /// A folder, a device or a pipe.
    #[error("{} is not a regular file, expected a USDZ archive", path.display())]
    NotAFile {
        /// The path asked for.
        path: PathBuf,
    },
    /// The system does not let this process read it.
    #[error("{} cannot be read: {source}", path.display())]
    Unreadable {
        /// The path asked for.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is no zip archive, or a damaged one.
    #[error("not a USDZ archive: {reason}")]
    Archive {
        /// What is wrong with it.
        reason: String,
    },
    /// A member that a scenario must have is not there.
    #[error("no {member} at the root of the archive{}", seen.as_ref().map(|name| format!(", only {name}")).unwrap_or_default())]
    Missing {
        /// The member.
        member: &'static str,
        /// Where in the archive a member of that name is.
        seen: Option<String>,
    },
    /// A member is there and its bytes cannot be had.
    #[error("{member}: {reason}")]
    Member {
        /// The member.
        member: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// A member's bytes were read and do not describe a scenario.
    #[error("{member}: {key} {reason}")]
    Content {
        /// The member.
        member: &'static str,
        /// `rig_trajectories[0].T_rig_worlds[5]`; or `the document`.
        key: String,
        /// What is wrong there, and what was expected.
        reason: String,
    },
    /// The system has no thread left to read with.
    #[error("no thread to read the archive with: {0}")]
    Thread(std::io::Error),
}
