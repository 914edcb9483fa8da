//! Watching the fleet over HTTP: the orchestrator's REST mirror, its event streams, and the page that shows both.
//!
//! JSON is snake_case with the gRPC messages' names, phases and roles are lower-case words, times are Unix ms.
//! Failures are `{"detail", "code", "retry_after_s"?, "field"?}`; [`refusal`] is the one place that makes them.

pub mod body;
pub mod caller;
pub mod control;
pub mod control_mode;
pub mod demonstrations;
pub mod event_json;
pub mod events;
pub mod gpus;
pub mod health;
pub mod instance_json;
pub mod life;
pub mod metrics;
pub mod overview;
pub mod pages;
pub mod picture;
pub mod pools;
pub mod refusal;
pub mod request_json;
pub mod router;
pub mod session_json;
pub mod sessions;
pub mod signalling;
pub mod snapshots;
pub mod state;
pub mod words;

pub use router::{document, router};
pub use state::{FleetHttpOptions, FleetState};
