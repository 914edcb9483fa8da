//! `neuro fleet ...`: looking at a running orchestrator, over the gRPC services every other client has.

mod drain;
mod link;
mod sessions;
mod status;
mod watch;
mod words;

use clap::{Args, Subcommand};

use super::exit::Outcome;

/// A running orchestrator.
#[derive(Debug, Args)]
pub struct FleetArgs {
    #[command(subcommand)]
    command: FleetCommand,
}

#[derive(Debug, Subcommand)]
enum FleetCommand {
    /// Say how the orchestrator is, what its pools hold and how many sessions are in each phase.
    Status(status::StatusArgs),
    /// List sessions.
    Sessions(sessions::SessionsArgs),
    /// Take no new sessions on an instance, or on the whole fleet.
    Drain(drain::DrainArgs),
    /// Follow a session's log, over lost connections and restarts too.
    Watch(watch::WatchArgs),
}

/// Runs one of them.
///
/// # Errors
/// Those of the command.
pub fn run(args: &FleetArgs) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        match &args.command {
            FleetCommand::Status(args) => status::run(args).await,
            FleetCommand::Sessions(args) => sessions::run(args).await,
            FleetCommand::Drain(args) => drain::run(args).await,
            FleetCommand::Watch(args) => watch::run(args).await,
        }
    })
}
