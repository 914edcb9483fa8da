//! Exit codes: what a shell script or a service manager can tell apart without reading a message.

use std::fmt::Display;

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// As asked.
    Ok = 0,
    /// It ran and the answer is no: a replay differs, a request was refused, a peer cannot be reached.
    Failed = 1,
    /// Flags, variables or the configuration file are wrong; also clap's own code.
    Usage = 2,
    /// A model folder was refused.
    Model = 3,
    /// The address cannot be listened on.
    Listen = 4,
    /// Stopped, but running requests were cut off: the grace ran out, or a second signal came.
    CutOff = 5,
}

impl From<Exit> for std::process::ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// An error with the exit code it leads to.
#[derive(Debug)]
pub struct Failure {
    /// The exit code.
    pub exit: Exit,
    /// What went wrong, outermost first.
    pub error: anyhow::Error,
}

impl Failure {
    /// One line for standard error.
    #[must_use]
    pub fn line(&self) -> String {
        format!("neuro: {:#}", self.error).replace('\n', " ")
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self { exit: Exit::Failed, error }
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self { exit: Exit::Failed, error: error.into() }
    }
}

/// What every command answers with.
pub type Outcome = Result<Exit, Failure>;

/// Gives an error its exit code.
pub trait OrExit<T> {
    /// The value, or a failure that ends with `exit`.
    ///
    /// # Errors
    /// The error that was there, with its code.
    fn or_exit(self, exit: Exit) -> Result<T, Failure>;

    /// As [`OrExit::or_exit`], with what was being done in front.
    ///
    /// # Errors
    /// The error that was there, with its code.
    fn or_exit_with(self, exit: Exit, doing: impl Display + Send + Sync + 'static) -> Result<T, Failure>;
}

impl<T, E: Into<anyhow::Error>> OrExit<T> for Result<T, E> {
    fn or_exit(self, exit: Exit) -> Result<T, Failure> {
        self.map_err(|error| Failure { exit, error: error.into() })
    }

    fn or_exit_with(self, exit: Exit, doing: impl Display + Send + Sync + 'static) -> Result<T, Failure> {
        self.map_err(|error| Failure { exit, error: error.into().context(doing.to_string()) })
    }
}
