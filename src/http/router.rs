//! Every route in one place.

use std::any::Any;
use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::{StatusCode, Uri};
use axum::middleware;
use axum::response::Response;
use axum::routing::get;
use tower::ServiceBuilder;
use tower::util::option_layer;
use tower_http::catch_panic::CatchPanicLayer;
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::state::AppState;
use super::{
    admin, assets, auth, cors, error, fallback, health, metrics, openapi, openpi, openvla, predict,
    predict_isaac, roboeval, root, stats, trace, world,
};

/// The OpenAPI document of the routes below.
#[must_use]
pub fn document() -> utoipa::openapi::OpenApi {
    described().1
}

/// Routes with their descriptions. A route added through `routes!` is in the OpenAPI document too.
fn described() -> (Router<AppState>, utoipa::openapi::OpenApi) {
    OpenApiRouter::with_openapi(openapi::Document::openapi())
        .routes(routes!(root::root))
        .routes(routes!(health::health))
        .routes(routes!(stats::stats))
        .routes(routes!(predict::predict))
        .routes(routes!(predict_isaac::predict_isaac))
        .routes(routes!(roboeval::info))
        .routes(routes!(roboeval::reset))
        .merge(openpi::routes())
        .merge(openvla::routes())
        .merge(world::routes())
        .merge(metrics::routes())
        .merge(admin::routes())
        .split_for_parts()
}

/// The whole edge.
pub fn router(state: AppState) -> Router {
    let (router, document) = described();
    let paths: Arc<[String]> = document.paths.paths.keys().cloned().collect();
    let no_route = move |uri: Uri| async move { fallback::no_route(&paths, &uri) };
    let guard = state.options.bearer_token.is_some();
    let guard = guard.then(|| middleware::from_fn_with_state(state.clone(), auth::require_token));
    let routes = router
        .merge(openapi::routes(document))
        .route("/scenario", get(assets::scenario_page))
        .route("/static/{*path}", get(assets::file))
        .fallback(no_route)
        // Without a token nobody is asked for one, and a layer costs every request some allocations.
        .layer(option_layer(guard))
        .layer(CatchPanicLayer::custom(panicked))
        .layer(DefaultBodyLimit::max(state.options.max_body_bytes))
        .with_state(state.clone());
    // Around the router, because a layer within it runs behind the choice of the method.
    let edge = ServiceBuilder::new()
        .layer(middleware::from_fn(trace::span))
        // Outside the token: a browser asks with OPTIONS and without one.
        .layer(option_layer(cors::layer(&state.options.cors_origins)))
        .layer(middleware::from_fn(fallback::methods))
        .service(routes);
    Router::new().fallback_service(edge)
}

/// A bug, answered instead of a hang-up.
#[allow(clippy::needless_pass_by_value, reason = "the signature tower-http asks for")]
fn panicked(_panic: Box<dyn Any + Send + 'static>) -> Response {
    error::detail(StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error")
}
