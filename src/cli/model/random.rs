//! `neuro model random`: a model of random weights at a real size, for benches and tests.

use std::path::PathBuf;

use clap::Args;

use super::stored::StoredAs;
use crate::cli::exit::{Exit, Failure, OrExit, Outcome};
use crate::cli::output::say;
use crate::policy::random::{Like, write_random};

/// Flags of `neuro model random`.
#[derive(Debug, Args)]
pub struct RandomFlags {
    /// Whose sizes: bunny-2b, bunny-2b-last-token, tiny or tabletop.
    #[arg(long, value_name = "NAME")]
    like: String,
    /// Number format of the weights.
    #[arg(long, value_enum, default_value = "bf16", value_name = "DTYPE")]
    dtype: StoredAs,
    /// What the numbers follow from.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// The model folder to make.
    out: PathBuf,
}

/// Makes a model of random weights.
///
/// # Errors
/// With [`Exit::Usage`] for a name that is none, [`Exit::Failed`] when the folder cannot be written.
pub fn run(flags: &RandomFlags) -> Outcome {
    let like = Like::ALL.into_iter().find(|like| like.name() == flags.like).ok_or_else(|| {
        let names: Vec<_> = Like::ALL.iter().map(|like| like.name()).collect();
        let error = anyhow::anyhow!("--like: `{}` is none of {}", flags.like, names.join(", "));
        Failure { exit: Exit::Usage, error }
    })?;
    let report = write_random(like, flags.dtype.into(), flags.seed, &flags.out).or_exit(Exit::Failed)?;
    say(report.to_string().trim_end())?;
    Ok(Exit::Ok)
}
