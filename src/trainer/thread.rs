//! The training thread and the way to talk to it.

use tokio::sync::{mpsc, oneshot};

use super::checkpoint::Written;
use super::error::TrainerError;
use super::plan::Plan;
use super::run;
use crate::proto::neuro::ext;

const WAITING_COMMANDS: usize = 16;
const WAITING_NEWS: usize = 64;

/// What a run is told while it runs. Each is answered.
#[derive(Debug)]
pub(super) enum Command {
    /// Another simulator in a place.
    Replace { index: usize, endpoint: String, done: oneshot::Sender<Result<(), TrainerError>> },
    /// A demonstration more. How many rows it gave.
    Learn { uri: String, done: oneshot::Sender<Result<usize, TrainerError>> },
    /// A checkpoint elsewhere.
    Snapshot { uri: String, done: oneshot::Sender<Result<Written, TrainerError>> },
    /// Stand still, or go on.
    Pause { on: bool, done: oneshot::Sender<Result<(), TrainerError>> },
    /// End; with a checkpoint, where there is a folder for them and it began.
    Stop { keep: bool, done: oneshot::Sender<Result<Option<Written>, TrainerError>> },
}

/// What a run tells.
#[derive(Debug, Clone, PartialEq)]
pub enum News {
    /// After every update.
    Progress(ext::Progress),
    /// Last. Not after [`Run::stop`].
    End(ext::TrainingEnd),
}

/// A running run. Dropping it ends it, with a checkpoint.
#[derive(Debug, Clone)]
pub struct Run {
    commands: mpsc::Sender<Command>,
}

/// Starts a run on a thread of its own.
///
/// # Errors
/// When the system gives no thread.
pub fn start(plan: Plan) -> Result<(Run, mpsc::Receiver<News>), TrainerError> {
    let (commands, told) = mpsc::channel(WAITING_COMMANDS);
    let (news, heard) = mpsc::channel(WAITING_NEWS);
    let thread = |source| TrainerError::Io { path: "thread neuro-trainer".into(), source };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(thread)?;
    std::thread::Builder::new()
        .name("neuro-trainer".to_owned())
        .spawn(move || runtime.block_on(run::train(plan, told, news)))
        .map_err(thread)?;
    Ok((Run { commands }, heard))
}

impl Run {
    /// Puts another simulator in a place; its episode begins anew.
    ///
    /// # Errors
    /// When there is no such place, the endpoint is malformed, or the run is over.
    pub async fn replace(&self, index: usize, endpoint: &str) -> Result<(), TrainerError> {
        self.ask(|done| Command::Replace { index, endpoint: endpoint.to_owned(), done }).await
    }

    /// Adds a demonstration; how many rows it gave.
    ///
    /// # Errors
    /// When the folder is malformed (training goes on) or the run is over.
    pub async fn learn(&self, uri: &str) -> Result<usize, TrainerError> {
        self.ask(|done| Command::Learn { uri: uri.to_owned(), done }).await
    }

    /// Writes a checkpoint to `uri`: a `.safetensors` file, or a folder to put one into.
    ///
    /// # Errors
    /// When it cannot be written, training has not begun, or the run is over.
    pub async fn snapshot(&self, uri: &str) -> Result<Written, TrainerError> {
        self.ask(|done| Command::Snapshot { uri: uri.to_owned(), done }).await
    }

    /// Stands still, or goes on.
    ///
    /// # Errors
    /// When the run is over.
    pub async fn pause(&self, on: bool) -> Result<(), TrainerError> {
        self.ask(|done| Command::Pause { on, done }).await
    }

    /// Ends it; the checkpoint it kept, if it was to.
    ///
    /// # Errors
    /// When that cannot be written, or the run is over.
    pub async fn stop(&self, keep: bool) -> Result<Option<Written>, TrainerError> {
        self.ask(|done| Command::Stop { keep, done }).await
    }

    async fn ask<T>(
        &self,
        command: impl FnOnce(oneshot::Sender<Result<T, TrainerError>>) -> Command,
    ) -> Result<T, TrainerError> {
        let (done, answer) = oneshot::channel();
        self.commands.send(command(done)).await.map_err(|_| TrainerError::Over)?;
        answer.await.map_err(|_| TrainerError::Over)?
    }
}
