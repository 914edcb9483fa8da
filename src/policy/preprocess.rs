//! From a typed request to exactly what the network sees. Pure computation, run on a worker thread.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::backend::{CancelFlag, Input, Touch};
use super::config::ModelConfig;
use super::image::{DecodeLimits, ImageError, Rgb8, decode, normalise, resize_bicubic};
use super::plan::Influence;
use super::request::{MAX_INSTRUCTION_BYTES, Picture, PredictError, PredictRequest, Warning};
use super::tokenizer::Tokenizer;

/// Factor from 0..255 to 0..1 for the tactile picture.
const TACTILE_RESCALE: f64 = 1.0 / 255.0;

/// A request made ready for the network.
#[derive(Debug)]
pub struct Prepared {
    /// What the network sees.
    pub input: Input,
    /// The instruction in use.
    pub instruction: String,
    /// Width and height of the camera picture as sent, in pixels.
    pub image_size: (u32, u32),
    /// What the reader of the answer should know.
    pub warnings: Vec<Warning>,
    /// Time from files to pixels.
    pub decode: Duration,
    /// Time to resize and normalise.
    pub resize: Duration,
}

/// Everything of a model that requests need before the network.
#[derive(Debug)]
pub struct Preprocessor {
    config: Arc<ModelConfig>,
    tokenizer: Tokenizer,
    influence: Influence,
    limits: DecodeLimits,
}

impl Preprocessor {
    /// For one model.
    #[must_use]
    pub fn new(config: Arc<ModelConfig>, tokenizer: Tokenizer, limits: DecodeLimits) -> Self {
        let influence = Influence::of(&config);
        Self { config, tokenizer, influence, limits }
    }

    /// Which inputs can change the action.
    #[must_use]
    pub fn influence(&self) -> Influence {
        self.influence
    }

    /// The instruction a request really asks for: its own, or the model's default when it has none.
    #[must_use]
    pub fn instruction<'a>(&'a self, request: &'a PredictRequest) -> &'a str {
        if request.instruction.is_empty() { &self.config.default_instruction } else { &request.instruction }
    }

    /// What the request asks for that this model cannot do; needs no picture.
    #[must_use]
    pub fn warnings(&self, request: &PredictRequest) -> Vec<Warning> {
        let mut warnings = request.warnings.clone();
        if !request.instruction.is_empty() && !self.influence.text {
            warnings.push(Warning::new(
                "instruction_ignored",
                "this model reads its action before any text token: the instruction cannot change it",
            ));
        }
        if request.tactile.is_some() && !request.force_black_tactile && !self.influence.tactile {
            warnings.push(Warning::new(
                "tactile_ignored",
                "this model reads its action before the tactile token: the tactile image cannot change it",
            ));
        }
        warnings
    }

    /// Decodes, resizes, normalises and tokenises.
    ///
    /// # Errors
    /// [`PredictError::Image`], [`PredictError::Tactile`] or [`PredictError::Instruction`].
    pub fn prepare(&self, request: &PredictRequest, cancel: CancelFlag) -> Result<Prepared, PredictError> {
        let mut warnings = self.warnings(request);
        let start = Instant::now();
        let image = self.pixels(&request.image).map_err(PredictError::Image)?;
        let tactile = match &request.tactile {
            Some(picture) => Some(self.pixels(picture).map_err(PredictError::Tactile)?),
            None => None,
        };
        let decoded = Instant::now();

        let processor = &self.config.image_processor;
        let pixel_values = fit(&image, processor.size, |picture| {
            normalise(picture, processor.rescale_factor, processor.image_mean, processor.image_std)
        });
        let touch = match tactile {
            Some(picture) if !request.force_black_tactile && self.influence.tactile => {
                let tactile = &self.config.tactile;
                Touch::Picture(fit(&picture, tactile.image_size, |picture| {
                    normalise(picture, TACTILE_RESCALE, tactile.image_mean, tactile.image_std)
                }))
            }
            _ => Touch::Black,
        };
        let resized = Instant::now();

        let instruction = self.instruction(request).to_owned();
        let token_ids =
            if self.influence.text { self.tokenise(&instruction, &mut warnings)? } else { Vec::new() };
        Ok(Prepared {
            input: Input { pixel_values, touch, token_ids, cancel },
            instruction,
            image_size: (image.width(), image.height()),
            warnings,
            decode: decoded - start,
            resize: resized - decoded,
        })
    }

    fn pixels<'a>(&self, picture: &'a Picture) -> Result<Cow<'a, Rgb8>, ImageError> {
        match picture {
            Picture::Encoded(bytes) => decode(bytes, &self.limits).map(Cow::Owned),
            Picture::Pixels(pixels) => {
                self.limits.check(pixels.width(), pixels.height())?;
                Ok(Cow::Borrowed(pixels))
            }
        }
    }

    fn tokenise(&self, instruction: &str, warnings: &mut Vec<Warning>) -> Result<Vec<u32>, PredictError> {
        let mut ids = self.tokenizer.encode(instruction)?;
        let room = self.config.max_text_tokens(true);
        if ids.len() > room {
            let message = format!("the instruction has {} tokens, the first {room} are used", ids.len());
            warnings.push(Warning::new("instruction_truncated", message));
            ids.truncate(room);
        }
        let unknown = self.tokenizer.unknown(&ids);
        if unknown > 0 {
            let message = format!("{unknown} of {} words are not in this model's vocabulary", ids.len());
            warnings.push(Warning::new("unknown_words", message));
        }
        Ok(ids)
    }
}

/// Refuses what no model should see, before any work.
///
/// # Errors
/// [`PredictError::Instruction`] or [`PredictError::RobotId`].
pub fn check_request(request: &PredictRequest) -> Result<(), PredictError> {
    let length = request.instruction.len();
    if length > MAX_INSTRUCTION_BYTES {
        return Err(PredictError::Instruction(format!(
            "the instruction is {length} bytes long, the limit is {MAX_INSTRUCTION_BYTES}"
        )));
    }
    match &request.robot_id {
        Some(id) if id.is_empty() => Err(PredictError::RobotId("is empty".to_owned())),
        Some(id) if id.len() > super::request::MAX_ROBOT_ID_BYTES => Err(PredictError::RobotId(format!(
            "is {} bytes long, the limit is {}",
            id.len(),
            super::request::MAX_ROBOT_ID_BYTES
        ))),
        _ => Ok(()),
    }
}

fn fit(picture: &Rgb8, side: usize, normalise: impl Fn(&Rgb8) -> Vec<f32>) -> Vec<f32> {
    let side = u32::try_from(side).unwrap_or(u32::MAX);
    if (picture.width(), picture.height()) == (side, side) {
        normalise(picture)
    } else {
        normalise(&resize_bicubic(picture, side, side))
    }
}
