//! `GET /`: to a program what serves here and which inputs count, to a browser a page to try it with, and to an
//! openpi client, which knows no other path, its websocket.

use axum::Json as JsonBody;
use axum::extract::State;
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use super::answer::StatsRef;
use super::state::AppState;
use super::{assets, openpi};
use crate::policy::backend::Dtype;
use crate::policy::config::Readout;
use crate::policy::description::ModelDescription;

/// What serves here.
#[derive(Debug, Serialize, ToSchema)]
pub struct Root {
    /// `Nano-VTLA API`: the contract, as clients know it.
    service: &'static str,
    /// `running`
    status: &'static str,
    /// Id of the model; null while the first one loads.
    model: Option<String>,
    /// Folder the model came from.
    checkpoint: Option<String>,
    /// `cpu` or `cuda:N`.
    device: Option<String>,
    /// `BF16`, `FP16`, `FP32` or `INT8`.
    dtype: Option<&'static str>,
    /// Version of this server.
    version: &'static str,
    /// Which inputs can change the action.
    inputs: Option<Inputs>,
    /// The statistics in use.
    stats: Option<StatsRef>,
    /// More about the model.
    description: Option<ModelInfo>,
}

/// Which inputs can change the action. One that cannot is accepted and answered with a warning.
#[derive(Debug, Serialize, ToSchema)]
pub struct Inputs {
    /// The camera picture.
    image: bool,
    /// The tactile picture.
    tactile: bool,
    /// The instruction.
    instruction: bool,
    /// The robot's pose: no model served here uses it.
    current_pose: bool,
}

/// More about a model.
#[derive(Debug, Serialize, ToSchema)]
pub struct ModelInfo {
    /// Fingerprint of the weight files.
    weights: String,
    /// Order of the decoder's sequence.
    sequence: Vec<&'static str>,
    /// Position the action is read from: `last_image` or `last_token`.
    readout: &'static str,
    /// Side of the square picture the network sees, in pixels.
    image_size: usize,
    /// Side of the square tactile picture, in pixels.
    tactile_size: usize,
    /// Instruction used when none is given.
    default_instruction: String,
    /// Numbers in all tensors of the weight files.
    parameters: u64,
    /// Parameters that take part in an action.
    parameters_used: u64,
    /// What does the arithmetic.
    backend: &'static str,
    /// Threads that do it.
    threads: usize,
    /// Instruction set or library.
    kernels: String,
    /// Bytes of weights held.
    weight_bytes: u64,
    /// Golden cases that were checked when it was loaded.
    golden_cases: usize,
    /// Seconds from opening the folder to being warm.
    load_seconds: f64,
}

impl From<&ModelDescription> for ModelInfo {
    fn from(model: &ModelDescription) -> Self {
        Self {
            weights: model.weights.clone(),
            sequence: model.sequence.iter().map(|part| part.name()).collect(),
            readout: readout_name(model.readout),
            image_size: model.image_size,
            tactile_size: model.tactile_size,
            default_instruction: model.default_instruction.clone(),
            parameters: model.parameters,
            parameters_used: model.backend.parameters_used,
            backend: model.backend.name,
            threads: model.backend.threads,
            kernels: model.backend.kernels.clone(),
            weight_bytes: model.backend.weight_bytes,
            golden_cases: model.golden_cases,
            load_seconds: model.load_seconds,
        }
    }
}

/// The original's words for number formats, and two more of the kind.
fn dtype_name(dtype: Dtype) -> &'static str {
    match dtype {
        Dtype::Bf16 => "BF16",
        Dtype::F16 => "FP16",
        Dtype::F32 => "FP32",
        Dtype::Int8 => "INT8",
    }
}

fn readout_name(readout: Readout) -> &'static str {
    match readout {
        Readout::LastImage => "last_image",
        Readout::LastToken => "last_token",
    }
}

/// What serves here, and which inputs can change an action.
///
/// A browser (`Accept: text/html`) gets a page instead, and a websocket upgrade the openpi wire.
#[utoipa::path(
    get, path = "/", tag = "server",
    responses(
        (status = 101, description = "Switched to openpi's websocket"),
        (status = 200, description = "What serves here", content((Root = "application/json"), (String = "text/html"))),
    )
)]
pub async fn root(
    State(state): State<AppState>,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
    headers: HeaderMap,
) -> Response {
    if let Ok(upgrade) = upgrade {
        return openpi::upgrade(upgrade, state, &headers);
    }
    if assets::wants_html(&headers) {
        return assets::page("index.html");
    }
    let model = state.service.model();
    let model = model.as_deref();
    JsonBody(Root {
        service: "Nano-VTLA API",
        status: "running",
        model: model.map(|model| model.id.clone()),
        checkpoint: model.map(|model| model.path.clone()),
        device: model.map(|model| model.backend.device.clone()),
        dtype: model.map(|model| dtype_name(model.backend.dtype)),
        version: env!("CARGO_PKG_VERSION"),
        inputs: model.map(|model| Inputs {
            image: model.influence.image,
            tactile: model.influence.tactile,
            instruction: model.influence.text,
            current_pose: false,
        }),
        stats: model.map(|model| StatsRef::from(&model.stats)),
        description: model.map(ModelInfo::from),
    })
    .into_response()
}
