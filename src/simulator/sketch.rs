//! What a picture of a world shows, before any pixel: boxes and round things, and where the camera stands.

use std::sync::Arc;

use glam::DVec3;

use super::shape::Shape;
use super::surroundings::Surroundings;
use crate::geometry::Pose;
use crate::render::builtin::{Ground, PlacedObject, SceneView, Shadows, Stage};
use crate::render::{Encoding, RenderError, Shot};
use crate::scene::Scenario;
use crate::scene::camera::{CameraModel, Pinhole, Projection, Shutter};

/// How a robot's camera sees: half of the width, by the distance.
const HALF_WIDTH: f64 = 0.52;
/// Of the JPEG files.
const QUALITY: f32 = 80.0;

/// A thing in the picture.
#[derive(Debug, Clone, PartialEq)]
pub struct Thing {
    /// Things of one class and one id are of exactly one colour.
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
    /// How high the ground is.
    pub ground_m: f64,
    /// The scenario behind it.
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

/// A sketch ready to be drawn.
#[derive(Debug, Clone)]
pub struct Scenery {
    sketch: Sketch,
    shadows: Shadows,
}

impl Sketch {
    /// With the obstacles of the scene, and shadows if it has any.
    #[must_use]
    pub fn with(mut self, around: &Surroundings, shadows: bool) -> Scenery {
        self.things.extend(around.iter().map(|placed| Thing {
            id: placed.path.clone(),
            class: match placed.shape {
                Shape::Box(_) => "obstacle_box",
                Shape::Sphere(_) => "obstacle_sphere",
                Shape::Cylinder(..) => "obstacle_cylinder",
            },
            dimensions_m: placed.shape.dimensions_m(),
            pose: placed.pose,
        }));
        let shadows = match (shadows, &self.recording) {
            (false, None) => Shadows::None,
            (true, None) => Shadows::Sun,
            (_, Some(_)) => Shadows::Contact,
        };
        Scenery { sketch: self, shadows }
    }
}

impl Scenery {
    /// The picture to ask for, of so many pixels.
    #[must_use]
    pub fn shot(&self, resolution: [u32; 2]) -> Shot {
        let sketch = &self.sketch;
        let (camera, at_us) = match &sketch.recording {
            Some(recording) => (recording.lens.clone(), u64::try_from(recording.at_us).unwrap_or(0)),
            None => (robot_camera(resolution), 0),
        };
        Shot {
            scene_id: String::new(),
            scenario: sketch.recording.as_ref().map(|recording| Arc::clone(&recording.scenario)),
            camera_name: "robot".to_owned(),
            camera,
            shutter_us: [at_us, at_us + 1],
            world_from_sensor: [sketch.camera; 2],
            objects: None,
            resolution,
            encoding: Encoding::Jpeg(QUALITY),
        }
    }
}

impl Stage for Scenery {
    fn view<'v>(&'v self, shot: &'v Shot) -> Result<SceneView<'v>, RenderError> {
        let own = self.sketch.things.iter().map(|thing| PlacedObject {
            id: &thing.id,
            class: thing.class,
            dimensions_m: thing.dimensions_m,
            world_from_object: [thing.pose; 2],
        });
        let mut view = match shot.scenario.as_deref() {
            Some(scenario) => SceneView::new(shot, scenario),
            None => SceneView {
                ground: Ground::level(self.sketch.ground_m),
                map: None,
                path_m: Vec::new(),
                objects: Vec::new(),
                shadows: self.shadows,
            },
        };
        view.objects.extend(own);
        Ok(view)
    }
}

/// A pinhole without distortion.
fn robot_camera([width, height]: [u32; 2]) -> CameraModel {
    let half = [0.5 * f64::from(width), 0.5 * f64::from(height)];
    let focal = half[0].min(half[1] * 4.0 / 3.0) / HALF_WIDTH;
    CameraModel {
        resolution: [width, height],
        shutter: Shutter::Global,
        projection: Projection::Pinhole(Pinhole {
            principal_point: half,
            focal_length: [focal; 2],
            radial: [0.0; 6],
            tangential: [0.0; 2],
            thin_prism: [0.0; 4],
        }),
        windshield: None,
    }
}
