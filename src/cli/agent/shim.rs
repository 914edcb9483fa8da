//! `neuro agent shim`: what stays with a container when the agent goes. Started by the agent alone, once a container.

use anyhow::anyhow;
use clap::Args;

use crate::agent::shim::{self, ShimOptions};
use crate::cli::exit::{Exit, Failure, Outcome};

/// Arguments of `neuro agent shim`: between the agent and its own program, so that they are nobody else's to remember.
#[derive(Debug, Args)]
pub(super) struct ShimArgs {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    words: Vec<String>,
}

/// Stays until the container has ended and the agent says so.
///
/// # Errors
/// [`Exit::Usage`] for arguments that are wrong; what starting the container says.
pub(super) fn run(args: &ShimArgs) -> Outcome {
    let options = ShimOptions::parse(args.words.iter().cloned())
        .map_err(|problem| Failure { exit: Exit::Usage, error: anyhow!(problem) })?;
    shim::run(&options).map_err(|problem| Failure { exit: Exit::Failed, error: anyhow!(problem) })?;
    Ok(Exit::Ok)
}
