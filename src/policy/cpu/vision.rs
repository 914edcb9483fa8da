//! SigLIP vision tower (Zhai et al. 2023) up to the layer the projector reads, and the projector.

use crate::policy::backend::{BackendError, CancelFlag};
use crate::policy::config::{self, ModelConfig};
use crate::policy::kernels::attention::{Heads, KeyValues, Query};
use crate::policy::kernels::buffers::Matrix;
use crate::policy::kernels::epilogue::Activation;
use crate::policy::kernels::norm::layer_norm;
use crate::policy::kernels::operand::Operand;
use crate::policy::kernels::{Isa, KernelError};
use crate::policy::tensors::{PROJECTOR, VISION};

use super::linear::{Linear, into_operand};
use super::loader::{Loader, kernel_error};
use super::mlp::Mlp;

struct Norm {
    weight: Vec<f32>,
    bias: Vec<f32>,
}

impl Norm {
    fn load(loader: &mut Loader<'_>, name: &str) -> Result<Self, BackendError> {
        Ok(Self {
            weight: loader.vector(&format!("{name}.weight"))?,
            bias: loader.vector(&format!("{name}.bias"))?,
        })
    }
}

struct Layer {
    norm1: Norm,
    qkv: Linear,
    out: Linear,
    norm2: Norm,
    fc1: Linear,
    fc2: Linear,
}

/// Buffers of one pass, sized by the config and reused.
struct Workspace {
    patches: Operand,
    stream: Matrix<f32>,
    normed: Operand,
    merged: Matrix<f32>,
    keys: KeyValues,
    mixed: Operand,
    hidden: Operand,
    staging: Matrix<f32>,
}

/// The part of the tower that reaches the action, and the projector behind it.
pub(super) struct Vision {
    patch: Linear,
    position: Vec<f32>,
    layers: Vec<Layer>,
    post_norm: Option<Norm>,
    projector: Mlp,
    heads: Heads,
    eps: f32,
    activation: Activation,
    image_size: usize,
    patch_size: usize,
    per_side: usize,
    work: Workspace,
}

impl Vision {
    pub(super) fn load(loader: &mut Loader<'_>, config: &ModelConfig) -> Result<Self, BackendError> {
        let vision = &config.vision;
        let patch_precision = super::small_precision(loader.precision, loader.isa);
        let name = format!("{VISION}.embeddings.patch_embedding");
        let patch = loader.linear_in(patch_precision, "vision.patch", &[name], true)?;
        let position = loader.vector(&format!("{VISION}.embeddings.position_embedding.weight"))?;
        let mut layers = Vec::with_capacity(config.vision_layers_used());
        for index in 0..config.vision_layers_used() {
            layers.push(Layer::load(loader, index)?);
        }
        let post_norm = if config.vision_post_layernorm {
            Some(Norm::load(loader, &format!("{VISION}.post_layernorm"))?)
        } else {
            None
        };
        let heads = Heads {
            queries: vision.num_attention_heads,
            keys: vision.num_attention_heads,
            dim: vision.head_dim(),
        };
        let operand = || Operand::new(loader.precision);
        let work = Workspace {
            patches: Operand::new(patch_precision),
            stream: Matrix::default(),
            normed: operand(),
            merged: Matrix::default(),
            keys: KeyValues::new(loader.precision, heads, vision.num_patches()),
            mixed: operand(),
            hidden: operand(),
            staging: Matrix::default(),
        };
        Ok(Self {
            patch,
            position,
            layers,
            post_norm,
            projector: Mlp::projector(loader, PROJECTOR)?,
            heads,
            eps: vision.layer_norm_eps as f32,
            activation: match vision.hidden_act {
                config::Activation::Gelu => Activation::GeluErf,
                config::Activation::GeluPytorchTanh | config::Activation::Silu => Activation::GeluTanh,
            },
            image_size: vision.image_size,
            patch_size: vision.patch_size,
            per_side: vision.patches_per_side(),
            work,
        })
    }

    /// Pixel values `[3, size, size]` to image tokens `[patches, decoder width]`.
    pub(super) fn run(
        &mut self,
        isa: Isa,
        pixels: &[f32],
        cancel: &CancelFlag,
        tokens: &mut Matrix<f32>,
    ) -> Result<(), BackendError> {
        self.embed(isa, pixels).map_err(|error| kernel_error(&error))?;
        for layer in &self.layers {
            super::check_cancelled(cancel)?;
            layer
                .run(isa, self.heads, self.eps, self.activation, &mut self.work)
                .map_err(|error| kernel_error(&error))?;
        }
        super::check_cancelled(cancel)?;
        let Workspace { stream, normed, .. } = &mut self.work;
        normed.fill(isa, stream.rows(), stream.cols(), |row, out| match &self.post_norm {
            Some(norm) => layer_norm(isa, stream.row(row), &norm.weight, &norm.bias, self.eps, out),
            None => out.copy_from_slice(stream.row(row)),
        });
        debug_assert_eq!(normed.precision(), self.projector.precision());
        self.projector.run(isa, normed, tokens).map_err(|error| kernel_error(&error))
    }

    /// Patches, row-major, times the patch embedding, plus the position embedding. Pixels past the last whole
    /// patch are dropped, as a convolution without padding does.
    fn embed(&mut self, isa: Isa, pixels: &[f32]) -> Result<(), KernelError> {
        let (size, side, per_side) = (self.image_size, self.patch_size, self.per_side);
        let Workspace { patches, stream, .. } = &mut self.work;
        let rows = per_side * per_side;
        patches.fill(isa, rows, 3 * side * side, |patch, out| {
            let (top, left) = (patch / per_side * side, patch % per_side * side);
            for (line, out) in out.chunks_exact_mut(side).enumerate() {
                let (channel, y) = (line / side, line % side);
                let start = (channel * size + top + y) * size + left;
                out.copy_from_slice(&pixels[start..start + side]);
            }
        });
        stream.reshape(rows, self.patch.cols);
        for (row, position) in self.position.chunks_exact(self.patch.cols).take(rows).enumerate() {
            stream.row_mut(row).copy_from_slice(position);
        }
        self.patch.add(isa, patches, stream)
    }
}

impl Layer {
    fn load(loader: &mut Loader<'_>, index: usize) -> Result<Self, BackendError> {
        let name = format!("{VISION}.encoder.layers.{index}");
        let key = |part: &str| format!("vision.{index}.{part}");
        let one = |part: &str| vec![format!("{name}.{part}")];
        let qkv = ["q_proj", "k_proj", "v_proj"].map(|part| format!("{name}.self_attn.{part}"));
        Ok(Self {
            norm1: Norm::load(loader, &format!("{name}.layer_norm1"))?,
            qkv: loader.linear(&key("qkv"), &qkv, true)?,
            out: loader.linear(&key("out"), &one("self_attn.out_proj"), true)?,
            norm2: Norm::load(loader, &format!("{name}.layer_norm2"))?,
            fc1: loader.linear(&key("fc1"), &one("mlp.fc1"), true)?,
            fc2: loader.linear(&key("fc2"), &one("mlp.fc2"), true)?,
        })
    }

    fn run(
        &self,
        isa: Isa,
        heads: Heads,
        eps: f32,
        activation: Activation,
        work: &mut Workspace,
    ) -> Result<(), KernelError> {
        let Workspace { stream, normed, merged, keys, mixed, hidden, staging, .. } = work;
        let (rows, cols) = (stream.rows(), stream.cols());
        let norm = |norm: &Norm, stream: &Matrix<f32>, out: &mut Operand| {
            out.fill(isa, rows, cols, |row, out| {
                layer_norm(isa, stream.row(row), &norm.weight, &norm.bias, eps, out);
            });
        };
        norm(&self.norm1, stream, normed);
        self.qkv.write(isa, normed, merged)?;
        keys.write(isa, merged, 0..rows, 0, None)?;
        let query = Query { merged, rows: 0..rows, first: 0, len: rows, causal: false, rope: None };
        into_operand(isa, (rows, heads.queries * heads.dim), mixed, staging, |sink| {
            keys.attend(isa, &query, sink)
        })?;
        self.out.add(isa, mixed, stream)?;
        norm(&self.norm2, stream, normed);
        self.fc1.feed(isa, normed, activation, hidden, staging)?;
        self.fc2.add(isa, hidden, stream)
    }
}
