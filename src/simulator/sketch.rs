//! What a picture of a world shows, before any pixel: boxes and round things, and where the camera stands.

use std::sync::Arc;

use glam::DVec3;

use crate::geometry::Pose;
use crate::scene::Scenario;
use crate::scene::camera::CameraModel;

/// A thing in the picture.
#[derive(Debug, Clone, PartialEq)]
pub struct Thing {
    /// Tells things of one kind apart.
    pub id: String,
    /// What the renderer paints it as.
    pub class: &'static str,
    /// Length, width, height, in metres.
    pub dimensions_m: DVec3,
    /// `world_from_thing`.
    pub pose: Pose,
}

/// What to draw.
#[derive(Debug, Clone)]
pub struct Sketch {
    /// What stands there.
    pub things: Vec<Thing>,
    /// `world_from_sensor`.
    pub camera: Pose,
    /// The scenario behind it: its lanes, its recorded things at an instant in microseconds, and its camera.
    pub recording: Option<Recording>,
}

/// A recorded scenario at an instant.
#[derive(Debug, Clone)]
pub struct Recording {
    /// The scenario.
    pub scenario: Arc<Scenario>,
    /// When, in microseconds.
    pub at_us: i64,
    /// Through which lens.
    pub lens: CameraModel,
}

impl Sketch {
    /// With the obstacles of the scene.
    #[must_use]
    pub fn with(mut self, around: &super::surroundings::Surroundings, _shadows: bool) -> Self {
        self.things.extend(around.iter().map(|placed| Thing {
            id: placed.path.clone(),
            class: "obstacle",
            dimensions_m: placed.shape.dimensions_m(),
            pose: placed.pose,
        }));
        self
    }
}
