//! The model's own `config.json`: every size of the network, and nothing hard-wired.
//!
//! Unknown keys are refused, because a misspelt `readout` would silently serve another function.
//! Fields with a default are the ones checkpoints of the original server do not know; the default is what
//! those checkpoints were trained with.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// Largest size accepted for any one dimension; keeps products of two far away from overflow.
const MAX_DIM: usize = 1 << 24;

/// Why a `config.json` was refused.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ConfigError {
    /// The file could not be read.
    #[error("{path}: {reason}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        reason: String,
    },
    /// The file is not JSON of the expected form.
    #[error("{path}: key `{key}`: {reason}")]
    Parse {
        /// The file.
        path: PathBuf,
        /// Dotted path of the key.
        key: String,
        /// What was wrong with it.
        reason: String,
    },
    /// The values contradict each other or the network.
    #[error("model config: {0}")]
    Invalid(String),
}

/// Everything that decides the shape and the function of a network.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelConfig {
    /// Tensor naming scheme of the weights.
    pub format: Format,
    /// SigLIP vision tower.
    pub vision: VisionConfig,
    /// Which hidden state of the vision tower feeds the projector, counted as in a list of
    /// `num_hidden_layers + 1` states whose first is the patch embedding; negative counts from the end.
    #[serde(default = "penultimate")]
    pub select_layer: i32,
    /// Whether the tower's final layer norm is applied to the selected hidden state.
    #[serde(default)]
    pub vision_post_layernorm: bool,
    /// Projector from vision width to decoder width.
    pub mm_projector_type: ProjectorType,
    /// Qwen2-family decoder.
    pub llm: DecoderConfig,
    /// ResNet-18 tactile encoder.
    pub tactile: TactileConfig,
    /// Action head.
    pub action: ActionConfig,
    /// How a camera picture becomes pixel values.
    pub image_processor: ImageProcessorConfig,
    /// Order of the parts of the decoder's sequence.
    #[serde(default = "original_sequence")]
    pub sequence: Vec<Part>,
    /// Which position of the last hidden state the action head reads.
    #[serde(default)]
    pub readout: Readout,
    /// Longest decoder sequence (vision + tactile + text tokens).
    pub tokenizer_model_max_length: usize,
    /// Instruction used when a request carries none.
    #[serde(default = "default_instruction")]
    pub default_instruction: String,
}

fn penultimate() -> i32 {
    -2
}

fn original_sequence() -> Vec<Part> {
    vec![Part::Image, Part::Tactile, Part::Text]
}

fn default_instruction() -> String {
    "What action should the robot take?".to_owned()
}

/// Naming scheme of the tensors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Format {
    /// The original server's `model_state_dict` names, each tensor once.
    #[serde(rename = "nano-vtla")]
    NanoVtla,
}

/// Projector kinds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ProjectorType {
    /// Linear, GELU (erf), Linear.
    #[serde(rename = "mlp2x_gelu")]
    Mlp2xGelu,
}

/// One part of the decoder's sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// One token a vision patch.
    Image,
    /// One token for the tactile picture.
    Tactile,
    /// The instruction's tokens.
    Text,
}

impl Part {
    /// The name used in configs, answers and messages.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Image => "image",
            Self::Tactile => "tactile",
            Self::Text => "text",
        }
    }
}

/// Position of the hidden state the action is read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Readout {
    /// The last vision token: what the original's checkpoints were trained with.
    #[default]
    LastImage,
    /// The last token of the whole sequence.
    LastToken,
}

/// Activations of the transformer MLPs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Activation {
    /// GELU, tanh approximation.
    GeluPytorchTanh,
    /// GELU, exact (erf).
    Gelu,
    /// x * sigmoid(x).
    Silu,
}

/// SigLIP vision transformer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VisionConfig {
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Width of the MLP.
    pub intermediate_size: usize,
    /// Encoder layers in the checkpoint.
    pub num_hidden_layers: usize,
    /// Attention heads.
    pub num_attention_heads: usize,
    /// Side of the square input, in pixels.
    pub image_size: usize,
    /// Side of a patch, in pixels; pixels past the last whole patch are not seen.
    pub patch_size: usize,
    /// Colour channels; three.
    pub num_channels: usize,
    /// MLP activation.
    pub hidden_act: Activation,
    /// Epsilon of the layer norms.
    pub layer_norm_eps: f64,
}

impl VisionConfig {
    /// Patches along one side.
    #[must_use]
    pub fn patches_per_side(&self) -> usize {
        self.image_size / self.patch_size
    }

    /// Tokens a picture becomes.
    #[must_use]
    pub fn num_patches(&self) -> usize {
        self.patches_per_side() * self.patches_per_side()
    }

    /// Width of one attention head.
    #[must_use]
    pub fn head_dim(&self) -> usize {
        self.hidden_size / self.num_attention_heads
    }
}

/// Qwen2-family decoder.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DecoderConfig {
    /// Rows of the token embedding.
    pub vocab_size: usize,
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Width of the SwiGLU MLP.
    pub intermediate_size: usize,
    /// Decoder layers.
    pub num_hidden_layers: usize,
    /// Query heads.
    pub num_attention_heads: usize,
    /// Key and value heads; divides `num_attention_heads`.
    pub num_key_value_heads: usize,
    /// Longest position the checkpoint was made for.
    pub max_position_embeddings: usize,
    /// Base of the rotary frequencies.
    pub rope_theta: f64,
    /// Epsilon of the RMS norms.
    pub rms_norm_eps: f64,
    /// MLP gate activation; SiLU.
    pub hidden_act: Activation,
    /// Whether `lm_head` shares the embedding (it is never computed here).
    pub tie_word_embeddings: bool,
}

impl DecoderConfig {
    /// Width of one attention head.
    #[must_use]
    pub fn head_dim(&self) -> usize {
        self.hidden_size / self.num_attention_heads
    }

    /// Width of the keys (and of the values) of one token.
    #[must_use]
    pub fn kv_dim(&self) -> usize {
        self.num_key_value_heads * self.head_dim()
    }
}

/// Tactile encoder.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TactileConfig {
    /// Network family.
    pub backbone: TactileBackbone,
    /// Channels after the stem; 64 in the published ResNet-18.
    pub base_width: usize,
    /// Side of the square tactile picture, in pixels.
    pub image_size: usize,
    /// Per-channel mean subtracted from values in 0..1.
    #[serde(default = "zeros3")]
    pub image_mean: [f32; 3],
    /// Per-channel divisor after the mean.
    #[serde(default = "ones3")]
    pub image_std: [f32; 3],
}

fn zeros3() -> [f32; 3] {
    [0.0; 3]
}

fn ones3() -> [f32; 3] {
    [1.0; 3]
}

impl TactileConfig {
    /// Width of the pooled features: four stages, each doubling the width.
    #[must_use]
    pub fn pooled_size(&self) -> usize {
        self.base_width * 8
    }

    /// What a sensor that feels nothing shows: a black picture, normalised, `3 x image_size x image_size`.
    #[must_use]
    pub fn black_picture(&self) -> Vec<f32> {
        let pixels = self.image_size * self.image_size;
        let channel = |c: usize| -self.image_mean[c] / self.image_std[c];
        (0..3).flat_map(|c| std::iter::repeat_n(channel(c), pixels)).collect()
    }
}

/// Tactile network families.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum TactileBackbone {
    /// He et al. 2015, basic blocks [2, 2, 2, 2].
    #[serde(rename = "resnet18")]
    ResNet18,
}

/// Action head: three linear layers with GELU (erf) between.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ActionConfig {
    /// Numbers in an action; 7 (dx dy dz droll dpitch dyaw gripper).
    pub dim: usize,
    /// Width between the layers.
    pub intermediate_size: usize,
}

/// From a picture of any size to pixel values.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImageProcessorConfig {
    /// Side the picture is stretched to, in pixels.
    pub size: usize,
    /// Resampling filter.
    pub resample: Resample,
    /// Factor from 0..255 to 0..1.
    pub rescale_factor: f64,
    /// Per-channel mean subtracted after rescaling.
    pub image_mean: [f32; 3],
    /// Per-channel divisor after the mean.
    pub image_std: [f32; 3],
}

/// Resampling filters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Resample {
    /// Catmull-Rom with antialiasing, in Pillow's integer arithmetic.
    Bicubic,
}

impl ModelConfig {
    /// Reads and validates `dir/config.json`.
    ///
    /// # Errors
    /// [`ConfigError`] names the file and the key.
    pub fn load(dir: &Path) -> Result<Self, ConfigError> {
        let path = dir.join("config.json");
        let text = std::fs::read_to_string(&path)
            .map_err(|error| ConfigError::Read { path: path.clone(), reason: error.to_string() })?;
        Self::parse(&text, &path)
    }

    /// Parses and validates a config; `path` only serves the messages.
    ///
    /// # Errors
    /// [`ConfigError`] names the file and the key.
    pub fn parse(text: &str, path: &Path) -> Result<Self, ConfigError> {
        let mut json = serde_json::Deserializer::from_str(text);
        let config: Self =
            serde_path_to_error::deserialize(&mut json).map_err(|error| ConfigError::Parse {
                path: path.to_owned(),
                key: error.path().to_string(),
                reason: error.into_inner().to_string(),
            })?;
        json.end().map_err(|error| ConfigError::Parse {
            path: path.to_owned(),
            key: String::new(),
            reason: error.to_string(),
        })?;
        config.validate()?;
        Ok(config)
    }

    /// Encoder layers that must run to reach the selected hidden state.
    #[must_use]
    pub fn vision_layers_used(&self) -> usize {
        let states = self.vision.num_hidden_layers as i64 + 1;
        let selected = i64::from(self.select_layer);
        let index = if selected < 0 { states + selected } else { selected };
        usize::try_from(index).unwrap_or(0).min(self.vision.num_hidden_layers)
    }

    /// Whether the sequence holds `part` at all.
    #[must_use]
    pub fn has(&self, part: Part) -> bool {
        self.sequence.contains(&part)
    }

    /// Text tokens that fit beside the image and the touch (`with_tactile`).
    #[must_use]
    pub fn max_text_tokens(&self, with_tactile: bool) -> usize {
        let tactile = usize::from(with_tactile && self.has(Part::Tactile));
        self.tokenizer_model_max_length.saturating_sub(self.vision.num_patches() + tactile)
    }

    fn validate(&self) -> Result<(), ConfigError> {
        let fail = |message: String| Err(ConfigError::Invalid(message));
        for (key, value) in self.sizes() {
            if value == 0 || value > MAX_DIM {
                return fail(format!("`{key}` is {value}, expected 1 to {MAX_DIM}"));
            }
        }
        let (vision, llm) = (&self.vision, &self.llm);
        if vision.num_channels != 3 {
            return fail(format!("`vision.num_channels` is {}, expected 3", vision.num_channels));
        }
        if vision.patch_size > vision.image_size {
            return fail(format!(
                "`vision.patch_size` {} is larger than `vision.image_size` {}",
                vision.patch_size, vision.image_size
            ));
        }
        for (key, width, heads) in [
            ("vision.num_attention_heads", vision.hidden_size, vision.num_attention_heads),
            ("llm.num_attention_heads", llm.hidden_size, llm.num_attention_heads),
            ("llm.num_key_value_heads", llm.num_attention_heads, llm.num_key_value_heads),
        ] {
            if width % heads != 0 {
                return fail(format!("`{key}` is {heads}, which does not divide {width}"));
            }
        }
        if llm.head_dim() % 2 != 0 {
            return fail(format!(
                "rotary embedding needs an even head width, this one is {}",
                llm.head_dim()
            ));
        }
        if llm.hidden_act != Activation::Silu {
            return fail("`llm.hidden_act` must be silu".to_owned());
        }
        if vision.hidden_act == Activation::Silu {
            return fail("`vision.hidden_act` must be gelu or gelu_pytorch_tanh".to_owned());
        }
        let states = vision.num_hidden_layers as i64 + 1;
        if !(-states..states).contains(&i64::from(self.select_layer)) {
            return fail(format!(
                "`select_layer` is {}, the tower has {states} hidden states",
                self.select_layer
            ));
        }
        if self.image_processor.size != vision.image_size {
            return fail(format!(
                "`image_processor.size` {} differs from `vision.image_size` {}",
                self.image_processor.size, vision.image_size
            ));
        }
        if self.action.dim != 7 {
            return fail(format!("`action.dim` is {}, expected 7", self.action.dim));
        }
        self.validate_sequence()?;
        self.validate_numbers()
    }

    fn validate_sequence(&self) -> Result<(), ConfigError> {
        let fail = |message: String| Err(ConfigError::Invalid(message));
        if !self.has(Part::Image) {
            return fail("`sequence` has no `image`".to_owned());
        }
        for (index, part) in self.sequence.iter().enumerate() {
            if self.sequence[..index].contains(part) {
                return fail(format!("`sequence` holds `{}` twice", part.name()));
            }
        }
        let fixed = self.vision.num_patches() + usize::from(self.has(Part::Tactile));
        if fixed > self.tokenizer_model_max_length {
            return fail(format!(
                "{fixed} image and tactile tokens do not fit `tokenizer_model_max_length` {}",
                self.tokenizer_model_max_length
            ));
        }
        Ok(())
    }

    fn validate_numbers(&self) -> Result<(), ConfigError> {
        for (key, value) in [
            ("vision.layer_norm_eps", self.vision.layer_norm_eps),
            ("llm.rms_norm_eps", self.llm.rms_norm_eps),
            ("llm.rope_theta", self.llm.rope_theta),
            ("image_processor.rescale_factor", self.image_processor.rescale_factor),
        ] {
            if !(value.is_finite() && value > 0.0) {
                return Err(ConfigError::Invalid(format!("`{key}` is {value}, expected a positive number")));
            }
        }
        for (key, mean, std) in [
            ("image_processor", &self.image_processor.image_mean, &self.image_processor.image_std),
            ("tactile", &self.tactile.image_mean, &self.tactile.image_std),
        ] {
            if mean.iter().any(|value| !value.is_finite()) {
                return Err(ConfigError::Invalid(format!("`{key}.image_mean` is not finite")));
            }
            if std.iter().any(|value| !(value.is_finite() && *value > 0.0)) {
                return Err(ConfigError::Invalid(format!("`{key}.image_std` must be positive")));
            }
        }
        Ok(())
    }

    fn sizes(&self) -> [(&'static str, usize); 19] {
        let (vision, llm) = (&self.vision, &self.llm);
        [
            ("vision.hidden_size", vision.hidden_size),
            ("vision.intermediate_size", vision.intermediate_size),
            ("vision.num_hidden_layers", vision.num_hidden_layers),
            ("vision.num_attention_heads", vision.num_attention_heads),
            ("vision.image_size", vision.image_size),
            ("vision.patch_size", vision.patch_size),
            ("llm.vocab_size", llm.vocab_size),
            ("llm.hidden_size", llm.hidden_size),
            ("llm.intermediate_size", llm.intermediate_size),
            ("llm.num_hidden_layers", llm.num_hidden_layers),
            ("llm.num_attention_heads", llm.num_attention_heads),
            ("llm.num_key_value_heads", llm.num_key_value_heads),
            ("llm.max_position_embeddings", llm.max_position_embeddings),
            ("tactile.base_width", self.tactile.base_width),
            ("tactile.image_size", self.tactile.image_size),
            ("action.dim", self.action.dim),
            ("action.intermediate_size", self.action.intermediate_size),
            ("image_processor.size", self.image_processor.size),
            ("tokenizer_model_max_length", self.tokenizer_model_max_length),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tiny() -> serde_json::Value {
        serde_json::from_str(include_str!("../../models/tiny/config.json")).unwrap()
    }

    fn parse(value: &serde_json::Value) -> Result<ModelConfig, ConfigError> {
        ModelConfig::parse(&value.to_string(), Path::new("config.json"))
    }

    #[test]
    fn an_upstream_config_gets_the_read_out_its_checkpoints_were_trained_with() {
        let config = parse(&tiny()).unwrap();
        assert_eq!(config.readout, Readout::LastImage);
        assert_eq!(config.sequence, [Part::Image, Part::Tactile, Part::Text]);
        assert_eq!(config.vision_layers_used(), 2);
        assert_eq!(config.vision.num_patches(), 16);
    }

    #[test]
    fn an_unknown_key_is_named() {
        let mut value = tiny();
        value["llm"]["rope_teta"] = 1.0.into();
        let message = parse(&value).unwrap_err().to_string();
        assert!(message.contains("rope_teta"), "{message}");
    }

    #[test]
    fn contradictions_are_refused_with_both_numbers() {
        let mut value = tiny();
        value["vision"]["num_attention_heads"] = 5.into();
        let message = parse(&value).unwrap_err().to_string();
        assert!(message.contains('5') && message.contains("48"), "{message}");
        let mut value = tiny();
        value["select_layer"] = (-9).into();
        assert!(parse(&value).is_err());
        let mut value = tiny();
        value["sequence"] = serde_json::json!(["text", "text"]);
        assert!(parse(&value).is_err());
    }
}
