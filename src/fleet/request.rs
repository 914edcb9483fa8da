//! What the edges ask of the orchestrator: one typed request each, shared by gRPC, REST and the command line.

use std::time::Duration;

use super::access::Identity;
use super::ids::{Fence, InstanceId, SessionId};
use super::spec::{Mode, Priority, Requirements};
use crate::proto::neuro::common::{GrpcObstacle, GrpcPosition, GrpcSceneConfig, GrpcStreamConfig};
use crate::proto::neuro::ext::Phase;
use crate::proto::neuro::orchestrator::{GrpcResourceRequirements, GrpcTrainingConfig};

/// What the messages have no field for: gRPC metadata `neuro-owner`, `neuro-priority`, `neuro-requires`, `neuro-policy`,
/// `neuro-instruction`, `neuro-queue`, or REST fields of the same names.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SessionOptions {
    /// Who pays; empty for `default`. An API key's owner wins over it.
    pub owner: String,
    /// In the queue.
    pub priority: Priority,
    /// Labels that simulators must carry.
    pub requires: Requirements,
    /// Empty, `local` or a URL.
    pub policy: String,
    /// What the policy is told.
    pub instruction: String,
    /// `false`: be refused at once instead of waiting. `None`: what the configuration says.
    pub queue: Option<bool>,
}

/// `CreateSession`, `CreateTrainingSession`, `CreateHybridSession`, `StartTraining` and `POST /v1/sessions`. Absent
/// configs are the normal case.
#[derive(Debug, Clone, PartialEq)]
pub struct CreateSession {
    /// Its id.
    pub id: SessionId,
    /// Who drives.
    pub mode: Mode,
    /// The scene; `None` for the default one.
    pub scene: Option<GrpcSceneConfig>,
    /// The stream; `None` for the default one.
    pub stream: Option<GrpcStreamConfig>,
    /// The training; `None` for the default one in modes that train.
    pub training: Option<GrpcTrainingConfig>,
    /// What the gang consists of; `None` for the default one.
    pub resources: Option<GrpcResourceRequirements>,
    /// Record takeovers for the trainer.
    pub human_demo: bool,
    /// The rest.
    pub options: SessionOptions,
    /// How long the caller waits for instances and for their scene to be loaded.
    pub wait: Duration,
}

/// Which sessions.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SessionFilter {
    /// Of this owner; empty for all.
    pub owner: String,
    /// In one of these phases; empty for all.
    pub phases: Vec<Phase>,
    /// At most so many; 0 for 100, at most 1000.
    pub page_size: u32,
    /// From the last page.
    pub page_token: String,
}

/// `UpdateScene`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SceneChange {
    /// Obstacles to add.
    pub add: Vec<GrpcObstacle>,
    /// Prim paths to remove.
    pub remove: Vec<String>,
    /// Where the robot goes, in metres in the world frame.
    pub robot_position: Option<GrpcPosition>,
}

/// `TakeControl`.
#[derive(Debug, Clone, PartialEq)]
pub struct TakeControl {
    /// The session.
    pub session: SessionId,
    /// One of its simulators; `None` for environment 0.
    pub instance: Option<InstanceId>,
    /// Who takes it.
    pub user: String,
    /// The lease; clamped to the configured range, 0 for the default.
    pub ttl: Duration,
    /// Also from another person.
    pub force: bool,
    /// Record a demonstration.
    pub record: bool,
}

/// `RenewControl`, `ReleaseControl`: by whom.
#[derive(Debug, Clone, PartialEq)]
pub struct ControlHandle {
    /// The session.
    pub session: SessionId,
    /// One of its simulators; `None` for environment 0.
    pub instance: Option<InstanceId>,
    /// The fence of the lease.
    pub fence: Fence,
}

/// `SaveSessionSnapshot`.
#[derive(Debug, Clone, PartialEq)]
pub struct SaveSnapshot {
    /// The session.
    pub session: SessionId,
    /// A folder under the snapshot root, or `omniverse://...` that the configuration maps there; empty for the default.
    pub base_path: String,
    /// With the trainer's checkpoint.
    pub checkpoint: bool,
    /// Kept in the manifest.
    pub metadata: std::collections::BTreeMap<String, String>,
}

/// `RestoreSessionSnapshot`.
#[derive(Debug, Clone, PartialEq)]
pub struct RestoreSnapshot {
    /// The session; one that ended, or never was, is made again from the manifest.
    pub session: SessionId,
    /// Which; empty for the newest of the session, or by path.
    pub snapshot_id: String,
    /// Its folder; empty to look it up by id.
    pub path: String,
    /// The trainer's checkpoint too.
    pub checkpoint: bool,
    /// Who asks: snapshots of other owners are not there for it.
    pub caller: Identity,
}
