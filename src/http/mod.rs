//! The REST and websocket edge: bytes in, typed requests to the policy, bytes out.
//!
//! The contract is a FastAPI server's, down to how it words a validation error, so request bodies are read by
//! hand ([`json`], [`form`], [`coercion`], [`validation`]) where axum's extractors would answer differently.

pub mod admin;
pub mod answer;
pub mod assets;
pub mod auth;
pub mod body;
pub mod caller;
pub mod coercion;
pub mod cors;
pub mod credential;
pub mod error;
pub mod fallback;
pub mod fields;
pub mod fleet;
pub mod form;
pub mod health;
pub mod instance;
pub mod json;
pub mod json_numpy;
pub mod listener;
pub mod metrics;
pub mod msgpack;
pub mod ndarray;
pub mod openapi;
pub mod openpi;
pub mod openvla;
pub mod predict;
pub mod predict_isaac;
pub mod roboeval;
pub mod root;
pub mod router;
pub mod state;
pub mod stats;
pub mod trace;
pub mod validation;
pub mod world;

pub use router::{document, router};
pub use state::{AppState, HttpOptions};
