//! Turning the original server's artefacts into a model folder.
//!
//! Three things make a model of the original: a hub folder (language model config, tokenizer, vision tower), a
//! `checkpoint_stepN.pt`, and a pickle of action statistics. The original loads them with `strict=False` and
//! executes both pickles; here nothing is executed, every tensor is accounted for, and what comes out is one
//! folder that the loader which serves it has already read.

pub mod aliases;
mod card;
pub mod checkpoint;
pub mod element;
pub mod folder;
pub mod hub;
pub mod infer;
mod merge;
pub mod ndarray;
pub mod pickle;
mod report;
pub mod source;
pub mod stats_pkl;
pub mod tensor;
mod weights_out;
pub mod writer;

use std::path::{Path, PathBuf};

pub use report::ImportReport;
use serde::Serialize;

use self::checkpoint::{Checkpoint, CheckpointError};
use self::folder::Staging;
use self::hub::{Hub, HubError};
use self::stats_pkl::StatsPickleError;
use super::config::ModelConfig;
use super::stats::{ACTION_DIM, ActionStats, StatsError};
use super::tensors::expected_tensors;
use super::tokenizer::{Tokenizer, TokenizerError};
use super::weights::{Stored, Weights, WeightsError};

/// What to import, and where to.
#[derive(Debug, Clone)]
pub struct ImportArgs {
    /// Folder of the language model as the hub serves it; the vision tower's folder in or beside it.
    pub hub: PathBuf,
    /// `checkpoint_stepN.pt` of train_nano_vtla.py.
    pub checkpoint: PathBuf,
    /// `action_mean_std.pkl`.
    pub stats: PathBuf,
    /// The model folder to make.
    pub out: PathBuf,
    /// Number format of the weights; `None` keeps what the files have.
    pub dtype: Option<Stored>,
    /// Whether an existing `out` is replaced.
    pub overwrite: bool,
}

/// Why nothing was imported. `out` is then as it was.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The checkpoint was refused.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The statistics were refused.
    #[error(transparent)]
    Stats(#[from] StatsPickleError),
    /// The hub folder was refused.
    #[error(transparent)]
    Hub(#[from] HubError),
    /// Everything that keeps the three from making a model.
    #[error("the artefacts do not make a model; problems found: {}\n  {}", .problems.len(), .problems.join("\n  "))]
    Mismatch {
        /// One line each.
        problems: Vec<String>,
    },
    /// A weight is NaN or infinite, or becomes so in the number format asked for.
    #[error("tensor `{tensor}`: weight {index} is not finite as {format}")]
    NotFinite {
        /// The tensor.
        tensor: String,
        /// Flat index.
        index: usize,
        /// The format it was looked at in.
        format: &'static str,
    },
    /// A file could not be read or written.
    #[error("{path}: {source}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The finished folder does not load; a defect here, not in the artefacts.
    #[error("the imported folder does not load: {0}")]
    Weights(#[from] WeightsError),
    /// The finished folder's statistics do not load.
    #[error("the imported folder does not load: {0}")]
    StatsFile(#[from] StatsError),
    /// The tokenizer does not load, or makes ids the embedding has no row for.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
}

impl ImportError {
    fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Self + '_ {
        move |source| Self::Io { path: path.to_owned(), source }
    }
}

/// Makes a model folder.
///
/// # Errors
/// [`ImportError`]; nothing partial stays behind.
pub fn import(args: &ImportArgs) -> Result<ImportReport, ImportError> {
    let staging = Staging::start(&args.out, args.overwrite).map_err(ImportError::io(&args.out))?;
    let stats = stats_pkl::read(&args.stats)?;
    let hub = Hub::open(&args.hub)?;
    let checkpoint = Checkpoint::open(&args.checkpoint)?;
    let merged = merge::merge(&hub, &checkpoint)?;
    let sources = source::of(args, &hub, merged.from_hub > 0)?;
    let entries = weights_out::write(staging.path(), &merged.tensors, args.dtype)?;
    let report = ImportReport::new(args, &checkpoint, &merged, &entries, &stats, sources);
    write_small_files(staging.path(), args, &merged.config, &stats, &report)?;
    verify(staging.path(), &merged.config)?;
    staging.publish().map_err(ImportError::io(&args.out))?;
    Ok(report)
}

fn write_small_files(
    dir: &Path,
    args: &ImportArgs,
    config: &ModelConfig,
    stats: &ActionStats,
    report: &ImportReport,
) -> Result<(), ImportError> {
    write_json(&dir.join("config.json"), config)?;
    write_json(&dir.join("action_stats.json"), &StatsFile { mean: stats.mean, std: stats.std })?;
    for name in ["tokenizer.json", "tokenizer_config.json"] {
        let from = args.hub.join(name);
        if name == "tokenizer.json" || from.exists() {
            std::fs::copy(&from, dir.join(name)).map_err(ImportError::io(&from))?;
        }
    }
    let readme = dir.join("README.md");
    std::fs::write(&readme, card::text(report, config, stats)).map_err(ImportError::io(&readme))
}

#[derive(Serialize)]
struct StatsFile {
    mean: [f32; ACTION_DIM],
    std: [f32; ACTION_DIM],
}

fn write_json(path: &Path, value: &impl Serialize) -> Result<(), ImportError> {
    let text = serde_json::to_string_pretty(value)
        .map_err(|error| ImportError::Io { path: path.to_owned(), source: std::io::Error::other(error) })?;
    std::fs::write(path, text + "\n").map_err(ImportError::io(path))
}

/// Reads the folder as a server would.
fn verify(dir: &Path, config: &ModelConfig) -> Result<(), ImportError> {
    Weights::open(dir)?.check(&expected_tensors(config))?;
    Tokenizer::load(dir, config)?;
    ActionStats::load(dir)?;
    Ok(())
}

#[cfg(test)]
mod tests;
