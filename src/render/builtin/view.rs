//! What of a scenario one picture shows: gathered once, before any pixel.

use glam::DVec3;

use super::ground::{Ground, pose_near};
use crate::geometry::Pose;
use crate::render::{RenderError, Shot, recorded_objects};
use crate::scene::{Map, Scenario, Track};

/// The ego vehicle's path is shown so far ahead, in metres.
const PATH_M: f64 = 90.0;
/// Points of the path are no closer than this, in metres.
const PATH_STEP_M: f64 = 0.5;

/// Which shadows a picture has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Shadows {
    /// None.
    None,
    /// Around what stands on the ground.
    #[default]
    Contact,
    /// Of the sun, on level ground, of things that may be in the air.
    Sun,
}

/// What can be drawn.
pub trait Stage: Send + 'static {
    /// What a shot of it shows.
    ///
    /// # Errors
    /// When there is nothing to show.
    fn view<'v>(&'v self, shot: &'v Shot) -> Result<SceneView<'v>, RenderError>;
}

/// The scenario that a shot brings.
#[derive(Debug, Clone, Copy)]
pub(super) struct Recorded;

impl Stage for Recorded {
    fn view<'v>(&'v self, shot: &'v Shot) -> Result<SceneView<'v>, RenderError> {
        SceneView::of(shot)
    }
}

/// A scenario at the instant of a picture.
#[derive(Debug, Clone)]
pub struct SceneView<'a> {
    /// What everything stands on.
    pub ground: Ground,
    /// Lane borders.
    pub map: Option<&'a Map>,
    /// Where the ego vehicle drives next: points on the ground, in metres, world coordinates.
    pub path_m: Vec<DVec3>,
    /// What stands around.
    pub objects: Vec<PlacedObject<'a>>,
    /// Their shadows.
    pub shadows: Shadows,
}

/// A track's cuboid during the shutter.
#[derive(Debug, Clone, PartialEq)]
pub struct PlacedObject<'a> {
    /// [`Track::id`].
    pub id: &'a str,
    /// [`Track::class`].
    pub class: &'a str,
    /// Length, width, height, in metres.
    pub dimensions_m: DVec3,
    /// `world_from_cuboid` at shutter start and end.
    pub world_from_object: [Pose; 2],
}

impl<'a> SceneView<'a> {
    /// What a shot of a scenario shows. Objects that the scenario does not know are left out: nothing says how big they
    /// are.
    #[must_use]
    pub fn new(shot: &Shot, scenario: &'a Scenario) -> Self {
        let start_us = timestamp(shot.shutter_us[0]);
        let end_us = timestamp(shot.shutter_us[1].max(shot.shutter_us[0]));
        let camera_m = shot.world_from_sensor[0].translation_m;
        let recorded;
        let objects = match &shot.objects {
            Some(objects) => objects,
            None => {
                recorded = recorded_objects(scenario, [start_us, end_us]);
                &recorded
            }
        };
        let placed = objects.iter().filter_map(|object| {
            let track = scenario.tracks.by_id(&object.track_id)?;
            Some(PlacedObject::new(track, object.world_from_object))
        });
        let objects = placed.collect();
        Self {
            ground: Ground::below(&scenario.ego, start_us).unwrap_or_else(|| Ground::level(camera_m.z - 1.6)),
            map: scenario.map.as_ref(),
            path_m: path_ahead(scenario, start_us),
            objects,
            shadows: Shadows::Contact,
        }
    }

    /// As [`SceneView::new`], for a shot that brings its scenario.
    ///
    /// # Errors
    /// When it brings none.
    pub fn of(shot: &'a Shot) -> Result<Self, RenderError> {
        let scenario = shot.scenario.as_deref().ok_or_else(|| {
            RenderError::Invalid(format!(
                "the built-in renderer draws loaded scenarios only, and '{}' is not loaded",
                shot.scene_id
            ))
        })?;
        Ok(Self::new(shot, scenario))
    }
}

impl<'a> PlacedObject<'a> {
    fn new(track: &'a Track, world_from_object: [Pose; 2]) -> Self {
        Self { id: &track.id, class: &track.class, dimensions_m: track.dimensions_m, world_from_object }
    }
}

fn timestamp(us: u64) -> i64 {
    i64::try_from(us).unwrap_or(i64::MAX)
}

fn path_ahead(scenario: &Scenario, start_us: i64) -> Vec<DVec3> {
    let ego = &scenario.ego;
    let Some(here) = pose_near(ego, start_us) else { return Vec::new() };
    let next = ego.timestamps_us.partition_point(|stamp| *stamp <= start_us);
    let mut path = vec![here.translation_m];
    let (mut last, mut length) = (here.translation_m, 0.0);
    for pose in ego.poses.get(next..).unwrap_or_default() {
        let step = pose.translation_m.distance(last);
        if step < PATH_STEP_M {
            continue;
        }
        last = pose.translation_m;
        length += step;
        path.push(last);
        if length > PATH_M {
            break;
        }
    }
    path
}
