//! `checkpoint_stepN.pt`: what `torch.save` writes, read in place.
//!
//! The file is a zip archive whose members are stored, not compressed: `NAME/data.pkl` describes the objects,
//! `NAME/data/KEY` holds one storage each. So a tensor is a range of the mapped file, and a checkpoint larger
//! than memory can be imported. Layout after `torch/serialization.py` of PyTorch 2.8.

use std::collections::{BTreeMap, HashMap};
use std::io::Cursor;
use std::ops::Range;
use std::path::{Path, PathBuf};

use memmap2::Mmap;
use zip::{CompressionMethod, ZipArchive};

use super::element::Element;
use super::pickle::{self, Global, Pickle, PickleError, Value};
use super::tensor::Tensor;
use crate::mapping::map_file;

/// Dimensions of the widest tensor accepted.
const MAX_RANK: usize = 8;
/// Longest tensor name accepted, in bytes.
const MAX_NAME: usize = 512;

/// Why a checkpoint was refused.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CheckpointError {
    /// The file is not a whole torch archive.
    #[error("{path}: {reason}")]
    File {
        /// The checkpoint.
        path: PathBuf,
        /// What was wrong.
        reason: String,
    },
    /// Its pickle was refused.
    #[error("{path}: data.pkl: {source}")]
    Pickle {
        /// The checkpoint.
        path: PathBuf,
        /// Why.
        source: PickleError,
    },
    /// It holds something else than a whole model.
    #[error(
        "{path}: no `model_state_dict`; the file holds {holds}. Needed is the whole checkpoint that \
         train_nano_vtla.py writes (checkpoint_stepN.pt), not a bare action head or state dict"
    )]
    NoModel {
        /// The checkpoint.
        path: PathBuf,
        /// What is in it.
        holds: String,
    },
    /// An entry of `model_state_dict` is no usable tensor.
    #[error("{path}: `{tensor}`: {reason}")]
    Tensor {
        /// The checkpoint.
        path: PathBuf,
        /// The entry.
        tensor: String,
        /// What was wrong.
        reason: String,
    },
}

/// An opened checkpoint.
#[derive(Debug)]
pub struct Checkpoint {
    path: PathBuf,
    map: Mmap,
    /// Where each storage lies in the file, by its key.
    storages: HashMap<String, Range<usize>>,
    objects: Pickle,
}

impl Checkpoint {
    /// Maps the file and reads its description; no weight is touched.
    ///
    /// # Errors
    /// [`CheckpointError`] when it is no torch archive, or its pickle names anything but tensors.
    pub fn open(path: &Path) -> Result<Self, CheckpointError> {
        let fail = |reason: String| CheckpointError::File { path: path.to_owned(), reason };
        let map = map_file(path).map_err(|error| fail(error.to_string()))?;
        if map.first() == Some(&0x80) {
            return Err(fail(
                "is a bare pickle or torch's format before 1.6; load and save it again with torch 1.6 or newer"
                    .into(),
            ));
        }
        let members = stored_members(&map).map_err(fail)?;
        let Some(pickle_name) = members.keys().find(|name| is_data_pkl(name)) else {
            return Err(fail("has no data.pkl: not a file that torch.save wrote".into()));
        };
        let folder = pickle_name.strip_suffix("data.pkl").unwrap_or_default();
        let bytes_of =
            |name: &str| members.get(&format!("{folder}{name}")).and_then(|range| map.get(range.clone()));
        if let Some(order) = bytes_of("byteorder")
            && order != b"little"
        {
            return Err(fail(format!(
                "was written in {} byte order, only little is read",
                String::from_utf8_lossy(order.get(..16).unwrap_or(order))
            )));
        }
        let objects = pickle::parse(bytes_of("data.pkl").unwrap_or_default())
            .map_err(|source| CheckpointError::Pickle { path: path.to_owned(), source })?;
        let data = format!("{folder}data/");
        let storages = members
            .iter()
            .filter_map(|(name, range)| Some((name.strip_prefix(&data)?.to_owned(), range.clone())))
            .collect();
        Ok(Self { path: path.to_owned(), map, storages, objects })
    }

    /// The step the checkpoint was saved at, if it says so.
    #[must_use]
    pub fn global_step(&self) -> Option<i64> {
        self.objects.root().get("global_step")?.as_i64()
    }

    /// Every tensor of `model_state_dict` by its name, aliases included.
    ///
    /// # Errors
    /// [`CheckpointError::NoModel`] says what the file holds instead; [`CheckpointError::Tensor`] names the
    /// entry that is no tensor or lies outside its storage.
    pub fn state_dict(&self) -> Result<BTreeMap<String, Tensor<'_>>, CheckpointError> {
        let root = self.objects.root();
        let entries = root
            .get("model_state_dict")
            .and_then(Value::entries)
            .ok_or_else(|| CheckpointError::NoModel { path: self.path.clone(), holds: describe(root) })?;
        let mut tensors = BTreeMap::new();
        for (key, value) in entries {
            // Names reach terminals, logs and the written file's header.
            let name = key.as_str().filter(|name| name.len() <= MAX_NAME && !name.contains(char::is_control));
            let name = name.ok_or_else(|| CheckpointError::File {
                path: self.path.clone(),
                reason: format!("an entry of model_state_dict has no usable name (it is {})", key.kind()),
            })?;
            let tensor = self.tensor(value).map_err(|reason| CheckpointError::Tensor {
                path: self.path.clone(),
                tensor: name.to_owned(),
                reason,
            })?;
            tensors.insert(name.to_owned(), tensor);
        }
        Ok(tensors)
    }

    fn tensor(&self, value: Value<'_>) -> Result<Tensor<'_>, String> {
        let call = match value.as_call() {
            Some((Global::RebuildParameter, args)) => args.item(0).and_then(Value::as_call),
            call => call,
        };
        let Some((Global::RebuildTensor, args)) = call else {
            return Err(format!("is {}, expected a tensor", value.kind()));
        };
        let malformed = || "is a tensor of unknown form".to_owned();
        let storage = args.item(0).and_then(Value::as_persistent).ok_or_else(malformed)?;
        let offset = args.item(1).and_then(Value::as_usize).ok_or_else(malformed)?;
        let shape = args.item(2).and_then(sizes).ok_or_else(malformed)?;
        let strides = args.item(3).and_then(sizes).ok_or_else(malformed)?;
        let (element, bytes) = self.storage(storage)?;
        let start = offset.checked_mul(element.size()).filter(|start| *start <= bytes.len());
        let bytes = start.and_then(|start| bytes.get(start..)).ok_or_else(|| {
            format!("starts at element {offset}, its storage holds {}", bytes.len() / element.size())
        })?;
        Tensor::strided(element, &shape, &strides, bytes)
    }

    /// `('storage', type, key, device, elements)`.
    fn storage(&self, description: Value<'_>) -> Result<(Element, &[u8]), String> {
        let part = |index: usize| description.item(index);
        let (Some(Global::Storage(element)), Some(key), Some(count)) = (
            part(1).and_then(Value::as_global),
            part(2).and_then(Value::as_str),
            part(4).and_then(Value::as_usize),
        ) else {
            return Err("has a storage of unknown form".into());
        };
        let bytes = self.storages.get(key).and_then(|range| self.map.get(range.clone()));
        let bytes = bytes.ok_or_else(|| format!("lies in storage {key:?}, which is not in the file"))?;
        let length = count.checked_mul(element.size());
        let bytes = length.and_then(|length| bytes.get(..length)).ok_or_else(|| {
            format!("storage {key:?} should hold {count} {} but has {} bytes", element.name(), bytes.len())
        })?;
        Ok((element, bytes))
    }
}

fn is_data_pkl(name: &str) -> bool {
    name == "data.pkl" || name.strip_suffix("/data.pkl").is_some_and(|folder| !folder.contains('/'))
}

fn sizes(value: Value<'_>) -> Option<Vec<usize>> {
    let value = match value.as_call() {
        Some((Global::TorchSize, args)) => args.item(0)?,
        _ => value,
    };
    let items = value.items()?;
    if items.len() > MAX_RANK {
        return None;
    }
    items.map(Value::as_usize).collect()
}

/// Where each member's bytes lie; only stored members have such a place.
fn stored_members(file: &[u8]) -> Result<BTreeMap<String, Range<usize>>, String> {
    let unreadable = |error| format!("is not a whole torch archive (zip): {error}");
    let mut archive = ZipArchive::new(Cursor::new(file)).map_err(unreadable)?;
    let mut members = BTreeMap::new();
    for index in 0..archive.len() {
        let member = archive.by_index_raw(index).map_err(unreadable)?;
        let name = member.name().map_err(unreadable)?.into_owned();
        if member.is_dir() {
            continue;
        }
        if member.compression() != CompressionMethod::Stored || member.encrypted() {
            return Err(format!("member {name:?} is compressed or encrypted; torch.save stores its members"));
        }
        let start = member.data_start().and_then(|start| usize::try_from(start).ok());
        let end = usize::try_from(member.size()).ok().and_then(|size| start?.checked_add(size));
        match (start, end) {
            (Some(start), Some(end)) if end <= file.len() => members.insert(name, start..end),
            _ => return Err(format!("member {name:?} lies outside the file")),
        };
    }
    Ok(members)
}

fn describe(root: Value<'_>) -> String {
    let Some(entries) = root.entries() else { return root.kind().to_owned() };
    let tensors = entries.iter().filter(|(_, value)| value.kind() == "a torch tensor").count();
    let names = root.key_names(6).join(", ").escape_debug().to_string();
    let more = if entries.len() > 6 { ", ..." } else { "" };
    format!("{} entries, {tensors} of them tensors ({names}{more})", entries.len())
}

#[cfg(test)]
mod tests;
