//! Why the simulator did not do what it was told.

/// An order or a command that was not carried out. Nothing has changed where one is returned.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SimulatorError {
    /// Somebody else has been granted this simulator since.
    #[error("fence {given} is stale: this simulator has seen fence {highest}")]
    Stale {
        /// Of the order.
        given: u64,
        /// The highest seen.
        highest: u64,
    },
    /// No such session here.
    #[error("session {0:?} is not loaded here")]
    NotFound(String),
    /// A value that makes no sense; the sentence names it.
    #[error("{0}")]
    Invalid(String),
    /// Not now.
    #[error("{0}")]
    WrongPhase(String),
    /// A file could not be written or read.
    #[error("{0}")]
    File(String),
    /// The simulator is stopping, or has more to do than it can.
    #[error("{0}")]
    Away(&'static str),
}

impl SimulatorError {
    /// The contract's code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Stale { .. } => "stale_fence",
            Self::NotFound(_) => "not_found",
            Self::Invalid(_) | Self::File(_) => "invalid",
            Self::WrongPhase(_) => "wrong_phase",
            Self::Away(_) => "unavailable",
        }
    }

    /// The highest fence seen, where that is the matter.
    #[must_use]
    pub fn fence(&self) -> Option<u64> {
        match self {
            Self::Stale { highest, .. } => Some(*highest),
            _ => None,
        }
    }
}
