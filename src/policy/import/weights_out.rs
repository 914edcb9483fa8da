//! Streams the tensors into `model.safetensors`, refusing numbers that are not finite on the way.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::Path;

use rayon::prelude::*;

use super::ImportError;
use super::element::Element;
use super::tensor::Tensor;
use super::writer::{self, Entry, Writer};
use crate::policy::weights::Stored;

/// Bytes one worker looks at.
const PIECE_BYTES: usize = 1 << 20;
/// Bytes in memory at a time.
const BLOCK_BYTES: usize = 32 * PIECE_BYTES;

/// Writes `dir/model.safetensors` and answers what is in it.
pub(super) fn write(
    dir: &Path,
    tensors: &BTreeMap<String, Tensor<'_>>,
    dtype: Option<Stored>,
) -> Result<Vec<Entry>, ImportError> {
    let path = dir.join("model.safetensors");
    let mut entries: Vec<Entry> = tensors
        .iter()
        .map(|(name, tensor)| {
            let element = match dtype {
                Some(stored) if tensor.element().is_weight() => stored.into(),
                _ => tensor.element(),
            };
            Entry { name: name.clone(), element, shape: tensor.shape().to_vec() }
        })
        .collect();
    writer::sort(&mut entries);
    let mut writer = Writer::create(&path, &entries).map_err(ImportError::io(&path))?;
    for entry in &entries {
        let Some(tensor) = tensors.get(&entry.name) else { continue };
        for (number, block) in tensor.row_major_bytes().chunks(BLOCK_BYTES).enumerate() {
            let first = number * (BLOCK_BYTES / tensor.element().size());
            let pieces = convert(block, tensor.element(), entry.element).map_err(|(index, format)| {
                ImportError::NotFinite {
                    tensor: entry.name.clone(),
                    index: first + index,
                    format: format.name(),
                }
            })?;
            for piece in pieces {
                writer.write(&piece).map_err(ImportError::io(&path))?;
            }
        }
    }
    writer.finish().map_err(ImportError::io(&path))?;
    Ok(entries)
}

/// Pieces in the format asked for, or the index of the first number that is not finite and the format it is
/// not finite in: its own, or the narrower one it overflows.
fn convert(block: &[u8], from: Element, to: Element) -> Result<Vec<Cow<'_, [u8]>>, (usize, Element)> {
    let not_finite = |element: Element, pieces: &[Cow<'_, [u8]>]| {
        let find = |(number, piece): (usize, &Cow<'_, [u8]>)| {
            Some(number * (PIECE_BYTES / from.size()) + element.first_not_finite(piece)?)
        };
        match pieces.par_iter().enumerate().find_map_first(find) {
            Some(index) => Err((index, element)),
            None => Ok(()),
        }
    };
    let pieces: Vec<Cow<'_, [u8]>> = block.chunks(PIECE_BYTES).map(Cow::Borrowed).collect();
    not_finite(from, &pieces)?;
    if from == to {
        return Ok(pieces);
    }
    let cast: Vec<Cow<'_, [u8]>> = pieces.par_iter().map(|piece| Cow::Owned(from.cast(piece, to))).collect();
    not_finite(to, &cast)?;
    Ok(cast)
}
