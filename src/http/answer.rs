//! The parts of a good answer that the REST wires share: what the action was made from, and where the time went.

use std::time::Duration;

use axum::Json as JsonBody;
use axum::http::HeaderValue;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use crate::policy::request::{Prediction, Timings, Warning};
use crate::policy::stats::{ACTION_DIM, ActionStats};

/// What an action was made from.
#[derive(Debug, Serialize, ToSchema)]
pub struct Metadata {
    /// The instruction that was used.
    pub instruction: String,
    /// Width and height of the picture as sent, in pixels.
    pub image_size: [u32; 2],
    /// `use_dummy_tactile` as it was understood.
    pub used_dummy_tactile: bool,
    /// Id of the model.
    pub model: String,
    /// The statistics that turned the network's output into metres and radians.
    pub stats: StatsRef,
    /// Where the time went.
    pub timings_ms: TimingsMs,
    /// Whether the action was remembered from an identical picture.
    pub cached: bool,
}

/// A set of statistics by name and content.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct StatsRef {
    /// Name of the set.
    pub id: String,
    /// First 16 hex digits of the SHA-256 over mean then std as little-endian f32.
    pub sha256: String,
}

impl From<&ActionStats> for StatsRef {
    fn from(stats: &ActionStats) -> Self {
        Self { id: stats.id.clone(), sha256: stats.sha256.clone() }
    }
}

/// Milliseconds by stage.
#[derive(Debug, Serialize, ToSchema)]
pub struct TimingsMs {
    /// File to pixels.
    pub decode: f64,
    /// Resize and normalise.
    pub resize: f64,
    /// Waiting for the model.
    pub queue: f64,
    /// Tactile encoder.
    pub tactile: f64,
    /// Vision tower.
    pub vision: f64,
    /// Decoder and action head.
    pub decoder: f64,
    /// From complete request to answer.
    pub total: f64,
}

impl From<&Timings> for TimingsMs {
    fn from(timings: &Timings) -> Self {
        Self {
            decode: milliseconds(timings.decode),
            resize: milliseconds(timings.resize),
            queue: milliseconds(timings.queue),
            tactile: milliseconds(timings.tactile),
            vision: milliseconds(timings.vision),
            decoder: milliseconds(timings.decoder),
            total: milliseconds(timings.total),
        }
    }
}

/// Something the reader of an answer should know.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Notice {
    /// Stable name: `instruction_ignored`, `tactile_ignored`, `pose_not_unit`, ...
    pub code: &'static str,
    /// A sentence for a person.
    pub message: String,
}

impl From<&Warning> for Notice {
    fn from(warning: &Warning) -> Self {
        Self { code: warning.code, message: warning.message.clone() }
    }
}

impl Metadata {
    /// Of a prediction; `used_dummy_tactile` is what the client asked for.
    #[must_use]
    pub fn of(prediction: &Prediction, used_dummy_tactile: bool) -> Self {
        let (width, height) = prediction.image_size;
        Self {
            instruction: prediction.instruction.clone(),
            image_size: [width, height],
            used_dummy_tactile,
            model: prediction.model.id.clone(),
            stats: (&prediction.model.stats).into(),
            timings_ms: (&prediction.timings).into(),
            cached: prediction.cached,
        }
    }
}

/// The action as JSON numbers: each f32 widened to the f64 of the same value, as numpy's `float()` does.
#[must_use]
pub fn widened(prediction: &Prediction) -> [f64; ACTION_DIM] {
    prediction.action.map(f64::from)
}

/// The warnings of a prediction.
#[must_use]
pub fn notices(prediction: &Prediction) -> Vec<Notice> {
    prediction.warnings.iter().map(Notice::from).collect()
}

/// An answer with the headers that say where the time went: `x-queue-ms`, `x-inference-ms`, `x-total-ms`.
#[must_use]
pub fn stamped(body: impl Serialize, timings: &Timings) -> Response {
    let mut response = JsonBody(body).into_response();
    let inference = timings.tactile + timings.vision + timings.decoder;
    let stamps =
        [("x-queue-ms", timings.queue), ("x-inference-ms", inference), ("x-total-ms", timings.total)];
    for (name, time) in stamps {
        if let Ok(value) = HeaderValue::try_from(format!("{:.3}", milliseconds(time))) {
            response.headers_mut().insert(name, value);
        }
    }
    response
}

/// Milliseconds with microsecond steps.
fn milliseconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e3
}
