//! `neuro model ...`: everything about model folders.

mod check;
mod import;
mod list;
mod random;
mod stored;
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
    /// Make a model folder out of a hub folder, a training checkpoint and pickled statistics.
    Import(import::ImportFlags),
    /// Make a model folder of random weights, for benches and tests.
    Random(random::RandomFlags),
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
        ModelCommand::Import(flags) => import::run(flags),
        ModelCommand::Random(flags) => random::run(flags),
        ModelCommand::Swap(args) => swap::run(args),
    }
}
