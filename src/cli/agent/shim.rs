//! `neuro agent shim`: what the agent leaves with a container. It is not for people, and it starts nothing that threads need.

use clap::Args;

use crate::agent::shim::{self, ShimOptions};
use crate::cli::exit::{Exit, Outcome};

/// A container's keeper.
#[derive(Debug, Args)]
pub struct ShimArgs {
    /// As the agent writes them.
//! `neuro agent shim`: what stays with a container when the agent goes. Started by the agent alone, once a container.

use anyhow::anyhow;

use crate::cli::exit::{Exit, Failure, Outcome};

/// Arguments of `neuro agent shim`: between the agent and its own program, so that they are nobody else's to remember.
pub(super) struct ShimArgs {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    words: Vec<String>,
}

/// Stays with its container until that has ended and the agent knows how.
///
/// # Errors
/// When the container cannot be started; the agent has been told the same.
pub fn run(args: &ShimArgs) -> Outcome {
    let options = ShimOptions::parse(args.words.iter().cloned()).map_err(anyhow::Error::msg)?;
    shim::run(&options).map_err(anyhow::Error::msg)?;
/// Stays until the container has ended and the agent says so.
/// [`Exit::Usage`] for arguments that are wrong; what starting the container says.
pub(super) fn run(args: &ShimArgs) -> Outcome {
    let options = ShimOptions::parse(args.words.iter().cloned())
        .map_err(|problem| Failure { exit: Exit::Usage, error: anyhow!(problem) })?;
    shim::run(&options).map_err(|problem| Failure { exit: Exit::Failed, error: anyhow!(problem) })?;
    Ok(Exit::Ok)
}
