//! Checkpoint over hub: which tensors the model has, and everything that is missing or left over.

use std::collections::{BTreeMap, BTreeSet};

use super::ImportError;
use super::aliases::drop_aliases;
use super::checkpoint::Checkpoint;
use super::element::Element;
use super::hub::Hub;
use super::infer::{Shapes, infer};
use super::tensor::Tensor;
use crate::policy::config::ModelConfig;
use crate::policy::tensors::{TensorSpec, expected_tensors};

/// Endings of buffers that older libraries saved and every network recomputes.
const RECOMPUTED: [&str; 2] = [".rotary_emb.inv_freq", ".embeddings.position_ids"];

/// The whole model, not yet read.
pub(super) struct Merged<'a> {
    pub(super) config: ModelConfig,
    pub(super) tensors: BTreeMap<String, Tensor<'a>>,
    /// Second names that were dropped.
    pub(super) aliases: usize,
    /// Tensors the checkpoint lacked and the hub had.
    pub(super) from_hub: usize,
    /// What is worth knowing and not wrong.
    pub(super) notes: Vec<String>,
}

struct Both<'a, 'b> {
    checkpoint: &'b BTreeMap<String, Tensor<'a>>,
    hub: &'a Hub,
}

impl Shapes for Both<'_, '_> {
    fn shape(&self, name: &str) -> Option<Vec<usize>> {
        if let Some(tensor) = self.checkpoint.get(name) {
            return Some(tensor.shape().to_vec());
        }
        let tensor = self.hub.tensor(name).ok().flatten()?;
        Some(tensor.shape().to_vec())
    }

    fn names(&self) -> Vec<&str> {
        self.checkpoint.keys().map(String::as_str).collect()
    }
}

/// Brings both together under one config.
///
/// # Errors
/// [`ImportError::Mismatch`] with every contradiction, missing tensor, wrong shape and left-over tensor.
pub(super) fn merge<'a>(hub: &'a Hub, checkpoint: &'a Checkpoint) -> Result<Merged<'a>, ImportError> {
    let mut tensors = checkpoint.state_dict()?;
    let mut problems = Vec::new();
    let aliases = drop_aliases(&mut tensors, &mut problems);
    let held = tensors.len();
    tensors.retain(|name, _| !RECOMPUTED.iter().any(|ending| name.ends_with(ending)));
    let recomputed = held - tensors.len();

    let inferred = infer(hub, &Both { checkpoint: &tensors, hub });
    problems.extend(inferred.problems);
    let mut notes = inferred.notes;
    if recomputed > 0 {
        notes.push(format!("{recomputed} buffers that every network recomputes were left out"));
    }
    let mut from_hub = 0;
    if inferred.is_valid {
        let expected = expected_tensors(&inferred.config);
        from_hub = fill_from_hub(hub, &expected, &mut tensors)?;
        check(&expected, &tensors, &mut problems, &mut notes);
    }
    if !problems.is_empty() {
        return Err(ImportError::Mismatch { problems });
    }
    Ok(Merged { config: inferred.config, tensors, aliases, from_hub, notes })
}

fn fill_from_hub<'a>(
    hub: &'a Hub,
    expected: &[TensorSpec],
    tensors: &mut BTreeMap<String, Tensor<'a>>,
) -> Result<usize, ImportError> {
    let mut filled = 0;
    for spec in expected {
        if !tensors.contains_key(&spec.name)
            && let Some(tensor) = hub.tensor(&spec.name)?
        {
            tensors.insert(spec.name.clone(), tensor);
            filled += 1;
        }
    }
    Ok(filled)
}

fn check(
    expected: &[TensorSpec],
    tensors: &BTreeMap<String, Tensor<'_>>,
    problems: &mut Vec<String>,
    notes: &mut Vec<String>,
) {
    let mut absent = 0;
    for spec in expected {
        match tensors.get(&spec.name) {
            None if spec.required => problems.push(format!("missing: `{}` {:?}", spec.name, spec.shape)),
            None => absent += 1,
            Some(tensor) if tensor.shape() != spec.shape => problems.push(format!(
                "wrong shape: `{}` is {:?}, expected {:?}",
                spec.name,
                tensor.shape(),
                spec.shape
            )),
            Some(tensor) => {
                let counter = spec.shape.is_empty() && tensor.element() == Element::I64;
                if !counter && !tensor.element().is_weight() {
                    problems.push(format!(
                        "wrong type: `{}` is {}, expected F32, BF16 or F16",
                        spec.name,
                        tensor.element().name()
                    ));
                }
            }
        }
    }
    if absent > 0 {
        notes.push(format!("{absent} tensors of the original that cannot reach the action are absent"));
    }
    let known: BTreeSet<&str> = expected.iter().map(|spec| spec.name.as_str()).collect();
    for (name, tensor) in tensors.iter().filter(|(name, _)| !known.contains(name.as_str())) {
        problems.push(format!("left over: `{name}` {:?} has no place in this network", tensor.shape()));
    }
}
