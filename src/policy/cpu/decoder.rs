//! Qwen2-family decoder (Bai et al. 2023) from input embeddings to the normed hidden state at the read-out.
//!
//! Positions whose keys and values are kept from an earlier request are not computed again; in the last layer
//! queries and MLP are computed for the read position alone.

use crate::policy::backend::{BackendError, CancelFlag};
use crate::policy::config::ModelConfig;
use crate::policy::kernels::attention::{Heads, KeyValues, Query};
use crate::policy::kernels::buffers::Matrix;
use crate::policy::kernels::epilogue::{Activation, Sink};
use crate::policy::kernels::gemm::Product;
use crate::policy::kernels::norm::rms_norm;
use crate::policy::kernels::operand::Operand;
use crate::policy::kernels::pack::Precision;
use crate::policy::kernels::rope::RopeTable;
use crate::policy::kernels::{Isa, KernelError, PANEL};
use crate::policy::tensors::FINAL_NORM;

use super::linear::{Linear, into_operand};
use super::loader::{Loader, kernel_error};

struct Layer {
    norm1: Vec<f32>,
    qkv: Linear,
    out: Linear,
    norm2: Vec<f32>,
    gate_up: Linear,
    down: Linear,
}

/// Buffers of one pass, reused.
struct Workspace {
    normed: Operand,
    merged: Matrix<f32>,
    mixed: Operand,
    hidden: Operand,
    last: Matrix<f32>,
    staging: Matrix<f32>,
}

/// Decoder layers and final norm.
pub(super) struct Decoder {
    layers: Vec<Layer>,
    norm: Vec<f32>,
    heads: Heads,
    eps: f32,
    rope: RopeTable,
    precision: Precision,
    work: Workspace,
}

/// Keys and values of a pass: one set a layer when they are kept, one for all layers in turn when not.
pub(super) struct LayerKeys(Vec<KeyValues>);

impl LayerKeys {
    /// Bytes held.
    pub(super) fn bytes(&self) -> usize {
        self.0.iter().map(KeyValues::bytes).sum()
    }

    /// Positions there is room for.
    pub(super) fn capacity(&self) -> usize {
        self.0.first().map_or(0, KeyValues::capacity)
    }

    #[cfg(test)]
    pub(super) fn for_tests(layers: Vec<KeyValues>) -> Self {
        Self(layers)
    }

    /// Makes room for `positions`; what was written is lost when there was less.
    pub(super) fn reserve(&mut self, positions: usize) {
        self.0.iter_mut().for_each(|layer| layer.reserve(positions));
    }
}

impl Decoder {
    pub(super) fn load(loader: &mut Loader<'_>, config: &ModelConfig) -> Result<Self, BackendError> {
        let llm = &config.llm;
        let mut layers = Vec::with_capacity(llm.num_hidden_layers);
        for index in 0..llm.num_hidden_layers {
            layers.push(Layer::load(loader, index)?);
        }
        let heads =
            Heads { queries: llm.num_attention_heads, keys: llm.num_key_value_heads, dim: llm.head_dim() };
        let operand = || Operand::new(loader.precision);
        let work = Workspace {
            normed: operand(),
            merged: Matrix::default(),
            mixed: operand(),
            hidden: operand(),
            last: Matrix::default(),
            staging: Matrix::default(),
        };
        Ok(Self {
            layers,
            norm: loader.vector(FINAL_NORM)?,
            heads,
            eps: llm.rms_norm_eps as f32,
            rope: RopeTable::new(config.tokenizer_model_max_length, llm.head_dim(), llm.rope_theta),
            precision: loader.precision,
            work,
        })
    }

    /// Room for `positions` positions, in every layer (`kept`) or in one after the other.
    pub(super) fn keys(&self, positions: usize, kept: bool) -> LayerKeys {
        let count = if kept { self.layers.len() } else { 1 };
        LayerKeys((0..count).map(|_| KeyValues::new(self.precision, self.heads, positions)).collect())
    }

    /// Embeddings `stream` (`[new, hidden]`, overwritten) of the positions from `past` on, the last of which is
    /// read, to its normed hidden state, one row of `out`. `keys` holds the first `past` positions.
    pub(super) fn read(
        &mut self,
        isa: Isa,
        stream: &mut Matrix<f32>,
        past: usize,
        keys: &mut LayerKeys,
        cancel: &CancelFlag,
        out: &mut Operand,
    ) -> Result<(), BackendError> {
        let shared = keys.0.len() < self.layers.len();
        let last = self.layers.len().saturating_sub(1);
        for (index, layer) in self.layers.iter().enumerate() {
            super::check_cancelled(cancel)?;
            let Some(keys) = keys.0.get_mut(if shared { 0 } else { index }) else { break };
            let pass = Pass { isa, heads: self.heads, eps: self.eps, rope: &self.rope, past };
            let work = &mut self.work;
            if index == last {
                pass.last(layer, stream, keys, work)
            } else {
                pass.whole(layer, stream, keys, work)
            }
            .map_err(|error| kernel_error(&error))?;
        }
        let last = &self.work.last;
        out.fill(isa, 1, last.cols(), |_, out| rms_norm(isa, last.row(0), &self.norm, self.eps, out));
        Ok(())
    }
}

impl Layer {
    fn load(loader: &mut Loader<'_>, index: usize) -> Result<Self, BackendError> {
        let name = format!("model.layers.{index}");
        let key = |part: &str| format!("decoder.{index}.{part}");
        let one = |part: &str| vec![format!("{name}.{part}")];
        let qkv = ["q_proj", "k_proj", "v_proj"].map(|part| format!("{name}.self_attn.{part}"));
        let (gate, up) = (format!("{name}.mlp.gate_proj"), format!("{name}.mlp.up_proj"));
        Ok(Self {
            norm1: loader.vector(&format!("{name}.input_layernorm.weight"))?,
            qkv: loader.linear(&key("qkv"), &qkv, true)?,
            out: loader.linear(&key("out"), &one("self_attn.o_proj"), false)?,
            norm2: loader.vector(&format!("{name}.post_attention_layernorm.weight"))?,
            gate_up: loader.gated(&key("gate_up"), &gate, &up)?,
            down: loader.linear(&key("down"), &one("mlp.down_proj"), false)?,
        })
    }
}

/// One layer's surroundings.
struct Pass<'a> {
    isa: Isa,
    heads: Heads,
    eps: f32,
    rope: &'a RopeTable,
    past: usize,
}

impl Pass<'_> {
    fn norm(&self, weight: &[f32], stream: &Matrix<f32>, out: &mut Operand) {
        out.fill(self.isa, stream.rows(), stream.cols(), |row, out| {
            rms_norm(self.isa, stream.row(row), weight, self.eps, out);
        });
    }

    fn mlp(&self, layer: &Layer, stream: &mut Matrix<f32>, work: &mut Workspace) -> Result<(), KernelError> {
        let Workspace { normed, hidden, staging, .. } = work;
        self.norm(&layer.norm2, stream, normed);
        layer.gate_up.feed(self.isa, normed, Activation::SiluMul, hidden, staging)?;
        layer.down.add(self.isa, hidden, stream)
    }

    /// Attention of the rows from `first` on to `work.mixed`.
    fn attend(&self, first: usize, keys: &mut KeyValues, work: &mut Workspace) -> Result<(), KernelError> {
        let Workspace { merged, mixed, staging, .. } = work;
        let rows = merged.rows();
        let rope = Some(self.rope);
        keys.write(self.isa, merged, 0..rows, self.past, rope)?;
        let query = Query {
            merged,
            rows: first..rows,
            first: self.past + first,
            len: self.past + rows,
            causal: true,
            rope,
        };
        let shape = (rows - first, self.heads.queries * self.heads.dim);
        into_operand(self.isa, shape, mixed, staging, |sink| keys.attend(self.isa, &query, sink))
    }

    fn whole(
        &self,
        layer: &Layer,
        stream: &mut Matrix<f32>,
        keys: &mut KeyValues,
        work: &mut Workspace,
    ) -> Result<(), KernelError> {
        self.norm(&layer.norm1, stream, &mut work.normed);
        layer.qkv.write(self.isa, &work.normed, &mut work.merged)?;
        self.attend(0, keys, work)?;
        layer.out.add(self.isa, &work.mixed, stream)?;
        self.mlp(layer, stream, work)
    }

    /// The last layer: keys and values of every row, the rest for the last row only, to `work.last`.
    fn last(
        &self,
        layer: &Layer,
        stream: &Matrix<f32>,
        keys: &mut KeyValues,
        work: &mut Workspace,
    ) -> Result<(), KernelError> {
        let read = stream.rows().saturating_sub(1);
        self.norm(&layer.norm1, stream, &mut work.normed);
        let query_cols = self.heads.queries * self.heads.dim;
        let Workspace { normed, merged, .. } = work;
        merged.reshape(stream.rows(), layer.qkv.cols);
        let product = layer.qkv.product(normed, Activation::Identity);
        let panels = query_cols / PANEL..product.panels.end;
        Product { panels, ..product }.run(self.isa, Sink::F32(merged))?;
        let product = layer.qkv.product(normed, Activation::Identity);
        let panels = 0..query_cols.div_ceil(PANEL);
        Product { rows: read..read + 1, first_row: read, panels, ..product }
            .run(self.isa, Sink::F32(merged))?;
        self.attend(read, keys, work)?;

        let mut last = std::mem::take(&mut work.last);
        last.reshape(1, stream.cols());
        last.row_mut(0).copy_from_slice(stream.row(read));
        let done =
            layer.out.add(self.isa, &work.mixed, &mut last).and_then(|()| self.mlp(layer, &mut last, work));
        work.last = last;
        done
    }
}
