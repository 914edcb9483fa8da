//! `neuro openapi`: the document the router itself serves on `/openapi.json`.

use super::exit::{Exit, OrExit, Outcome};
use super::output::say;
use crate::http;

/// Prints the document.
///
/// # Errors
/// When standard output is gone.
pub fn run() -> Outcome {
    say(&http::document().to_pretty_json().or_exit(Exit::Failed)?)?;
    Ok(Exit::Ok)
}
