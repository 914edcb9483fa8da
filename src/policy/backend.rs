//! The seam between serving and arithmetic: one trait, a plain struct across it, an error that can be cloned
//! so that one failure answers a whole batch.

use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::stats::ACTION_DIM;

/// Number format the weights are computed in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Dtype {
    /// 32-bit float.
    F32,
    /// bfloat16 weights and activations, f32 sums.
    Bf16,
    /// IEEE half weights and activations.
    F16,
    /// 8-bit integer weights and activations with scales; attention in bf16.
    Int8,
}

impl Dtype {
    /// Lower-case name, as in flags and answers.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
            Self::F16 => "f16",
            Self::Int8 => "int8",
        }
    }
}

impl FromStr for Dtype {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.to_ascii_lowercase().as_str() {
            "f32" | "fp32" | "float32" => Ok(Self::F32),
            "bf16" | "bfloat16" => Ok(Self::Bf16),
            "f16" | "fp16" | "float16" => Ok(Self::F16),
            "int8" | "i8" => Ok(Self::Int8),
            _ => Err(format!("dtype `{text}` is none of f32, bf16, f16, int8")),
        }
    }
}

/// Where a network runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum DeviceKind {
    /// The processor.
    Cpu,
    /// An NVIDIA card, by ordinal.
    Cuda(usize),
}

impl std::fmt::Display for DeviceKind {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Cpu => out.write_str("cpu"),
            Self::Cuda(ordinal) => write!(out, "cuda:{ordinal}"),
        }
    }
}

/// Set by whoever waits for an answer when nobody waits any more; looked at between layers.
#[derive(Debug, Clone, Default)]
pub struct CancelFlag(Arc<AtomicBool>);

impl CancelFlag {
    /// Asks for the work to stop.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether the work should stop.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// The tactile side of an observation.
#[derive(Debug, Clone, PartialEq)]
pub enum Touch {
    /// No tactile token in the sequence at all.
    Absent,
    /// An all-black picture, the same for every request; its token may be embedded once.
    Black,
    /// Normalised pixel values, `[3, tactile.image_size, tactile.image_size]`, row-major.
    Picture(Vec<f32>),
}

/// One preprocessed observation: exactly what the network sees.
#[derive(Debug, Clone)]
pub struct Input {
    /// Normalised pixel values, `[3, image_size, image_size]`, row-major.
    pub pixel_values: Vec<f32>,
    /// The tactile picture.
    pub touch: Touch,
    /// Token ids of the instruction; no special tokens are added.
    pub token_ids: Vec<u32>,
    /// Set when the caller went away.
    pub cancel: CancelFlag,
}

/// How long the stages of one step took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StageTimes {
    /// Tactile encoder and projector.
    pub tactile: Duration,
    /// Vision tower and projector.
    pub vision: Duration,
    /// Decoder and action head.
    pub decoder: Duration,
}

/// What the network answered for one input.
#[derive(Debug, Clone, PartialEq)]
pub struct Inference {
    /// Z-scored action, before the statistics.
    pub action_norm: [f32; ACTION_DIM],
    /// Time by stage.
    pub stages: StageTimes,
    /// Decoder positions whose keys and values came from an earlier request.
    pub reused_tokens: usize,
}

/// Why a step failed. Cloned into every answer of a batch.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BackendError {
    /// The caller went away before the work was done.
    #[error("the request was cancelled")]
    Cancelled,
    /// An input does not fit the network; the message has both shapes.
    #[error("input does not fit the model: {0}")]
    Shape(String),
    /// The action is not a number.
    #[error("the network's output {0:?} is not finite")]
    NotFinite(Vec<String>),
    /// The device or a kernel failed.
    #[error("{backend} backend: {message}")]
    Device {
        /// Which backend.
        backend: &'static str,
        /// What it said.
        message: String,
    },
    /// The network could not be built from these weights.
    #[error("{0}")]
    Load(String),
}

/// What a backend says of itself.
#[derive(Debug, Clone, Serialize)]
pub struct BackendInfo {
    /// `cpu` or `candle`.
    pub name: &'static str,
    /// Where it runs.
    pub device: String,
    /// Number format of the weights.
    pub dtype: Dtype,
    /// Instruction set or library that does the matrix work.
    pub kernels: String,
    /// Worker threads (1 on a GPU).
    pub threads: usize,
    /// Bytes of weights held.
    pub weight_bytes: u64,
    /// Parameters that take part in an action.
    pub parameters_used: u64,
    /// Largest batch that is worth forming.
    pub max_batch: usize,
}

/// A network that turns observations into z-scored actions. Owned by one thread.
pub trait Backend: Send {
    /// What this is and where it runs.
    fn info(&self) -> &BackendInfo;

    /// Answers each input; a failed or cancelled one does not spoil the others. The result has the length
    /// and the order of `batch`, and does not depend on which inputs share a batch.
    fn infer(&mut self, batch: &[Input]) -> Vec<Result<Inference, BackendError>>;
}

/// Refuses an action that no robot should get.
///
/// # Errors
/// [`BackendError::NotFinite`] when a component is NaN or infinite, [`BackendError::Shape`] when there are
/// not seven.
pub fn checked_action(values: &[f32]) -> Result<[f32; ACTION_DIM], BackendError> {
    let action: [f32; ACTION_DIM] = values.try_into().map_err(|_| {
        BackendError::Shape(format!("{} action components, expected {ACTION_DIM}", values.len()))
    })?;
    if action.iter().all(|value| value.is_finite()) {
        Ok(action)
    } else {
        Err(BackendError::NotFinite(action.iter().map(ToString::to_string).collect()))
    }
}

/// Checks an input's shapes against the config, so that no kernel has to.
///
/// # Errors
/// [`BackendError::Shape`] with both numbers.
pub fn check_input(config: &super::config::ModelConfig, input: &Input) -> Result<(), BackendError> {
    let expect = |what: &str, got: usize, want: usize| {
        if got == want {
            Ok(())
        } else {
            Err(BackendError::Shape(format!("{what} has {got} values, expected {want}")))
        }
    };
    let side = config.vision.image_size;
    expect("pixel_values", input.pixel_values.len(), 3 * side * side)?;
    if let Touch::Picture(picture) = &input.touch {
        let side = config.tactile.image_size;
        expect("tactile picture", picture.len(), 3 * side * side)?;
    }
    let vocab = config.llm.vocab_size;
    match input.token_ids.iter().find(|id| **id as usize >= vocab) {
        Some(id) => Err(BackendError::Shape(format!("token id {id} is outside the vocabulary of {vocab}"))),
        None => Ok(()),
    }
}
