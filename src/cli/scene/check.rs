//! `neuro scene check FILE...`: one line a file, `ok` or what is wrong with it.

use std::path::PathBuf;

use clap::Args;

use crate::cli::exit::{Exit, Outcome};
use crate::cli::output::say;
use crate::scene::{LoadLimits, Scenario};

/// Flags of `neuro scene check`.
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// The USDZ files.
    #[arg(required = true)]
    files: Vec<PathBuf>,
}

/// Loads every file as a server would, one after another.
///
/// # Errors
/// When standard output is gone. A file that is refused is no error: the exit code says so.
pub fn run(args: &CheckArgs) -> Outcome {
    let mut exit = Exit::Ok;
    for path in &args.files {
        let verdict = match Scenario::open(path, &LoadLimits::default()) {
            Ok(_) => "ok".to_owned(),
            Err(error) => {
                exit = Exit::Failed;
                error.to_string().replace('\n', " ")
            }
        };
        say(&format!("{}: {verdict}", path.display()))?;
    }
    Ok(exit)
}
