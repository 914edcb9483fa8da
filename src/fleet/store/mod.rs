//! Where the books are kept. A store writes a group of changes in one transaction and reads them all back at the start;
//! it knows no rules. SQLite is the one that is there; another database needs these two traits and nothing else.

mod codec;
mod log;
mod schema;
mod sqlite;
mod write;

use super::error::FleetError;
use super::ids::SessionId;
use super::ledger::{Change, Tables};
use super::rows::EventRow;

pub use sqlite::SqliteStore;

/// Why a store failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The file was written by a newer version.
    #[error("{path} has version {found}, written by a newer neuro; this one reads up to {known}")]
    Newer {
        /// The file.
        path: String,
        /// Its version.
        found: i64,
        /// The newest that is known.
        known: i64,
    },
    /// It is another program's file, or damaged.
    #[error("{path}: {problem}")]
    Damaged {
        /// The file.
        path: String,
        /// What is wrong with it.
        problem: String,
    },
    /// Somebody else keeps books in it.
    #[error("{path} is in use by another orchestrator")]
    InUse {
        /// The file.
        path: String,
    },
    /// The disk or the database said no.
    #[error("the books cannot be {doing}: {problem}")]
    Failed {
        /// `opened`, `read`, `written`.
        doing: &'static str,
        /// The database's sentence.
        problem: String,
    },
}

impl From<StoreError> for FleetError {
    fn from(error: StoreError) -> Self {
        Self::Internal(error.to_string())
    }
}

/// Keeps rows. One thread owns it.
pub trait Store: Send {
    /// All rows except logs, which are read on demand.
    ///
    /// # Errors
    /// When the rows cannot be read.
    fn load(&mut self) -> Result<Tables, StoreError>;

    /// Writes all of these or none; when it returns they are durable.
    ///
    /// # Errors
    /// When the rows cannot be written. The store goes on working when the reason has gone away.
    fn commit(&mut self, changes: &[Change]) -> Result<(), StoreError>;

    /// A second way in, for logs, which does not wait for commits.
    ///
    /// # Errors
    /// When it cannot be opened.
    fn log(&self) -> Result<Box<dyn Log>, StoreError>;
}

/// Reads logs.
pub trait Log: Send {
    /// Events after `after` in order, at most `limit`; those that were dropped are simply not there.
    ///
    /// # Errors
    /// When they cannot be read.
    fn events(&mut self, session: &SessionId, after: i64, limit: usize) -> Result<Vec<EventRow>, StoreError>;
}
