//! A hub folder of the language model, and the SigLIP folder it points to: configs, tokenizer, weights.
//!
//! Only what the shapes of a checkpoint cannot tell has to come from here: head counts, the rotary base,
//! epsilons, the tokenizer, how pictures are prepared. Keys this project has no use for are ignored; keys that
//! would change the function in a way it does not implement are refused.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::tensor::Tensor;
use crate::policy::tensors::VISION;
use crate::policy::weights::{Weights, WeightsError};

/// Why a hub folder was refused.
#[derive(Debug, Clone, thiserror::Error)]
pub enum HubError {
    /// A file is missing or malformed.
    #[error("{path}: {reason}")]
    File {
        /// The file.
        path: PathBuf,
        /// What was wrong.
        reason: String,
    },
    /// Its weights were refused.
    #[error(transparent)]
    Weights(#[from] WeightsError),
}

/// `config.json` of the language model; names and defaults after transformers' `Qwen2Config` and Bunny's keys.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct LanguageConfig {
    /// Rows of the embedding before the tokenizer's length resized it.
    pub vocab_size: Option<usize>,
    /// Width of the residual stream.
    pub hidden_size: Option<usize>,
    /// Width of the MLP.
    pub intermediate_size: Option<usize>,
    /// Decoder layers.
    pub num_hidden_layers: Option<usize>,
    /// Query heads.
    pub num_attention_heads: Option<usize>,
    /// Key and value heads.
    pub num_key_value_heads: Option<usize>,
    /// Longest position.
    pub max_position_embeddings: Option<usize>,
    /// Base of the rotary frequencies.
    pub rope_theta: Option<f64>,
    /// Where newer transformers write the rotary base.
    pub rope_parameters: Option<RopeParameters>,
    /// Stretched rotary frequencies; not implemented.
    pub rope_scaling: Option<serde_json::Value>,
    /// Epsilon of the RMS norms.
    pub rms_norm_eps: Option<f64>,
    /// MLP activation.
    pub hidden_act: Option<String>,
    /// Whether `lm_head` shares the embedding.
    pub tie_word_embeddings: Option<bool>,
    /// Whether attention is cut to a window.
    pub use_sliding_window: Option<bool>,
    /// The window, in tokens.
    pub sliding_window: Option<usize>,
    /// Name or path of the vision tower.
    pub mm_vision_tower: Option<String>,
    /// Width of the vision tower's features.
    pub mm_hidden_size: Option<usize>,
    /// Kind of projector.
    pub mm_projector_type: Option<String>,
    /// Where the multimodal sequence is cut.
    pub tokenizer_model_max_length: Option<usize>,
}

/// Rotary settings of newer configs.
#[derive(Debug, Deserialize)]
pub struct RopeParameters {
    /// Base of the rotary frequencies.
    pub rope_theta: Option<f64>,
    /// `default` for plain rotary embeddings.
    pub rope_type: Option<String>,
}

/// `vision_config` of a SigLIP `config.json`; defaults after transformers' `SiglipVisionConfig`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default)]
pub struct VisionTowerConfig {
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Width of the MLP.
    pub intermediate_size: usize,
    /// Encoder layers.
    pub num_hidden_layers: usize,
    /// Attention heads.
    pub num_attention_heads: usize,
    /// Side of the input, in pixels.
    pub image_size: usize,
    /// Side of a patch, in pixels.
    pub patch_size: usize,
    /// Colour channels.
    pub num_channels: usize,
    /// MLP activation.
    pub hidden_act: String,
    /// Epsilon of the layer norms.
    pub layer_norm_eps: f64,
}

impl Default for VisionTowerConfig {
    fn default() -> Self {
        Self {
            hidden_size: 768,
            intermediate_size: 3072,
            num_hidden_layers: 12,
            num_attention_heads: 12,
            image_size: 224,
            patch_size: 16,
            num_channels: 3,
            hidden_act: "gelu_pytorch_tanh".into(),
            layer_norm_eps: 1e-6,
        }
    }
}

impl VisionTowerConfig {
    /// The published `google/siglip-so400m-patch14-384`.
    #[must_use]
    pub fn so400m_384() -> Self {
        Self {
            hidden_size: 1152,
            intermediate_size: 4304,
            num_hidden_layers: 27,
            num_attention_heads: 16,
            image_size: 384,
            patch_size: 14,
            ..Self::default()
        }
    }
}

/// `preprocessor_config.json` of the vision tower; defaults after transformers' `SiglipImageProcessor`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default)]
pub struct PreprocessorConfig {
    /// Side the picture is stretched to, in pixels.
    pub size: Option<Side>,
    /// Pillow's number of the filter; 3 is bicubic.
    pub resample: u32,
    /// Factor from 0..255 to 0..1.
    pub rescale_factor: f64,
    /// Per-channel mean.
    pub image_mean: [f32; 3],
    /// Per-channel deviation.
    pub image_std: [f32; 3],
}

impl Default for PreprocessorConfig {
    fn default() -> Self {
        let half = [0.5; 3];
        Self { size: None, resample: 3, rescale_factor: 1.0 / 255.0, image_mean: half, image_std: half }
    }
}

/// A picture's sides, in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct Side {
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
}

#[derive(Deserialize)]
struct SiglipFile {
    vision_config: Option<VisionTowerConfig>,
    #[serde(flatten)]
    bare: serde_json::Map<String, serde_json::Value>,
}

/// An opened hub folder.
#[derive(Debug)]
pub struct Hub {
    /// The language model's folder.
    pub dir: PathBuf,
    /// Its config.
    pub language: LanguageConfig,
    /// The vision tower's config, from its folder or known by its published name.
    pub vision: Option<VisionTowerConfig>,
    /// How pictures are prepared.
    pub preprocessor: PreprocessorConfig,
    /// The vision tower's folder, if it was found.
    pub vision_dir: Option<PathBuf>,
    weights: Vec<Weights>,
}

impl Hub {
    /// Reads the configs and maps the weights, if there are any.
    ///
    /// # Errors
    /// [`HubError`] names the file and the key.
    pub fn open(dir: &Path) -> Result<Self, HubError> {
        let language: LanguageConfig = read_json(&dir.join("config.json"))?;
        let tokenizer = dir.join("tokenizer.json");
        if !tokenizer.is_file() {
            let reason = "missing; a hub folder with the fast tokenizer is needed".into();
            return Err(HubError::File { path: tokenizer, reason });
        }
        let tower = language.mm_vision_tower.clone().unwrap_or_default();
        let vision_dir = find_tower(dir, &tower);
        let (mut vision, mut preprocessor) = (None, PreprocessorConfig::default());
        if let Some(folder) = &vision_dir {
            vision = Some(read_tower(&folder.join("config.json"))?);
            let path = folder.join("preprocessor_config.json");
            if path.exists() {
                preprocessor = read_json(&path)?;
            }
        } else if last_part(&tower) == "siglip-so400m-patch14-384" {
            vision = Some(VisionTowerConfig::so400m_384());
        }
        let mut weights = Vec::new();
        for folder in [Some(dir), vision_dir.as_deref()].into_iter().flatten() {
            let named = |name: &str| folder.join(name).exists();
            if named("model.safetensors") || named("model.safetensors.index.json") {
                weights.push(Weights::open(folder)?);
            }
        }
        Ok(Self { dir: dir.to_owned(), language, vision, preprocessor, vision_dir, weights })
    }

    /// A tensor by the name it has in a checkpoint; the vision tower's own file calls it without our prefix.
    ///
    /// # Errors
    /// When it is there in a type no network can use.
    pub fn tensor(&self, name: &str) -> Result<Option<Tensor<'_>>, HubError> {
        let own = name.strip_prefix(VISION).map(|rest| format!("vision_model{rest}"));
        for weights in &self.weights {
            for name in [Some(name), own.as_deref()].into_iter().flatten() {
                let view = match weights.view(name) {
                    Ok(view) => view,
                    Err(WeightsError::Missing(_)) => continue,
                    Err(error) => return Err(error.into()),
                };
                let tensor =
                    Tensor::contiguous(view.stored.into(), view.shape, view.bytes).map_err(|reason| {
                        HubError::File { path: weights.dir().join("model.safetensors"), reason }
                    })?;
                return Ok(Some(tensor));
            }
        }
        Ok(None)
    }

    /// Weight files of the folders, for the record of where a model came from.
    pub fn weight_paths(&self) -> impl Iterator<Item = &Path> {
        self.weights.iter().flat_map(Weights::paths)
    }
}

fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T, HubError> {
    let fail = |reason: String| HubError::File { path: path.to_owned(), reason };
    let text = std::fs::read_to_string(path).map_err(|error| fail(error.to_string()))?;
    let mut json = serde_json::Deserializer::from_str(&text);
    serde_path_to_error::deserialize(&mut json)
        .map_err(|error| fail(format!("key `{}`: {}", error.path(), error.inner())))
}

/// A SigLIP config holds the tower under `vision_config`, a vision-only one holds it bare.
fn read_tower(path: &Path) -> Result<VisionTowerConfig, HubError> {
    let file: SiglipFile = read_json(path)?;
    match file.vision_config {
        Some(config) => Ok(config),
        None => serde_json::from_value(file.bare.into())
            .map_err(|error| HubError::File { path: path.to_owned(), reason: error.to_string() }),
    }
}

fn last_part(name: &str) -> &str {
    name.trim_end_matches('/').rsplit('/').next().unwrap_or_default()
}

/// The tower's folder: where the config points, or under its own name in or beside the hub folder.
fn find_tower(dir: &Path, tower: &str) -> Option<PathBuf> {
    let name = last_part(tower);
    if name.is_empty() {
        return None;
    }
    let beside = dir.parent().map(|parent| parent.join(name));
    [Some(dir.join(tower)), Some(dir.join(name)), beside]
        .into_iter()
        .flatten()
        .find(|folder| folder.join("config.json").is_file())
}
