//! The one typed request behind every wire, and its typed answer. The edges translate; the rules are here.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde::Serialize;

use super::backend::BackendError;
use super::description::ModelDescription;
use super::image::{ImageError, Rgb8};
use super::stats::ACTION_DIM;
use super::tokenizer::TokenizerError;

/// Longest robot id accepted, in bytes.
pub const MAX_ROBOT_ID_BYTES: usize = 128;
/// Longest instruction accepted, in bytes; far above what any sequence can hold.
pub const MAX_INSTRUCTION_BYTES: usize = 64 * 1024;

/// A picture as a client sent it.
#[derive(Debug, Clone)]
pub enum Picture {
    /// A file: JPEG, PNG, BMP, GIF, WEBP or TIFF, told apart by content.
    Encoded(Bytes),
    /// Pixels that were never a file (msgpack and json-numpy arrays).
    Pixels(Rgb8),
}

/// One observation and what is asked about it.
#[derive(Debug, Clone)]
pub struct PredictRequest {
    /// The camera picture.
    pub image: Picture,
    /// The tactile picture; black when absent.
    pub tactile: Option<Picture>,
    /// `use_dummy_tactile`: take black even when a tactile picture came along.
    pub force_black_tactile: bool,
    /// The instruction; empty means the model's default.
    pub instruction: String,
    /// Requests of one robot supersede each other; without an id every request stands alone.
    pub robot_id: Option<String>,
    /// An answer after this moment is of no use.
    pub deadline: Option<Instant>,
    /// What the edge noticed and wants said in the answer.
    pub warnings: Vec<Warning>,
    /// Which wire it came by, for metrics and recordings: `predict`, `predict_isaac`, `openpi`, ...
    pub wire: &'static str,
}

impl PredictRequest {
    /// A request with nothing but a picture and an instruction.
    #[must_use]
    pub fn new(image: Picture, instruction: String, wire: &'static str) -> Self {
        Self {
            image,
            tactile: None,
            force_black_tactile: false,
            instruction,
            robot_id: None,
            deadline: None,
            warnings: Vec::new(),
            wire,
        }
    }
}

/// Something true about an answer that its reader should know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Warning {
    /// Stable name: `instruction_ignored`, `tactile_ignored`, `instruction_truncated`, `pose_not_unit`, ...
    pub code: &'static str,
    /// A sentence for a person.
    pub message: String,
}

impl Warning {
    /// A warning.
    #[must_use]
    pub fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}

/// Where the time of one request went.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Timings {
    /// From file to pixels, camera and touch.
    pub decode: Duration,
    /// Resize and normalise.
    pub resize: Duration,
    /// Waiting for the model.
    pub queue: Duration,
    /// Tactile encoder.
    pub tactile: Duration,
    /// Vision tower.
    pub vision: Duration,
    /// Decoder and action head.
    pub decoder: Duration,
    /// From request to answer.
    pub total: Duration,
}

/// The answer to one request.
#[derive(Debug, Clone)]
pub struct Prediction {
    /// dx dy dz in metres, droll dpitch dyaw in radians, gripper 0 open .. 1 closed.
    pub action: [f32; ACTION_DIM],
    /// The instruction that was used (the default when none came).
    pub instruction: String,
    /// Width and height of the camera picture as sent, in pixels.
    pub image_size: (u32, u32),
    /// Whether the tactile picture was the black one.
    pub used_dummy_tactile: bool,
    /// The model and the statistics that made the action.
    pub model: Arc<ModelDescription>,
    /// Where the time went.
    pub timings: Timings,
    /// What the reader should know.
    pub warnings: Vec<Warning>,
    /// Whether the action was remembered from the same picture instead of computed.
    pub cached: bool,
}

/// Why a request got no action.
#[derive(Debug, Clone, thiserror::Error)]
pub enum PredictError {
    /// The camera picture cannot be used.
    #[error("{0}")]
    Image(ImageError),
    /// The tactile picture cannot be used.
    #[error("tactile image: {0}")]
    Tactile(ImageError),
    /// The instruction is too long or cannot be tokenised.
    #[error("{0}")]
    Instruction(String),
    /// The robot id is empty or too long.
    #[error("robot id: {0}")]
    RobotId(String),
    /// No model is ready yet.
    #[error("the model is still loading; try again")]
    Loading,
    /// The queue is full.
    #[error("overloaded: {waiting} requests are waiting, which is the limit; retry in {} ms", .retry_after.as_millis())]
    Overloaded {
        /// Requests in the house.
        waiting: usize,
        /// When a place is likely to be free.
        retry_after: Duration,
    },
    /// A newer request of the same robot took this one's place.
    #[error("superseded: robot `{0}` sent a newer observation")]
    Superseded(String),
    /// The deadline passed before the action was there.
    #[error("deadline exceeded: no action after {waited_ms} ms")]
    DeadlineExceeded {
        /// How long it had waited, in milliseconds.
        waited_ms: u64,
    },
    /// The server is stopping and takes nothing new.
    #[error("the server is shutting down")]
    ShuttingDown,
    /// The network failed.
    #[error("inference failed: {0}")]
    Backend(BackendError),
}

impl PredictError {
    /// Stable name for metrics and problem answers.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Image(_) => "invalid_image",
            Self::Tactile(_) => "invalid_tactile_image",
            Self::Instruction(_) => "invalid_instruction",
            Self::RobotId(_) => "invalid_robot_id",
            Self::Loading => "loading",
            Self::Overloaded { .. } => "overloaded",
            Self::Superseded(_) => "superseded",
            Self::DeadlineExceeded { .. } => "deadline_exceeded",
            Self::ShuttingDown => "shutting_down",
            Self::Backend(BackendError::Cancelled) => "cancelled",
            Self::Backend(_) => "inference_failed",
        }
    }

    /// When it makes sense to try again; `None` when it does not.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Overloaded { retry_after, .. } => Some(*retry_after),
            Self::Loading | Self::ShuttingDown => Some(Duration::from_secs(1)),
            _ => None,
        }
    }
}

impl From<BackendError> for PredictError {
    fn from(error: BackendError) -> Self {
        Self::Backend(error)
    }
}

impl From<TokenizerError> for PredictError {
    fn from(error: TokenizerError) -> Self {
        Self::Instruction(error.to_string())
    }
}
