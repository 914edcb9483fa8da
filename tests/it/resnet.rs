//! The tactile encoder against candle-transformers' ResNet-18, which has the published width alone.

use std::collections::HashMap;

use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;
use neuro::policy::backend::{Backend, CancelFlag, DeviceKind, Dtype, Input, Touch};
use neuro::policy::candle::{CandleBackend, Scope};
use neuro::policy::config::ModelConfig;
use neuro::policy::cpu::{CpuBackend, CpuOptions};
use neuro::policy::tensors::{RESNET, expected_tensors};
use neuro::policy::weights::Weights;

use crate::golden::model;

/// The tiny network with a tactile encoder of the published width, text and touch before the read-out.
fn published_width(dir: &std::path::Path) -> ModelConfig {
    let text = std::fs::read_to_string(model("tiny").join("config.json")).unwrap();
    let mut value: serde_json::Value = serde_json::from_str(&text).unwrap();
    value["tactile"]["base_width"] = 64.into();
    value["readout"] = "last_token".into();
    value["sequence"] = serde_json::json!(["image", "text", "tactile"]);
    std::fs::write(dir.join("config.json"), value.to_string()).unwrap();
    let config = ModelConfig::load(dir).unwrap();
    let tiny = Weights::open(&model("tiny")).unwrap();
    let mut state = 1u64;
    let mut random = |low: f32, high: f32| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        low + (high - low) * ((state >> 40) as f32 / (1u64 << 24) as f32)
    };
    let mut tensors: HashMap<String, Tensor> = HashMap::new();
    for spec in expected_tensors(&config).into_iter().filter(|spec| spec.required) {
        let count: usize = spec.shape.iter().product();
        let values = match tiny.view(&spec.name) {
            Ok(view) if view.shape == spec.shape => view.to_f32(),
            _ if spec.name.ends_with("running_var") => (0..count).map(|_| random(0.5, 1.5)).collect(),
            _ => {
                let reach = 1.7 / (count as f32 / spec.shape[0] as f32).sqrt().max(4.0);
                (0..count).map(|_| random(-reach, reach)).collect()
            }
        };
        tensors.insert(spec.name, Tensor::from_vec(values, spec.shape, &Device::Cpu).unwrap());
    }
    candle_core::safetensors::save(&tensors, dir.join("model.safetensors")).unwrap();
    config
}

#[test]
fn the_tactile_encoder_is_the_published_resnet18_at_its_width() {
    let dir = tempfile::tempdir().unwrap();
    let config = published_width(dir.path());
    let side = config.tactile.image_size;
    let picture: Vec<f32> = (0..3 * side * side).map(|i| (i as f32 * 0.013).sin().abs()).collect();
    let pixels = 3 * config.vision.image_size * config.vision.image_size;
    let input = Input {
        pixel_values: vec![0.1; pixels],
        touch: Touch::Picture(picture.clone()),
        token_ids: vec![3, 1, 4],
        cancel: CancelFlag::default(),
    };
    let weights = Weights::open(dir.path()).unwrap();
    let mut ours = CandleBackend::load(&config, &weights, DeviceKind::Cpu, Dtype::F32, Scope::Whole).unwrap();
    let trace = ours.trace(&input).unwrap();

    let file = candle_core::safetensors::load(dir.path().join("model.safetensors"), &Device::Cpu).unwrap();
    let vb = VarBuilder::from_tensors(file, DType::F32, &Device::Cpu).pp(RESNET);
    let published = candle_transformers::models::resnet::resnet18_no_final_layer(vb).unwrap();
    let picture = Tensor::from_vec(picture, (1, 3, side, side), &Device::Cpu).unwrap();
    let expected = candle_core::Module::forward(&published, &picture).unwrap();
    let expected: Vec<f32> = expected.flatten_all().unwrap().to_vec1().unwrap();
    let pooled = &trace["tactile_pooled"].values;
    assert_eq!(pooled.len(), expected.len());
    assert!(expected.iter().any(|value| *value > 0.01), "the reference is not all zero");
    for (ours, reference) in pooled.iter().zip(&expected) {
        assert!((ours - reference).abs() <= 1e-4 * reference.abs().max(1.0), "{ours} {reference}");
    }

    let mut packed =
        CpuBackend::load(&config, Weights::open(dir.path()).unwrap(), &CpuOptions::new(Dtype::F32)).unwrap();
    let packed = packed.infer(&[input]).remove(0).unwrap().action_norm;
    for (packed, whole) in packed.iter().zip(&trace["action_norm"].values) {
        assert!((packed - whole).abs() <= 1e-4, "{packed} {whole}");
    }
}
