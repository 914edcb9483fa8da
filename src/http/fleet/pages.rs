//! The dashboard, and what serves here for programs that ask at the root.

use axum::Json;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use crate::http::assets;

/// What serves here.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = FleetRoot)]
pub struct Root {
    /// `neuro orchestrator`.
    service: &'static str,
    /// Of this program.
    version: &'static str,
    /// The description of the interface.
    openapi: &'static str,
    /// A page to read it on.
    docs: &'static str,
}

/// What serves here
///
/// A browser (`Accept: text/html`) gets the dashboard.
#[utoipa::path(
    get, path = "/", tag = "fleet",
    responses((status = 200, content((Root = "application/json"), (String = "text/html"))))
)]
pub async fn root(headers: HeaderMap) -> Response {
    if assets::wants_html(&headers) {
        return dashboard().await;
    }
    let version = env!("CARGO_PKG_VERSION");
    Json(Root { service: "neuro orchestrator", version, openapi: "/openapi.json", docs: "/docs/" })
        .into_response()
}

/// `GET /fleet`: the dashboard.
pub async fn dashboard() -> Response {
    assets::page("fleet.html")
}
