use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::policy::stats::ActionStats;
use crate::policy::tokenizer::Tokenizer;
use crate::policy::weights::Weights;

/// The list taken from the original at full size: name to shape.
fn original_tensors() -> BTreeMap<String, Vec<usize>> {
    let list = include_str!("../../../tests/fixtures/import/state_dict_full.tsv");
    let mut tensors = BTreeMap::new();
    for line in list.lines().filter(|line| !line.starts_with('#')) {
        let fields: Vec<&str> = line.split('\t').collect();
        let shape: Vec<usize> =
            fields[2].split(',').filter(|side| !side.is_empty()).map(|side| side.parse().unwrap()).collect();
        for layer in 0..fields[1].parse::<usize>().unwrap() {
            tensors.insert(fields[0].replace("{layer}", &layer.to_string()), shape.clone());
        }
    }
    tensors
}

#[test]
fn the_full_size_config_asks_for_exactly_the_originals_tensors() {
    let expected = expected_tensors(&Like::Bunny2b.config().unwrap());
    let ours: BTreeMap<String, Vec<usize>> =
        expected.iter().map(|spec| (spec.name.clone(), spec.shape.clone())).collect();
    assert_eq!(ours.len(), expected.len(), "a name occurs twice");
    let original = original_tensors();
    assert_eq!(original.len(), 876);
    let names = |tensors: &BTreeMap<String, Vec<usize>>| tensors.keys().cloned().collect::<BTreeSet<_>>();
    assert_eq!(names(&ours).symmetric_difference(&names(&original)).count(), 0);
    assert_eq!(ours, original);
    let distinct: usize = original.values().map(|shape| shape.iter().product::<usize>()).sum();
    assert_eq!(distinct, 2_288_687_619);
}

#[test]
fn a_random_model_loads_and_follows_from_its_seed_alone() {
    let dir = tempfile::tempdir().unwrap();
    for like in [Like::Tiny, Like::Tabletop] {
        let make = |name: &str, seed: u64, threads: usize| {
            let out = dir.path().join(format!("{}-{name}", like.name()));
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| write_random(like, Stored::Bf16, seed, &out)).unwrap();
            out
        };
        let (first, again, other) = (make("a", 1, 1), make("b", 1, 3), make("c", 2, 2));
        let bytes = |out: &Path| std::fs::read(out.join("model.safetensors")).unwrap();
        assert!(bytes(&first) == bytes(&again), "the same seed gives the same file");
        assert!(bytes(&first) != bytes(&other), "another seed gives another");

        let config = ModelConfig::load(&first).unwrap();
        assert_eq!(config, like.config().unwrap());
        Tokenizer::load(&first, &config).unwrap();
        assert_ne!(ActionStats::load(&first).unwrap().std, ActionStats::identity().std);
        let weights = Weights::open(&first).unwrap();
        weights.check(&expected_tensors(&config)).unwrap();
        let resnet = crate::policy::tensors::RESNET;
        let variances = weights.finite_f32(&format!("{resnet}.bn1.running_var")).unwrap();
        assert!(variances.iter().all(|value| *value > 0.4));
        let query = weights.finite_f32("model.layers.0.self_attn.q_proj.weight").unwrap();
        let variance = query.iter().map(|value| value * value).sum::<f32>() / query.len() as f32;
        let wanted = 1.0 / config.llm.hidden_size as f32;
        assert!((variance / wanted - 1.0).abs() < 0.1, "{variance}, expected about {wanted}");
        let mean = query.iter().sum::<f32>() / query.len() as f32;
        assert!(mean.abs() < 0.01, "{mean}");
        assert!(write_random(like, Stored::F32, 1, &first).unwrap_err().to_string().contains("exists"));
    }
}

#[test]
fn sizes_are_called_by_name() {
    for like in Like::ALL {
        assert_eq!(like.name().parse(), Ok(like));
        like.config().unwrap();
    }
    assert!("bunny".parse::<Like>().unwrap_err().contains("bunny-2b, bunny-2b-last-token, tiny"));
}
