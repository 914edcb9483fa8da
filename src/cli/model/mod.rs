//! `neuro model ...`: everything about model folders.

mod check;
mod list;
mod swap;

use clap::{Args, Subcommand};

use super::exit::Outcome;

/// Model folders.
#[derive(Debug, Args)]
pub struct ModelArgs {
    #[command(subcommand)]
    command: ModelCommand,
}

#[derive(Debug, Subcommand)]
enum ModelCommand {
    /// Load a folder, warm it up, run its golden cases, and say what it is.
    Check(check::CheckArgs),
    /// List the model folders there are.
    List(list::ListArgs),
    /// Have a running server load another folder and change over to it.
    Swap(swap::SwapArgs),
}

/// Runs one of them.
///
/// # Errors
/// Those of the command.
pub fn run(args: &ModelArgs) -> Outcome {
    match &args.command {
        ModelCommand::Check(args) => check::run(args),
        ModelCommand::List(args) => list::run(args),
        ModelCommand::Swap(args) => swap::run(args),
    }
}
