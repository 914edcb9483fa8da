//! The command line: one file a sub-command. Only here and in `main` is `anyhow` used.

mod agent;
mod config;
mod driver;
mod exit;
mod fleet;
mod model;
mod openapi;
mod options;
mod orchestrate;
mod output;
mod predict;
mod render;
mod replay;
mod scene;
mod serve;
mod settings;
mod signals;
mod simulate;
mod table;
mod trainer;

use clap::{Parser, Subcommand};

pub use exit::{Exit, Failure, Outcome};
pub use output::complain;

/// The brain, the eyes and the world of a simulated robot.
#[derive(Debug, Parser)]
#[command(name = "neuro", version, about, after_help = EXIT_CODES)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXIT_CODES: &str = "Exit codes: 0 done, 1 done and the answer is no, 2 wrong flags or settings, \
3 model refused, 4 cannot listen, 5 running requests were cut off";

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve a policy to robots.
    Serve(serve::ServeArgs),
    /// Ask a model for one action, without a server.
    Predict(predict::PredictArgs),
    /// Check, list, import, make and swap models.
    Model(model::ModelArgs),
    /// Check and describe scenario files.
    Scene(scene::SceneArgs),
    /// Run a recording again and report where the actions differ.
    Replay(replay::ReplayArgs),
    /// Draw scenes for other programs, as a NuRec service does.
    Render(render::RenderArgs),
    /// Run sessions over pools of simulators and trainers.
    Orchestrate(orchestrate::OrchestrateArgs),
    /// Look at a running orchestrator.
    Fleet(fleet::FleetArgs),
    /// Simulate a robot, for an orchestrator or alone.
    Simulate(Box<simulate::SimulateArgs>),
    /// Train a policy on simulators.
    Trainer(Box<trainer::TrainerArgs>),
    /// Run containers and virtual machines on this node, or look after those of an agent.
    Agent(Box<agent::AgentArgs>),
    /// Show the effective settings.
    Config(config::ConfigArgs),
    /// Print the OpenAPI document.
    Openapi(openapi::OpenapiArgs),
}

/// Runs a command to its end.
///
/// # Errors
/// What went wrong, with the exit code it leads to.
pub fn run(cli: Cli) -> Outcome {
    match cli.command {
        Command::Serve(args) => serve::run(&args),
        Command::Predict(args) => predict::run(&args),
        Command::Model(args) => model::run(&args),
        Command::Scene(args) => scene::run(&args),
        Command::Replay(args) => replay::run(&args),
        Command::Render(args) => render::run(&args),
        Command::Orchestrate(args) => orchestrate::run(&args),
        Command::Fleet(args) => fleet::run(&args),
        Command::Simulate(args) => simulate::run(&args),
        Command::Trainer(args) => trainer::run(&args),
        Command::Agent(args) => agent::run(&args),
        Command::Config(args) => config::run(&args),
        Command::Openapi(args) => openapi::run(&args),
    }
}
