//! The one face of the fleet: every edge (gRPC, REST, websockets, command line) calls these.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::error::FleetError;
use super::ids::{InstanceId, SessionId};
use super::request::{
    ControlHandle, CreateSession, RestoreSnapshot, SaveSnapshot, SceneChange, SessionFilter, TakeControl,
};
use super::rows::{DemonstrationRow, EventRow, Quota, SnapshotRow};
use super::settings::FleetSettings;
use super::view::{PoolView, SessionPage, SessionView};
use crate::proto::neuro::ext;
use crate::proto::neuro::orchestrator::GrpcOmniverseConnectionInfo;

/// What an orchestrator is started with. `policy` (an `Option<Arc<dyn control::PolicyDriver>>`) joins it with the module
/// `control`.
#[derive(Debug, Clone)]
pub struct OrchestratorOptions {
    /// The settings.
    pub settings: FleetSettings,
    /// Where everything is kept: `fleet.db`, snapshots, checkpoints, demonstrations, logs of instances.
    pub data: PathBuf,
    /// `http://host:port` of the gRPC listener, as instances on this machine reach it.
    pub grpc_url: String,
    /// `http://host:port` of the HTTP listener, as clients reach it; `settings.public.url` wins over it.
    pub http_url: String,
}

/// Cheap to clone.
#[derive(Debug, Clone)]
pub struct Orchestrator {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    options: OrchestratorOptions,
}

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
    /// Opens the store, adopts what it holds, starts the pools. (`start` is a session's.) `links() -> &Links`,
    /// `controls() -> &Controls` and `books() -> &Books` come with their modules.
    pub async fn open(options: OrchestratorOptions) -> Result<Self, FleetError> {
        Ok(Self { inner: Arc::new(Inner { options }) })
    }
    /// What it was started with.
    pub fn fleet_settings(&self) -> &FleetSettings {
        &self.inner.options.settings
    }
    /// Where everything is kept.
    pub fn data(&self) -> &Path {
        &self.inner.options.data
    }
    /// `http://host:port` of the HTTP listener, as clients reach it.
    pub fn public_url(&self) -> &str {
        let public = &self.inner.options.settings.public.url;
        if public.is_empty() { &self.inner.options.http_url } else { public }
    }
    /// A plain end: instances and sessions go on and are adopted by the next start. Returns when the store is closed.
    pub async fn shutdown(&self) {}
    /// Drains the fleet, waits for its sessions (at most `deadline`; those that train are saved and queued again), ends
    /// the instances that the pools started, then [`shutdown`](Self::shutdown).
    pub async fn drain_and_stop(&self, deadline: Duration) -> Result<(), FleetError> {
        let _ = deadline;
        Ok(())
    }
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
