use half::bf16;
use tempfile::TempDir;

use super::element::Element;
use super::*;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn fixture(name: &str) -> PathBuf {
    root().join("tests/fixtures/import").join(name)
}

fn copy_dir(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        if entry.path().is_dir() {
            copy_dir(&entry.path(), &to.join(entry.file_name()));
        } else {
            std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}

/// A place with a hub folder as one is downloaded, and the arguments that import it.
struct Place {
    dir: TempDir,
    args: ImportArgs,
}

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let hub = dir.path().join("hub");
        copy_dir(&fixture("hub"), &hub);
        for name in ["tokenizer.json", "tokenizer_config.json"] {
            std::fs::copy(root().join("models/tiny").join(name), hub.join(name)).unwrap();
        }
        let args = ImportArgs {
            hub,
            checkpoint: fixture("checkpoint_step100.pt"),
            stats: fixture("action_mean_std.pkl"),
            out: dir.path().join("out"),
            dtype: None,
            overwrite: false,
        };
        Self { dir, args }
    }

    fn edit_hub(&self, file: &str, edit: impl FnOnce(&mut serde_json::Value)) {
        let path = self.args.hub.join(file);
        let mut json = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
        edit(&mut json);
        std::fs::write(path, json.to_string()).unwrap();
    }

    /// The message of an import that must fail; also checks that nothing is left of it.
    fn refused(&self) -> String {
        let message = import(&self.args).unwrap_err().to_string();
        let left: Vec<_> = std::fs::read_dir(self.dir.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .filter(|name| name != "hub" && name != "c.pt" && name != "s.pkl")
            .collect();
        assert!(left.is_empty(), "{left:?} was left behind");
        message
    }

    /// Rewrites the checkpoint with bytes of its pickle replaced by others of the same length.
    fn edit_pickle(&mut self, from: &str, to: &str) {
        assert_eq!(from.len(), to.len());
        let mut bytes = std::fs::read(&self.args.checkpoint).unwrap();
        let at = bytes.windows(from.len()).position(|window| window == from.as_bytes()).unwrap();
        bytes[at..at + to.len()].copy_from_slice(to.as_bytes());
        self.write_checkpoint(&bytes);
    }

    fn write_checkpoint(&mut self, bytes: &[u8]) {
        self.args.checkpoint = self.dir.path().join("c.pt");
        std::fs::write(&self.args.checkpoint, bytes).unwrap();
    }
}

#[test]
fn the_originals_artefacts_become_the_golden_model_bit_for_bit() {
    let place = Place::new();
    let report = import(&place.args).unwrap();
    let (out, golden) = (&place.args.out, root().join("models/tiny"));

    let (ours, theirs) = (Weights::open(out).unwrap(), Weights::open(&golden).unwrap());
    let names: Vec<&str> = ours.names().collect();
    assert_eq!(names, theirs.names().collect::<Vec<_>>());
    let mut compared = 0;
    for name in names {
        if name.ends_with("num_batches_tracked") {
            continue;
        }
        let (view, golden) = (ours.view(name).unwrap(), theirs.view(name).unwrap());
        assert_eq!((view.stored, view.shape), (Stored::Bf16, golden.shape), "{name}");
        let cast: Vec<u8> =
            golden.to_f32().iter().flat_map(|value| bf16::from_f32(*value).to_le_bytes()).collect();
        assert!(view.bytes == cast, "{name} differs");
        compared += cast.len() / 2;
    }
    assert!(compared > 500_000);

    assert_eq!(ModelConfig::load(out).unwrap(), ModelConfig::load(&golden).unwrap());
    let (ours, theirs) = (ActionStats::load(out).unwrap(), ActionStats::load(&golden).unwrap());
    assert_eq!((ours.mean, ours.std, ours.id), (theirs.mean, theirs.std, theirs.id));
    for name in ["tokenizer.json", "tokenizer_config.json"] {
        assert_eq!(std::fs::read(out.join(name)).unwrap(), std::fs::read(golden.join(name)).unwrap());
    }

    assert_eq!((report.global_step, report.tensors), (Some(100), 240));
    assert_eq!((report.aliases, report.from_hub), (120, 0));
    assert_eq!(report.formats, ["BF16"]);
    let card = std::fs::read_to_string(out.join("README.md")).unwrap();
    let hash = "import/checkpoint_step100.pt";
    assert!(card.contains(hash) && card.contains(&report.sources[0].sha256), "{card}");
    assert!(card.contains(&report.parameters.to_string()) && card.contains("training step 100"));
    assert!(report.to_string().contains("240 tensors"), "{report}");
}

#[test]
fn weights_can_be_widened_and_an_existing_folder_is_kept_unless_asked() {
    let mut place = Place::new();
    place.args.dtype = Some(Stored::F32);
    import(&place.args).unwrap();
    let weights = Weights::open(&place.args.out).unwrap();
    let view = weights.view("action_head.mlp.4.bias").unwrap();
    assert_eq!(view.stored, Stored::F32);
    let message = import(&place.args).unwrap_err().to_string();
    assert!(message.contains("out") && message.contains("overwrite"), "{message}");
    place.args.overwrite = true;
    place.args.dtype = Some(Stored::F16);
    assert_eq!(import(&place.args).unwrap().formats, ["F16"]);
}

#[test]
fn everything_missing_and_left_over_is_listed() {
    let mut place = Place::new();
    place.edit_pickle("action_head.mlp.4.weight", "action_head.mlp.9.weight");
    place.edit_pickle("model.layers.1.mlp.up_proj.weight", "model.layers.1.mlp.uq_proj.weight");
    let message = place.refused();
    for wanted in [
        "problems found: 4",
        "missing: `action_head.mlp.4.weight` [7, 40]",
        "missing: `model.layers.1.mlp.up_proj.weight` [112, 64]",
        "left over: `action_head.mlp.9.weight`",
        "left over: `model.layers.1.mlp.uq_proj.weight`",
    ] {
        assert!(message.contains(wanted), "{wanted} not in {message}");
    }
}

#[test]
fn a_checkpoint_without_any_head_is_refused_not_served_at_random() {
    let mut place = Place::new();
    for layer in [0, 2, 4] {
        for field in ["weight", "bias"] {
            let name = format!("action_head.mlp.{layer}.{field}");
            place.edit_pickle(&name, &name.replace("action", "xction"));
        }
    }
    let message = place.refused();
    assert_eq!(message.matches("missing: `action_head.").count(), 6, "{message}");
}

#[test]
fn a_hub_that_contradicts_the_weights_is_refused_with_both_values() {
    let place = Place::new();
    place.edit_hub("config.json", |config| {
        config["hidden_size"] = 96.into();
        config["num_hidden_layers"] = 4.into();
        config["rope_scaling"] = serde_json::json!({"type": "linear", "factor": 2.0});
    });
    place.edit_hub("siglip-tiny-patch14-62/config.json", |config| {
        config["vision_config"]["image_size"] = 76.into();
    });
    let message = place.refused();
    for wanted in [
        "hidden_size = 96, but `model.norm.weight` has 64",
        "num_hidden_layers = 4, but the weights have 3",
        "rope_scaling",
        "= 25, but `model.vision_tower",
        "stretches to 62x62, but the vision tower takes 76",
    ] {
        assert!(message.contains(wanted), "{wanted} not in {message}");
    }
}

#[test]
fn head_counts_must_be_told() {
    let place = Place::new();
    std::fs::remove_dir_all(place.args.hub.join("siglip-tiny-patch14-62")).unwrap();
    place.edit_hub("config.json", |config| {
        config.as_object_mut().unwrap().remove("num_attention_heads");
    });
    let message = place.refused();
    assert!(
        message.contains("siglip-tiny-patch14-62") && message.contains("num_attention_heads"),
        "{message}"
    );
}

#[test]
fn what_the_checkpoint_lacks_comes_from_the_hubs_weights() {
    let mut place = Place::new();
    let golden = root().join("models/tiny");
    let lacking = "model.layers.1.self_attn.q_proj.bias";
    let of_tower = format!("{}.post_layernorm.weight", super::super::tensors::VISION);
    for name in [lacking, &of_tower] {
        // A buffer that every network recomputes, so that nothing is left over either.
        let buffer = format!("{:x>width$}", ".rotary_emb.inv_freq", width = name.len());
        place.edit_pickle(name, &buffer);
    }
    let message = place.refused();
    assert!(message.contains("problems found: 1") && message.contains(lacking), "{message}");

    std::fs::copy(golden.join("model.safetensors"), place.args.hub.join("model.safetensors")).unwrap();
    assert_eq!(import(&place.args).unwrap().from_hub, 2);
    let (ours, theirs) = (Weights::open(&place.args.out).unwrap(), Weights::open(&golden).unwrap());
    assert_eq!(ours.finite_f32(lacking).unwrap(), theirs.finite_f32(lacking).unwrap());

    // The vision tower's own file has its own names, and may hold the text tower too.
    std::fs::remove_file(place.args.hub.join("model.safetensors")).unwrap();
    let entry =
        |name: &str, side| writer::Entry { name: name.into(), element: Element::F32, shape: vec![side] };
    let entries = [entry("vision_model.post_layernorm.weight", 48), entry("text_model.x", 1)];
    let path = place.args.hub.join("siglip-tiny-patch14-62/model.safetensors");
    let mut file = writer::Writer::create(&path, &entries).unwrap();
    file.write(&[0; 49 * 4]).unwrap();
    file.finish().unwrap();
    std::fs::remove_dir_all(&place.args.out).unwrap();
    assert!(place.refused().contains("problems found: 1"));
    place.args.checkpoint = fixture("checkpoint_step100.pt");
    place.edit_pickle(&of_tower, &format!("{:x>width$}", ".rotary_emb.inv_freq", width = of_tower.len()));
    let report = import(&place.args).unwrap();
    assert_eq!(report.from_hub, 1);
    assert!(report.sources.iter().any(|source| source.name == "siglip-tiny-patch14-62/model.safetensors"));
    let ours = Weights::open(&place.args.out).unwrap();
    assert_eq!(ours.finite_f32(&of_tower).unwrap(), [0.0; 48]);
}

#[test]
fn weights_that_are_not_finite_are_refused_by_name() {
    let mut place = Place::new();
    let mut bytes = std::fs::read(&place.args.checkpoint).unwrap();
    let at = {
        let checkpoint = Checkpoint::open(&place.args.checkpoint).unwrap();
        let tensors = checkpoint.state_dict().unwrap();
        let wanted = tensors["model.layers.1.self_attn.o_proj.weight"].row_major_bytes().into_owned();
        bytes.windows(wanted.len()).position(|window| window == wanted).unwrap()
    };
    bytes[at + 2 * 77..at + 2 * 77 + 2].copy_from_slice(&bf16::NAN.to_le_bytes());
    place.write_checkpoint(&bytes);
    let message = place.refused();
    assert_eq!(message, "tensor `model.layers.1.self_attn.o_proj.weight`: weight 77 is not finite as BF16");
}

#[test]
fn a_hostile_pickle_stops_the_import() {
    let mut place = Place::new();
    place.edit_pickle("collections\nOrderedDict", "builtins\n__import__xxxx");
    assert!(place.refused().contains("builtins.__import__xxxx: not on the allow-list"));
    let mut place = Place::new();
    place.args.stats = place.dir.path().join("s.pkl");
    std::fs::write(&place.args.stats, b"cposix\nsystem\n(S'true'\ntR.").unwrap();
    assert!(place.refused().contains("posix.system: not on the allow-list"));
}
