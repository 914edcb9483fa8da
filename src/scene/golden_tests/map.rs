use glam::DVec3;

use super::{drive, matrix, member, text};
use crate::scene::Map;
use crate::scene::map::Placement;

#[test]
fn the_map_of_the_drive_begins_where_the_drive_does() {
    let ego_path_m: Vec<_> = drive().ego.poses.iter().map(|pose| pose.translation_m).collect();
    let ecef_from_world = matrix(&member("rig_trajectories.json")["T_world_base"]);
    let placement = Placement { ecef_from_world: Some(&ecef_from_world), ego_path_m: &ego_path_m };
    let (map, notes) = Map::from_xodr(&text("map.xodr"), &placement).unwrap();
    assert_eq!(map.lines.len(), 2);
    let begins = map.lines[0].points_m[0];
    assert!(begins.distance(DVec3::ZERO) < 0.5, "{begins}");
    let way = map.lines[0].points_m[10] - begins;
    assert!((way.y.atan2(way.x) + 0.61).abs() < 1e-3, "the world is turned by 0.61 rad: {way}");
    assert_eq!(notes.len(), 1, "its altitude is that of the sea: {notes:?}");
}
