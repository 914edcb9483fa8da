//! Sessions as JSON.

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;

use super::event_json::{Progress, TrainingEnd};
use super::instance_json::Instance;
use super::words;
use crate::fleet::rows::ended;
use crate::fleet::view::SessionView;
use crate::proto::neuro::orchestrator::GrpcTrainingConfig;

/// A session.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Session {
    /// Its id.
    pub id: String,
    /// Who pays for it.
    pub owner: String,
    /// `manual`, `training` or `hybrid`.
    pub mode: &'static str,
    /// `queued`, `allocating`, `starting`, `ready`, `running`, `paused`, `recovering`, `stopping`, `stopped`,
    /// `completed`, `failed` or `preempted`.
    pub phase: &'static str,
    /// Whether it has ended: it never comes back.
    pub ended: bool,
    /// Why it is in its phase.
    pub reason: String,
    /// `low`, `normal` or `high`.
    pub priority: &'static str,
    /// What is granted together.
    pub gang: Gang,
    /// Position in the queue, from 1; 0 when it is not there.
    pub queue_position: u32,
    /// What it waits for.
    pub waiting_for: String,
    /// Unix ms.
    pub created_ms: i64,
    /// When it last went into the queue, Unix ms; 0 when it is not there.
    pub queued_ms: i64,
    /// When it got its gang, Unix ms; 0 before.
    pub granted_ms: i64,
    /// When it ended, Unix ms; 0 before.
    pub ended_ms: i64,
    /// Time without a command, a call or a watcher, in ms.
    pub idle_ms: i64,
    /// Sequence number of its last event.
    pub last_seq: i64,
    /// `training.TrainingService`'s handle; empty in manual mode.
    pub training_id: String,
    /// The snapshot it starts from when it starts again; empty for none.
    pub restore_from: String,
    /// Labels that its simulators must carry.
    pub requires: BTreeMap<String, String>,
    /// The task or scenario.
    pub environment: String,
    /// What is trained.
    pub training: Option<Training>,
    /// The controller that drives when nobody else does: empty, `local` or a URL.
    pub policy: String,
    /// What the policy is told to do.
    pub instruction: String,
    /// Whether takeovers are recorded for the trainer.
    pub human_demo: bool,
    /// Who drives environment 0: `policy`, `human` or `none`.
    pub controller: &'static str,
    /// Whether somebody's control connection is open.
    pub frontend_connected: bool,
    /// When the last command came, Unix ms; 0 for never.
    pub last_command_ms: i64,
    /// Its trainer.
    pub trainer: Option<Instance>,
    /// Its simulators, by environment.
    pub simulators: Vec<Instance>,
    /// The trainer's last progress.
    pub progress: Option<Progress>,
    /// How training ended.
    pub training_end: Option<TrainingEnd>,
    /// Where a person drives, without a token.
    pub control_ws_url: String,
    /// Where a browser finds the simulator's pictures by WebRTC.
    pub webrtc_signaling_url: String,
    /// `POST` here to switch between person and policy.
    pub control_mode_switch_url: String,
    /// Its events as a websocket.
    pub debug_ws_url: String,
    /// Its place in the scene store; empty when none is configured.
    pub nucleus_path: String,
}

/// How many of each kind are granted together, or none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
pub struct Gang {
    /// 0 or 1.
    pub trainers: u32,
    /// At least 1.
    pub simulators: u32,
    /// GPUs that the trainer must have.
    pub training_gpus: u32,
    /// Memory that the trainer must have, in MiB.
    pub training_memory_mb: u64,
}

/// What is trained.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Training {
    /// `PPO`, ...
    pub algorithm: String,
    /// 0 for no limit.
    pub total_episodes: i32,
    /// Environments at once.
    pub parallel_envs: i32,
    /// As they were given.
    pub hyperparameters: BTreeMap<String, String>,
}

impl From<&SessionView> for Session {
    fn from(view: &SessionView) -> Self {
        let row = &view.row;
        Self {
            id: row.id.to_string(),
            owner: row.owner.clone(),
            mode: row.mode.name(),
            phase: words::phase(row.phase),
            ended: ended(row.phase),
            reason: row.reason.clone(),
            priority: words::priority(row.priority),
            gang: Gang {
                trainers: row.gang.trainers,
                simulators: row.gang.simulators,
                training_gpus: row.gang.training_gpus,
                training_memory_mb: row.gang.training_memory_mb,
            },
            queue_position: view.queue_position,
            waiting_for: view.waiting_for.clone(),
            created_ms: row.created_ms,
            queued_ms: row.queued_ms,
            granted_ms: row.granted_ms,
            ended_ms: row.ended_ms,
            idle_ms: view.idle_ms,
            last_seq: row.last_seq,
            training_id: row.training_id.clone(),
            restore_from: row.restore_from.clone(),
            requires: row.requires.clone(),
            environment: view.spec.scene.environment.clone(),
            training: view.spec.training.as_ref().map(Training::from),
            policy: view.spec.policy.clone(),
            instruction: view.spec.instruction.clone(),
            human_demo: view.spec.human_demo,
            controller: words::controller(view.controller),
            frontend_connected: view.frontend_connected,
            last_command_ms: view.last_command_ms,
            trainer: view.trainer.as_ref().map(Instance::from),
            simulators: view.simulators.iter().map(Instance::from).collect(),
            progress: view.progress.as_ref().map(Progress::from),
            training_end: view.training_end.as_ref().map(TrainingEnd::from),
            control_ws_url: view.control_ws_url.clone(),
            webrtc_signaling_url: view.webrtc_signaling_url.clone(),
            control_mode_switch_url: view.control_mode_switch_url.clone(),
            debug_ws_url: view.debug_ws_url.clone(),
            nucleus_path: view.nucleus_path.clone(),
        }
    }
}

impl From<&GrpcTrainingConfig> for Training {
    fn from(config: &GrpcTrainingConfig) -> Self {
        let parameters = config.hyperparameters.iter();
        Self {
            algorithm: config.algorithm().as_str_name().to_owned(),
            total_episodes: config.total_episodes,
            parallel_envs: config.parallel_envs,
            hyperparameters: parameters.map(|(name, value)| (name.clone(), value.clone())).collect(),
        }
    }
}
