//! The ResNet of a checkpoint is listed twice; one set is kept.
//!
//! The original's tactile encoder registers torchvision's network both whole (`encoder.resnet`) and as a
//! sequence of its parts (`encoder.backbone`), so every convolution and norm has two names for one storage.

use std::collections::BTreeMap;

use super::tensor::Tensor;

const BACKBONE: &str = "model.tactile_tower.encoder.backbone.";
const RESNET: &str = "model.tactile_tower.encoder.resnet.";

/// Position in the sequence and the name of the same part in the network.
const PARTS: [(&str, &str); 6] =
    [("0", "conv1"), ("1", "bn1"), ("4", "layer1"), ("5", "layer2"), ("6", "layer3"), ("7", "layer4")];

/// Removes the second names and answers how many there were. A tensor that has only its second name gets the
/// first; one that differs from its twin is reported in `problems`.
pub fn drop_aliases(tensors: &mut BTreeMap<String, Tensor<'_>>, problems: &mut Vec<String>) -> usize {
    let aliases: Vec<(String, String)> =
        tensors.keys().filter_map(|alias| Some((alias.clone(), first_name(alias)?))).collect();
    let mut dropped = 0;
    for (alias, name) in aliases {
        let Some(tensor) = tensors.remove(&alias) else { continue };
        dropped += 1;
        match tensors.get(&name) {
            Some(twin) if !twin.is_equal(&tensor) => {
                problems.push(format!("`{alias}` differs from `{name}`, whose second name it should be"));
            }
            Some(_) => {}
            None => {
                tensors.insert(name, tensor);
            }
        }
    }
    dropped
}

fn first_name(alias: &str) -> Option<String> {
    let rest = alias.strip_prefix(BACKBONE)?;
    let (position, field) = rest.split_once('.')?;
    let (_, part) = PARTS.iter().find(|(number, _)| *number == position)?;
    Some(format!("{RESNET}{part}.{field}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::import::element::Element;

    #[test]
    fn equal_twins_go_and_different_ones_are_reported() {
        let (one, same, other) = ([1_u8, 2], [1_u8, 2], [1_u8, 3]);
        let tensor = |bytes| Tensor::contiguous(Element::U8, &[2], bytes).unwrap();
        let mut tensors = BTreeMap::from([
            (format!("{RESNET}conv1.weight"), tensor(&one)),
            (format!("{BACKBONE}0.weight"), tensor(&same)),
            (format!("{RESNET}layer4.1.bn2.bias"), tensor(&one)),
            (format!("{BACKBONE}7.1.bn2.bias"), tensor(&other)),
            (format!("{BACKBONE}1.bias"), tensor(&one)),
            (format!("{BACKBONE}9.bias"), tensor(&one)),
        ]);
        let mut problems = Vec::new();
        assert_eq!(drop_aliases(&mut tensors, &mut problems), 3);
        assert_eq!(problems.len(), 1);
        assert!(problems[0].contains("backbone.7.1.bn2.bias"));
        assert!(tensors.contains_key(&format!("{RESNET}bn1.bias")));
        assert!(tensors.contains_key(&format!("{BACKBONE}9.bias")));
    }
}
