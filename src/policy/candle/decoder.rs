//! Qwen2-family decoder (Bai et al. 2023) from input embeddings, without a language-model head.
//!
//! candle-transformers' Qwen2 starts at token ids and keeps its layers private; this one starts at
//! embeddings and, in the last layer, computes queries and MLP for the read position alone.

use std::collections::BTreeMap;

use candle_core::{D, DType, Device, IndexOp, Result, Tensor};
use candle_transformers::utils::{build_additive_causal_mask, repeat_kv};

use super::layers::{Linear, RmsNorm};
use super::load::Loader;
use crate::policy::backend::{BackendError, CancelFlag};
use crate::policy::config::ModelConfig;
use crate::policy::tensors::FINAL_NORM;

struct Layer {
    norm1: RmsNorm,
    q: Linear,
    kv: Linear,
    out: Linear,
    norm2: RmsNorm,
    gate_up: Linear,
    down: Linear,
}

/// Decoder layers and final norm.
pub(super) struct Decoder {
    layers: Vec<Layer>,
    norm: RmsNorm,
    heads: usize,
    kv_heads: usize,
    head_dim: usize,
    intermediate: usize,
    cos: Tensor,
    sin: Tensor,
    masks: BTreeMap<usize, Tensor>,
}

impl Decoder {
    pub(super) fn load(loader: &mut Loader, config: &ModelConfig) -> std::result::Result<Self, BackendError> {
        let llm = &config.llm;
        let eps = llm.rms_norm_eps;
        let mut layers = Vec::with_capacity(llm.num_hidden_layers);
        for index in 0..llm.num_hidden_layers {
            let name = format!("model.layers.{index}");
            let part = |part: &str| format!("{name}.{part}");
            layers.push(Layer {
                norm1: RmsNorm::load(loader, &part("input_layernorm.weight"), eps)?,
                q: Linear::load(loader, &part("self_attn.q_proj"), true)?,
                kv: Linear::merged(loader, &[part("self_attn.k_proj"), part("self_attn.v_proj")], true)?,
                out: Linear::load(loader, &part("self_attn.o_proj"), false)?,
                norm2: RmsNorm::load(loader, &part("post_attention_layernorm.weight"), eps)?,
                gate_up: Linear::merged(loader, &[part("mlp.gate_proj"), part("mlp.up_proj")], false)?,
                down: Linear::load(loader, &part("mlp.down_proj"), false)?,
            });
        }
        let norm = RmsNorm::load(loader, FINAL_NORM, eps)?;
        let (cos, sin) = rotary(config, loader.device(), loader.dtype())
            .map_err(|error| super::load::device_error(&error))?;
        Ok(Self {
            layers,
            norm,
            heads: llm.num_attention_heads,
            kv_heads: llm.num_key_value_heads,
            head_dim: llm.head_dim(),
            intermediate: llm.intermediate_size,
            cos,
            sin,
            masks: BTreeMap::new(),
        })
    }

    /// Embeddings `[batch, tokens, hidden]` to the normed last hidden state at each row's read position,
    /// `[batch, hidden]`. Rows shorter than `tokens` are padded at the end, where a causal decoder cannot
    /// see them.
    pub(super) fn read(&mut self, x: &Tensor, readout: &[usize], cancel: &[CancelFlag]) -> Result<Tensor> {
        let mut x = x.clone();
        let last = self.layers.len().saturating_sub(1);
        let mask = self.mask(&x)?;
        for index in 0..last {
            super::check_cancelled(cancel)?;
            x = self.layer(index, &x, &mask, None)?;
        }
        super::check_cancelled(cancel)?;
        let x = self.layer(last, &x, &mask, Some(readout))?;
        self.norm.forward(&x)?.squeeze(1)
    }

    /// Embeddings to the whole normed last hidden state, `[batch, tokens, hidden]`: nothing is left out.
    pub(super) fn whole(&mut self, x: &Tensor) -> Result<Tensor> {
        let mut x = x.clone();
        let mask = self.mask(&x)?;
        for index in 0..self.layers.len() {
            x = self.layer(index, &x, &mask, None)?;
        }
        self.norm.forward(&x)
    }

    fn layer(&self, index: usize, x: &Tensor, mask: &Tensor, only: Option<&[usize]>) -> Result<Tensor> {
        let Some(layer) = self.layers.get(index) else { return Ok(x.clone()) };
        let (batch, tokens, _) = x.dims3()?;
        let h = layer.norm1.forward(x)?;
        let kv = layer.kv.forward(&h)?.reshape((batch, tokens, 2, self.kv_heads, self.head_dim))?;
        let k = kv.narrow(2, 0, 1)?.squeeze(2)?.transpose(1, 2)?.contiguous()?;
        let v = kv.narrow(2, 1, 1)?.squeeze(2)?.transpose(1, 2)?.contiguous()?;
        let (cos, sin) = (self.cos.narrow(0, 0, tokens)?, self.sin.narrow(0, 0, tokens)?);
        let k = candle_nn::rotary_emb::rope(&k, &cos, &sin)?;
        let repeats = self.heads / self.kv_heads;
        let (k, v) = (repeat_kv(k, repeats)?, repeat_kv(v, repeats)?);

        let (x, attended) = match only {
            None => {
                let q = layer.q.forward(&h)?.reshape((batch, tokens, self.heads, self.head_dim))?;
                let q = q.transpose(1, 2)?.contiguous()?;
                let q = candle_nn::rotary_emb::rope(&q, &cos, &sin)?;
                (x.clone(), self.attend(&q, &k, &v, mask)?)
            }
            Some(readout) => {
                let (mut rows, mut mixed) = (Vec::new(), Vec::new());
                for (row, position) in readout.iter().enumerate() {
                    let (position, seen) = (*position, *position + 1);
                    let h = h.i((row..=row, position..seen))?.contiguous()?;
                    let q = layer.q.forward(&h)?.reshape((1, 1, self.heads, self.head_dim))?;
                    let q = q.transpose(1, 2)?.contiguous()?;
                    let (cos, sin) = (self.cos.narrow(0, position, 1)?, self.sin.narrow(0, position, 1)?);
                    let q = candle_nn::rotary_emb::rope(&q, &cos, &sin)?;
                    let k = k.i((row..=row, .., ..seen))?.contiguous()?;
                    let v = v.i((row..=row, .., ..seen))?.contiguous()?;
                    let all = Tensor::zeros((1, 1, 1, seen), q.dtype(), q.device())?;
                    mixed.push(self.attend(&q, &k, &v, &all)?);
                    rows.push(x.i((row..=row, position..seen))?);
                }
                (Tensor::cat(&rows, 0)?, Tensor::cat(&mixed, 0)?)
            }
        };
        let x = (x + layer.out.forward(&attended)?)?;
        let h = layer.gate_up.forward(&layer.norm2.forward(&x)?)?;
        let gate = h.narrow(D::Minus1, 0, self.intermediate)?.silu()?;
        let up = h.narrow(D::Minus1, self.intermediate, self.intermediate)?;
        x + layer.down.forward(&(gate * up)?)?
    }

    fn attend(&self, q: &Tensor, k: &Tensor, v: &Tensor, mask: &Tensor) -> Result<Tensor> {
        let (batch, _, tokens, _) = q.dims4()?;
        let scores = (q * (self.head_dim as f64).powf(-0.5))?.matmul(&k.t()?)?;
        let scores = scores.broadcast_add(mask)?;
        let mixed = candle_nn::ops::softmax_last_dim(&scores)?.matmul(v)?;
        mixed.transpose(1, 2)?.reshape((batch, tokens, self.heads * self.head_dim))
    }

    fn mask(&mut self, x: &Tensor) -> Result<Tensor> {
        let tokens = x.dim(1)?;
        if let Some(mask) = self.masks.get(&tokens) {
            return Ok(mask.clone());
        }
        if self.masks.len() >= 16 {
            self.masks.clear();
        }
        let mask = build_additive_causal_mask(tokens, 0, None, x.device(), x.dtype())?;
        self.masks.insert(tokens, mask.clone());
        Ok(mask)
    }
}

/// Cosines and sines of the rotary embedding (Su et al. 2021), `[positions, head_dim / 2]`, computed in f64.
fn rotary(config: &ModelConfig, device: &Device, dtype: DType) -> Result<(Tensor, Tensor)> {
    let half = config.llm.head_dim() / 2;
    let positions = config.tokenizer_model_max_length;
    let angle =
        |position: usize, i: usize| position as f64 * config.llm.rope_theta.powf(-(i as f64) / half as f64);
    let table = |f: fn(f64) -> f64| -> Result<Tensor> {
        let values: Vec<f32> =
            (0..positions).flat_map(|p| (0..half).map(move |i| f(angle(p, i)) as f32)).collect();
        Tensor::from_vec(values, (positions, half), &Device::Cpu)?.to_dtype(dtype)?.to_device(device)
    };
    Ok((table(f64::cos)?, table(f64::sin)?))
}
