//! Things in space: cuboids, labels, lane lines.

use std::collections::HashSet;

use glam::DVec3;

use super::outlet::stamp;
use super::{RIG, WORLD};
use crate::geometry::Pose;
use crate::proto::foxglove::{self as fox, line_primitive, scene_entity_deletion};
use crate::render::builtin::class_colour;
use crate::scene::{Map, MapLineKind, RigBox, Scenario, Track};

/// Height of a label's letters, in metres.
const LETTERS_M: f64 = 0.6;
/// A label's distance from its cuboid, in metres.
const ABOVE_M: f64 = 0.5;
/// Width of a lane line on screen, in pixels.
const LINE_PX: f64 = 2.0;
/// How much a cuboid hides: its heading and the picture below stay visible.
const OPACITY: f64 = 0.6;

pub(super) fn vector(DVec3 { x, y, z }: DVec3) -> fox::Vector3 {
    fox::Vector3 { x, y, z }
}

pub(super) fn quaternion(pose: &Pose) -> fox::Quaternion {
    let [x, y, z, w] = pose.quaternion_xyzw();
    fox::Quaternion { x, y, z, w }
}

pub(super) fn pose(pose: &Pose) -> fox::Pose {
    fox::Pose { position: Some(vector(pose.translation_m)), orientation: Some(quaternion(pose)) }
}

/// The tracks that are there at an instant. Those in `shown` that are not are deleted; `shown` becomes those that are.
pub(super) fn tracks(scenario: &Scenario, at_us: i64, shown: &mut HashSet<String>) -> fox::SceneUpdate {
    let mut now = HashSet::new();
    let mut entities = Vec::new();
    for (_, track, world_from_cuboid) in scenario.tracks.alive_at(at_us) {
        if now.insert(track.id.clone()) {
            entities.push(entity(track, &world_from_cuboid, at_us));
        }
    }
    let mut gone: Vec<_> = shown.difference(&now).cloned().collect();
    gone.sort_unstable();
    let deletions = gone.into_iter().map(|id| fox::SceneEntityDeletion {
        timestamp: Some(stamp(at_us)),
        r#type: scene_entity_deletion::Type::MatchingId.into(),
        id,
    });
    let deletions = deletions.collect();
    *shown = now;
    fox::SceneUpdate { deletions, entities }
}

fn entity(track: &Track, world_from_cuboid: &Pose, at_us: i64) -> fox::SceneEntity {
    let above_m = DVec3::Z * (track.dimensions_m.z / 2.0 + ABOVE_M);
    let label = Pose { translation_m: world_from_cuboid.translation_m + above_m, ..Pose::IDENTITY };
    let fact = |key: &str, value: &str| fox::KeyValuePair { key: key.to_owned(), value: value.to_owned() };
    fox::SceneEntity {
        timestamp: Some(stamp(at_us)),
        frame_id: WORLD.to_owned(),
        id: track.id.clone(),
        metadata: vec![
            fact("class", &track.class),
            fact("dynamic", &track.dynamic.to_string()),
            fact("controllable", &track.controllable.to_string()),
        ],
        cubes: vec![fox::CubePrimitive {
            pose: Some(pose(world_from_cuboid)),
            size: Some(vector(track.dimensions_m)),
            color: Some(colour(class_colour(&track.class))),
        }],
        texts: vec![fox::TextPrimitive {
            pose: Some(pose(&label)),
            billboard: true,
            font_size: LETTERS_M,
            scale_invariant: false,
            color: Some(fox::Color { r: 1.0, g: 1.0, b: 1.0, a: 1.0 }),
            text: format!("{} {}", track.class, track.id),
        }],
        ..fox::SceneEntity::default()
    }
}

/// The ego vehicle's box, which moves with the rig.
pub(super) fn ego_box(rig_box: &RigBox, at_us: i64) -> fox::SceneUpdate {
    let centre = Pose { translation_m: rig_box.centroid_m, ..Pose::IDENTITY };
    let entity = fox::SceneEntity {
        timestamp: Some(stamp(at_us)),
        frame_id: RIG.to_owned(),
        id: "ego".to_owned(),
        frame_locked: true,
        cubes: vec![fox::CubePrimitive {
            pose: Some(pose(&centre)),
            size: Some(vector(rig_box.dimensions_m)),
            color: Some(colour([52, 196, 190])),
        }],
        ..fox::SceneEntity::default()
    };
    fox::SceneUpdate { deletions: Vec::new(), entities: vec![entity] }
}

/// The lines of a map.
pub(super) fn map(map: &Map, at_us: i64) -> fox::SceneUpdate {
    let lines = map.lines.iter().map(|line| fox::LinePrimitive {
        r#type: line_primitive::Type::LineStrip.into(),
        pose: Some(pose(&Pose::IDENTITY)),
        thickness: LINE_PX,
        scale_invariant: true,
        points: line.points_m.iter().map(|DVec3 { x, y, z }| fox::Point3 { x: *x, y: *y, z: *z }).collect(),
        color: Some(line_colour(line.kind)),
        ..fox::LinePrimitive::default()
    });
    let entity = fox::SceneEntity {
        timestamp: Some(stamp(at_us)),
        frame_id: WORLD.to_owned(),
        id: "map".to_owned(),
        lines: lines.collect(),
        ..fox::SceneEntity::default()
    };
    fox::SceneUpdate { deletions: Vec::new(), entities: vec![entity] }
}

fn colour(rgb: [u8; 3]) -> fox::Color {
    let [r, g, b] = rgb.map(|part| f64::from(part) / 255.0);
    fox::Color { r, g, b, a: OPACITY }
}

fn line_colour(kind: MapLineKind) -> fox::Color {
    let rgb = match kind {
        MapLineKind::RoadEdge => [233, 196, 106],
        MapLineKind::Solid => [246, 246, 240],
        MapLineKind::Broken => [200, 204, 206],
        MapLineKind::Other => [146, 152, 156],
    };
    fox::Color { a: 1.0, ..colour(rgb) }
}
