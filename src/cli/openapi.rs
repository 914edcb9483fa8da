//! `neuro openapi`: the document the router itself serves on `/openapi.json`.

use clap::Args;

use super::exit::{Exit, OrExit, Outcome};
use super::output::say;
use crate::http;

/// Flags of `neuro openapi`.
#[derive(Debug, Args)]
pub struct OpenapiArgs {
    /// The document of `neuro orchestrate` instead of that of `neuro serve`.
    #[arg(long)]
    fleet: bool,
}

/// Prints the document.
///
/// # Errors
/// When standard output is gone.
pub fn run(args: &OpenapiArgs) -> Outcome {
    let document = if args.fleet { http::fleet::document() } else { http::document() };
    say(&document.to_pretty_json().or_exit(Exit::Failed)?)?;
    Ok(Exit::Ok)
}
