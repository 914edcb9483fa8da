//! What the edges show: rows joined with what instances last said, and with addresses made for the caller.

use super::link::Pulse;
use super::rows::{DemonstrationRow, InstanceRow, SessionRow};
use super::spec::SessionSpec;
use crate::proto::neuro::ext;

/// One instance.
#[derive(Debug, Clone, PartialEq)]
pub struct InstanceView {
    /// Its row.
    pub row: InstanceRow,
    /// What it last said; `None` before its first heartbeat after a restart.
    pub pulse: Option<Pulse>,
}

/// One session.
#[derive(Debug, Clone, PartialEq)]
pub struct SessionView {
    /// Its row.
    pub row: SessionRow,
    /// What it asked for, with defaults.
    pub spec: SessionSpec,
    /// Its trainer.
    pub trainer: Option<InstanceView>,
    /// Its simulators, by environment index.
    pub simulators: Vec<InstanceView>,
    /// Where a person drives: `ws://host:port/control/{session}`, without a token.
    pub control_ws_url: String,
    /// Where a browser finds the simulator's pictures by WebRTC.
    pub webrtc_signaling_url: String,
    /// `POST` here to switch between person and policy.
    pub control_mode_switch_url: String,
    /// Every event of the session as a websocket.
    pub debug_ws_url: String,
    /// The session's place in the scene store; empty when none is configured.
    pub nucleus_path: String,
    /// The trainer's last progress.
    pub progress: Option<ext::Progress>,
    /// How training ended.
    pub training_end: Option<ext::TrainingEnd>,
    /// Who drives environment 0.
    pub controller: ext::Controller,
    /// Whether somebody's control websocket or control stream is open.
    pub frontend_connected: bool,
    /// When the last command came, Unix ms; 0 for never.
    pub last_command_ms: i64,
    /// Time without a command, a call or a watcher, in ms.
    pub idle_ms: i64,
    /// Position in the queue, from 1; 0 when it is not there.
    pub queue_position: u32,
    /// What it waits for.
    pub waiting_for: String,
}

/// One pool's state.
#[derive(Debug, Clone, PartialEq)]
pub struct PoolView {
    /// Its name.
    pub name: String,
    /// `process`, `static`, `slurm`, `ray`, ...
    pub backend: String,
    /// Its role's name.
    pub role: super::rows::Role,
    /// Its instances.
    pub instances: Vec<InstanceView>,
    /// Instances being started.
    pub starting: u32,
    /// Idle ones that are kept ready.
    pub warm: u32,
    /// At most so many.
    pub max: u32,
    /// Why the last start failed; empty when it did not.
    pub trouble: String,
}

/// One page of sessions.
#[derive(Debug, Clone, PartialEq)]
pub struct SessionPage {
    /// Newest first.
    pub sessions: Vec<SessionView>,
    /// Where the next page begins; empty on the last.
    pub next_page_token: String,
}

/// A recorded take-over.
pub type DemonstrationView = DemonstrationRow;
