//! A model folder's golden cases: pictures and words with the actions they must lead to.
//!
//! They run when a model is loaded and before a hot swap, so that a wrong build, a wrong kernel or a mixed-up
//! file is found before a robot is.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use serde::Deserialize;

use super::backend::{Backend, BackendError, CancelFlag, Dtype, Input, Touch};
use super::config::ModelConfig;
use super::preprocess::Preprocessor;
use super::request::{Picture, PredictRequest};
use super::stats::{ACTION_DIM, ActionStats};

/// Why a model's golden cases stopped it.
#[derive(Debug, Clone, thiserror::Error)]
pub enum GoldenError {
    /// The cases cannot be read.
    #[error("{path}: {reason}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What was wrong.
        reason: String,
    },
    /// A case could not be run.
    #[error("golden case {case}: {reason}")]
    Run {
        /// Its picture.
        case: String,
        /// What was wrong.
        reason: String,
    },
    /// The actions moved too far.
    #[error("golden case {case}: the action is {off:.6} standard deviations from the recorded one, the bound for {dtype} is {bound}", dtype = .dtype.name())]
    Moved {
        /// The picture of the worst case.
        case: String,
        /// Largest difference over the components, in standard deviations.
        off: f32,
        /// The bound.
        bound: f32,
        /// The number format.
        dtype: Dtype,
    },
    /// int8 changes actions by an amount that only golden cases can show.
    #[error("int8 needs golden cases in the model folder to be checked against, and there are none")]
    Unchecked,
}

/// Largest accepted difference from a recorded action, in standard deviations of the action statistics.
#[must_use]
pub fn bound(dtype: Dtype) -> f32 {
    match dtype {
        Dtype::F32 => 1e-4,
        Dtype::F16 => 0.05,
        Dtype::Bf16 => 0.15,
        Dtype::Int8 => 0.1,
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    image: String,
    #[serde(default)]
    tactile: Option<String>,
    instruction: String,
    #[serde(default)]
    token_ids: Option<Vec<u32>>,
    action: [f32; ACTION_DIM],
    #[serde(default, rename = "tactile_shape")]
    _tactile_shape: Option<[usize; 3]>,
}

/// How the golden cases came out.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct GoldenReport {
    /// Cases run.
    pub cases: usize,
    /// Largest difference from a recorded action, in standard deviations.
    pub worst: f32,
    /// The picture of that case.
    pub worst_case: String,
}

impl GoldenReport {
    /// Whether the differences are within the bound of the number format.
    ///
    /// # Errors
    /// [`GoldenError::Moved`], and for int8 without cases [`GoldenError::Unchecked`].
    pub fn accept(&self, dtype: Dtype) -> Result<(), GoldenError> {
        let bound = bound(dtype);
        if self.cases == 0 && dtype == Dtype::Int8 {
            return Err(GoldenError::Unchecked);
        }
        if self.worst > bound {
            return Err(GoldenError::Moved { case: self.worst_case.clone(), off: self.worst, bound, dtype });
        }
        Ok(())
    }
}

/// Runs `dir/golden/cases.json`, if there is one.
///
/// # Errors
/// When the file or a picture cannot be read, the token ids differ, or the network fails.
pub fn run(
    dir: &Path,
    preprocessor: &Preprocessor,
    stats: &ActionStats,
    backend: &mut dyn Backend,
) -> Result<GoldenReport, GoldenError> {
    let folder = dir.join("golden");
    let path = folder.join("cases.json");
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(GoldenReport::default()),
        Err(error) => return Err(GoldenError::Read { path, reason: error.to_string() }),
    };
    let cases: Vec<Case> = serde_json::from_str(&text)
        .map_err(|error| GoldenError::Read { path: path.clone(), reason: error.to_string() })?;
    // The recorded actions were made with the folder's own statistics, whichever are served with.
    let own = ActionStats::load(dir).unwrap_or_else(|_| stats.clone());
    let mut report = GoldenReport::default();
    for case in &cases {
        let action = run_case(case, &folder, preprocessor, &own, backend)?;
        let off = (0..ACTION_DIM)
            .map(|i| (action[i] - case.action[i]).abs() / if own.std[i] > 0.0 { own.std[i] } else { 1.0 })
            .fold(0.0, f32::max);
        if off >= report.worst {
            report.worst = off;
            report.worst_case.clone_from(&case.image);
        }
        report.cases += 1;
    }
    Ok(report)
}

fn run_case(
    case: &Case,
    folder: &Path,
    preprocessor: &Preprocessor,
    stats: &ActionStats,
    backend: &mut dyn Backend,
) -> Result<[f32; ACTION_DIM], GoldenError> {
    let fail = |reason: String| GoldenError::Run { case: case.image.clone(), reason };
    let read = |name: &str| -> Result<Picture, GoldenError> {
        let path = folder.join(name);
        let bytes = std::fs::read(&path).map_err(|error| fail(format!("{}: {error}", path.display())))?;
        Ok(Picture::Encoded(Bytes::from(bytes)))
    };
    let mut request = PredictRequest::new(read(&case.image)?, case.instruction.clone(), "golden");
    request.tactile = case.tactile.as_deref().map(read).transpose()?;
    let prepared =
        preprocessor.prepare(&request, CancelFlag::default()).map_err(|error| fail(error.to_string()))?;
    if let Some(expected) = &case.token_ids
        && preprocessor.influence().text
        && prepared.input.token_ids != *expected
    {
        return Err(fail(format!("token ids are {:?}, expected {expected:?}", prepared.input.token_ids)));
    }
    let inference = backend.infer(&[prepared.input]).pop();
    let inference =
        inference.unwrap_or(Err(BackendError::Cancelled)).map_err(|error| fail(error.to_string()))?;
    Ok(stats.denormalise(&inference.action_norm))
}

/// One step on a grey picture, so that the first robot does not pay for caches and pages.
///
/// # Errors
/// Whatever the network reported.
pub fn warm_up(config: &ModelConfig, backend: &mut dyn Backend) -> Result<(), BackendError> {
    let side = config.vision.image_size;
    let input = Input {
        pixel_values: vec![0.0; 3 * side * side],
        touch: Touch::Black,
        token_ids: Vec::new(),
        cancel: CancelFlag::default(),
    };
    backend.infer(&[input]).pop().unwrap_or(Err(BackendError::Cancelled)).map(|_| ())
}
