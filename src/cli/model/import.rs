//! `neuro model import`: the original server's artefacts become a model folder.

use std::path::PathBuf;

use clap::Args;

use super::stored::StoredAs;
use crate::cli::exit::{Exit, OrExit, Outcome};
use crate::cli::output::say;
use crate::policy::import::{self, ImportArgs};

/// Flags of `neuro model import`.
#[derive(Debug, Args)]
pub struct ImportFlags {
    /// Folder of the language model as the hub serves it, the vision tower in or beside it.
    #[arg(long, value_name = "DIR")]
    hub: PathBuf,
    /// The training checkpoint, `checkpoint_stepN.pt`.
    #[arg(long, value_name = "FILE")]
    checkpoint: PathBuf,
    /// The action statistics, `action_mean_std.pkl`.
    #[arg(long, value_name = "FILE")]
    stats: PathBuf,
    /// Number format to write; that of the files when absent.
    #[arg(long, value_enum, value_name = "DTYPE")]
    dtype: Option<StoredAs>,
    /// Replace an existing folder.
    #[arg(long)]
    overwrite: bool,
    /// The model folder to make.
    out: PathBuf,
}

/// Imports a model.
///
/// # Errors
/// With [`Exit::Model`] and everything that keeps the artefacts from making a model.
pub fn run(flags: &ImportFlags) -> Outcome {
    let args = ImportArgs {
        hub: flags.hub.clone(),
        checkpoint: flags.checkpoint.clone(),
        stats: flags.stats.clone(),
        out: flags.out.clone(),
        dtype: flags.dtype.map(Into::into),
        overwrite: flags.overwrite,
    };
    let report = import::import(&args).or_exit(Exit::Model)?;
    say(report.to_string().trim_end())?;
    Ok(Exit::Ok)
}
