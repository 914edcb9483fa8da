//! Which tensors a network of a given config has, by the original checkpoint's names, and which of them the
//! action can see.

use super::config::ModelConfig;
use super::plan::Influence;

/// Prefix of the SigLIP tensors.
pub const VISION: &str = "model.vision_tower.vision_tower.vision_model";
/// Prefix of the projector tensors.
pub const PROJECTOR: &str = "model.mm_projector";
/// Prefix of the ResNet tensors.
pub const RESNET: &str = "model.tactile_tower.encoder.resnet";

/// A basic block of ResNet-18: two 3x3 convolutions, the first with `stride`.
pub struct ResnetBlock {
    /// Prefix of its tensors.
    pub name: String,
    /// Channels in.
    pub input: usize,
    /// Channels out.
    pub width: usize,
    /// Of the first convolution and of the down-sampling one.
    pub stride: usize,
    /// Whether the shortcut has a 1x1 convolution.
    pub downsamples: bool,
}

/// The eight blocks of a ResNet-18 (He et al. 2015) with `base` channels after the stem, in order.
pub fn resnet18_blocks(base: usize) -> impl Iterator<Item = ResnetBlock> {
    (0..8).map(move |index| {
        let (stage, block) = (index / 2, index % 2);
        let width = base << stage;
        let downsamples = block == 0 && stage > 0;
        let (input, stride) = if downsamples { (width / 2, 2) } else { (width, 1) };
        ResnetBlock {
            name: format!("{RESNET}.layer{}.{block}", stage + 1),
            input,
            width,
            stride,
            downsamples,
        }
    })
}

/// Prefix of the tactile projector tensors.
pub const TACTILE_PROJECTOR: &str = "model.tactile_tower.projector.projector";
/// The tactile token's position embedding.
pub const TACTILE_POSITION: &str = "model.tactile_pos_embedding";
/// Token embedding table.
pub const EMBED_TOKENS: &str = "model.embed_tokens.weight";
/// Final RMS norm of the decoder.
pub const FINAL_NORM: &str = "model.norm.weight";
/// Prefix of the action head tensors.
pub const ACTION_HEAD: &str = "action_head.mlp";

/// One tensor a checkpoint of this config has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorSpec {
    /// Name in the checkpoint.
    pub name: String,
    /// Shape, outermost dimension first.
    pub shape: Vec<usize>,
    /// Whether the action depends on it; the rest may be absent.
    pub required: bool,
}

/// Every tensor an original checkpoint of this config holds (each once, aliases left out).
#[must_use]
pub fn expected_tensors(config: &ModelConfig) -> Vec<TensorSpec> {
    let influence = Influence::of(config);
    let mut list = List(Vec::new());
    list.vision(config);
    list.projector(config);
    list.tactile(config, influence.tactile);
    list.decoder(config, influence.text);
    list.action_head(config);
    list.0
}

struct List(Vec<TensorSpec>);

impl List {
    fn push(&mut self, name: String, shape: &[usize], required: bool) {
        self.0.push(TensorSpec { name, shape: shape.to_vec(), required });
    }

    fn linear(&mut self, name: &str, (output, input): (usize, usize), bias: bool, required: bool) {
        self.push(format!("{name}.weight"), &[output, input], required);
        if bias {
            self.push(format!("{name}.bias"), &[output], required);
        }
    }

    fn norm(&mut self, name: &str, width: usize, required: bool) {
        self.push(format!("{name}.weight"), &[width], required);
        self.push(format!("{name}.bias"), &[width], required);
    }

    fn vision(&mut self, config: &ModelConfig) {
        let v = &config.vision;
        let (h, m) = (v.hidden_size, v.intermediate_size);
        let embeddings = format!("{VISION}.embeddings");
        let patch = [h, v.num_channels, v.patch_size, v.patch_size];
        self.push(format!("{embeddings}.patch_embedding.weight"), &patch, true);
        self.push(format!("{embeddings}.patch_embedding.bias"), &[h], true);
        self.push(format!("{embeddings}.position_embedding.weight"), &[v.num_patches(), h], true);
        for layer in 0..v.num_hidden_layers {
            let used = layer < config.vision_layers_used();
            let name = format!("{VISION}.encoder.layers.{layer}");
            self.norm(&format!("{name}.layer_norm1"), h, used);
            for projection in ["q_proj", "k_proj", "v_proj", "out_proj"] {
                self.linear(&format!("{name}.self_attn.{projection}"), (h, h), true, used);
            }
            self.norm(&format!("{name}.layer_norm2"), h, used);
            self.linear(&format!("{name}.mlp.fc1"), (m, h), true, used);
            self.linear(&format!("{name}.mlp.fc2"), (h, m), true, used);
        }
        self.norm(&format!("{VISION}.post_layernorm"), h, config.vision_post_layernorm);
        let head = format!("{VISION}.head");
        self.push(format!("{head}.probe"), &[1, 1, h], false);
        self.push(format!("{head}.attention.in_proj_weight"), &[3 * h, h], false);
        self.push(format!("{head}.attention.in_proj_bias"), &[3 * h], false);
        self.linear(&format!("{head}.attention.out_proj"), (h, h), true, false);
        self.norm(&format!("{head}.layernorm"), h, false);
        self.linear(&format!("{head}.mlp.fc1"), (m, h), true, false);
        self.linear(&format!("{head}.mlp.fc2"), (h, m), true, false);
    }

    fn projector(&mut self, config: &ModelConfig) {
        let (from, to) = (config.vision.hidden_size, config.llm.hidden_size);
        self.linear(&format!("{PROJECTOR}.0"), (to, from), true, true);
        self.linear(&format!("{PROJECTOR}.2"), (to, to), true, true);
    }

    fn tactile(&mut self, config: &ModelConfig, used: bool) {
        let base = config.tactile.base_width;
        self.push(format!("{RESNET}.conv1.weight"), &[base, 3, 7, 7], used);
        self.batch_norm(&format!("{RESNET}.bn1"), base, used);
        for ResnetBlock { name, input, width, downsamples, .. } in resnet18_blocks(base) {
            self.push(format!("{name}.conv1.weight"), &[width, input, 3, 3], used);
            self.batch_norm(&format!("{name}.bn1"), width, used);
            self.push(format!("{name}.conv2.weight"), &[width, width, 3, 3], used);
            self.batch_norm(&format!("{name}.bn2"), width, used);
            if downsamples {
                self.push(format!("{name}.downsample.0.weight"), &[width, input, 1, 1], used);
                self.batch_norm(&format!("{name}.downsample.1"), width, used);
            }
        }
        let (pooled, hidden) = (config.tactile.pooled_size(), config.llm.hidden_size);
        self.linear(&format!("{RESNET}.fc"), (1000, pooled), true, false);
        self.linear(&format!("{TACTILE_PROJECTOR}.0"), (hidden, pooled), true, used);
        self.linear(&format!("{TACTILE_PROJECTOR}.2"), (hidden, hidden), true, used);
        self.push(TACTILE_POSITION.to_owned(), &[1, 1, hidden], used);
    }

    fn batch_norm(&mut self, name: &str, width: usize, used: bool) {
        for field in ["weight", "bias", "running_mean", "running_var"] {
            self.push(format!("{name}.{field}"), &[width], used);
        }
        self.push(format!("{name}.num_batches_tracked"), &[], false);
    }

    fn decoder(&mut self, config: &ModelConfig, text: bool) {
        let llm = &config.llm;
        let (h, m, kv) = (llm.hidden_size, llm.intermediate_size, llm.kv_dim());
        self.push(EMBED_TOKENS.to_owned(), &[llm.vocab_size, h], text);
        for layer in 0..llm.num_hidden_layers {
            let name = format!("model.layers.{layer}");
            self.linear(&format!("{name}.self_attn.q_proj"), (h, h), true, true);
            self.linear(&format!("{name}.self_attn.k_proj"), (kv, h), true, true);
            self.linear(&format!("{name}.self_attn.v_proj"), (kv, h), true, true);
            self.linear(&format!("{name}.self_attn.o_proj"), (h, h), false, true);
            self.linear(&format!("{name}.mlp.gate_proj"), (m, h), false, true);
            self.linear(&format!("{name}.mlp.up_proj"), (m, h), false, true);
            self.linear(&format!("{name}.mlp.down_proj"), (h, m), false, true);
            self.push(format!("{name}.input_layernorm.weight"), &[h], true);
            self.push(format!("{name}.post_attention_layernorm.weight"), &[h], true);
        }
        self.push(FINAL_NORM.to_owned(), &[h], true);
        self.push("lm_head.weight".to_owned(), &[llm.vocab_size, h], false);
    }

    fn action_head(&mut self, config: &ModelConfig) {
        let (h, m) = (config.llm.hidden_size, config.action.intermediate_size);
        self.linear(&format!("{ACTION_HEAD}.0"), (m, h), true, true);
        self.linear(&format!("{ACTION_HEAD}.2"), (m, m), true, true);
        self.linear(&format!("{ACTION_HEAD}.4"), (config.action.dim, m), true, true);
    }
}
