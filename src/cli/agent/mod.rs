//! `neuro agent`: the node agent, and a small client for it. Without a sub-command it serves.

mod act;
mod console;
mod create;
mod doctor;
mod doors;
mod drivers;
mod image;
mod link;
mod ls;
mod metrics;
mod serve;
mod shim;
mod size;
mod stats;
mod terminal;
mod wish;

use clap::{Args, Subcommand};

use super::exit::Outcome;

/// The node agent.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct AgentArgs {
    #[command(flatten)]
    serve: serve::ServeArgs,
    #[command(subcommand)]
    command: Option<AgentCommand>,
}

#[derive(Debug, Subcommand)]
enum AgentCommand {
    /// Serve until told to stop; instances go on.
    Serve(Box<serve::ServeArgs>),
    /// List instances.
    Ls(ls::LsArgs),
    /// Make an instance.
    Create(Box<create::CreateArgs>),
    /// Start an instance.
    Start(act::OneArgs),
    /// Stop an instance: asked to end, and killed when its time is over.
    Stop(act::StopArgs),
    /// Stop and start an instance.
    Restart(act::ForceArgs),
    /// Stop an instance and take it apart.
    Rm(act::ForceArgs),
    /// Attach this terminal to an instance's console; ctrl-] leaves it.
    Console(console::ConsoleArgs),
    /// Show what instances use, again and again.
    Stats(stats::StatsArgs),
    /// Images of this node's store.
    Image(image::ImageArgs),
    /// Try what can be run on this machine, and say why not.
    Doctor(doctor::DoctorArgs),
    /// Stay with a container; for the agent alone.
    #[command(hide = true)]
    Shim(shim::ShimArgs),
}

/// Runs one of them.
///
/// # Errors
/// Those of the command.
pub fn run(args: &AgentArgs) -> Outcome {
    let Some(command) = &args.command else { return serve::run(&args.serve) };
    match command {
        AgentCommand::Serve(args) => return serve::run(args),
        AgentCommand::Image(args) => return image::run(args),
        AgentCommand::Shim(args) => return shim::run(args),
        _ => {}
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let outcome = runtime.block_on(async {
        match command {
            AgentCommand::Ls(args) => ls::run(args).await,
            AgentCommand::Create(args) => create::run(args).await,
            AgentCommand::Start(args) => act::start(args).await,
            AgentCommand::Stop(args) => act::stop(args).await,
            AgentCommand::Restart(args) => act::restart(args).await,
            AgentCommand::Rm(args) => act::rm(args).await,
            AgentCommand::Console(args) => console::run(args).await,
            AgentCommand::Stats(args) => stats::run(args).await,
            AgentCommand::Doctor(args) => doctor::run(args).await,
            AgentCommand::Serve(_) | AgentCommand::Image(_) | AgentCommand::Shim(_) => {
                Ok(super::exit::Exit::Ok)
            }
        }
    });
    // Nobody waits for a thread that still reads the keyboard.
    runtime.shutdown_background();
    outcome
}
