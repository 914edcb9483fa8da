//! What an export has, and what it lacks.

use serde_json::{Value, json};

use super::ExportPlan;
use crate::render::RenderError;

/// Missing pictures told one by one; of more, only their number is kept.
const TOLD: usize = 100;

/// A picture that could not be drawn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// The instant.
    pub timestamp_us: i64,
    /// Name of the camera.
    pub camera: String,
    /// Why.
    pub reason: String,
}

/// What came of an export.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Instants.
    pub samples: u64,
    /// Pictures that were drawn.
    pub pictures: u64,
    /// Pictures that were not.
    pub missing: u64,
    /// The first hundred of those.
    pub examples: Vec<Missing>,
}

impl Report {
    pub(super) fn miss(&mut self, timestamp_us: i64, camera: &str, reason: &RenderError) {
        self.missing += 1;
        if self.examples.len() < TOLD {
            let (camera, reason) = (camera.to_owned(), reason.to_string());
            self.examples.push(Missing { timestamp_us, camera, reason });
        }
    }

    /// All of it, and what was asked for.
    pub(super) fn as_json(&self, plan: &ExportPlan) -> Value {
        let missing = self.examples.iter().map(|missing| {
            json!({"timestamp_us": missing.timestamp_us, "camera": missing.camera, "reason": missing.reason})
        });
        json!({
            "sequence_id": plan.scenario.sequence_id,
            "start_us": plan.range_us[0],
            "end_us": plan.range_us[1],
            "rate_hz": plan.rate_hz,
            "scale": plan.shots.scale,
            "objects": plan.shots.objects,
            "cameras": plan.cameras.iter().map(|camera| &camera.name).collect::<Vec<_>>(),
            "samples": self.samples,
            "pictures": self.pictures,
            "missing": self.missing,
            "missing_pictures": missing.collect::<Vec<_>>(),
        })
    }
}
