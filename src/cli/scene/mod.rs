//! `neuro scene ...`: everything about scenario files.

mod check;
mod export;
mod info;
mod sample;

use clap::{Args, Subcommand};

use super::exit::Outcome;

/// Scenario files.
#[derive(Debug, Args)]
pub struct SceneArgs {
    #[command(subcommand)]
    command: SceneCommand,
}

#[derive(Debug, Subcommand)]
enum SceneCommand {
    /// Say what is in a scenario: time, cameras, tracks, map.
    Info(info::InfoArgs),
    /// Say of each file whether it is a scenario a server would load.
    Check(check::CheckArgs),
    /// Write a range of time as MCAP, PNG files or a table of poses.
    Export(export::ExportArgs),
    /// Make a sample scenario.
    Sample(sample::SampleArgs),
}

/// Runs one of them.
///
/// # Errors
/// Those of the command.
pub fn run(args: &SceneArgs) -> Outcome {
    match &args.command {
        SceneCommand::Info(args) => info::run(args),
        SceneCommand::Check(args) => check::run(args),
        SceneCommand::Export(args) => export::run(args),
        SceneCommand::Sample(args) => sample::run(args),
    }
}
