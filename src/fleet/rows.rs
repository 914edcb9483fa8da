//! The rows of the store: what a restart finds again. Everything else (heartbeats, pictures, open streams) lives in memory.

use std::collections::BTreeMap;
use std::path::Path;

use super::event::EventKind;
use super::ids::{Fence, InstanceId, SessionId};
use super::spec::{Gang, Mode, Priority, Requirements};
use crate::proto::neuro::ext;

/// Simulator or trainer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Runs a scene for one session at a time.
    Simulator,
    /// Trains over the simulators of one session.
    Trainer,
}

impl Role {
    /// `simulator`, `trainer`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Simulator => "simulator",
            Self::Trainer => "trainer",
        }
    }
}

/// Where a session is in its life. Numbers are those of `neuro.ext.v1.Phase`.
pub type Phase = ext::Phase;

/// Whether a session has ended: its instances are free and it never comes back.
#[must_use]
pub const fn ended(phase: Phase) -> bool {
    matches!(phase, Phase::Stopped | Phase::Completed | Phase::Failed | Phase::Preempted)
}

/// A GPU of an instance, told apart by node and UUID: two instances that name the same one share its slots.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GpuRef {
    /// Index on its node, as `nvidia-smi` counts.
    pub index: u32,
    /// Its UUID; empty where the instance did not say.
    pub uuid: String,
    /// Its model.
    pub name: String,
}

/// Where to reach an instance. Empty strings where it offers none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Endpoints {
    /// Control websocket, up to and without the session's id: `ws://host:port/control`.
    pub control_ws_url: String,
    /// reset/step socket, `tcp://host:port`.
    pub zmq_endpoint: String,
    /// The instance contract over HTTP: `http://host:port`.
    pub rest_url: String,
    /// Pictures: `http://host:port/stream` (MJPEG).
    pub stream_url: String,
}

/// Whether an instance can be given away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Condition {
    /// Attached and free, or held if it has a holder.
    Present,
    /// Its stream broke or its polls fail; the lease runs.
    Away,
    /// The lease ran out. It stays in the table so that its fence is not forgotten.
    Lost,
}

/// Who has an instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// The session.
    pub session: SessionId,
    /// Which environment of the session it is; 0 for the trainer and for the only simulator.
    pub env_index: u32,
    /// Since when, Unix ms: GPU time counts from here.
    pub since_ms: i64,
}

/// An instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstanceRow {
    /// Its UUID.
    pub id: InstanceId,
    /// What people call it: `isaac-sim-1`.
    pub name: String,
    /// What it does.
    pub role: Role,
    /// The pool it belongs to.
    pub pool: String,
    /// The machine it runs on.
    pub node: String,
    /// The version it says it is.
    pub version: String,
    /// What it can do; matched against requirements.
    pub labels: BTreeMap<String, String>,
    /// Its GPUs.
    pub gpus: Vec<GpuRef>,
    /// Its memory, in MiB; 0 where it did not say.
    pub memory_mb: u64,
    /// Where to reach it.
    pub endpoints: Endpoints,
    /// Whether it can be given away.
    pub condition: Condition,
    /// Raised by every grant.
    pub fence: Fence,
    /// Who has it.
    pub holder: Option<Holder>,
    /// No new session; sessions on it end or move until then (Unix ms). `None`: not draining.
    pub drain_until_ms: Option<i64>,
    /// When it was first seen, Unix ms.
    pub registered_ms: i64,
}

impl InstanceRow {
    /// Whether it could be given away at once.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.condition == Condition::Present && self.holder.is_none() && self.drain_until_ms.is_none()
    }
}

/// A session.
#[derive(Debug, Clone, PartialEq)]
pub struct SessionRow {
    /// Its id.
    pub id: SessionId,
    /// Who pays for it.
    pub owner: String,
    /// Who drives.
    pub mode: Mode,
    /// Where it is in its life.
    pub phase: Phase,
    /// Against others in the queue.
    pub priority: Priority,
    /// What is granted together.
    pub gang: Gang,
    /// Labels that its simulators must carry.
    pub requires: Requirements,
    /// The encoded [`SessionSpec`](super::spec::SessionSpec).
    pub spec: Vec<u8>,
    /// Of the request that made or last upgraded it.
    pub request_hash: [u8; 32],
    /// Unix ms.
    pub created_ms: i64,
    /// When it last went into the queue, Unix ms; 0 when it is not there.
    pub queued_ms: i64,
    /// When its gang was granted, Unix ms; 0 before.
    pub granted_ms: i64,
    /// When it ended, Unix ms; 0 before.
    pub ended_ms: i64,
    /// Why it is in its phase: a sentence.
    pub reason: String,
    /// Sequence number of its last event.
    pub last_seq: i64,
    /// `training.TrainingService`'s handle: a UUID; empty in manual mode.
    pub training_id: String,
    /// The snapshot it starts from when it starts again: a snapshot id, or empty.
    pub restore_from: String,
}

/// One event of a session's log.
#[derive(Debug, Clone, PartialEq)]
pub struct EventRow {
    /// Whose.
    pub session: SessionId,
    /// Dense, from 1.
    pub seq: i64,
    /// Unix ms.
    pub at_ms: i64,
    /// What happened.
    pub kind: EventKind,
}

/// Limits of an owner; 0 is no limit of that kind.
#[derive(Debug, Clone, PartialEq)]
pub struct Quota {
    /// Sessions at once, waiting ones not counted.
    pub max_sessions: u32,
    /// Simulators at once.
    pub max_simulators: u32,
    /// Trainers' GPUs at once.
    pub max_training_gpus: u32,
    /// GPU hours in a calendar month (UTC).
    pub gpu_hours_per_month: f64,
    /// Share against other owners in the queue; 1 is the usual.
    pub weight: u32,
}

impl Default for Quota {
    fn default() -> Self {
        Self { max_sessions: 0, max_simulators: 0, max_training_gpus: 0, gpu_hours_per_month: 0.0, weight: 1 }
    }
}

/// Who drives an instance of a session now: a fenced lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ControlRow {
    /// The session.
    pub session: SessionId,
    /// The simulator.
    pub instance: InstanceId,
    /// Raised by every take-over.
    pub fence: Fence,
    /// Person, policy, or nobody.
    pub holder: ext::Controller,
    /// The person; empty otherwise.
    pub user: String,
    /// When the lease ends, Unix ms; 0 for never.
    pub expires_ms: i64,
}

/// A saved state of a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotRow {
    /// A UUID.
    pub id: String,
    /// Of which session.
    pub session: SessionId,
    /// Unix ms.
    pub created_ms: i64,
    /// Folder with `manifest.json`.
    pub path: String,
    /// Of all files.
    pub size_bytes: u64,
    /// The manifest, as JSON: files with sha256, metadata.
    pub manifest: String,
}

/// A recorded take-over.
#[derive(Debug, Clone, PartialEq)]
pub struct DemonstrationRow {
    /// Of which session.
    pub session: SessionId,
    /// Whose session it was: another owner's session of the same id has nothing to do with it.
    pub owner: String,
    /// As it goes over the wire; `uri` names its folder.
    pub demonstration: ext::Demonstration,
}

impl DemonstrationRow {
    /// Its folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        let uri = &self.demonstration.uri;
        Path::new(uri.strip_prefix("file://").unwrap_or(uri))
    }

    /// Whether its files are still there: people may delete what they do not want.
    #[must_use]
    pub fn is_kept(&self) -> bool {
        self.folder().join("meta.json").is_file()
    }
}
