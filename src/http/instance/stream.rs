//! Pictures: the newest one, and all of them as MJPEG. A viewer that is slow misses some.

use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use futures_util::stream::unfold;

use super::InstanceState;
use super::answer::Refusal;
use crate::simulator::{SimulatorError, Viewer};

/// Between two parts of the stream.
const BOUNDARY: &str = "frame";
const NO_CACHE: (header::HeaderName, &str) = (header::CACHE_CONTROL, "no-store");

/// `GET /v1/sessions/{id}/frame.jpg`.
pub async fn frame(State(state): State<InstanceState>, Path(id): Path<String>) -> Result<Response, Refusal> {
    let mut viewer = state.camera.watch(&id)?;
    let picture = viewer.next().await.ok_or(SimulatorError::NotFound(id))?;
    Ok(([(header::CONTENT_TYPE, "image/jpeg"), NO_CACHE], picture).into_response())
}

/// `GET /stream/{id}`.
pub async fn stream(State(state): State<InstanceState>, Path(id): Path<String>) -> Result<Response, Refusal> {
    let viewer = state.camera.watch(&id)?;
    let parts = unfold(viewer, |mut viewer: Viewer| async move {
        let picture = viewer.next().await?;
        Some((Ok::<Bytes, std::convert::Infallible>(part(&picture)), viewer))
    });
    let kind = format!("multipart/x-mixed-replace; boundary={BOUNDARY}");
    let headers = [(header::CONTENT_TYPE, kind), (NO_CACHE.0, NO_CACHE.1.to_owned())];
    std::future::ready(Ok((headers, Body::from_stream(parts)).into_response())).await
}

fn part(picture: &Bytes) -> Bytes {
    let head =
        format!("--{BOUNDARY}\r\nContent-Type: image/jpeg\r\nContent-Length: {}\r\n\r\n", picture.len());
    let mut part = Vec::with_capacity(head.len() + picture.len() + 2);
    part.extend_from_slice(head.as_bytes());
    part.extend_from_slice(picture);
    part.extend_from_slice(b"\r\n");
    Bytes::from(part)
}
