//! Models of random weights: the published size without the published checkpoint, for benches and tests.
//!
//! Every number follows from the seed, the tensor's name and its position, so the file is the same whatever
//! the number of threads. Variance is 1 / fan-in and norms stay near one, which keeps activations near unit
//! size through all layers: timings see no denormals, and comparisons of backends see no blow-up.

mod numbers;

use std::fmt;
use std::path::{Path, PathBuf};

use super::config::{ConfigError, ModelConfig, Readout};
use super::import::element::Element;
use super::import::folder::Staging;
use super::import::writer::{self, Entry, Writer};
use super::tensors::expected_tensors;
use super::weights::Stored;

const TINY_CONFIG: &str = include_str!("../../../models/tiny/config.json");
const TINY_TOKENIZER: &str = include_str!("../../../models/tiny/tokenizer.json");
const TABLETOP_CONFIG: &str = include_str!("../../../models/tabletop/config.json");
const TABLETOP_TOKENIZER: &str = include_str!("../../../models/tabletop/tokenizer.json");
const BUNNY_2B_CONFIG: &str = include_str!("bunny-2b.json");
/// The statistics the original publishes, which are plausible for an arm at 10 Hz.
const ACTION_STATS: &str = include_str!("../../../models/tiny/action_stats.json");

/// The model whose sizes are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Like {
    /// SigLIP so400m/14 at 384 pixels and Qwen1.5-1.8B: what the original serves, 2.3 billion numbers.
    Bunny2b,
    /// The same, read at the last token, so that text and touch count.
    Bunny2bLastToken,
    /// The golden network.
    Tiny,
    /// The default policy.
    Tabletop,
}

impl Like {
    /// Every size there is.
    pub const ALL: [Self; 4] = [Self::Bunny2b, Self::Bunny2bLastToken, Self::Tiny, Self::Tabletop];

    /// The name the command line uses.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Bunny2b => "bunny-2b",
            Self::Bunny2bLastToken => "bunny-2b-last-token",
            Self::Tiny => "tiny",
            Self::Tabletop => "tabletop",
        }
    }

    /// The config such a model has.
    ///
    /// # Errors
    /// Never for the configs built in; they go through the same checks as any other.
    pub fn config(self) -> Result<ModelConfig, ConfigError> {
        let text = match self {
            Self::Bunny2b | Self::Bunny2bLastToken => BUNNY_2B_CONFIG,
            Self::Tiny => TINY_CONFIG,
            Self::Tabletop => TABLETOP_CONFIG,
        };
        let mut config = ModelConfig::parse(text, Path::new(self.name()))?;
        if self == Self::Bunny2bLastToken {
            config.readout = Readout::LastToken;
        }
        Ok(config)
    }

    fn tokenizer(self) -> &'static str {
        if self == Self::Tabletop { TABLETOP_TOKENIZER } else { TINY_TOKENIZER }
    }
}

impl std::str::FromStr for Like {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|like| like.name() == name).ok_or_else(|| {
            let names: Vec<&str> = Self::ALL.iter().map(|like| like.name()).collect();
            format!("no model size is called {name:?}, expected one of {}", names.join(", "))
        })
    }
}

/// Why nothing was written.
#[derive(Debug, thiserror::Error)]
pub enum RandomError {
    /// A built-in config was refused.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A file could not be written.
    #[error("{path}: {source}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
}

impl RandomError {
    fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Self + '_ {
        move |source| Self::Io { path: path.to_owned(), source }
    }
}

/// What was written; its `Display` is what the command prints.
#[derive(Debug, Clone)]
pub struct RandomReport {
    /// The model folder.
    pub out: PathBuf,
    /// Whose sizes it has.
    pub like: Like,
    /// What the numbers follow from.
    pub seed: u64,
    /// Numbers in all tensors together.
    pub parameters: u64,
    /// Bytes of weights.
    pub bytes: u64,
    /// Their number format.
    pub format: &'static str,
}

impl fmt::Display for RandomReport {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            out,
            "random weights of the size of {} in {}: {} parameters, {:.1} MB as {}, seed {}",
            self.like.name(),
            self.out.display(),
            self.parameters,
            self.bytes as f64 / 1e6,
            self.format,
            self.seed
        )
    }
}

/// Writes a model folder of random weights; an existing `out` is not touched.
///
/// # Errors
/// [`RandomError`]; nothing partial stays behind.
pub fn write_random(like: Like, dtype: Stored, seed: u64, out: &Path) -> Result<RandomReport, RandomError> {
    let config = like.config()?;
    let staging = Staging::start(out, false).map_err(RandomError::io(out))?;
    let mut entries: Vec<Entry> = expected_tensors(&config)
        .into_iter()
        .map(|spec| {
            let element = if spec.shape.is_empty() { Element::I64 } else { dtype.into() };
            Entry { name: spec.name, element, shape: spec.shape }
        })
        .collect();
    writer::sort(&mut entries);
    write_weights(&staging.path().join("model.safetensors"), &entries, seed)?;
    let report = RandomReport {
        out: out.to_owned(),
        like,
        seed,
        parameters: entries.iter().map(Entry::len).sum(),
        bytes: entries.iter().map(Entry::byte_len).sum(),
        format: Element::from(dtype).name(),
    };
    let config_text = serde_json::to_string_pretty(&config)
        .map(|text| text + "\n")
        .map_err(|error| RandomError::io(out)(std::io::Error::other(error)))?;
    let card = format!(
        "# Random weights\n\nNothing was learnt here: every weight is a random number, and so is every action. \
         For benches and tests.\n\nMade by `neuro model random --like {} --seed {seed}`: {} parameters as {}.\n",
        like.name(),
        report.parameters,
        report.format
    );
    for (name, text) in [
        ("config.json", config_text.as_str()),
        ("action_stats.json", ACTION_STATS),
        ("tokenizer.json", like.tokenizer()),
        ("README.md", card.as_str()),
    ] {
        let path = staging.path().join(name);
        std::fs::write(&path, text).map_err(RandomError::io(&path))?;
    }
    staging.publish().map_err(RandomError::io(out))?;
    Ok(report)
}

fn write_weights(path: &Path, entries: &[Entry], seed: u64) -> Result<(), RandomError> {
    let mut file = Writer::create(path, entries).map_err(RandomError::io(path))?;
    for entry in entries {
        let numbers = numbers::Numbers::of(&entry.name, &entry.shape, seed);
        for block in numbers.blocks(entry.element) {
            for piece in block {
                file.write(&piece).map_err(RandomError::io(path))?;
            }
        }
    }
    file.finish().map_err(RandomError::io(path))
}

#[cfg(test)]
mod tests;
