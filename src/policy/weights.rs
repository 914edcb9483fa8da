//! Weights on disk: one `model.safetensors` or a sharded set, memory-mapped, checked against the config.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use half::{bf16, f16};
use memmap2::Mmap;
use safetensors::SafeTensors;
use sha2::{Digest, Sha256};

use super::tensors::TensorSpec;
use crate::mapping::{map_file, release};

/// Bytes of a file's data that one sample of the fingerprint reads.
const SAMPLE_BYTES: usize = 4096;
/// Samples spread over a file's data.
const SAMPLES: usize = 64;

/// Why weights were refused.
#[derive(Debug, Clone, thiserror::Error)]
pub enum WeightsError {
    /// A file could not be opened, mapped or parsed.
    #[error("{path}: {reason}")]
    File {
        /// The file.
        path: PathBuf,
        /// What was wrong.
        reason: String,
    },
    /// The set of tensors does not fit the config. One line a tensor.
    #[error("{dir}: the weights do not fit config.json: {}", .problems.join("; "))]
    Mismatch {
        /// The model folder.
        dir: PathBuf,
        /// Each missing tensor and each wrong shape.
        problems: Vec<String>,
    },
    /// A tensor has another type than a network can use.
    #[error("tensor `{name}` is {dtype}, expected F32, BF16 or F16")]
    Type {
        /// The tensor.
        name: String,
        /// Its type in the file.
        dtype: String,
    },
    /// A weight is NaN or infinite.
    #[error("tensor `{name}`: weight {index} is {value}")]
    NotFinite {
        /// The tensor.
        name: String,
        /// Flat index of the first one.
        index: usize,
        /// NaN, inf or -inf.
        value: f32,
    },
    /// Asked for a tensor that is not there.
    #[error("tensor `{0}` is not in the weights")]
    Missing(String),
}

/// Number format of a stored tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stored {
    /// 32-bit float.
    F32,
    /// bfloat16.
    Bf16,
    /// IEEE half.
    F16,
}

impl Stored {
    /// Bytes of one number.
    #[must_use]
    pub fn size(self) -> usize {
        if self == Self::F32 { 4 } else { 2 }
    }
}

/// A tensor as it lies in the file.
#[derive(Debug, Clone, Copy)]
pub struct WeightView<'a> {
    /// Number format.
    pub stored: Stored,
    /// Shape, outermost first.
    pub shape: &'a [usize],
    /// Little-endian numbers, row-major.
    pub bytes: &'a [u8],
}

impl WeightView<'_> {
    /// Numbers in the tensor.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes.len() / self.stored.size()
    }

    /// Whether it has none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Widens numbers `start..start + out.len()` into `out`; numbers past the end are left alone.
    pub fn read_f32(&self, start: usize, out: &mut [f32]) {
        let size = self.stored.size();
        let bytes = self.bytes.get(start * size..).unwrap_or_default();
        match self.stored {
            Stored::F32 => {
                for (value, raw) in out.iter_mut().zip(bytes.chunks_exact(4)) {
                    *value = f32::from_le_bytes([raw[0], raw[1], raw[2], raw[3]]);
                }
            }
            Stored::Bf16 => {
                for (value, raw) in out.iter_mut().zip(bytes.chunks_exact(2)) {
                    *value = bf16::from_le_bytes([raw[0], raw[1]]).to_f32();
                }
            }
            Stored::F16 => {
                for (value, raw) in out.iter_mut().zip(bytes.chunks_exact(2)) {
                    *value = f16::from_le_bytes([raw[0], raw[1]]).to_f32();
                }
            }
        }
    }

    /// All numbers as f32.
    #[must_use]
    pub fn to_f32(&self) -> Vec<f32> {
        let mut out = vec![0.0; self.len()];
        self.read_f32(0, &mut out);
        out
    }
}

struct Entry {
    file: usize,
    dtype: safetensors::Dtype,
    shape: Vec<usize>,
    bytes: std::ops::Range<usize>,
}

struct WeightFile {
    path: PathBuf,
    map: Arc<Mmap>,
}

/// The tensors of one model folder.
pub struct Weights {
    dir: PathBuf,
    files: Vec<WeightFile>,
    index: BTreeMap<String, Entry>,
    fingerprint: OnceLock<String>,
}

impl std::fmt::Debug for Weights {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Weights({}, {} tensors)", self.dir.display(), self.index.len())
    }
}

#[derive(serde::Deserialize)]
struct ShardIndex {
    weight_map: BTreeMap<String, String>,
}

impl Weights {
    /// Opens `dir/model.safetensors`, or the shards that `dir/model.safetensors.index.json` names.
    ///
    /// # Errors
    /// [`WeightsError::File`] when a file is missing, truncated or no safetensors file.
    pub fn open(dir: &Path) -> Result<Self, WeightsError> {
        let single = dir.join("model.safetensors");
        let index_path = dir.join("model.safetensors.index.json");
        let mut weights = Self {
            dir: dir.to_owned(),
            files: Vec::new(),
            index: BTreeMap::new(),
            fingerprint: OnceLock::new(),
        };
        if single.exists() || !index_path.exists() {
            weights.add_file(&single)?;
            return Ok(weights);
        }
        let fail = |reason: String| WeightsError::File { path: index_path.clone(), reason };
        let text = std::fs::read_to_string(&index_path).map_err(|error| fail(error.to_string()))?;
        let shards: ShardIndex = serde_json::from_str(&text).map_err(|error| fail(error.to_string()))?;
        let names: std::collections::BTreeSet<&String> = shards.weight_map.values().collect();
        for name in names {
            if Path::new(name).components().count() != 1 || name.starts_with('.') {
                return Err(fail(format!("shard name `{name}` is not a plain file name")));
            }
            weights.add_file(&dir.join(name))?;
        }
        for (tensor, shard) in &shards.weight_map {
            if !weights.index.contains_key(tensor) {
                return Err(fail(format!("tensor `{tensor}` is not in {shard}")));
            }
        }
        Ok(weights)
    }

    fn add_file(&mut self, path: &Path) -> Result<(), WeightsError> {
        let fail = |reason: String| WeightsError::File { path: path.to_owned(), reason };
        let map = map_file(path).map_err(|error| fail(error.to_string()))?;
        let (header, metadata) = SafeTensors::read_metadata(&map)
            .map_err(|error| fail(format!("not a whole safetensors file: {error}")))?;
        let data_start = header + 8;
        let held = map.len().saturating_sub(data_start);
        if metadata.data_len() != held {
            return Err(fail(format!(
                "truncated or padded: the header describes {} bytes of tensors, the file holds {held}",
                metadata.data_len()
            )));
        }
        let file = self.files.len();
        for (name, info) in metadata.tensors() {
            let (start, end) = info.data_offsets;
            let bytes = data_start + start..data_start + end;
            let entry = Entry { file, dtype: info.dtype, shape: info.shape.clone(), bytes };
            if self.index.insert(name.clone(), entry).is_some() {
                return Err(fail(format!("tensor `{name}` is in more than one shard")));
            }
        }
        self.files.push(WeightFile { path: path.to_owned(), map: Arc::new(map) });
        Ok(())
    }

    /// The model folder.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The weight files, in reading order.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        self.files.iter().map(|file| file.path.as_path())
    }

    /// Every tensor's name, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.index.keys().map(String::as_str)
    }

    /// Numbers in all tensors together.
    #[must_use]
    pub fn parameters(&self) -> u64 {
        self.index.values().map(|entry| entry.shape.iter().map(|side| *side as u64).product::<u64>()).sum()
    }

    /// Compares the tensors with what the config asks for.
    ///
    /// # Errors
    /// [`WeightsError::Mismatch`] lists every required tensor that is missing and every shape that differs.
    pub fn check(&self, expected: &[TensorSpec]) -> Result<(), WeightsError> {
        let mut problems = Vec::new();
        for spec in expected {
            match self.index.get(&spec.name) {
                None if spec.required => {
                    problems.push(format!("`{}` {:?} is missing", spec.name, spec.shape));
                }
                Some(entry) if entry.shape != spec.shape => problems
                    .push(format!("`{}` has shape {:?}, expected {:?}", spec.name, entry.shape, spec.shape)),
                _ => {}
            }
        }
        if problems.is_empty() {
            Ok(())
        } else {
            Err(WeightsError::Mismatch { dir: self.dir.clone(), problems })
        }
    }

    /// One tensor, in place.
    ///
    /// # Errors
    /// When it is not there or not a float.
    pub fn view(&self, name: &str) -> Result<WeightView<'_>, WeightsError> {
        let entry = self.index.get(name).ok_or_else(|| WeightsError::Missing(name.to_owned()))?;
        let stored = match entry.dtype {
            safetensors::Dtype::F32 => Stored::F32,
            safetensors::Dtype::BF16 => Stored::Bf16,
            safetensors::Dtype::F16 => Stored::F16,
            other => {
                return Err(WeightsError::Type { name: name.to_owned(), dtype: format!("{other:?}") });
            }
        };
        let bytes = self.files.get(entry.file).and_then(|file| file.map.get(entry.bytes.clone()));
        let bytes = bytes.ok_or_else(|| WeightsError::Missing(name.to_owned()))?;
        Ok(WeightView { stored, shape: &entry.shape, bytes })
    }

    /// Lets the system take back the memory through which a tensor was read; reading it again is allowed.
    pub fn release(&self, name: &str) {
        if let Some(entry) = self.index.get(name)
            && let Some(file) = self.files.get(entry.file)
        {
            release(&file.map, entry.bytes.clone());
        }
    }

    /// One tensor as f32, refused when a number in it is NaN or infinite.
    ///
    /// # Errors
    /// As [`Weights::view`], and [`WeightsError::NotFinite`].
    pub fn finite_f32(&self, name: &str) -> Result<Vec<f32>, WeightsError> {
        let values = self.view(name)?.to_f32();
        match values.iter().position(|value| !value.is_finite()) {
            Some(index) => {
                Err(WeightsError::NotFinite { name: name.to_owned(), index, value: values[index] })
            }
            None => Ok(values),
        }
    }

    /// Identifies the weights without reading them whole: headers, sizes, modification times and samples
    /// spread over the data. Two checkpoints of one training run differ in it.
    #[must_use]
    pub fn fingerprint(&self) -> &str {
        self.fingerprint.get_or_init(|| self.compute_fingerprint())
    }

    fn compute_fingerprint(&self) -> String {
        let mut hash = Sha256::new();
        for file in &self.files {
            let map = &file.map[..];
            let modified = std::fs::metadata(&file.path).and_then(|meta| meta.modified()).ok();
            let modified_ns = modified
                .and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok())
                .map_or(0, |age| age.as_nanos());
            hash.update(map.len().to_le_bytes());
            hash.update(modified_ns.to_le_bytes());
            let header = map.get(..8).map_or(0, |raw| {
                let mut length = [0u8; 8];
                length.copy_from_slice(raw);
                usize::try_from(u64::from_le_bytes(length)).unwrap_or(0)
            });
            hash.update(map.get(..header.saturating_add(8)).unwrap_or(map));
            let step = (map.len() / SAMPLES).max(SAMPLE_BYTES);
            for start in (0..map.len()).step_by(step) {
                hash.update(&map[start..(start + SAMPLE_BYTES).min(map.len())]);
            }
        }
        hash.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::config::ModelConfig;
    use crate::policy::tensors::expected_tensors;

    fn model(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("models").join(name)
    }

    #[test]
    fn the_shipped_models_fit_their_configs_and_nothing_is_left_over() {
        for name in ["tiny", "tabletop"] {
            let config = ModelConfig::load(&model(name)).unwrap();
            let weights = Weights::open(&model(name)).unwrap();
            let expected = expected_tensors(&config);
            weights.check(&expected).unwrap();
            let known: std::collections::BTreeSet<&str> =
                expected.iter().map(|spec| spec.name.as_str()).collect();
            assert_eq!(weights.names().filter(|tensor| !known.contains(tensor)).count(), 0, "{name}");
        }
    }

    #[test]
    fn every_missing_tensor_and_every_wrong_shape_is_listed() {
        let mut config = ModelConfig::load(&model("tiny")).unwrap();
        config.llm.num_hidden_layers += 1;
        config.action.intermediate_size = 41;
        let weights = Weights::open(&model("tiny")).unwrap();
        let Err(WeightsError::Mismatch { problems, .. }) = weights.check(&expected_tensors(&config)) else {
            panic!("accepted");
        };
        assert!(problems.iter().any(|line| line.contains("model.layers.3.self_attn.q_proj.weight")));
        assert!(problems.iter().any(|line| line.contains("[40, 64]") && line.contains("[41, 64]")));
    }

    #[test]
    fn a_truncated_file_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let bytes = std::fs::read(model("tiny").join("model.safetensors")).unwrap();
        std::fs::write(dir.path().join("model.safetensors"), &bytes[..bytes.len() - 1]).unwrap();
        let message = Weights::open(dir.path()).unwrap_err().to_string();
        assert!(message.contains("model.safetensors") && message.contains("safetensors"), "{message}");
    }

    #[test]
    fn a_sharded_set_reads_as_one() {
        let dir = tempfile::tempdir().unwrap();
        let bytes = std::fs::read(model("tiny").join("model.safetensors")).unwrap();
        let whole = SafeTensors::deserialize(&bytes).unwrap();
        let mut map = serde_json::Map::new();
        for (shard, parity) in
            [("model-00001-of-00002.safetensors", 0), ("model-00002-of-00002.safetensors", 1)]
        {
            let part: Vec<_> =
                whole.iter().enumerate().filter(|(i, _)| i % 2 == parity).map(|(_, t)| t).collect();
            for (name, _) in &part {
                map.insert((*name).to_owned(), shard.into());
            }
            std::fs::write(dir.path().join(shard), safetensors::serialize(part, None).unwrap()).unwrap();
        }
        let index = serde_json::json!({ "weight_map": map });
        std::fs::write(dir.path().join("model.safetensors.index.json"), index.to_string()).unwrap();
        let sharded = Weights::open(dir.path()).unwrap();
        let single = Weights::open(&model("tiny")).unwrap();
        assert_eq!(sharded.names().count(), single.names().count());
        let name = "action_head.mlp.4.weight";
        assert_eq!(sharded.finite_f32(name).unwrap(), single.finite_f32(name).unwrap());
        assert_ne!(sharded.fingerprint(), single.fingerprint());
    }
}
