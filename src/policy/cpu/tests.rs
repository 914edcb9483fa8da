//! The backend against recorded tensors, against the reference backend on random networks, and against itself.

use std::path::{Path, PathBuf};

use safetensors::{Dtype as FileType, SafeTensors, tensor::TensorView};
use serde_json::json;

use super::*;
use crate::policy::backend::DeviceKind;
use crate::policy::candle::{CandleBackend, Scope};
use crate::policy::tensors::expected_tensors;

/// Numbers that repeat with a seed, uniform in -1..1.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> f32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 40) as f32 / 8_388_608.0 - 1.0
    }

    fn below(&mut self, limit: usize) -> usize {
        (((self.next() + 1.0) / 2.0 * limit as f32) as usize).min(limit - 1)
    }

    fn one_of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }

    fn many(&mut self, count: usize, scale: f32) -> Vec<f32> {
        (0..count).map(|_| self.next() * scale).collect()
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

fn shipped(name: &str, options: &CpuOptions) -> CpuBackend {
    let dir = root().join("models").join(name);
    let config = ModelConfig::load(&dir).unwrap();
    CpuBackend::load(&config, Weights::open(&dir).unwrap(), options).unwrap()
}

fn options(dtype: Dtype) -> CpuOptions {
    CpuOptions { threads: Some(2), ..CpuOptions::new(dtype) }
}

fn levels() -> Vec<Isa> {
    [Level::Portable, Level::Avx2, Level::Avx512, Level::Avx512Vnni, Level::Avx512Bf16]
        .into_iter()
        .filter_map(Isa::at)
        .collect()
}

/// A random small network of awkward sizes in a folder of its own.
struct RandomModel {
    dir: tempfile::TempDir,
    config: ModelConfig,
}

impl RandomModel {
    fn new(seed: u64, sequence: &[&str], readout: &str) -> Self {
        let mut numbers = Numbers(seed * 2 + 0x9E37_79B9);
        numbers.many(10, 1.0);
        let text = std::fs::read_to_string(root().join("models/tiny/config.json")).unwrap();
        let mut value: serde_json::Value = serde_json::from_str(&text).unwrap();
        let (vision_heads, vision_dim) = (numbers.one_of(&[1, 2, 3]), numbers.one_of(&[7, 16, 18, 33]));
        let (kv, share) = (numbers.one_of(&[1, 2, 3]), numbers.one_of(&[1, 2, 3]));
        let dim = numbers.one_of(&[6, 10, 16, 34]);
        let patch = numbers.one_of(&[7, 9, 14]);
        value["vision"]["hidden_size"] = json!(vision_heads * vision_dim);
        value["vision"]["num_attention_heads"] = json!(vision_heads);
        value["vision"]["intermediate_size"] = json!(numbers.one_of(&[31, 50, 96]));
        value["vision"]["num_hidden_layers"] = json!(2);
        value["vision"]["hidden_act"] = json!(numbers.one_of(&["gelu", "gelu_pytorch_tanh"]));
        value["vision"]["image_size"] = json!(patch * 5 + 3);
        value["vision"]["patch_size"] = json!(patch);
        value["image_processor"]["size"] = json!(patch * 5 + 3);
        value["select_layer"] = json!(numbers.one_of(&[-1, -2]));
        value["vision_post_layernorm"] = json!(numbers.one_of(&[true, false]));
        value["llm"]["hidden_size"] = json!(kv * share * dim);
        value["llm"]["num_attention_heads"] = json!(kv * share);
        value["llm"]["num_key_value_heads"] = json!(kv);
        value["llm"]["intermediate_size"] = json!(numbers.one_of(&[37, 64, 101]));
        value["llm"]["num_hidden_layers"] = json!(numbers.one_of(&[1, 3]));
        value["llm"]["rope_theta"] = json!(numbers.one_of(&[100.0, 10_000.0]));
        value["llm"]["vocab_size"] = json!(64);
        value["tactile"]["base_width"] = json!(numbers.one_of(&[3, 8]));
        value["tactile"]["image_size"] = json!(numbers.one_of(&[32, 45]));
        value["tactile"]["image_mean"] = json!([0.5, 0.4, 0.3]);
        value["tactile"]["image_std"] = json!([0.5, 0.6, 0.7]);
        value["action"]["intermediate_size"] = json!(numbers.one_of(&[20, 33]));
        value["tokenizer_model_max_length"] = json!(64);
        value["sequence"] = json!(sequence);
        value["readout"] = json!(readout);
        let config = ModelConfig::parse(&value.to_string(), Path::new("config.json")).unwrap();
        let dir = tempfile::tempdir().unwrap();
        write_weights(&config, dir.path(), &mut numbers);
        Self { dir, config }
    }

    fn weights(&self) -> Weights {
        Weights::open(self.dir.path()).unwrap()
    }

    fn cpu(&self, options: &CpuOptions) -> CpuBackend {
        CpuBackend::load(&self.config, self.weights(), options).unwrap()
    }

    fn reference(&self, dtype: Dtype) -> CandleBackend {
        CandleBackend::load(&self.config, &self.weights(), DeviceKind::Cpu, dtype, Scope::Visible).unwrap()
    }

    fn input(&self, numbers: &mut Numbers, text: usize, touch: usize) -> Input {
        let side = self.config.vision.image_size;
        let tactile = self.config.tactile.image_size;
        Input {
            pixel_values: numbers.many(3 * side * side, 1.0),
            touch: match touch {
                0 => Touch::Absent,
                1 => Touch::Black,
                _ => Touch::Picture(numbers.many(3 * tactile * tactile, 1.0)),
            },
            token_ids: (0..text).map(|_| numbers.below(64) as u32).collect(),
            cancel: CancelFlag::default(),
        }
    }
}

fn write_weights(config: &ModelConfig, dir: &Path, numbers: &mut Numbers) {
    let tensors: Vec<(String, Vec<usize>, Vec<u8>)> = expected_tensors(config)
        .into_iter()
        .filter(|spec| spec.required)
        .map(|spec| {
            let count: usize = spec.shape.iter().product();
            let fan_in: usize = spec.shape.iter().skip(1).product();
            let values: Vec<f32> = if spec.name.ends_with("running_var") {
                numbers.many(count, 0.4).iter().map(|v| v + 1.0).collect()
            } else if spec.shape.len() == 1 && spec.name.ends_with("weight") {
                numbers.many(count, 0.3).iter().map(|v| v + 1.0).collect()
            } else {
                numbers.many(count, if spec.shape.len() == 1 { 0.2 } else { 1.7 / (fan_in as f32).sqrt() })
            };
            (spec.name, spec.shape, values.iter().flat_map(|v| v.to_le_bytes()).collect())
        })
        .collect();
    let views: Vec<(&str, TensorView<'_>)> = (tensors.iter())
        .map(|(name, shape, bytes)| {
            (name.as_str(), TensorView::new(FileType::F32, shape.clone(), bytes).unwrap())
        })
        .collect();
    std::fs::write(dir.join("model.safetensors"), safetensors::serialize(views, None).unwrap()).unwrap();
}

fn answer(backend: &mut dyn Backend, input: &Input) -> Inference {
    backend.infer(std::slice::from_ref(input)).remove(0).unwrap()
}

fn distance(left: &[f32], right: &[f32]) -> f32 {
    assert_eq!(left.len(), right.len());
    left.iter().zip(right).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

const ORDERS: [[&str; 3]; 4] = [
    ["image", "tactile", "text"],
    ["text", "image", "tactile"],
    ["tactile", "text", "image"],
    ["image", "text", "tactile"],
];

/// Recorded cases of the tiny model: name, input, action before the statistics.
fn recorded() -> Vec<(String, Input, Vec<f32>)> {
    let folder = root().join("tests/fixtures/golden");
    let manifest: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(folder.join("cases.json")).unwrap()).unwrap();
    (manifest["cases"].as_array().unwrap().iter())
        .map(|case| {
            let name = case["name"].as_str().unwrap().to_owned();
            let bytes = std::fs::read(folder.join(format!("cases/{name}.safetensors"))).unwrap();
            let file = SafeTensors::deserialize(&bytes).unwrap();
            let floats = |tensor: &str| -> Option<Vec<f32>> {
                let view = file.tensor(tensor).ok()?;
                Some(
                    view.data()
                        .chunks_exact(4)
                        .map(|raw| f32::from_le_bytes(raw.try_into().unwrap()))
                        .collect(),
                )
            };
            let input = Input {
                pixel_values: floats("pixel_values").unwrap(),
                touch: floats("tactile_input").map_or(Touch::Black, Touch::Picture),
                token_ids: serde_json::from_value(case["input_ids"].clone()).unwrap(),
                cancel: CancelFlag::default(),
            };
            (name, input, floats("action_norm").unwrap())
        })
        .collect()
}

#[test]
fn the_original_networks_actions_come_out_on_every_instruction_set() {
    let cases = recorded();
    assert!(cases.len() >= 6);
    for isa in levels() {
        for (dtype, bound) in [(Dtype::F32, 2e-5), (Dtype::Bf16, 0.05)] {
            let bound = if isa.level() < Level::Avx512Bf16 { 2e-5 } else { bound };
            let mut backend = shipped("tiny", &CpuOptions { isa, ..options(dtype) });
            for (name, input, expected) in &cases {
                let off = distance(&answer(&mut backend, input).action_norm, expected);
                assert!(off <= bound, "{isa} {dtype:?} {name}: off by {off}");
            }
        }
    }
}

#[test]
fn the_tabletop_models_recorded_actions_come_out() {
    let dir = root().join("models/tabletop");
    let config = std::sync::Arc::new(ModelConfig::load(&dir).unwrap());
    let tokenizer = crate::policy::tokenizer::Tokenizer::load(&dir, &config).unwrap();
    let stats = crate::policy::stats::ActionStats::load(&dir).unwrap();
    let limits = crate::policy::image::DecodeLimits::default();
    let preprocessor = crate::policy::preprocess::Preprocessor::new(config, tokenizer, limits);
    for (dtype, bound) in [(Dtype::F32, 1e-4), (Dtype::Bf16, 0.06)] {
        let mut backend = shipped("tabletop", &options(dtype));
        let report = crate::policy::golden::run(&dir, &preprocessor, &stats, &mut backend).unwrap();
        assert!(report.cases >= 10);
        assert!(report.worst <= bound, "{dtype:?} {}: off by {}", report.worst_case, report.worst);
    }
}

#[test]
fn random_networks_agree_with_the_reference_backend() {
    for seed in 0..16u64 {
        let order = ORDERS[seed as usize % 4];
        let readout = if seed % 3 == 0 { "last_image" } else { "last_token" };
        let model = RandomModel::new(seed, &order, readout);
        let mut numbers = Numbers(seed + 99);
        let inputs: Vec<Input> = (0..4)
            .map(|index| model.input(&mut numbers, [5, 0, 31, 90][index], [1, 2, 0, 2][index]))
            .collect();
        for (dtype, bound) in [(Dtype::F32, 1e-5), (Dtype::Bf16, 0.04)] {
            let expected = model.reference(dtype).infer(&inputs);
            let got = model.cpu(&options(dtype)).infer(&inputs);
            for (index, (got, expected)) in got.iter().zip(&expected).enumerate() {
                let (got, expected) = (got.as_ref().unwrap(), expected.as_ref().unwrap());
                let off = distance(&got.action_norm, &expected.action_norm);
                assert!(
                    off <= bound,
                    "seed {seed} {order:?} {readout} {dtype:?} input {index}: off by {off}"
                );
            }
        }
    }
}

#[test]
fn int8_stays_near_f32_on_a_network_without_outliers() {
    if Isa::detect().level() < Level::Avx512Vnni {
        let refused = CpuBackend::load(
            &RandomModel::new(1, &ORDERS[0], "last_token").config,
            RandomModel::new(1, &ORDERS[0], "last_token").weights(),
            &options(Dtype::Int8),
        );
        assert!(refused.is_err_and(|error| error.to_string().contains("VNNI")));
        return;
    }
    for seed in 0..4 {
        let model = RandomModel::new(seed, &ORDERS[1], "last_token");
        let input = model.input(&mut Numbers(3), 7, 2);
        let exact = answer(&mut model.cpu(&options(Dtype::F32)), &input).action_norm;
        let coarse = answer(&mut model.cpu(&options(Dtype::Int8)), &input).action_norm;
        let off = distance(&exact, &coarse);
        assert!(off > 0.0 && off < 0.06, "seed {seed}: off by {off}");
    }
}

#[test]
fn an_answer_does_not_depend_on_its_batch_or_on_what_was_asked_before() {
    for (seed, order) in ORDERS.iter().enumerate() {
        for dtype in [Dtype::F32, Dtype::Bf16] {
            let model = RandomModel::new(seed as u64 + 40, order, "last_token");
            let mut numbers = Numbers(7);
            let first = model.input(&mut numbers, 9, 2);
            let other = model.input(&mut numbers, 4, 1);
            let mut longer = first.clone();
            longer.token_ids.extend([3, 1, 4, 1, 5]);
            let mut blind = first.clone();
            blind.touch = Touch::Black;
            let asked = [&first, &longer, &first, &other, &blind, &first, &longer, &longer];
            let alone: Vec<[f32; 7]> = asked
                .iter()
                .map(|input| answer(&mut model.cpu(&options(dtype)), input).action_norm)
                .collect();
            let mut backend = model.cpu(&options(dtype));
            let batch: Vec<Input> = asked.iter().map(|input| (*input).clone()).collect();
            let together = backend.infer(&batch);
            let mut reused = 0;
            for (index, (together, alone)) in together.iter().zip(&alone).enumerate() {
                let together = together.as_ref().unwrap();
                assert_eq!(together.action_norm, *alone, "{order:?} {dtype:?} input {index}");
                reused += together.reused_tokens;
            }
            assert!(reused > 0, "{order:?}: nothing was reused");
            let last = together.last().unwrap().as_ref().unwrap();
            assert!(last.reused_tokens > 20, "{order:?}: {} reused", last.reused_tokens);
        }
    }
}

#[test]
fn threads_do_not_change_a_bit() {
    let model = RandomModel::new(5, &ORDERS[1], "last_token");
    let input = model.input(&mut Numbers(11), 6, 2);
    let one = answer(&mut model.cpu(&CpuOptions { threads: Some(1), ..options(Dtype::F32) }), &input);
    let five = answer(&mut model.cpu(&CpuOptions { threads: Some(5), ..options(Dtype::F32) }), &input);
    assert_eq!(one.action_norm, five.action_norm);
}

#[test]
fn a_bad_or_cancelled_input_does_not_spoil_the_others() {
    let model = RandomModel::new(2, &ORDERS[0], "last_token");
    let mut numbers = Numbers(1);
    let good = model.input(&mut numbers, 3, 1);
    let mut gone = model.input(&mut numbers, 3, 1);
    gone.cancel = CancelFlag::default();
    gone.cancel.cancel();
    let mut short = good.clone();
    short.pixel_values.pop();
    let mut strange = good.clone();
    strange.pixel_values[0] = f32::NAN;
    let mut backend = model.cpu(&options(Dtype::F32));
    let expected = answer(&mut model.cpu(&options(Dtype::F32)), &good);
    let answers = backend.infer(&[gone, good.clone(), short, strange, good]);
    assert_eq!(answers[0], Err(BackendError::Cancelled));
    assert!(matches!(answers[2], Err(BackendError::Shape(_))));
    assert!(matches!(answers[3], Err(BackendError::NotFinite(_))), "{:?}", answers[3]);
    for index in [1, 4] {
        assert_eq!(answers[index].as_ref().unwrap().action_norm, expected.action_norm);
    }
}

#[test]
fn weights_that_are_not_finite_are_refused_by_name() {
    let model = RandomModel::new(3, &ORDERS[0], "last_token");
    let path = model.dir.path().join("model.safetensors");
    let mut bytes = std::fs::read(&path).unwrap();
    let name = "model.layers.0.mlp.up_proj.weight";
    let offset = {
        let file = SafeTensors::deserialize(&bytes).unwrap();
        file.tensor(name).unwrap().data().as_ptr() as usize - bytes.as_ptr() as usize
    };
    bytes[offset + 40..offset + 44].copy_from_slice(&f32::INFINITY.to_le_bytes());
    std::fs::write(&path, bytes).unwrap();
    let error = CpuBackend::load(&model.config, model.weights(), &options(Dtype::F32)).err().unwrap();
    assert_eq!(error.to_string(), format!("tensor `{name}`: weight 10 is inf"));
}

#[test]
fn packed_weights_kept_on_disk_give_the_same_answers() {
    for dtype in [Dtype::F32, Dtype::Bf16, Dtype::Int8] {
        if dtype == Dtype::Int8 && Isa::detect().level() < Level::Avx512Vnni {
            continue;
        }
        let model = RandomModel::new(8, &ORDERS[1], "last_token");
        let input = model.input(&mut Numbers(2), 6, 2);
        let dir = model.dir.path().join(".neuro");
        let kept = CpuOptions { packed_dir: Some(dir.clone()), packed_min_bytes: 0, ..options(dtype) };
        let mut fresh = model.cpu(&kept);
        assert!(!fresh.info().kernels.contains("mapped"));
        assert_eq!(std::fs::read_dir(&dir).unwrap().count(), 1);
        let expected = answer(&mut fresh, &input);
        let mut mapped = model.cpu(&kept);
        assert!(mapped.info().kernels.contains("mapped"), "{}", mapped.info().kernels);
        assert_eq!(answer(&mut mapped, &input).action_norm, expected.action_norm);
        assert_eq!(mapped.info().weight_bytes, fresh.info().weight_bytes);
    }
}
