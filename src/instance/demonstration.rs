//! Demonstrations on disk: what a person did while driving, for trainers to learn from.
//!
//! A folder each: `meta.json` ([`Meta`]), `steps.jsonl` (one [`Line`] a line, in order) and `frames/NNNNNN.jpg`, the pictures
//! that lines name.

use serde::{Deserialize, Serialize};

use super::contract::{Step, ToRobot};

/// `meta.json`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Meta {
    /// A UUID.
    pub id: String,
    /// Of which session.
    pub session_id: String,
    /// On which simulator.
    pub instance_id: String,
    /// Who drove.
    pub user: String,
    /// The task or scenario.
    pub environment: String,
    /// What the policy was told to do.
    pub instruction: String,
    /// Unix ms.
    pub started_at_ms: i64,
    /// Unix ms.
    pub ended_at_ms: i64,
    /// Lines of `steps.jsonl`.
    pub steps: u32,
    /// Of all steps.
    pub total_reward: f64,
    /// Of `steps.jsonl`, hexadecimal.
    pub steps_sha256: String,
}

/// One line of `steps.jsonl`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Line {
    /// What happened.
    #[serde(flatten)]
    pub step: Step,
    /// The person's last command.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<ToRobot>,
    /// The newest picture at that time, relative to the folder.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub frame: String,
}
