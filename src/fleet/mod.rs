//! The orchestrator: sessions over pools of simulators and trainers.
//!
//! ```text
//! edges (grpc, http)  ->  Orchestrator            typed requests, views
//!                           |          \
//!                        session/       control/   what a session's life asks of its instances; who drives
//!                           |             |
//!   books  -> ledger      link/  <-  Attach streams, REST polls
//!     |  (pure books)       |
//!   store (SQLite)        backend/   processes, static lists, Slurm, Ray: they only provide instances
//! ```

pub mod access;
pub mod backend;
pub mod books;
pub mod clock;
pub mod control;
pub mod error;
pub mod event;
pub mod gpu;
pub mod ids;
pub mod ledger;
pub mod leftovers;
pub mod link;
pub mod orchestrator;
pub mod pool;
pub mod request;
pub mod rows;
pub mod session;
pub mod settings;
pub mod signalling;
pub mod sink;
pub mod snapshot;
pub mod spec;
pub mod store;
pub mod url;
pub mod validate;
pub mod view;

pub use error::FleetError;
pub use ids::{Fence, InstanceId, SessionId};
