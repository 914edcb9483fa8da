//! The one face of the fleet: every edge (gRPC, REST, websockets, command line) calls these.

use std::sync::Arc;
use std::time::Duration;

use super::error::FleetError;
use super::ids::{InstanceId, SessionId};
use super::request::{
    ControlHandle, CreateSession, RestoreSnapshot, SaveSnapshot, SceneChange, SessionFilter, TakeControl,
};
use super::rows::{DemonstrationRow, EventRow, Quota, SnapshotRow};
use super::view::{PoolView, SessionPage, SessionView};
use crate::proto::neuro::ext;
use crate::proto::neuro::orchestrator::GrpcOmniverseConnectionInfo;

/// Cheap to clone.
#[derive(Debug, Clone)]
pub struct Orchestrator {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {}

/// A session's log from some point on: what is kept, then what comes. A reader that falls behind what is kept sees a
/// `LogGap`.
pub type EventStream = futures_util::stream::BoxStream<'static, Result<EventRow, FleetError>>;

/// How the whole fleet is.
#[derive(Debug, Clone, PartialEq)]
pub struct FleetHealth {
    /// Whether sessions can be made: the store works and the fleet does not drain.
    pub healthy: bool,
    /// Why not.
    pub reason: String,
    /// Sessions that have not ended.
    pub active_sessions: u32,
}

fn not_built<T>() -> Result<T, FleetError> {
    Err(FleetError::Internal("not built in yet".to_owned()))
}

#[allow(clippy::unused_async, clippy::needless_pass_by_value, missing_docs, reason = "signatures first")]
impl Orchestrator {
    /// Makes, finds or upgrades a session, and waits until its scene is loaded (at most `request.wait`).
    pub async fn create(&self, request: CreateSession) -> Result<SessionView, FleetError> {
        drop(request);
        not_built()
    }
    /// Starts or resumes; `time_scale` 0 is 1.
    pub async fn start(
        &self,
        _session: &SessionId,
        _real_time: bool,
        _time_scale: f64,
    ) -> Result<(), FleetError> {
        not_built()
    }
    pub async fn pause(&self, _session: &SessionId) -> Result<(), FleetError> {
        not_built()
    }
    /// Ends it; `cleanup` drops the scene and its checkpoints' scratch. Idempotent: an ended one releases nothing.
    pub async fn stop(&self, _session: &SessionId, _cleanup: bool) -> Result<Vec<InstanceId>, FleetError> {
        not_built()
    }
    /// Paths of the added obstacles. Every simulator of the session gets the change.
    pub async fn update_scene(
        &self,
        _session: &SessionId,
        _change: SceneChange,
    ) -> Result<Vec<String>, FleetError> {
        not_built()
    }
    /// Looking at a session keeps it from idling.
    pub fn session(&self, _session: &SessionId) -> Result<SessionView, FleetError> {
        not_built()
    }
    /// By `training.TrainingService`'s handle.
    pub fn session_of_training(&self, _training_id: &str) -> Result<SessionView, FleetError> {
        not_built()
    }
    pub fn sessions(&self, _filter: SessionFilter) -> Result<SessionPage, FleetError> {
        not_built()
    }
    /// Events after `resume_after`; 0 from the beginning. Ends when the session has ended and all is sent.
    pub fn watch(&self, _session: &SessionId, _resume_after: i64) -> Result<EventStream, FleetError> {
        not_built()
    }
    pub fn pools(&self) -> Vec<PoolView> {
        Vec::new()
    }
    pub fn health(&self) -> FleetHealth {
        FleetHealth { healthy: false, reason: "not built in yet".to_owned(), active_sessions: 0 }
    }
    pub async fn save_snapshot(&self, _request: SaveSnapshot) -> Result<SnapshotRow, FleetError> {
        not_built()
    }
    pub async fn restore_snapshot(&self, _request: RestoreSnapshot) -> Result<SessionView, FleetError> {
        not_built()
    }
    pub fn omniverse(&self, _session: &SessionId) -> Result<GrpcOmniverseConnectionInfo, FleetError> {
        not_built()
    }
    pub async fn take_control(&self, _request: TakeControl) -> Result<ext::ControlLease, FleetError> {
        not_built()
    }
    pub async fn renew_control(
        &self,
        _by: ControlHandle,
        _ttl: Duration,
    ) -> Result<ext::ControlLease, FleetError> {
        not_built()
    }
    /// The demonstration's id; empty when none was recorded.
    pub async fn release_control(
        &self,
        _by: ControlHandle,
        _resume_policy: bool,
    ) -> Result<String, FleetError> {
        not_built()
    }
    pub fn demonstrations(&self, _session: &SessionId) -> Result<Vec<DemonstrationRow>, FleetError> {
        not_built()
    }
    /// Sessions that are on it. `None`: the whole fleet, which then answers UNAVAILABLE to new sessions and health checks.
    pub async fn drain(
        &self,
        _instance: Option<InstanceId>,
        _deadline: Duration,
        _force: bool,
    ) -> Result<Vec<SessionId>, FleetError> {
        not_built()
    }
    pub async fn undrain(&self, _instance: Option<InstanceId>) -> Result<(), FleetError> {
        not_built()
    }
    pub async fn set_quota(&self, _owner: &str, _quota: Quota) -> Result<(), FleetError> {
        not_built()
    }
    /// The snapshot it goes on from; empty without one.
    pub async fn preempt(
        &self,
        _session: &SessionId,
        _reason: &str,
        _save_checkpoint: bool,
    ) -> Result<String, FleetError> {
        not_built()
    }
    /// Asks the trainer to stop and to keep what it has. The checkpoint's URI; empty without one.
    pub async fn stop_training(
        &self,
        _session: &SessionId,
        _save_checkpoint: bool,
    ) -> Result<String, FleetError> {
        not_built()
    }
}

impl Default for Inner {
    fn default() -> Self {
        Self {}
    }
}
