//! The binary as a shell sees it: arguments in; exit code, standard output and standard error out.

use std::process::{Command, Output};

use crate::golden::root;

/// The binary, in the repository, without this shell's own settings.
pub fn neuro() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_neuro"));
    command.current_dir(root());
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(|name| name.starts_with("NEURO_") || name == "RUST_LOG") {
            command.env_remove(name);
        }
    }
    command
}

/// How it ended.
#[derive(Debug)]
pub struct Ended {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl From<Output> for Ended {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

/// Runs it to the end.
pub fn run(arguments: &[&str]) -> Ended {
    neuro().args(arguments).output().unwrap().into()
}

/// A signal that asks a process to end.
#[derive(Clone, Copy)]
pub enum Signal {
    /// As a service manager sends it.
    Term,
    /// As Ctrl-C sends it.
    Int,
}

/// Sends a signal.
pub fn signal(pid: u32, signal: Signal) {
    let name = match signal {
        Signal::Term => "-TERM",
        Signal::Int => "-INT",
    };
    assert!(Command::new("kill").arg(name).arg(pid.to_string()).status().unwrap().success());
}
