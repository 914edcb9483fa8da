//! The lines of a recording.

use serde::{Deserialize, Serialize};

pub use crate::config::Redaction;
use crate::policy::stats::ACTION_DIM;

/// Which statistics made the actions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatsRef {
    /// Name of the set.
    pub id: String,
    /// Hash of its numbers.
    pub sha256: String,
}

/// The first line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// Version of this format: 1.
    pub neuro_recording: u32,
    /// When it began, in microseconds since 1970 UTC.
    pub started_us: u64,
    /// Version of the server.
    pub server: String,
    /// Name of the model folder; `None` when requests came before a model was ready.
    pub model: Option<String>,
    /// Fingerprint of the weights.
    pub weights: Option<String>,
    /// Its statistics.
    pub stats: Option<StatsRef>,
    /// Backend, device and number format, as in `cpu cpu f32`.
    pub backend: Option<String>,
    /// What was kept of pictures: `full`, `hash` or `none`.
    pub images: String,
    /// What was kept of instructions and robot ids.
    pub text: String,
}

/// A picture of a request.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PictureRef {
    /// Its file, relative to the recording, when pictures are kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// SHA-256 of the bytes that came (of the pixels, when it never was a file), first 16 hex digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// Bytes that came.
    pub bytes: u64,
}

/// Times of one request, in milliseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct EntryTimings {
    /// From file to pixels.
    pub decode_ms: f64,
    /// Resize and normalise.
    pub resize_ms: f64,
    /// Waiting for the model.
    pub queue_ms: f64,
    /// Tactile encoder.
    pub tactile_ms: f64,
    /// Vision tower.
    pub vision_ms: f64,
    /// Decoder and action head.
    pub decoder_ms: f64,
    /// From request to answer.
    pub total_ms: f64,
}

/// One request and its answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Unique and sorted by time (UUID version 7).
    pub id: String,
    /// When it was answered, in microseconds since 1970 UTC.
    pub time_us: u64,
    /// Which wire it came by.
    pub wire: String,
    /// Which robot, as far as kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub robot: Option<String>,
    /// The instruction as it came, as far as kept; empty means the model's default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instruction: Option<String>,
    /// The camera picture.
    pub image: PictureRef,
    /// The tactile picture.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tactile: Option<PictureRef>,
    /// Whether black was asked for in place of the tactile picture.
    #[serde(default)]
    pub force_black_tactile: bool,
    /// `ok`, or the error's stable code.
    pub outcome: String,
    /// The error, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Metres, radians, gripper 0 open .. 1 closed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<[f32; ACTION_DIM]>,
    /// Codes of the warnings that went with it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// Whether the action was remembered instead of computed.
    #[serde(default)]
    pub cached: bool,
    /// Where the time went.
    #[serde(default)]
    pub timings: EntryTimings,
}
