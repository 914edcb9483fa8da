//! The instance contract over HTTP: what an orchestrator, or a person with `curl`, says to one simulator. The bodies and
//! paths are those of [`crate::instance::contract`].

mod answer;
mod control;
mod health;
mod session;
mod stream;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::{get, post, put};

use crate::simulator::{Camera, Simulator};

pub use health::{Addresses, health};

/// The largest body: a scene of many obstacles.
const MOST_BYTES: usize = 1 << 20;

/// What the routes need.
#[derive(Debug, Clone)]
pub struct InstanceState {
    /// Who does it.
    pub simulator: Simulator,
    /// Who takes pictures of it.
    pub camera: Camera,
    /// Where it is reached.
    pub addresses: Arc<Addresses>,
}

/// All routes.
pub fn router(state: InstanceState) -> Router {
    Router::new()
        .route("/v1/health", get(health::get))
        .route("/v1/sessions/{id}", put(session::load).delete(session::delete))
        .route("/v1/sessions/{id}/start", post(session::start))
        .route("/v1/sessions/{id}/pause", post(session::pause))
        .route("/v1/sessions/{id}/stop", post(session::stop))
        .route("/v1/sessions/{id}/scene", axum::routing::patch(session::scene))
        .route("/v1/sessions/{id}/snapshot", post(session::snapshot))
        .route("/v1/sessions/{id}/restore", post(session::restore))
        .route("/v1/sessions/{id}/controller", post(session::controller))
        .route("/v1/sessions/{id}/frame.jpg", get(stream::frame))
        .route("/stream/{id}", get(stream::stream))
        .route("/control/{id}", get(control::open))
        .fallback(answer::no_route)
        .layer(DefaultBodyLimit::max(MOST_BYTES))
        .with_state(state)
}
