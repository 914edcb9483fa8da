//! Which scenarios there are, loading one, and getting the renderer ready.

use axum::Json as JsonBody;
use axum::extract::{Request, State};
use serde::Serialize;
use utoipa::ToSchema;

use super::body::Fields;
use super::refusal::Refusal;
use super::session::Chosen;
use crate::config::HostPort;
use crate::http::error::Detail;
use crate::http::state::AppState;
use crate::http::validation::{Problem, ValidationErrors, loc};
use crate::playback::LoadOrder;

/// Port NuRec listens on when a request names a host alone.
const NUREC_PORT: u16 = 46435;

/// How the playback part is.
#[derive(Debug, Serialize, ToSchema)]
pub struct WorldHealthAnswer {
    /// `healthy`
    status: &'static str,
    /// Always true: the NuRec wire is built in.
    nurec_available: bool,
    /// Whether a scenario is loaded.
    scenario_loaded: bool,
    /// Whether the renderer answered when it was asked last, some seconds ago at most.
    grpc_connected: bool,
    /// Who draws: `embedded`, `external` or `docker`.
    renderer: &'static str,
}

/// Scenario files.
#[derive(Debug, Serialize, ToSchema)]
pub struct UsdzFiles {
    /// Absolute paths, sorted.
    files: Vec<String>,
}

/// Which scenario, and where its renderer is.
#[derive(ToSchema)]
#[allow(dead_code, reason = "the schema of a body that is read field by field")]
pub struct LoadRequest {
    /// A path, or a name within the configured folders.
    usdz_path: String,
    /// Host NuRec listens on: this machine, or the configured one.
    nurec_host: Option<String>,
    /// Port NuRec listens on.
    nurec_port: Option<u16>,
    /// Whether the load fails when the renderer does not answer.
    #[schema(default = true)]
    require_renderer: Option<bool>,
}

/// A scenario was loaded.
#[derive(Debug, Serialize, ToSchema)]
pub struct Loaded {
    /// `loaded`
    status: &'static str,
    /// Id of the recording.
    sequence_id: String,
}

/// A renderer was made ready.
#[derive(Debug, Serialize, ToSchema)]
pub struct RestartedAnswer {
    /// `restarted`, or `starting` when it does not answer yet.
    status: &'static str,
    /// Of the container, or of what stands for one.
    container_name: String,
    /// The scenario file, resolved.
    usdz_path: String,
    /// Whether it answers.
    grpc_ready: bool,
}

/// How the playback part is
#[utoipa::path(get, path = "/health", tag = "playback", responses((status = 200, body = WorldHealthAnswer)))]
pub async fn health(State(state): State<AppState>, Chosen(session): Chosen) -> JsonBody<WorldHealthAnswer> {
    let health = state.world.health(&session);
    JsonBody(WorldHealthAnswer {
        status: "healthy",
        nurec_available: true,
        scenario_loaded: health.scenario_loaded,
        grpc_connected: health.renderer_connected,
        renderer: health.renderer,
    })
}

/// Scenario files that may be loaded
#[utoipa::path(get, path = "/usdz-files", tag = "playback", responses((status = 200, body = UsdzFiles)))]
pub async fn files(State(state): State<AppState>) -> JsonBody<UsdzFiles> {
    let files = state.world.files().await;
    JsonBody(UsdzFiles { files: files.iter().map(|file| file.display().to_string()).collect() })
}

/// Load a scenario
///
/// When it fails, what was loaded before stays.
#[utoipa::path(
    post, path = "/load", tag = "playback", request_body = LoadRequest,
    responses(
        (status = 200, body = Loaded),
        (status = 400, description = "The file is no scenario that can be played", body = Detail),
        (status = 404, description = "No such file under the configured folders", body = Detail),
        (status = 422, body = ValidationErrors),
        (status = 503, description = "The renderer does not answer", body = Detail)
    )
)]
pub async fn load(
    State(state): State<AppState>,
    Chosen(session): Chosen,
    request: Request,
) -> Result<JsonBody<Loaded>, Refusal> {
    let order = order(request, &state).await?;
    let scenario = state.world.load(&session, order).await?;
    Ok(JsonBody(Loaded { status: "loaded", sequence_id: scenario.sequence_id.clone() }))
}

/// Get the renderer ready for a scenario
///
/// The session is emptied. With the built-in renderer there is nothing to wait for; an external one is probed; a
/// container is replaced by one that has the scenario.
#[utoipa::path(
    post, path = "/nurec/restart", tag = "playback", request_body = LoadRequest,
    responses(
        (status = 200, body = RestartedAnswer),
        (status = 404, description = "No such file under the configured folders", body = Detail),
        (status = 422, body = ValidationErrors),
        (status = 500, description = "The container did not start", body = Detail)
    )
)]
pub async fn restart(
    State(state): State<AppState>,
    Chosen(session): Chosen,
    request: Request,
) -> Result<JsonBody<RestartedAnswer>, Refusal> {
    let order = order(request, &state).await?;
    let restarted = state.world.restart(&session, order).await?;
    Ok(JsonBody(RestartedAnswer {
        status: if restarted.ready { "restarted" } else { "starting" },
        container_name: restarted.container_name,
        usdz_path: restarted.file.display().to_string(),
        grpc_ready: restarted.ready,
    }))
}

async fn order(request: Request, state: &AppState) -> Result<LoadOrder, Refusal> {
    let mut fields = Fields::read(request, &state.options).await?;
    let name = fields.text("usdz_path");
    let host = fields.optional_text("nurec_host", false);
    let port = fields.bounded_integer("nurec_port", [1, i64::from(u16::MAX)]);
    let wants_renderer = fields.optional_boolean("require_renderer").unwrap_or(true);
    let given = host.is_some() || port.is_some();
    let port = port.and_then(|port| u16::try_from(port).ok()).unwrap_or(NUREC_PORT);
    let host = host.unwrap_or_else(|| "localhost".to_owned());
    let nurec = HostPort::new(&host, port);
    if nurec.is_none() {
        let reason = "not a host's name or address";
        fields.refuse(Problem::value_error(loc(["body", "nurec_host"]), reason, host.into()));
    }
    let name = fields.settle(name)?;
    Ok(LoadOrder { name, nurec: nurec.filter(|_| given), wants_renderer })
}
