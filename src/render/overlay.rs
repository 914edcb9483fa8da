//! Where cuboids lie in a camera's picture, for whoever draws over it: the same shutter, poses and lens that the picture
//! is drawn with.

use std::sync::Arc;

use glam::{DVec2, DVec3};
use serde::Serialize;

use super::shot::{ShotOptions, shot};
use crate::geometry::Pose;
use crate::scene::Scenario;
use crate::scene::camera::{CameraModel, pose_during_shutter};

/// Pieces an edge is cut into: lenses bend lines.
const PIECES: u32 = 8;
/// Objects further away than this are left out, in metres.
const FAR_M: f64 = 150.0;
/// Corners of a cuboid, and the twelve pairs that make its edges; bit 0 is x, bit 1 is y, bit 2 is z.
const EDGES: [(usize, usize); 12] =
    [(0, 1), (2, 3), (4, 5), (6, 7), (0, 2), (1, 3), (4, 6), (5, 7), (0, 4), (1, 5), (2, 6), (3, 7)];

/// One object's edges in a picture.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Outline {
    /// Id of the track.
    pub id: String,
    /// Polylines; points as fractions of the picture's width and height.
    pub lines: Vec<Vec<[f64; 2]>>,
}

/// The outlines of the tracks that are alive at an instant, in one camera's picture. Empty for an unknown camera.
#[must_use]
pub fn outlines(scenario: &Arc<Scenario>, camera: &str, at_us: i64) -> Vec<Outline> {
    let Ok(shot) = shot(scenario, at_us, camera, &ShotOptions::default()) else { return Vec::new() };
    let objects = shot.objects.iter().flatten();
    let outline = |object: &super::MovingObject| {
        let track = scenario.tracks.by_id(&object.track_id)?;
        let [start, _] = object.world_from_object;
        if start.translation_m.distance(shot.world_from_sensor[0].translation_m) > FAR_M {
            return None;
        }
        let view = View { camera: &shot.camera, world_from_sensor: &shot.world_from_sensor };
        let lines = view.edges(&object.world_from_object, track.dimensions_m / 2.0);
        (!lines.is_empty()).then(|| Outline { id: object.track_id.clone(), lines })
    };
    objects.filter_map(outline).collect()
}

struct View<'a> {
    camera: &'a CameraModel,
    world_from_sensor: &'a [Pose; 2],
}

impl View<'_> {
    fn edges(&self, world_from_object: &[Pose; 2], half_m: DVec3) -> Vec<Vec<[f64; 2]>> {
        let sign = |corner: usize, bit: usize| if corner >> bit & 1 == 1 { 1.0 } else { -1.0 };
        let corner = |index: usize| half_m * DVec3::new(sign(index, 0), sign(index, 1), sign(index, 2));
        let mut lines = Vec::new();
        for (from, to) in EDGES {
            let (from, to) = (corner(from), corner(to));
            let points = (0..=PIECES).map(|piece| from.lerp(to, f64::from(piece) / f64::from(PIECES)));
            let mut line = Vec::new();
            for point in points {
                match self.project(world_from_object, point) {
                    Some(place) => line.push(place),
                    None => keep(&mut lines, std::mem::take(&mut line)),
                }
            }
            keep(&mut lines, line);
        }
        lines
    }

    /// A point of an object, as fractions of the picture; `None` outside the picture's surroundings.
    fn project(&self, world_from_object: &[Pose; 2], point: DVec3) -> Option<[f64; 2]> {
        let at = |fraction| pose_during_shutter(world_from_object, fraction).transform_point(point);
        let (_, fraction) = self.camera.project_moving(at(0.0), self.world_from_sensor)?;
        let (pixel, _) = self.camera.project_moving(at(fraction), self.world_from_sensor)?;
        let [width, height] = self.camera.resolution.map(f64::from);
        let place = pixel / DVec2::new(width, height);
        // A line may leave the picture, not wander off: a lens projects far outside it, and wrongly.
        let near = place.cmpge(DVec2::splat(-0.25)).all() && place.cmple(DVec2::splat(1.25)).all();
        near.then(|| place.to_array().map(|value| (value * 1e5).round() / 1e5))
    }
}

fn keep(lines: &mut Vec<Vec<[f64; 2]>>, line: Vec<[f64; 2]>) {
    if line.len() > 1 {
        lines.push(line);
    }
}
