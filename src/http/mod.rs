//! The REST and websocket edge: bytes in, typed requests to the policy, bytes out.

pub mod admin;
pub mod auth;
pub mod cors;
pub mod json_numpy;
pub mod listener;
pub mod metrics;
pub mod msgpack;
pub mod ndarray;
pub mod openpi;
pub mod openvla;
pub mod router;
pub mod state;

pub use router::router;
pub use state::{AppState, HttpOptions};
