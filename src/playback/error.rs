//! Why the world did not do what it was asked.

use crate::scene::shelf::NotOnShelf;

/// A request about a scenario that was not met. Nothing has changed where one is returned.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum WorldError {
    /// No such scenario file where scenario files may be.
    #[error(transparent)]
    NotOnShelf(#[from] NotOnShelf),
    /// The file is no scenario that can be played.
    #[error("{0}")]
    Unusable(String),
    /// The session has no scenario yet.
    #[error("No scenario loaded. Call /api/load first.")]
    NotLoaded,
    /// No such session.
    #[error("there is no session {0:?}; create it with POST /api/sessions")]
    NoSession(String),
    /// A session of that name exists.
    #[error("session {0:?} exists already")]
    SessionExists(String),
    /// Not a session's name.
    #[error("a session's name is 1 to 64 letters, digits, - or _, not {0:?}")]
    SessionName(String),
    /// As many sessions as there may be.
    #[error("{0} sessions are open, which is the limit; close one with DELETE /api/sessions/NAME")]
    TooManySessions(usize),
    /// A renderer on another host was asked for.
    #[error(
        "nurec_host {asked:?} is not allowed: only this machine and {configured}, where `--nurec` points"
    )]
    ForeignRenderer {
        /// What was asked for.
        asked: String,
        /// What the settings name.
        configured: String,
    },
    /// The renderer does not answer.
    #[error("{0}")]
    RendererAway(String),
    /// The container could not be started.
    #[error("Failed to restart NuRec: {0}")]
    Container(String),
    /// A value that makes no sense.
    #[error("{0}")]
    Invalid(String),
    /// The server is stopping, or a task of it ended.
    #[error("the session has ended")]
    Ended,
}
