//! Checkpoints: everything a run needs to go on, in one safetensors file, with its sha256 beside.
//!
//! Tensors `policy.*` and `value.*` are the nets; the same names behind `adam.first.` and `adam.second.` are the optimiser's
//! moments. The metadata's one entry `neuro` is JSON: [`Counters`], the shape, the scale and the random numbers' state. A model is the
//! same file without the moments.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use percent_encoding::percent_decode_str;
use safetensors::{Dtype, SafeTensors, View};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::adam::Adam;
use super::error::TrainerError;
use super::policy::{Agent, Shape};
use super::random::Random;
use super::scale::Scale;
use crate::instance::step::ActionSpace;

const FORMAT: &str = "neuro-ppo-1";
const SUFFIX: &str = ".safetensors";
/// In one folder.
const KEPT: usize = 3;

/// What a run has counted so far.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Counters {
    /// Of all environments.
    pub steps: u64,
    /// Ended.
    pub episodes: u64,
    /// Done.
    pub updates: u64,
    /// Spent training, over all runs that led here.
    pub seconds: f64,
    /// Of the last episodes, newest last.
    pub rewards: Vec<f64>,
    /// Whether each of the last episodes reached its goal, newest last.
    pub successes: Vec<bool>,
    /// Demonstrations by the update before which they came in.
    #[serde(default)]
    pub demonstrations: BTreeMap<String, u64>,
}

/// A state to go on from.
#[derive(Debug, Clone)]
pub struct Checkpoint {
    /// The nets.
    pub agent: Agent,
    /// The optimiser; a fresh one in a model.
    pub adam: Adam,
    /// Where the random numbers are.
    pub random: Random,
    /// What was counted.
    pub counters: Counters,
    /// The environments' name.
    pub environment: String,
    /// How observations are brought to the nets; as they are where there is none.
    pub scale: Option<Scale>,
}

/// A file written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// Where.
    pub path: PathBuf,
    /// Of the file.
    pub size_bytes: u64,
    /// Of the file, hexadecimal.
    pub sha256: String,
}

impl Written {
    /// `file://` and the path.
    #[must_use]
    pub fn uri(&self) -> String {
        format!("file://{}", self.path.display())
    }
}

#[derive(Serialize, Deserialize)]
struct Head {
    format: String,
    observation: usize,
    action: ActionSpace,
    hidden: Vec<usize>,
    adam_steps: u64,
    random: [u64; 4],
    environment: String,
    counters: Counters,
    #[serde(default)]
    scale: Option<Scale>,
}

struct Numbers<'a> {
    shape: &'a [usize],
    numbers: &'a [f64],
}

impl View for Numbers<'_> {
    fn dtype(&self) -> Dtype {
        Dtype::F64
    }

    fn shape(&self) -> &[usize] {
        self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Owned(self.numbers.iter().flat_map(|number| number.to_le_bytes()).collect())
    }

    fn data_len(&self) -> usize {
        size_of_val(self.numbers)
    }
}

impl Checkpoint {
    /// Writes a checkpoint into a folder, by its steps, and removes old ones.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn keep(&self, folder: &Path) -> Result<Written, TrainerError> {
        let written =
            self.write(&folder.join(format!("checkpoint-{:012}{SUFFIX}", self.counters.steps)), true)?;
        for old in checkpoints(folder)?.iter().rev().skip(KEPT) {
            for path in [old.clone(), sum_path(old)] {
                fs::remove_file(&path).unwrap_or_else(|error| tracing::debug!("{}: {error}", path.display()));
            }
        }
        Ok(written)
    }

    /// Writes a file: whole or not at all. Without the optimiser it is a model.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn write(&self, path: &Path, optimiser: bool) -> Result<Written, TrainerError> {
        let parts = [
            ("", &self.agent.parameters),
            ("adam.first.", &self.adam.first),
            ("adam.second.", &self.adam.second),
        ];
        let parts = if optimiser { &parts[..] } else { &parts[..1] };
        let views: Vec<(String, Numbers<'_>)> = parts
            .iter()
            .flat_map(|(prefix, numbers)| {
                self.agent.tensors.iter().map(move |tensor| {
                    let numbers = &numbers[tensor.at.clone()];
                    (format!("{prefix}{}", tensor.name), Numbers { shape: &tensor.shape, numbers })
                })
            })
            .collect();
        let Shape { observation, action, hidden } = self.agent.shape.clone();
        let head = Head {
            format: FORMAT.to_owned(),
            observation,
            action,
            hidden,
            adam_steps: if optimiser { self.adam.steps } else { 0 },
            random: self.random.state(),
            environment: self.environment.clone(),
            counters: self.counters.clone(),
            scale: self.scale.clone(),
        };
        let refused = |problem: String| TrainerError::Checkpoint { path: path.to_owned(), problem };
        let head = serde_json::to_string(&head).map_err(|error| refused(error.to_string()))?;
        let metadata = HashMap::from([("neuro".to_owned(), head)]);
        let bytes =
            safetensors::serialize(views, Some(metadata)).map_err(|error| refused(error.to_string()))?;
        let sha256 = hexadecimal(&bytes);
        replace(path, &bytes)?;
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        replace(&sum_path(path), format!("{sha256}  {name}\n").as_bytes())?;
        Ok(Written { path: path.to_owned(), size_bytes: bytes.len() as u64, sha256 })
    }

    /// Reads a file, or the newest readable one of a folder; `None` for a folder without any and for no path at all.
    ///
    /// # Errors
    /// When a file cannot be used, or all of a folder's cannot.
    pub fn find(path: &Path) -> Result<Option<Self>, TrainerError> {
        if path.extension().is_some_and(|extension| extension == "safetensors") && !path.is_dir() {
            return Self::read(path).map(Some);
        }
        let mut problem = None;
        for candidate in checkpoints(path)?.iter().rev() {
            match Self::read(candidate) {
                Ok(checkpoint) => return Ok(Some(checkpoint)),
                Err(error) => {
                    tracing::warn!("passed over: {error}");
                    problem = problem.or(Some(error));
                }
            }
        }
        problem.map_or(Ok(None), Err)
    }

    /// The newest file of a folder, if there is one.
    #[must_use]
    pub fn newest(folder: &Path) -> Option<PathBuf> {
        checkpoints(folder).ok()?.pop()
    }

    /// Reads a file; checks the sum beside it, where there is one.
    ///
    /// # Errors
    /// When it is damaged or of something else.
    pub fn read(path: &Path) -> Result<Self, TrainerError> {
        let refused = |problem: String| TrainerError::Checkpoint { path: path.to_owned(), problem };
        let bytes = fs::read(path).map_err(TrainerError::io(path))?;
        if let Ok(beside) = fs::read_to_string(sum_path(path)) {
            let sum = hexadecimal(&bytes);
            if !beside.starts_with(&sum) {
                return Err(refused(format!("its sha256 is {sum}, not the one beside it")));
            }
        }
        let (_, metadata) = SafeTensors::read_metadata(&bytes).map_err(|error| refused(error.to_string()))?;
        let head = metadata.metadata().as_ref().and_then(|entries| entries.get("neuro"));
        let head =
            head.ok_or_else(|| refused("no metadata named neuro: not written by this trainer".to_owned()))?;
        let head: Head =
            serde_json::from_str(head).map_err(|error| refused(format!("its metadata: {error}")))?;
        if head.format != FORMAT {
            return Err(refused(format!("its format is {:?}; expected {FORMAT:?}", head.format)));
        }
        let tensors = SafeTensors::deserialize(&bytes).map_err(|error| refused(error.to_string()))?;
        let mut random = Random::restore(head.random);
        let shape = Shape { observation: head.observation, action: head.action, hidden: head.hidden };
        check(&shape).map_err(&refused)?;
        let mut agent = Agent::new(shape, &mut Random::new(0));
        let mut adam = Adam::new(agent.parameters.len());
        let has_moments = tensors.names().iter().any(|name| name.starts_with("adam."));
        for tensor in &agent.tensors {
            let load = |prefix: &str, into: &mut [f64]| {
                load(&tensors, &format!("{prefix}{}", tensor.name), &tensor.shape, into)
            };
            load("", &mut agent.parameters[tensor.at.clone()]).map_err(&refused)?;
            if has_moments {
                load("adam.first.", &mut adam.first[tensor.at.clone()]).map_err(&refused)?;
                load("adam.second.", &mut adam.second[tensor.at.clone()]).map_err(&refused)?;
            }
        }
        adam.steps = head.adam_steps;
        if !has_moments {
            random.bits();
        }
        if head.scale.as_ref().is_some_and(|scale| !scale.fits(agent.shape.observation)) {
            return Err(refused(format!(
                "its scale is not one of {} finite numbers",
                agent.shape.observation
            )));
        }
        let Head { counters, environment, scale, .. } = head;
        Ok(Self { agent, adam, random, counters, environment, scale })
    }
}

/// Sizes from a file are not to be believed: they become memory.
fn check(shape: &Shape) -> Result<(), String> {
    let outputs = match shape.action {
        ActionSpace::Discrete { discrete } => discrete,
        ActionSpace::Continuous { continuous, low, high }
            if low < high && low.is_finite() && high.is_finite() =>
        {
            continuous
        }
        ActionSpace::Continuous { low, high, .. } => {
            return Err(format!("its actions go from {low} to {high}"));
        }
    };
    let widths = [shape.observation, outputs].into_iter().chain(shape.hidden.iter().copied());
    match widths.clone().find(|width| !(1..=65_536).contains(width)) {
        Some(width) => Err(format!("a layer of {width} numbers; expected 1 to 65536")),
        None if shape.hidden.len() > 8 => {
            Err(format!("{} hidden layers; expected at most 8", shape.hidden.len()))
        }
        None => Ok(()),
    }
}

fn load(tensors: &SafeTensors<'_>, name: &str, shape: &[usize], into: &mut [f64]) -> Result<(), String> {
    let tensor = tensors.tensor(name).map_err(|error| format!("tensor {name}: {error}"))?;
    if tensor.dtype() != Dtype::F64 || tensor.shape() != shape {
        return Err(format!(
            "tensor {name} is {:?} {:?}; expected F64 {shape:?}",
            tensor.dtype(),
            tensor.shape()
        ));
    }
    for (into, bytes) in into.iter_mut().zip(tensor.data().as_chunks().0) {
        *into = f64::from_le_bytes(*bytes);
        if !into.is_finite() {
            return Err(format!("tensor {name} holds {into}"));
        }
    }
    Ok(())
}

/// A path, or a `file://` URI of this machine.
///
/// # Errors
/// For any other URI.
pub fn local_path(uri: &str) -> Result<PathBuf, TrainerError> {
    let wrong = || TrainerError::Uri { uri: uri.chars().take(300).collect() };
    match uri.split_once("://") {
        None if uri.is_empty() => Err(wrong()),
        None => Ok(PathBuf::from(uri)),
        Some(("file", rest)) => {
            let path = rest.strip_prefix("localhost").unwrap_or(rest);
            let path = percent_decode_str(path).decode_utf8().map_err(|_| wrong())?;
            if path.starts_with('/') { Ok(PathBuf::from(path.as_ref())) } else { Err(wrong()) }
        }
        Some(_) => Err(wrong()),
    }
}

/// Where a snapshot at `uri` goes: the file it names, or one in the folder it names.
///
/// # Errors
/// As [`local_path`].
pub fn snapshot_path(uri: &str) -> Result<PathBuf, TrainerError> {
    let path = local_path(uri)?;
    let is_file = path.extension().is_some_and(|extension| extension == "safetensors") && !path.is_dir();
    Ok(if is_file { path } else { path.join("checkpoint.safetensors") })
}

fn sum_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".sha256");
    PathBuf::from(name)
}

/// Those of a folder, fewest steps first.
fn checkpoints(folder: &Path) -> Result<Vec<PathBuf>, TrainerError> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(TrainerError::io(folder)(error)),
    };
    let mut found: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            name.starts_with("checkpoint") && name.ends_with(SUFFIX)
        })
        .collect();
    found.sort();
    Ok(found)
}

fn replace(path: &Path, bytes: &[u8]) -> Result<(), TrainerError> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::create_dir_all(folder).map_err(TrainerError::io(folder))?;
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{}.part", std::process::id()));
    let part = PathBuf::from(name);
    let write = || {
        let mut file = File::create(&part)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&part, path)?;
        File::open(folder)?.sync_all()
    };
    write().map_err(TrainerError::io(path))
}

fn hexadecimal(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checkpoint(steps: u64) -> Checkpoint {
        let mut random = Random::new(4);
        let action = ActionSpace::Continuous { continuous: 2, low: -1.0, high: 1.0 };
        let agent = Agent::new(Shape { observation: 3, action, hidden: vec![5, 4] }, &mut random);
        let mut adam = Adam::new(agent.parameters.len());
        let mut parameters = agent.parameters.clone();
        adam.step(&mut parameters, &agent.parameters, 0.1, 0.5);
        let counters =
            Counters { steps, rewards: vec![1.5, -0.1], successes: vec![true, false], ..Default::default() };
        let mut scale = Scale::new(agent.shape.observation);
        (0..3).for_each(|_| scale.see(&vec![0.1; agent.shape.observation]));
        Checkpoint { agent, adam, random, counters, environment: "reach".to_owned(), scale: Some(scale) }
    }

    #[test]
    fn a_checkpoint_reads_bit_for_bit_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let saved = checkpoint(70);
        let written = saved.keep(folder.path()).unwrap();
        assert_eq!(written.size_bytes, fs::metadata(&written.path).unwrap().len());
        for path in [folder.path(), &written.path] {
            let read = Checkpoint::find(path).unwrap().unwrap();
            assert_eq!(
                (read.agent.parameters, read.agent.shape),
                (saved.agent.parameters.clone(), saved.agent.shape.clone())
            );
            assert_eq!(
                (read.adam, read.random, read.counters),
                (saved.adam.clone(), saved.random.clone(), saved.counters.clone())
            );
        }
    }

    #[test]
    fn a_folder_keeps_the_newest_and_goes_on_from_the_newest_that_is_whole() {
        let folder = tempfile::tempdir().unwrap();
        for steps in [900, 1_000, 20_000, 3_000_000] {
            checkpoint(steps).keep(folder.path()).unwrap();
        }
        let found = checkpoints(folder.path()).unwrap();
        assert_eq!((found.len(), fs::read_dir(folder.path()).unwrap().count()), (3, 6));
        let newest = found.last().unwrap();
        let mut bytes = fs::read(newest).unwrap();
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        fs::write(newest, bytes).unwrap();
        assert!(Checkpoint::read(newest).unwrap_err().to_string().contains("sha256"));
        assert_eq!(Checkpoint::find(folder.path()).unwrap().unwrap().counters.steps, 20_000);
    }

    #[test]
    fn an_empty_folder_is_a_beginning_and_a_missing_file_is_not() {
        let folder = tempfile::tempdir().unwrap();
        assert!(Checkpoint::find(folder.path()).unwrap().is_none());
        assert!(Checkpoint::find(&folder.path().join("later")).unwrap().is_none());
        assert!(Checkpoint::find(&folder.path().join("no.safetensors")).is_err());
    }

    #[test]
    fn a_file_of_something_else_is_refused_with_its_path() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("checkpoint-1.safetensors");
        let good = checkpoint(1).write(&path, true).unwrap();
        fs::remove_file(sum_path(&path)).unwrap();
        let whole = fs::read(&good.path).unwrap();
        for cut in [0, 7, 40, whole.len() / 2, whole.len() - 1] {
            fs::write(&path, &whole[..cut]).unwrap();
            assert!(Checkpoint::read(&path).unwrap_err().to_string().contains("checkpoint-1"));
        }
        let said = b"observation\\\":3";
        let at = whole.windows(said.len()).position(|window| window == said).unwrap();
        let mut other = whole;
        other[at + said.len() - 1] = b'7';
        fs::write(&path, other).unwrap();
        assert!(Checkpoint::read(&path).unwrap_err().to_string().contains("policy.0.weight"));
    }

    #[test]
    fn a_model_is_smaller_and_starts_a_fresh_optimiser() {
        let folder = tempfile::tempdir().unwrap();
        let saved = checkpoint(5);
        let whole = saved.keep(folder.path()).unwrap();
        let model = saved.write(&folder.path().join("model.safetensors"), false).unwrap();
        assert!(model.size_bytes * 2 < whole.size_bytes);
        let read = Checkpoint::read(&model.path).unwrap();
        assert_eq!((read.agent.parameters, read.adam.steps), (saved.agent.parameters, 0));
    }

    #[test]
    fn only_places_on_this_machine_are_taken() {
        assert_eq!(local_path("file:///a%20b/c").unwrap(), Path::new("/a b/c"));
        assert_eq!(local_path("file://localhost/a").unwrap(), Path::new("/a"));
        assert_eq!(local_path("checkpoints").unwrap(), Path::new("checkpoints"));
        for wrong in ["", "s3://a/b", "file://host/a", "omniverse://n/a"] {
            assert!(local_path(wrong).is_err(), "{wrong}");
        }
        assert_eq!(
            snapshot_path("file:///s/checkpoint").unwrap(),
            Path::new("/s/checkpoint/checkpoint.safetensors")
        );
        assert_eq!(snapshot_path("file:///s/a.safetensors").unwrap(), Path::new("/s/a.safetensors"));
    }
}
