//! What can go wrong, by whose turn it is to act. Each edge turns a kind into its own status in one place.

use std::time::Duration;

use super::ids::Fence;

/// Why a request was not carried out. `Clone`, so that one failure can answer everybody who waits for it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FleetError {
    /// A field holds what it may not.
    #[error("{field} {problem}")]
    Invalid {
        /// The field's name on the wire.
        field: String,
        /// What is wrong with it and what was expected.
        problem: String,
    },
    /// Nobody has heard of it.
    #[error("no {what} {id:?}")]
    NotFound {
        /// `session`, `instance`, `snapshot`, ...
        what: &'static str,
        /// The name that was asked for.
        id: String,
    },
    /// The id stands for another request.
    #[error("{0}")]
    AlreadyExists(String),
    /// Not in this phase, not by this holder, not with this mode.
    #[error("{0}")]
    Precondition(String),
    /// The fence was overtaken.
    #[error("fence {given} is stale: {current} holds {what} now")]
    Stale {
        /// What is fenced.
        what: String,
        /// The fence of the request.
        given: Fence,
        /// The one in force.
        current: Fence,
    },
    /// No capacity or quota. The session may be queued meanwhile: asking again with the same id goes on waiting.
    #[error("{message}")]
    Exhausted {
        /// What is short, and what happens to the request.
        message: String,
        /// When asking again makes sense.
        retry_after: Duration,
    },
    /// Known, and not allowed.
    #[error("{0}")]
    Denied(String),
    /// Not known.
    #[error("{0}")]
    Unauthenticated(String),
    /// Not now: draining, starting, or an instance is away.
    #[error("{message}")]
    Unavailable {
        /// What is away.
        message: String,
        /// When asking again makes sense.
        retry_after: Duration,
    },
    /// It took longer than the caller or the server allows.
    #[error("{0}")]
    Deadline(String),
    /// A fault of this program or of its disk.
    #[error("{0}")]
    Internal(String),
}

impl FleetError {
    /// A field that holds what it may not.
    #[must_use]
    pub fn invalid(field: impl Into<String>, problem: impl Into<String>) -> Self {
        Self::Invalid { field: field.into(), problem: problem.into() }
    }

    /// Nobody has heard of it.
    #[must_use]
    pub fn not_found(what: &'static str, id: impl ToString) -> Self {
        Self::NotFound { what, id: id.to_string() }
    }

    /// A fault of this program, its disk or its thread.
    #[must_use]
    pub fn internal(error: impl std::fmt::Display) -> Self {
        Self::Internal(error.to_string())
    }

    /// When asking again makes sense, where it does.
    #[must_use]
    pub const fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Exhausted { retry_after, .. } | Self::Unavailable { retry_after, .. } => Some(*retry_after),
            _ => None,
        }
    }
}
