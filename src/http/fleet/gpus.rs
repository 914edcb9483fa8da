//! `GET /v1/gpus`: the cards of the machine the orchestrator runs on.

use serde::Serialize;
use utoipa::ToSchema;

use super::body::{Answer, answer};
use super::instance_json::{Gpu, gpus};
use super::refusal::Problem;
use crate::fleet::{FleetError, gpu};

/// The cards of this machine.
#[derive(Debug, Serialize, ToSchema)]
pub struct Gpus {
    /// As `nvidia-smi` counts.
    gpus: Vec<Gpu>,
    /// Why there are none; empty when there are some.
    reason: String,
}

/// GPUs of this machine
///
/// Those of instances on other machines are in `GET /v1/pools`.
#[utoipa::path(
    get, path = "/v1/gpus", tag = "pools",
    responses((status = 200, body = Gpus), (status = 401, body = Problem))
)]
pub async fn list() -> Answer<Gpus> {
    let report = tokio::task::spawn_blocking(gpu::report).await.map_err(FleetError::internal)?;
    answer(Gpus { gpus: gpus(&report.gpus), reason: report.reason })
}
