//! What a loaded model says of itself: to `GET /`, to every answer, and to whoever debugs at night.

use serde::Serialize;

use super::backend::BackendInfo;
use super::config::{Part, Readout};
use super::plan::Influence;
use super::stats::ActionStats;

/// A loaded model.
#[derive(Debug, Clone, Serialize)]
pub struct ModelDescription {
    /// Name of the model folder.
    pub id: String,
    /// The folder as it was given.
    pub path: String,
    /// Fingerprint of the weight files.
    pub weights: String,
    /// Which inputs can change the action.
    pub influence: Influence,
    /// Order of the decoder's sequence.
    pub sequence: Vec<Part>,
    /// Position the action is read from.
    pub readout: Readout,
    /// Side of the square picture the network sees, in pixels.
    pub image_size: usize,
    /// Side of the square tactile picture, in pixels.
    pub tactile_size: usize,
    /// Instruction used when none is given.
    pub default_instruction: String,
    /// The statistics in use.
    pub stats: ActionStats,
    /// Where and how it runs.
    pub backend: BackendInfo,
    /// Numbers in all tensors of the weight files.
    pub parameters: u64,
    /// Golden cases that were checked when it was loaded.
    pub golden_cases: usize,
    /// Seconds from opening the folder to being warm.
    pub load_seconds: f64,
}
