//! Events of a session's log as JSON: `{"seq", "at_ms", "type", ...}`.

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;

use super::words;
use crate::fleet::event::EventKind;
use crate::fleet::rows::EventRow;
use crate::proto::neuro::ext;

/// One entry of a session's log.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Event {
    /// Dense, from 1. A reader that comes back asks for what is after its last.
    pub seq: i64,
    /// Unix ms.
    pub at_ms: i64,
    /// What happened.
    #[serde(flatten)]
    pub what: What,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum What {
    /// The session went on in its life.
    Phase {
        /// From.
        from: &'static str,
        /// To.
        to: &'static str,
        /// Why.
        reason: String,
    },
    /// Training went on.
    Progress(Progress),
    /// Somebody else drives.
    Control {
        /// `policy`, `human` or `none`.
        from: &'static str,
        /// `policy`, `human` or `none`.
        to: &'static str,
        /// The person.
        user: String,
        /// Of the lease.
        fence: i64,
    },
    /// A member came or went.
    Instance {
        /// Its UUID.
        instance_id: String,
        /// `granted`, `lost`, `replaced`, `released`, ...
        event: String,
        /// The one that took its place.
        replaced_by: String,
    },
    /// Entries up to this one are no longer kept.
    Gap {
        /// The last one that is gone.
        upto: i64,
    },
    /// A take-over was recorded.
    Demonstration(Demonstration),
    /// Training ended.
    TrainingEnd(TrainingEnd),
}

/// How far training is.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Progress {
    /// Episodes done.
    pub episode: i32,
    /// Episodes asked for; 0 for no limit.
    pub total_episodes: i32,
    /// Over the last episodes.
    pub average_reward: f64,
    /// Of the last update.
    pub policy_loss: f64,
    /// Of the last update.
    pub value_loss: f64,
    /// Of the last update.
    pub entropy: f64,
    /// Environment steps done.
    pub steps: i64,
    /// Environment steps a second.
    pub steps_per_second: f64,
    /// What else the trainer tells.
    pub metrics: BTreeMap<String, f64>,
}

/// A recorded take-over.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Demonstration {
    /// A UUID.
    pub id: String,
    /// On which simulator.
    pub instance_id: String,
    /// Who drove.
    pub user: String,
    /// Unix ms.
    pub started_at_ms: i64,
    /// Steps of the task.
    pub steps: i32,
    /// Of all steps.
    pub total_reward: f64,
    /// Its folder.
    pub uri: String,
    /// Of `steps.jsonl`, hexadecimal.
    pub sha256: String,
}

/// How training ended.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct TrainingEnd {
    /// Whether it got to its end.
    pub success: bool,
    /// Why not.
    pub error: String,
    /// The trained model.
    pub model_uri: String,
    /// The newest checkpoint.
    pub checkpoint_uri: String,
    /// Average of the last episodes.
    pub final_reward: f64,
    /// 0 to 1.
    pub success_rate: f64,
    /// How long it took, in seconds.
    pub seconds: f64,
    /// What else the trainer tells.
    pub metrics: BTreeMap<String, f64>,
}

impl From<&EventRow> for Event {
    fn from(row: &EventRow) -> Self {
        let what = match &row.kind {
            EventKind::Phase(change) => What::Phase {
                from: words::phase_number(change.from),
                to: words::phase_number(change.to),
                reason: change.reason.clone(),
            },
            EventKind::Progress(progress) => What::Progress(progress.into()),
            EventKind::Control(change) => What::Control {
                from: words::controller_number(change.from),
                to: words::controller_number(change.to),
                user: change.user.clone(),
                fence: change.fence,
            },
            EventKind::Instance(change) => What::Instance {
                instance_id: change.instance_id.clone(),
                event: change.event.clone(),
                replaced_by: change.replaced_by.clone(),
            },
            EventKind::Gap(gap) => What::Gap { upto: gap.upto },
            EventKind::Demonstration(demonstration) => What::Demonstration(demonstration.into()),
            EventKind::TrainingEnd(end) => What::TrainingEnd(end.into()),
        };
        Self { seq: row.seq, at_ms: row.at_ms, what }
    }
}

impl From<&ext::Progress> for Progress {
    fn from(progress: &ext::Progress) -> Self {
        Self {
            episode: progress.episode,
            total_episodes: progress.total_episodes,
            average_reward: progress.average_reward,
            policy_loss: progress.policy_loss,
            value_loss: progress.value_loss,
            entropy: progress.entropy,
            steps: progress.steps,
            steps_per_second: progress.steps_per_second,
            metrics: sorted(&progress.metrics),
        }
    }
}

impl From<&ext::Demonstration> for Demonstration {
    fn from(demonstration: &ext::Demonstration) -> Self {
        Self {
            id: demonstration.id.clone(),
            instance_id: demonstration.instance_id.clone(),
            user: demonstration.user.clone(),
            started_at_ms: demonstration.started_at_ms,
            steps: demonstration.steps,
            total_reward: demonstration.total_reward,
            uri: demonstration.uri.clone(),
            sha256: demonstration.sha256.clone(),
        }
    }
}

impl From<&ext::TrainingEnd> for TrainingEnd {
    fn from(end: &ext::TrainingEnd) -> Self {
        Self {
            success: end.success,
            error: end.error.clone(),
            model_uri: end.model_uri.clone(),
            checkpoint_uri: end.checkpoint_uri.clone(),
            final_reward: end.final_reward,
            success_rate: end.success_rate,
            seconds: end.seconds,
            metrics: sorted(&end.metrics),
        }
    }
}

fn sorted(metrics: &std::collections::HashMap<String, f64>) -> BTreeMap<String, f64> {
    metrics.iter().map(|(name, value)| (name.clone(), *value)).collect()
}
