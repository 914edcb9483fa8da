//! Orders about the session.

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use serde_json::{Value, json};

use super::InstanceState;
use super::answer::{Refusal, read};
use crate::instance::contract::{
    Fenced, Load, PrimPaths, Saved, ScenePatch, SetController, SnapshotTo, Start,
};

type Body = Result<Bytes, BytesRejection>;
type Done = Result<Json<Value>, Refusal>;

fn done() -> Json<Value> {
    Json(json!({}))
}

/// `PUT /v1/sessions/{id}`.
pub async fn load(
    State(state): State<InstanceState>,
    Path(id): Path<String>,
    body: Body,
) -> Result<(StatusCode, Json<PrimPaths>), Refusal> {
    let load: Load = read(body)?;
    Ok((StatusCode::CREATED, Json(state.simulator.load(&id, load).await?)))
}

/// `POST /v1/sessions/{id}/start`.
pub async fn start(State(state): State<InstanceState>, Path(id): Path<String>, body: Body) -> Done {
    let order: Start = read(body)?;
    state.simulator.run(&id, order).await?;
    Ok(done())
}

/// `POST /v1/sessions/{id}/pause`.
pub async fn pause(State(state): State<InstanceState>, Path(id): Path<String>, body: Body) -> Done {
    let order: Fenced = read(body)?;
    state.simulator.pause(&id, order.fence).await?;
    Ok(done())
}

/// `POST /v1/sessions/{id}/stop`.
pub async fn stop(State(state): State<InstanceState>, Path(id): Path<String>, body: Body) -> Done {
    let order: Fenced = read(body)?;
    state.simulator.stop(&id, order.fence).await?;
    Ok(done())
}

/// `PATCH /v1/sessions/{id}/scene`.
pub async fn scene(
    State(state): State<InstanceState>,
    Path(id): Path<String>,
    body: Body,
) -> Result<Json<PrimPaths>, Refusal> {
    let patch: ScenePatch = read(body)?;
    Ok(Json(state.simulator.change(&id, patch).await?))
}

/// `POST /v1/sessions/{id}/snapshot`.
pub async fn snapshot(
    State(state): State<InstanceState>,
    Path(id): Path<String>,
    body: Body,
) -> Result<Json<Saved>, Refusal> {
    let order: SnapshotTo = read(body)?;
    Ok(Json(state.simulator.snapshot(&id, order).await?))
}

/// `POST /v1/sessions/{id}/restore`.
pub async fn restore(State(state): State<InstanceState>, Path(id): Path<String>, body: Body) -> Done {
    let order: SnapshotTo = read(body)?;
    state.simulator.restore(&id, order).await?;
    Ok(done())
}

/// `POST /v1/sessions/{id}/controller`.
pub async fn controller(State(state): State<InstanceState>, Path(id): Path<String>, body: Body) -> Done {
    let order: SetController = read(body)?;
    state.simulator.drive(&id, order).await?;
    Ok(done())
}

/// `DELETE /v1/sessions/{id}?fence=N`.
pub async fn delete(
    State(state): State<InstanceState>,
    Path(id): Path<String>,
    fence: Result<Query<Fenced>, QueryRejection>,
) -> Result<StatusCode, Refusal> {
    state.simulator.delete(&id, self::fence(fence)?).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The fence of a query.
pub(super) fn fence(query: Result<Query<Fenced>, QueryRejection>) -> Result<u64, Refusal> {
    match query {
        Ok(Query(Fenced { fence })) => Ok(fence),
        Err(error) => Err(Refusal::invalid(format!("fence is a whole number from 0: {}", error.body_text()))),
    }
}
