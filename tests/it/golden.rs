//! The network against the recorded tensors of the original, and its shortcut against the whole.

use std::path::{Path, PathBuf};

use neuro::policy::backend::{Backend, CancelFlag, DeviceKind, Dtype, Input, Touch};
use neuro::policy::candle::{CandleBackend, Scope, Trace};
use neuro::policy::config::ModelConfig;
use neuro::policy::stats::ActionStats;
use neuro::policy::tokenizer::Tokenizer;
use neuro::policy::weights::Weights;
use safetensors::SafeTensors;

pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

pub fn model(name: &str) -> PathBuf {
    root().join("models").join(name)
}

pub fn fixture(name: &str) -> PathBuf {
    root().join("tests/fixtures").join(name)
}

/// One recorded case: the input after preprocessing, and the tensors it led to.
struct Case {
    name: String,
    text: String,
    input_ids: Vec<u32>,
    action: Vec<f32>,
    bytes: Vec<u8>,
}

impl Case {
    fn all() -> Vec<Self> {
        let text = std::fs::read_to_string(fixture("golden/cases.json")).unwrap();
        let manifest: serde_json::Value = serde_json::from_str(&text).unwrap();
        manifest["cases"].as_array().unwrap().iter().map(Self::read).collect()
    }

    fn read(entry: &serde_json::Value) -> Self {
        let name = entry["name"].as_str().unwrap().to_owned();
        Self {
            text: entry["effective_text"].as_str().unwrap().to_owned(),
            input_ids: serde_json::from_value(entry["input_ids"].clone()).unwrap(),
            action: serde_json::from_value(entry["action"].clone()).unwrap(),
            bytes: std::fs::read(fixture(&format!("golden/cases/{name}.safetensors"))).unwrap(),
            name,
        }
    }

    fn tensor(&self, name: &str) -> Option<Vec<f32>> {
        let file = SafeTensors::deserialize(&self.bytes).unwrap();
        let view = file.tensor(name).ok()?;
        Some(view.data().chunks_exact(4).map(|raw| f32::from_le_bytes(raw.try_into().unwrap())).collect())
    }

    fn input(&self) -> Input {
        let touch = match self.tensor("tactile_input") {
            Some(picture) => Touch::Picture(picture),
            None if self.tensor("tactile_embed").is_some() => Touch::Black,
            None => Touch::Absent,
        };
        Input {
            pixel_values: self.tensor("pixel_values").unwrap(),
            touch,
            token_ids: self.input_ids.clone(),
            cancel: CancelFlag::default(),
        }
    }
}

fn load(name: &str, dtype: Dtype, scope: Scope) -> CandleBackend {
    let config = ModelConfig::load(&model(name)).unwrap();
    let weights = Weights::open(&model(name)).unwrap();
    CandleBackend::load(&config, &weights, DeviceKind::Cpu, dtype, scope).unwrap()
}

fn largest_difference(left: &[f32], right: &[f32]) -> f32 {
    assert_eq!(left.len(), right.len());
    left.iter().zip(right).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

#[test]
fn every_intermediate_tensor_is_the_originals() {
    let mut backend = load("tiny", Dtype::F32, Scope::Whole);
    let limits = [
        ("pixel_values", 1e-6),
        ("patch_embeds", 1e-4),
        ("vision_features", 1e-4),
        ("projected", 1e-4),
        ("tactile_pooled", 1e-4),
        ("tactile_embed", 1e-4),
        ("inputs_embeds", 1e-4),
        ("hidden", 1e-4),
        ("hidden_used", 1e-4),
        ("action_norm", 5e-5),
    ];
    for case in Case::all() {
        let trace: Trace = backend.trace(&case.input()).unwrap();
        for (name, limit) in limits {
            let Some(expected) = case.tensor(name) else {
                assert!(name.starts_with("tactile"), "{}: {name} is not recorded", case.name);
                continue;
            };
            let difference = largest_difference(&trace[name].values, &expected);
            assert!(difference <= limit, "{} {name}: off by {difference}", case.name);
        }
    }
}

#[test]
fn the_shortcut_gives_the_action_of_the_whole_network() {
    let stats = ActionStats::load(&model("tiny")).unwrap();
    let mut whole = load("tiny", Dtype::F32, Scope::Whole);
    let mut visible = load("tiny", Dtype::F32, Scope::Visible);
    assert!(visible.info().parameters_used < whole.info().parameters_used);
    for case in Case::all() {
        let expected = &whole.trace(&case.input()).unwrap()["action_norm"].values;
        let answer = visible.infer(&[case.input()]).remove(0).unwrap();
        assert!(largest_difference(&answer.action_norm, expected) <= 1e-5, "{}", case.name);
        let action = stats.denormalise(&answer.action_norm);
        assert!(largest_difference(&action, &case.action) <= 2e-6, "{}", case.name);
    }
}

#[test]
fn text_and_touch_do_not_move_a_last_image_action() {
    let mut backend = load("tiny", Dtype::F32, Scope::Visible);
    let case = &Case::all()[0];
    let plain = backend.infer(&[case.input()]).remove(0).unwrap();
    let other = Input { token_ids: vec![1, 2, 3], touch: Touch::Absent, ..case.input() };
    assert_eq!(backend.infer(&[other]).remove(0).unwrap().action_norm, plain.action_norm);
}

#[test]
fn instructions_become_the_originals_token_ids() {
    let config = ModelConfig::load(&model("tiny")).unwrap();
    let tokenizer = Tokenizer::load(&model("tiny"), &config).unwrap();
    for case in Case::all() {
        assert_eq!(tokenizer.encode(&case.text).unwrap(), case.input_ids, "{}", case.name);
    }
}

#[test]
fn a_batch_answers_as_its_members_would_alone() {
    let mut backend = load("tiny", Dtype::F32, Scope::Visible);
    let inputs: Vec<Input> = Case::all().iter().map(Case::input).collect();
    let together = backend.infer(&inputs);
    for (input, answer) in inputs.iter().zip(together) {
        let alone = backend.infer(std::slice::from_ref(input)).remove(0).unwrap();
        assert!(largest_difference(&answer.unwrap().action_norm, &alone.action_norm) <= 1e-6);
    }
}
