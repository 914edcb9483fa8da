//! The `neuro` binary: parse, run, say what went wrong in one line, exit.

use std::process::ExitCode;

use clap::Parser;
use neuro::cli::{Cli, complain};

fn main() -> ExitCode {
    match neuro::cli::run(Cli::parse()) {
        Ok(exit) => exit.into(),
        Err(failure) => {
            complain(&failure.line());
            failure.exit.into()
        }
    }
}
