//! The model's config from a checkpoint's shapes and the hub's configs.
//!
//! Shapes come first, because they are what will run; the hub fills in what shapes cannot tell. Where both
//! speak they must agree. Everything that is wrong is collected, so that one attempt tells it all.

use std::path::Path;

use super::hub::Hub;
use crate::policy::config::{
    ActionConfig, Activation, DecoderConfig, Format, ImageProcessorConfig, ModelConfig, Part, ProjectorType,
    Readout, Resample, TactileBackbone, TactileConfig, VisionConfig,
};
use crate::policy::tensors::{ACTION_HEAD, EMBED_TOKENS, PROJECTOR, RESNET, VISION};

/// Side of the tactile pictures the original trains and serves with; no shape tells it.
const TACTILE_SIDE_PX: usize = 128;
/// Width of the original's action head, assumed only so that the rest can still be checked.
const ACTION_WIDTH: usize = 512;

/// Where shapes are looked up.
pub trait Shapes {
    /// Shape of a tensor, if it is there.
    fn shape(&self, name: &str) -> Option<Vec<usize>>;
    /// Names of all tensors.
    fn names(&self) -> Vec<&str>;
}

/// The config, as far as it could be told, and what speaks against it.
#[derive(Debug)]
pub struct Inferred {
    /// Every size of the network.
    pub config: ModelConfig,
    /// Whether the config holds together by itself; only then can tensors be checked against it.
    pub is_valid: bool,
    /// Contradictions and gaps; not empty means the config must not be used.
    pub problems: Vec<String>,
    /// What is worth knowing and not wrong.
    pub notes: Vec<String>,
}

struct Reader<'a> {
    shapes: &'a dyn Shapes,
    problems: Vec<String>,
    notes: Vec<String>,
}

/// Works the config out.
#[must_use]
pub fn infer(hub: &Hub, shapes: &dyn Shapes) -> Inferred {
    let mut reader = Reader { shapes, problems: Vec::new(), notes: Vec::new() };
    let vision = reader.vision(hub);
    let llm = reader.decoder(hub);
    reader.projector(hub, &vision);
    let image_processor = reader.image_processor(hub, &vision);
    let base_width = reader.side(&format!("{RESNET}.conv1.weight"), 0, None, 64);
    let head = |layer: u32| format!("{ACTION_HEAD}.{layer}.weight");
    let action = ActionConfig {
        dim: reader.side(&head(4), 0, None, 7),
        intermediate_size: reader.side(&head(0), 0, None, ACTION_WIDTH),
    };
    let max_length = hub.language.tokenizer_model_max_length.unwrap_or_else(|| {
        reader.notes.push("the hub config has no tokenizer_model_max_length: sequences are not cut".into());
        llm.max_position_embeddings
    });
    let config = ModelConfig {
        format: Format::NanoVtla,
        vision,
        select_layer: -2,
        vision_post_layernorm: false,
        mm_projector_type: ProjectorType::Mlp2xGelu,
        llm,
        tactile: TactileConfig {
            backbone: TactileBackbone::ResNet18,
            base_width,
            image_size: TACTILE_SIDE_PX,
            image_mean: [0.0; 3],
            image_std: [1.0; 3],
        },
        action,
        image_processor,
        sequence: vec![Part::Image, Part::Tactile, Part::Text],
        readout: Readout::LastImage,
        tokenizer_model_max_length: max_length,
        default_instruction: "What action should the robot take?".into(),
    };
    let checked = serde_json::to_string(&config).map_err(|error| error.to_string()).and_then(|text| {
        ModelConfig::parse(&text, Path::new("config.json")).map_err(|error| error.to_string())
    });
    let is_valid = checked.is_ok();
    reader.problems.extend(checked.err());
    Inferred { config, is_valid, problems: reader.problems, notes: reader.notes }
}

impl Reader<'_> {
    /// A side of a tensor's shape; `claimed` by the hub under a key, which must agree. Without the tensor the
    /// claim counts, or `assumed` so that checking can go on (the missing tensor is reported by the key check).
    fn side(&mut self, name: &str, axis: usize, claimed: Option<(&str, usize)>, assumed: usize) -> usize {
        let found = self.shapes.shape(name).and_then(|shape| shape.get(axis).copied());
        if let (Some(found), Some((key, claim))) = (found, claimed)
            && found != claim
        {
            self.problems.push(format!("hub config says {key} = {claim}, but `{name}` has {found} there"));
        }
        found.or(claimed.map(|(_, claim)| claim)).unwrap_or(assumed)
    }

    /// Layers named `PREFIX.N.`, against what the hub says.
    fn layers(&mut self, prefix: &str, key: &str, claimed: Option<usize>) -> usize {
        let numbers = self.shapes.names().into_iter().filter_map(|name| {
            let rest = name.strip_prefix(prefix)?.strip_prefix('.')?;
            rest.split_once('.')?.0.parse::<usize>().ok()
        });
        let found = numbers.max().and_then(|last| last.checked_add(1));
        if let (Some(found), Some(claim)) = (found, claimed)
            && found != claim
        {
            self.problems
                .push(format!("hub config says {key} = {claim}, but the weights have {found} layers"));
        }
        // A number far beyond any network would make the list of expected tensors endless.
        found.filter(|found| *found <= 1024).or(claimed).unwrap_or(1).min(1024)
    }

    fn vision(&mut self, hub: &Hub) -> VisionConfig {
        let known = hub.vision.clone();
        if known.is_none() {
            self.problems.push(format!(
                "the vision tower {:?} has no folder in or beside {}: its head count cannot be told from shapes; \
                 put SigLIP's config.json there",
                hub.language.mm_vision_tower.as_deref().unwrap_or("(not named)"),
                hub.dir.display()
            ));
        }
        let known_or = known.clone().unwrap_or_default();
        let claim = |key, value: usize| known.as_ref().map(|_| (key, value));
        let patch_weight = format!("{VISION}.embeddings.patch_embedding.weight");
        let fc1 = format!("{VISION}.encoder.layers.0.mlp.fc1.weight");
        let positions = format!("{VISION}.embeddings.position_embedding.weight");
        let hidden_size =
            self.side(&patch_weight, 0, claim("vision_config.hidden_size", known_or.hidden_size), 1152);
        let patch_size =
            self.side(&patch_weight, 2, claim("vision_config.patch_size", known_or.patch_size), 14).max(1);
        let patches_per_side = known_or.image_size / patch_size;
        let claimed = claim("(vision_config.image_size / patch_size)^2", patches_per_side.saturating_pow(2));
        self.side(&positions, 0, claimed, 0);
        VisionConfig {
            hidden_size,
            intermediate_size: self.side(
                &fc1,
                0,
                claim("vision_config.intermediate_size", known_or.intermediate_size),
                4304,
            ),
            num_hidden_layers: self.layers(
                &format!("{VISION}.encoder.layers"),
                "vision_config.num_hidden_layers",
                known.as_ref().map(|known| known.num_hidden_layers),
            ),
            num_attention_heads: known_or.num_attention_heads,
            image_size: known_or.image_size,
            patch_size,
            num_channels: known_or.num_channels,
            hidden_act: self.activation("vision_config.hidden_act", &known_or.hidden_act),
            layer_norm_eps: known_or.layer_norm_eps,
        }
    }

    fn decoder(&mut self, hub: &Hub) -> DecoderConfig {
        let said = &hub.language;
        let first = "model.layers.0";
        let claim = |key: &'static str, value: Option<usize>| value.map(|value| (key, value));
        let hidden_size = self.side("model.norm.weight", 0, claim("hidden_size", said.hidden_size), 2048);
        let num_attention_heads = said.num_attention_heads.unwrap_or_else(|| {
            self.problems.push("hub config has no num_attention_heads, which no shape tells".into());
            1
        });
        let head_dim = (hidden_size / num_attention_heads.max(1)).max(1);
        let claimed_kv = said
            .num_key_value_heads
            .map(|heads| ("num_key_value_heads * head width", heads.saturating_mul(head_dim)));
        let kv = self.side(&format!("{first}.self_attn.k_proj.weight"), 0, claimed_kv, hidden_size);
        let vocab_size = self.side(EMBED_TOKENS, 0, None, said.vocab_size.unwrap_or(151_646));
        if let Some(claim) = said.vocab_size.filter(|claim| *claim != vocab_size) {
            self.notes.push(format!(
                "the hub config says vocab_size = {claim}; the checkpoint's embedding has {vocab_size} rows \
                 (the original resizes it to the tokenizer's length)"
            ));
        }
        self.refuse_unknown_attention(hub);
        DecoderConfig {
            vocab_size,
            hidden_size,
            intermediate_size: self.side(
                &format!("{first}.mlp.gate_proj.weight"),
                0,
                claim("intermediate_size", said.intermediate_size),
                5504,
            ),
            num_hidden_layers: self.layers("model.layers", "num_hidden_layers", said.num_hidden_layers),
            num_attention_heads,
            num_key_value_heads: kv / head_dim,
            max_position_embeddings: said.max_position_embeddings.unwrap_or(32_768),
            rope_theta: self.rope_theta(hub),
            rms_norm_eps: said.rms_norm_eps.unwrap_or(1e-6),
            hidden_act: self.activation("hidden_act", said.hidden_act.as_deref().unwrap_or("silu")),
            tie_word_embeddings: said.tie_word_embeddings.unwrap_or(false),
        }
    }

    fn rope_theta(&mut self, hub: &Hub) -> f64 {
        let newer = hub.language.rope_parameters.as_ref();
        let theta = hub.language.rope_theta.or(newer.and_then(|rope| rope.rope_theta));
        theta.unwrap_or_else(|| {
            self.notes
                .push("the hub config has no rope_theta: 10000, the default of its kind, is used".into());
            10_000.0
        })
    }

    fn refuse_unknown_attention(&mut self, hub: &Hub) {
        let said = &hub.language;
        if let Some(scaling) = said.rope_scaling.as_ref().filter(|scaling| !scaling.is_null()) {
            self.problems.push(format!("hub config says rope_scaling = {scaling}, which is not implemented"));
        }
        let kind = said.rope_parameters.as_ref().and_then(|rope| rope.rope_type.as_deref());
        if let Some(kind) = kind.filter(|kind| *kind != "default") {
            self.problems.push(format!("hub config says rope_type = {kind:?}, which is not implemented"));
        }
        let longest = said.tokenizer_model_max_length.or(said.max_position_embeddings).unwrap_or(usize::MAX);
        if said.use_sliding_window == Some(true) && said.sliding_window.is_some_and(|window| window < longest)
        {
            self.problems.push(format!(
                "hub config says sliding_window = {}, shorter than a sequence of {longest}: not implemented",
                said.sliding_window.unwrap_or_default()
            ));
        }
    }

    fn projector(&mut self, hub: &Hub, vision: &VisionConfig) {
        if let Some(kind) = hub.language.mm_projector_type.as_deref().filter(|kind| *kind != "mlp2x_gelu") {
            self.problems
                .push(format!("hub config says mm_projector_type = {kind:?}, expected \"mlp2x_gelu\""));
        }
        let claimed = hub.language.mm_hidden_size.map(|size| ("mm_hidden_size", size));
        self.side(&format!("{PROJECTOR}.0.weight"), 1, claimed, vision.hidden_size);
    }

    fn image_processor(&mut self, hub: &Hub, vision: &VisionConfig) -> ImageProcessorConfig {
        let said = &hub.preprocessor;
        if let Some(side) = said.size
            && (side.height, side.width) != (vision.image_size, vision.image_size)
        {
            self.problems.push(format!(
                "preprocessor_config.json stretches to {}x{}, but the vision tower takes {} pixels a side",
                side.width, side.height, vision.image_size
            ));
        }
        if said.resample != 3 {
            self.problems.push(format!(
                "preprocessor_config.json says resample = {}, expected 3 (bicubic)",
                said.resample
            ));
        }
        ImageProcessorConfig {
            size: vision.image_size,
            resample: Resample::Bicubic,
            rescale_factor: said.rescale_factor,
            image_mean: said.image_mean,
            image_std: said.image_std,
        }
    }

    fn activation(&mut self, key: &str, name: &str) -> Activation {
        match name {
            "silu" => Activation::Silu,
            "gelu" => Activation::Gelu,
            "gelu_pytorch_tanh" => Activation::GeluPytorchTanh,
            other => {
                self.problems.push(format!("{key} is {other:?}, expected silu, gelu or gelu_pytorch_tanh"));
                if key == "hidden_act" { Activation::Silu } else { Activation::GeluPytorchTanh }
            }
        }
    }
}
