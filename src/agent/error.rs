//! What can go wrong, by whose turn it is to act. Each profile of the wire has the same status for a kind.

/// Why a request was not carried out. `Clone`, so that one failure can answer everybody who waits for it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AgentError {
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
        /// `instance`, `image`, `volume`, ...
        what: &'static str,
        /// The name that was asked for.
        id: String,
    },
    /// The id stands for another instance.
    #[error("{0}")]
    AlreadyExists(String),
    /// Not in this state, or not on this node.
    #[error("{0}")]
    Precondition(String),
    /// The node has no more of it.
    #[error("{0}")]
    Exhausted(String),
    /// Not now: draining, starting, ending.
    #[error("{0}")]
    Unavailable(String),
    /// Known, and not allowed.
    #[error("{0}")]
    Denied(String),
    /// Not known.
    #[error("{0}")]
    Unauthenticated(String),
    /// A fault of this program, of a tool that it calls, or of the machine.
    #[error("{0}")]
    Internal(String),
}

impl AgentError {
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

    /// A fault, with what was being done.
    #[must_use]
    pub fn internal(doing: impl std::fmt::Display, error: impl std::fmt::Display) -> Self {
        Self::Internal(format!("{doing}: {error}"))
    }
}
