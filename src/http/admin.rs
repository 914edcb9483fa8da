//! Changing the model of a running server. Only for the admin token, and only to folders under the configured model
//! roots; without a token the routes do not exist, so no web page or neighbour can find them.
//!
//! The new model is loaded, warmed up and held to its golden cases while the old one goes on answering; when it is
//! refused, nothing has changed.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::json;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::auth;
use super::body;
use super::error::Failure;
use super::state::AppState;
use crate::policy::description::ModelDescription;
use crate::policy::model::LoadOptions;
use crate::policy::service::ServiceState;

/// `GET` and `POST /admin/model`.
pub fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(current, swap))
}

/// Which model to change to. What is left out is taken from how the server was started.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Swap {
    /// The model folder, as the server sees it, or its name under a model root.
    pub model: String,
    /// `auto`, `cpu`, `cuda`, `cuda:N`.
    pub device: Option<String>,
    /// `auto`, `f32`, `bf16`, `f16`, `int8`.
    pub dtype: Option<String>,
    /// `auto`, `cpu`, `candle`.
    pub backend: Option<String>,
}

/// The model in use
#[utoipa::path(
    get,
    path = "/admin/model",
    tag = "admin",
    responses(
        (status = 200, description = "Its description", body = serde_json::Value),
        (status = 401, description = "No or a wrong admin token"),
        (status = 404, description = "No admin token is configured"),
        (status = 503, description = "No model is loaded")
    )
)]
async fn current(State(state): State<AppState>, headers: HeaderMap) -> Response {
    match admit(&state, &headers).map(|()| state.service.model()) {
        Ok(Some(model)) => axum::Json(&*model).into_response(),
        Ok(None) => {
            Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "no_model", "no model is loaded").into_response()
        }
        Err(refusal) => refusal.into_response(),
    }
}

/// Change to another model
///
/// Answers when the new model is warm and has passed its golden cases; until then, and for good if it is refused,
/// the old one answers.
#[utoipa::path(
    post,
    path = "/admin/model",
    tag = "admin",
    request_body = Swap,
    responses(
        (status = 200, description = "The new model's description", body = serde_json::Value),
        (status = 400, description = "Not the JSON object it should be"),
        (status = 401, description = "No or a wrong admin token"),
        (status = 403, description = "The folder is outside the model roots"),
        (status = 404, description = "No admin token is configured"),
        (status = 422, description = "The model was refused; the old one goes on"),
        (status = 503, description = "The server is shutting down")
    )
)]
async fn swap(State(state): State<AppState>, request: Request) -> Response {
    match change(&state, request).await {
        Ok(model) => axum::Json(&*model).into_response(),
        Err(refusal) => refusal.into_response(),
    }
}

async fn change(state: &AppState, request: Request) -> Result<Arc<ModelDescription>, Refusal> {
    let (head, body) = request.into_parts();
    admit(state, &head.headers)?;
    let body = body::read(body, &head.headers, &state.options).await?;
    if state.service.state() == ServiceState::Draining {
        let message = "the server is shutting down";
        return Err(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "shutting_down", message));
    }
    let mut json = serde_json::Deserializer::from_slice(&body);
    let wanted: Swap = serde_path_to_error::deserialize(&mut json)
        .map_err(|error| Refusal::body(&format!("key `{}`: {}", error.path(), error.inner())))?;
    let options = options(&wanted, state)?;
    tracing::info!(model = %options.dir.display(), "model swap asked for");
    // Its own task: a caller that hangs up does not stop a load half way.
    let service = state.service.clone();
    match tokio::spawn(async move { service.load(options).await }).await {
        Ok(Ok(model)) => Ok(model),
        Ok(Err(error)) => {
            tracing::warn!(%error, "model swap refused");
            Err(Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, "model_refused", error.to_string()))
        }
        Err(error) => Err(Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "interrupted", error.to_string())),
    }
}

fn admit(state: &AppState, headers: &HeaderMap) -> Result<(), Refusal> {
    match state.options.admin_token.as_deref() {
        None => Err(Refusal::new(StatusCode::NOT_FOUND, "not_found", "Not Found")),
        token @ Some(_) if auth::presents(headers, &[token]) => Ok(()),
        Some(_) => Err(Refusal::new(StatusCode::UNAUTHORIZED, "unauthorized", "")),
    }
}

fn options(wanted: &Swap, state: &AppState) -> Result<LoadOptions, Refusal> {
    let bad = |message: String| Refusal::body(&message);
    let mut options = state.options.swap.clone();
    let roots = &state.options.model_roots;
    options.dir = within(Path::new(&wanted.model), roots).ok_or_else(|| {
        let roots: Vec<_> = roots.iter().map(|root| root.display().to_string()).collect();
        let model: String = wanted.model.chars().take(200).collect();
        let message = format!("`{model}` is no folder under a model root ({})", roots.join(", "));
        Refusal::new(StatusCode::FORBIDDEN, "outside_model_roots", message)
    })?;
    if let Some(device) = &wanted.device {
        options.device = device.parse().map_err(bad)?;
    }
    match wanted.dtype.as_deref() {
        None => {}
        Some("auto") => options.dtype = None,
        Some(dtype) => options.dtype = Some(dtype.parse().map_err(bad)?),
    }
    if let Some(backend) = &wanted.backend {
        options.backend = backend.parse().map_err(bad)?;
    }
    Ok(options)
}

/// The folder `wanted` means, as a path or as a name under a root, links resolved; `None` when it is not a folder or
/// lies outside every root.
fn within(wanted: &Path, roots: &[PathBuf]) -> Option<PathBuf> {
    let roots: Vec<PathBuf> = roots.iter().filter_map(|root| root.canonicalize().ok()).collect();
    std::iter::once(wanted.to_owned())
        .chain(roots.iter().map(|root| root.join(wanted)))
        .filter_map(|path| path.canonicalize().ok())
        .find(|path| path.is_dir() && roots.iter().any(|root| path.starts_with(root) && path != root))
}

/// Why nothing was changed.
struct Refusal {
    status: StatusCode,
    code: &'static str,
    message: String,
}

impl Refusal {
    fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into() }
    }

    fn body(message: &str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_body", message)
    }
}

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Self {
        Self::new(failure.status, failure.code, failure.message)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        if self.status == StatusCode::UNAUTHORIZED {
            return auth::unauthorized();
        }
        (self.status, axum::Json(json!({ "detail": self.message, "code": self.code }))).into_response()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_folders_under_a_root_are_found() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("models");
        std::fs::create_dir_all(root.join("arm")).unwrap();
        std::fs::create_dir_all(dir.path().join("secret")).unwrap();
        std::os::unix::fs::symlink(dir.path().join("secret"), root.join("link")).unwrap();
        let roots = [root.clone(), dir.path().join("absent")];
        let arm = root.join("arm").canonicalize().unwrap();
        assert_eq!(within(Path::new("arm"), &roots), Some(arm.clone()));
        assert_eq!(within(&root.join("arm"), &roots), Some(arm.clone()));
        assert_eq!(within(Path::new("arm/../arm"), &roots), Some(arm));
        for outside in ["../secret", "link", ".", "", "none", "/"] {
            assert_eq!(within(Path::new(outside), &roots), None, "{outside}");
        }
        assert_eq!(within(&dir.path().join("secret"), &roots), None);
    }
}
