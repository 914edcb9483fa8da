//! Every route of the orchestrator's HTTP port in one place.

use std::any::Any;
use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::{StatusCode, Uri};
use axum::middleware;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tower_http::catch_panic::CatchPanicLayer;
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::refusal::Refusal;
use super::state::FleetState;
use super::{
    caller, control, control_mode, demonstrations, events, gpus, health, life, metrics, overview, pages,
    picture, pools, sessions, signalling, snapshots,
};
use crate::http::{assets, openapi, trace};

/// Title and tags; the paths come from the router.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "neuro orchestrator",
        description = "Sessions over pools of simulators and trainers: the REST mirror of the gRPC services. \
        Authorization: Bearer KEY or x-api-key, where keys are configured."
    ),
    tags(
        (name = "sessions", description = "Sessions, their life and their log"),
        (name = "control", description = "Who drives, and what was recorded"),
        (name = "pictures", description = "What a session's simulators show"),
        (name = "pools", description = "Instances, and who may use how much"),
        (name = "fleet", description = "The orchestrator itself"),
    )
)]
struct Document;

/// The OpenAPI document of the routes below.
#[must_use]
pub fn document() -> utoipa::openapi::OpenApi {
    described().1
}

fn described() -> (Router<FleetState>, utoipa::openapi::OpenApi) {
    OpenApiRouter::with_openapi(Document::openapi())
        .routes(routes!(pages::root))
        .routes(routes!(health::health))
        .routes(routes!(health::probe))
        .routes(routes!(metrics::page))
        .routes(routes!(sessions::list, sessions::create))
        .routes(routes!(sessions::one, sessions::end))
        .routes(routes!(life::start))
        .routes(routes!(life::pause))
        .routes(routes!(life::stop))
        .routes(routes!(life::scene))
        .routes(routes!(life::preempt))
        .routes(routes!(snapshots::save))
        .routes(routes!(snapshots::restore))
        .routes(routes!(control_mode::switch))
        .routes(routes!(demonstrations::list))
        .routes(routes!(demonstrations::file))
        .routes(routes!(events::events))
        .routes(routes!(overview::overview))
        .routes(routes!(picture::frame))
        .routes(routes!(picture::stream_pictures))
        .routes(routes!(pools::list))
        .routes(routes!(pools::drain))
        .routes(routes!(pools::undrain))
        .routes(routes!(pools::quota))
        .routes(routes!(gpus::list))
        .split_for_parts()
}

/// The whole edge.
pub fn router(state: FleetState) -> Router {
    let (routes, document) = described();
    let (controls, relay) = (state.orchestrator.controls().clone(), state.orchestrator.signalling().clone());
    routes
        .merge(control::routes(controls.clone()))
        .merge(signalling::routes(controls, relay, Arc::clone(&state.access)))
        .merge(openapi::routes(document))
        .route("/fleet", get(pages::dashboard))
        .route("/static/{*path}", get(assets::file))
        .fallback(no_route)
        .method_not_allowed_fallback(no_method)
        .layer(middleware::from_fn_with_state(state.clone(), caller::identify))
        .layer(CatchPanicLayer::custom(panicked))
        .layer(DefaultBodyLimit::max(state.options.max_body_bytes))
        .layer(middleware::from_fn(trace::span))
        .with_state(state)
}

async fn no_route(uri: Uri) -> Refusal {
    let shown: String = uri.path().chars().take(200).collect();
    Refusal::new(
        StatusCode::NOT_FOUND,
        "not_found",
        format!("there is nothing at {shown}; /openapi.json lists what is"),
    )
}

async fn no_method() -> Refusal {
    let sentence = "this path does not take that method; /openapi.json lists those it does";
    Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "invalid", sentence)
}

/// A bug, answered instead of a hang-up.
#[allow(clippy::needless_pass_by_value, reason = "the signature tower-http asks for")]
fn panicked(_panic: Box<dyn Any + Send + 'static>) -> Response {
    let sentence = "a fault in the orchestrator; its log says where";
    Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", sentence).into_response()
}
