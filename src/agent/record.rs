//! What is known of an instance, and what survives the agent: one file an instance, replaced whole and synced.
//!
//! Intent is written before anything is done ([`Record::operation`]), the outcome after. Whoever reads the file after a crash
//! therefore knows what may be half done.

use serde::{Deserialize, Serialize};

use super::driver::Handle;
use super::id::InstanceId;
use super::spec::Spec;

/// Where an instance stands, in the wire's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Asked for; nothing was done.
    Pending,
    /// Its disk, network and bundle are being made.
    Creating,
    /// It runs.
    Running,
    /// It does not.
    Stopped,
    /// It does not, and nobody wished that.
    Failed,
    /// It is being taken apart.
    Deleting,
}

/// What was asked for last. A restart policy never goes against it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Wanted {
    /// It is to run.
    Running,
    /// It is not.
    Stopped,
    /// It is not to be there.
    Gone,
}

/// What is being done to it. In the file before it begins, out of it when its outcome is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Operation {
    /// Making what a start needs.
    Create,
    /// Starting.
    Start,
    /// Ending, with the time after which it is killed; 0 kills at once.
    Stop {
        /// Milliseconds.
        grace_ms: u64,
    },
    /// Ending and starting.
    Restart {
        /// Milliseconds.
        grace_ms: u64,
    },
    /// Ending and taking apart.
    Delete {
        /// Milliseconds.
        grace_ms: u64,
    },
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// What it returned; 128 and the signal for one that was killed.
    pub code: i32,
    /// The signal that killed it.
    pub signal: Option<i32>,
    /// Its memory limit was what killed it.
    pub oom: bool,
    /// Unix ms.
    pub at_ms: i64,
    /// Nobody saw how: its keeper was killed too, or the machine was switched off. `code` is 255 then.
    pub unseen: bool,
}

/// What is known of an instance.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Of this layout: 1.
    pub version: u32,
    /// Its name.
    pub id: InstanceId,
    /// As it was asked for.
    pub spec: Spec,
    /// Where it stands.
    pub state: State,
    /// What was asked for last.
    pub wanted: Wanted,
    /// What is being done.
    pub operation: Option<Operation>,
    /// Why it stands there, in a sentence; empty when there is nothing to say.
    pub reason: String,
    /// [`Driver::name`](super::driver::Driver::name) of the one that made it.
    #[serde(default)]
    pub driver: String,
    /// How a later life of the agent finds its run.
    pub handle: Option<Handle>,
    /// How its last run ended.
    pub exit: Option<Exit>,
    /// Restarts by policy since it was last started by hand.
    pub restarts: u32,
    /// Ends in a row that nobody wished, each soon after its start.
    #[serde(default)]
    pub failures: u32,
    /// It said its ready line, or has none to say and runs.
    pub ready: bool,
    /// CDI devices it holds, from its creation to its deletion.
    pub devices: Vec<String>,
    /// Its address; empty while it has none.
    pub ip: String,
    /// Unix ms.
    pub created_ms: i64,
    /// Unix ms of the last change.
    pub updated_ms: i64,
    /// Unix ms of the last start; 0 before the first.
    pub started_ms: i64,
    /// Unix ms of the last end; 0 before the first.
    pub ended_ms: i64,
}
