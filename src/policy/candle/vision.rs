//! SigLIP vision tower (Zhai et al. 2023): patches, position embedding, pre-norm encoder layers.
//!
//! candle-transformers' SigLIP always applies the final norm and keeps its layers private, so the hidden
//! state before the last layer, which these checkpoints use, cannot be had from it.

use candle_core::{Result, Tensor};

use super::layers::{LayerNorm, Linear};
use super::load::Loader;
use crate::policy::backend::{BackendError, CancelFlag};
use crate::policy::config::{Activation, ModelConfig};
use crate::policy::tensors::VISION;

struct Layer {
    norm1: LayerNorm,
    qkv: Linear,
    out: Linear,
    norm2: LayerNorm,
    fc1: Linear,
    fc2: Linear,
}

/// The part of the tower that reaches the action.
pub(super) struct Vision {
    patch: Linear,
    position: Tensor,
    layers: Vec<Layer>,
    post_norm: Option<LayerNorm>,
    patch_size: usize,
    side: usize,
    heads: usize,
    head_dim: usize,
    activation: Activation,
}

impl Vision {
    pub(super) fn load(loader: &mut Loader, config: &ModelConfig) -> std::result::Result<Self, BackendError> {
        let vision = &config.vision;
        let eps = vision.layer_norm_eps;
        let patch = Linear::load(loader, &format!("{VISION}.embeddings.patch_embedding"), true)?;
        let position = loader.tensor(&format!("{VISION}.embeddings.position_embedding.weight"))?;
        let mut layers = Vec::with_capacity(config.vision_layers_used());
        for index in 0..config.vision_layers_used() {
            let name = format!("{VISION}.encoder.layers.{index}");
            let projections = ["q_proj", "k_proj", "v_proj"].map(|part| format!("{name}.self_attn.{part}"));
            layers.push(Layer {
                norm1: LayerNorm::load(loader, &format!("{name}.layer_norm1"), eps)?,
                qkv: Linear::merged(loader, &projections, true)?,
                out: Linear::load(loader, &format!("{name}.self_attn.out_proj"), true)?,
                norm2: LayerNorm::load(loader, &format!("{name}.layer_norm2"), eps)?,
                fc1: Linear::load(loader, &format!("{name}.mlp.fc1"), true)?,
                fc2: Linear::load(loader, &format!("{name}.mlp.fc2"), true)?,
            });
        }
        let post_norm = if config.vision_post_layernorm {
            Some(LayerNorm::load(loader, &format!("{VISION}.post_layernorm"), eps)?)
        } else {
            None
        };
        Ok(Self {
            patch,
            position,
            layers,
            post_norm,
            patch_size: vision.patch_size,
            side: vision.patches_per_side(),
            heads: vision.num_attention_heads,
            head_dim: vision.head_dim(),
            activation: vision.hidden_act,
        })
    }

    /// Pixel values `[batch, 3, size, size]` to patch embeddings `[batch, patches, hidden]`. Patches are
    /// row-major; pixels past the last whole patch are dropped, as a convolution without padding does.
    pub(super) fn embed(&self, pixels: &Tensor) -> Result<Tensor> {
        let (batch, channels, _, _) = pixels.dims4()?;
        let (side, patch) = (self.side, self.patch_size);
        let used = side * patch;
        let patches = pixels
            .narrow(2, 0, used)?
            .narrow(3, 0, used)?
            .contiguous()?
            .reshape(&[batch, channels, side, patch, side, patch][..])?
            .permute(vec![0, 2, 4, 1, 3, 5])?
            .contiguous()?
            .reshape((batch, side * side, channels * patch * patch))?;
        self.patch.forward(&patches)?.broadcast_add(&self.position)
    }

    /// Patch embeddings to the selected hidden state, same shape.
    pub(super) fn encode(&self, embedded: &Tensor, cancel: &[CancelFlag]) -> Result<Tensor> {
        let mut x = embedded.clone();
        for layer in &self.layers {
            super::check_cancelled(cancel)?;
            let attended = self.attend(layer, &layer.norm1.forward(&x)?)?;
            x = (x + attended)?;
            let h = layer.fc1.forward(&layer.norm2.forward(&x)?)?;
            let h = match self.activation {
                Activation::Gelu => h.gelu_erf()?,
                Activation::GeluPytorchTanh | Activation::Silu => h.gelu()?,
            };
            x = (x + layer.fc2.forward(&h)?)?;
        }
        match &self.post_norm {
            Some(norm) => norm.forward(&x),
            None => Ok(x),
        }
    }

    fn attend(&self, layer: &Layer, x: &Tensor) -> Result<Tensor> {
        let (batch, tokens, _) = x.dims3()?;
        let (heads, width) = (self.heads, self.head_dim);
        let qkv = layer.qkv.forward(x)?.reshape((batch, tokens, 3, heads, width))?;
        let part = |index: usize| qkv.narrow(2, index, 1)?.squeeze(2)?.transpose(1, 2)?.contiguous();
        let (q, k, v) = (part(0)?, part(1)?, part(2)?);
        let scores = (q * (width as f64).powf(-0.5))?.matmul(&k.t()?)?;
        let mixed = candle_nn::ops::softmax_last_dim(&scores)?.matmul(&v)?;
        layer.out.forward(&mixed.transpose(1, 2)?.reshape((batch, tokens, heads * width))?)
    }
}
