//! What a session's driver is asked. One thing at a time: a pause never meets a loading scene.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use tokio::sync::oneshot;

use super::live::Live;
use crate::fleet::error::FleetError;
use crate::fleet::ids::InstanceId;
use crate::fleet::request::SceneChange;
use crate::fleet::rows::SnapshotRow;
use crate::fleet::snapshot::manifest::Manifest;
use crate::proto::neuro::ext;

/// Where the answer goes.
pub type Reply<T> = oneshot::Sender<Result<T, FleetError>>;

/// What a driver is asked.
#[derive(Debug)]
pub enum Wish {
    /// Time goes on.
    Start {
        /// Keep to the wall clock.
        real_time: bool,
        /// Simulated seconds a second.
        time_scale: f64,
        /// Done.
        reply: Reply<()>,
    },
    /// Time stands still.
    Pause(Reply<()>),
    /// The scene changes, on every simulator.
    Update(SceneChange, Reply<Vec<String>>),
    /// Save it.
    Save(SaveWish, Reply<SnapshotRow>),
    /// Go back to a saved state.
    Restore(RestoreWish, Reply<()>),
    /// The trainer is to stop; the checkpoint it kept, or empty.
    StopTraining {
        /// Write a checkpoint first.
        save: bool,
        /// The checkpoint's URI.
        reply: Reply<String>,
    },
    /// The trainer says that it is done.
    TrainingEnd(InstanceId, ext::TrainingEnd),
    /// A demonstration was recorded: a URI.
    LearnFrom(String),
}

/// Where and what to save.
#[derive(Debug)]
pub struct SaveWish {
    /// A UUID.
    pub id: String,
    /// A folder under the root that does not exist yet.
    pub folder: PathBuf,
    /// With the trainer's checkpoint.
    pub checkpoint: bool,
    /// Kept in the manifest.
    pub metadata: BTreeMap<String, String>,
}

/// What to go back to.
#[derive(Debug)]
pub struct RestoreWish {
    /// Its folder.
    pub folder: PathBuf,
    /// Its manifest, verified.
    pub manifest: Manifest,
    /// With the trainer's checkpoint.
    pub checkpoint: bool,
}

impl Live {
    /// Asks the driver and waits for it, at most `limit`. What was asked is done even if the caller goes away.
    ///
    /// # Errors
    /// What the driver answers, `Precondition` when the session has ended, `Deadline`.
    pub async fn ask<T>(
        &self,
        limit: Duration,
        wish: impl FnOnce(Reply<T>) -> Wish,
    ) -> Result<T, FleetError> {
        let (reply, answer) = oneshot::channel();
        let gone = || FleetError::Precondition(format!("session {} has ended", self.id));
        let asked = async {
            self.wishes.send(wish(reply)).await.map_err(|_| gone())?;
            answer.await.unwrap_or_else(|_| Err(gone()))
        };
        tokio::time::timeout(limit, asked).await.unwrap_or_else(|_| {
            let waited = limit.as_millis();
            Err(FleetError::Deadline(format!("session {} did not get to it within {waited} ms", self.id)))
        })
    }
}
