//! The REST and websocket edge: bytes in, typed requests to the policy, bytes out.

pub mod msgpack;
pub mod ndarray;
pub mod openpi;
pub mod router;
pub mod state;

pub use router::router;
pub use state::{AppState, HttpOptions};
