//! The `neuro` binary: parse, dispatch, exit.

use clap::{Parser, Subcommand};
use neuro::cli::serve;

#[derive(Debug, Parser)]
#[command(name = "neuro", version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve a policy to robots.
    Serve(serve::ServeArgs),
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    match Cli::parse().command {
        Command::Serve(args) => serve::run(args).await,
    }
}
