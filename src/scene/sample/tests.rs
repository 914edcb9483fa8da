use std::io::{Cursor, Read as _};
use std::path::PathBuf;

use glam::{DMat4, DVec2, DVec3};
use serde_json::Value;

use super::{LensKind, SampleOptions};
use crate::geometry::Pose;
use crate::scene::{Map, MapLineKind, Trajectory, map::Placement};

const SHORT: SampleOptions = SampleOptions {
    seed: 3,
    duration_s: 2.0,
    tracks: 12,
    cameras: 2,
    model: LensKind::Mixed,
    windshield: true,
};

/// What `scenes/README.md` says the shipped scenes are made with.
fn shipped() -> [(&'static str, SampleOptions); 2] {
    let mixed = SampleOptions {
        seed: 7,
        duration_s: 8.0,
        tracks: 60,
        model: LensKind::Mixed,
        windshield: true,
        ..SampleOptions::default()
    };
    [("town.usdz", SampleOptions::default()), ("mixed_cameras.usdz", mixed)]
}

struct Sample {
    rig: Value,
    tracks: Value,
    map: Map,
    notes: Vec<String>,
    ego: Trajectory,
}

fn floats<const N: usize>(value: &Value) -> [f64; N] {
    std::array::from_fn(|index| value[index].as_f64().unwrap())
}

fn matrix(value: &Value) -> DMat4 {
    let rows: [[f64; 4]; 4] = std::array::from_fn(|row| floats(&value[row]));
    DMat4::from_cols_array_2d(&rows).transpose()
}

fn integers(value: &Value) -> Vec<i64> {
    value.as_array().unwrap().iter().map(|number| number.as_i64().unwrap()).collect()
}

impl Sample {
    fn new(options: &SampleOptions) -> Self {
        let bytes = options.archive().unwrap();
        let mut archive = zip::ZipArchive::new(Cursor::new(bytes)).unwrap();
        let mut text = |name: &str| {
            let mut text = String::new();
            archive.by_name(name).unwrap().read_to_string(&mut text).unwrap();
            text
        };
        let rig: Value = serde_json::from_str(&text("rig_trajectories.json")).unwrap();
        let tracks: Value = serde_json::from_str(&text("sequence_tracks.json")).unwrap();
        let first = &rig["rig_trajectories"][0];
        let matrices: Vec<_> = first["T_rig_worlds"].as_array().unwrap().iter().map(matrix).collect();
        let ego =
            Trajectory::from_matrices(integers(&first["T_rig_world_timestamps_us"]), &matrices).unwrap();
        let path: Vec<_> = ego.poses.iter().map(|pose| pose.translation_m).collect();
        let ecef_from_world = matrix(&rig["T_world_base"]);
        let placement = Placement { ecef_from_world: Some(&ecef_from_world), ego_path_m: &path };
        let (map, notes) = Map::from_xodr(&text("map.xodr"), &placement).unwrap();
        Self { tracks: tracks["dummy_chunk_id"].clone(), rig, map, notes, ego }
    }

    fn boxes(&self) -> Vec<(String, DVec3, Trajectory)> {
        let data = &self.tracks["tracks_data"];
        let count = data["tracks_id"].as_array().unwrap().len();
        let track = |index: usize| {
            let poses = data["tracks_poses"][index].as_array().unwrap().iter().map(|pose| {
                let [x, y, z, qx, qy, qz, qw] = floats(pose);
                Pose::from_xyz_quat([x, y, z], [qx, qy, qz, qw]).unwrap()
            });
            let class = data["tracks_label_class"][index].as_str().unwrap();
            (
                format!("{} {class}", data["tracks_id"][index].as_str().unwrap()),
                DVec3::from_array(floats(&self.tracks["cuboidtracks_data"]["cuboids_dims"][index])),
                Trajectory::new(integers(&data["tracks_timestamps_us"][index]), poses.collect()).unwrap(),
            )
        };
        (0..count).map(track).collect()
    }
}

/// The corners of a box on the ground.
fn footprint(pose: &Pose, dimensions_m: DVec3) -> [DVec2; 4] {
    [(1.0, 1.0), (1.0, -1.0), (-1.0, -1.0), (-1.0, 1.0)].map(|(x, y)| {
        let corner = dimensions_m * DVec3::new(x, y, 0.0) / 2.0;
        pose.transform_point(corner).truncate()
    })
}

fn overlap(a: &[DVec2; 4], b: &[DVec2; 4]) -> bool {
    let axes = [a[1] - a[0], a[2] - a[1], b[1] - b[0], b[2] - b[1]];
    axes.into_iter().all(|axis| {
        let span = |corners: &[DVec2; 4]| {
            let along = corners.map(|corner| corner.dot(axis));
            (
                along.into_iter().fold(f64::INFINITY, f64::min),
                along.into_iter().fold(f64::NEG_INFINITY, f64::max),
            )
        };
        let ((a_low, a_high), (b_low, b_high)) = (span(a), span(b));
        a_low < b_high && b_low < a_high
    })
}

#[test]
fn nobody_drives_or_walks_through_anybody() {
    for seed in 1..6 {
        let options = SampleOptions { seed, duration_s: 40.0, tracks: 200, ..SampleOptions::default() };
        let sample = Sample::new(&options);
        let boxes = sample.boxes();
        let ego_box = (
            DVec3::from_array(super::recording::BOX_DIMENSIONS_M),
            DVec3::from_array(super::recording::BOX_CENTROID_M),
        );
        let [start, end] = sample.ego.range();
        for (time_us, rig) in sample.ego.sample(start, end, 250_000) {
            let middle = Pose { translation_m: rig.transform_point(ego_box.1), ..rig };
            let mut there = vec![("ego".to_owned(), footprint(&middle, ego_box.0))];
            there.extend(boxes.iter().filter_map(|(name, dimensions_m, path)| {
                Some((name.clone(), footprint(&path.pose_at(time_us)?, *dimensions_m)))
            }));
            for (index, (name, area)) in there.iter().enumerate() {
                for (other, other_area) in &there[index + 1..] {
                    let seconds = (time_us - start) as f64 / 1e6;
                    assert!(!overlap(area, other_area), "seed {seed}, {seconds} s: {name} is in {other}");
                }
            }
        }
    }
}

#[test]
fn the_map_lies_where_the_ego_and_the_cars_drive() {
    let sample = Sample::new(&SampleOptions::default());
    assert_eq!(sample.notes, Vec::<String>::new(), "nothing had to be moved");
    let segments: Vec<_> = sample
        .map
        .lines
        .iter()
        .flat_map(|line| line.points_m.windows(2).map(|pair| (line.kind, pair[0], pair[1])))
        .collect();
    let nearest = |kind: MapLineKind, point: DVec3| {
        let distance = |a: DVec3, b: DVec3| {
            let share = ((point - a).dot(b - a) / (b - a).length_squared()).clamp(0.0, 1.0);
            point.distance(a + share * (b - a))
        };
        segments
            .iter()
            .filter(|segment| segment.0 == kind)
            .map(|(_, a, b)| distance(*a, *b))
            .fold(f64::INFINITY, f64::min)
    };
    let mut on_streets = 0;
    for pose in &sample.ego.poses {
        let place = pose.translation_m;
        // Half a lane from either broken line, outside the intersection, where none are painted.
        let crossing = DVec3::new(160.0 - 84.0 + super::recording::BOX_CENTROID_M[0], 0.0, 0.0);
        if place.distance(crossing) > super::town::BOX_M + 0.1 {
            let distance = nearest(MapLineKind::Broken, place);
            assert!(
                (distance - super::town::LANE_M / 2.0).abs() < 0.05,
                "{place} is {distance} m from a line"
            );
            on_streets += 1;
        }
    }
    assert!(on_streets > 200, "{on_streets}");
    let count = |kind| sample.map.lines.iter().filter(|line| line.kind == kind).count();
    assert_eq!(count(MapLineKind::Broken), 12);
    assert_eq!(count(MapLineKind::RoadEdge), 12);
    for (name, dimensions_m, path) in sample.boxes() {
        let ground = |pose: &Pose| pose.transform_point(DVec3::new(0.0, 0.0, -dimensions_m.z / 2.0));
        for pose in path.poses.iter().step_by(7).filter(|_| name.contains("automobile")) {
            let kinds = [MapLineKind::Broken, MapLineKind::RoadEdge, MapLineKind::Other];
            let distance =
                kinds.map(|kind| nearest(kind, ground(pose))).into_iter().fold(f64::INFINITY, f64::min);
            assert!(
                distance < 2.0 || ground(pose).distance(ground(&path.poses[0])) > 1.0,
                "{name} {distance}"
            );
        }
    }
}

#[test]
fn the_drive_stops_at_the_light_crosses_and_takes_the_curve() {
    let sample = Sample::new(&SampleOptions::default());
    let [start, end] = sample.ego.range();
    let speeds: Vec<f64> = sample
        .ego
        .sample(start, end - 500_000, 500_000)
        .map(|(time, pose)| {
            pose.translation_m.distance(sample.ego.pose_at(time + 500_000).unwrap().translation_m) / 0.5
        })
        .collect();
    assert!(speeds.iter().any(|speed| *speed < 0.2), "it stands: {speeds:?}");
    assert!(speeds.iter().all(|speed| *speed < 10.0), "{speeds:?}");
    let last = sample.ego.poses.last().unwrap();
    assert!(last.yaw_rad() > 0.3, "it is in the curve: {}", last.yaw_rad());
    assert!(last.translation_m.z > 0.3, "and on the rise: {}", last.translation_m.z);
    assert!(sample.ego.poses[0].translation_m.length() < 1e-9, "the world begins at the first pose");
    let classes: std::collections::BTreeSet<_> =
        sample.boxes().into_iter().map(|(name, ..)| name.split(' ').nth(1).unwrap().to_owned()).collect();
    for class in ["automobile", "bus", "heavy_truck", "rider", "motorcycle", "person"] {
        assert!(classes.contains(class), "{class}");
    }
}

#[test]
fn frames_have_a_pose_at_either_end_of_their_shutter() {
    let sample = Sample::new(&SHORT);
    let first = &sample.rig["rig_trajectories"][0];
    for (key, frames) in first["cameras_frame_timestamps_us"].as_object().unwrap() {
        let poses = first["cameras_frame_T_rig_worlds"][key].as_array().unwrap();
        let frames = frames.as_array().unwrap();
        assert_eq!(frames.len(), poses.len(), "{key}");
        assert!(frames.len() > 55, "{key}");
        for (frame, pair) in frames.iter().zip(poses) {
            for (stamp, pose) in integers(frame).into_iter().zip(pair.as_array().unwrap()) {
                let apart = sample.ego.pose_at(stamp).unwrap().translation_m - matrix(pose).w_axis.truncate();
                assert!(apart.length() < 0.02, "{apart}");
            }
        }
    }
}

#[test]
fn members_are_stored_and_aligned_as_usdz_wants() {
    let bytes = SHORT.archive().unwrap();
    let mut archive = zip::ZipArchive::new(Cursor::new(&bytes)).unwrap();
    let names: Vec<_> = (0..archive.len())
        .map(|index| archive.by_index(index).unwrap().name().unwrap().into_owned())
        .collect();
    assert_eq!(names[0], "default.usda");
    assert_eq!(names.len(), 6);
    for index in 0..archive.len() {
        let member = archive.by_index(index).unwrap();
        assert_eq!(member.compression(), zip::CompressionMethod::Stored);
        assert_eq!(member.data_start().unwrap() % 64, 0, "{:?}", member.name());
    }
}

#[test]
fn the_same_options_make_the_same_bytes_and_others_do_not() {
    let bytes = SHORT.archive().unwrap();
    assert_eq!(bytes, SHORT.archive().unwrap());
    assert_ne!(bytes, SampleOptions { seed: 4, ..SHORT }.archive().unwrap());
}

#[test]
fn options_out_of_range_are_refused() {
    let refused = |options: SampleOptions| options.archive().unwrap_err().to_string();
    assert_eq!(
        refused(SampleOptions { duration_s: f64::NAN, ..SHORT }),
        "the duration in seconds is NaN, which must be between 1 and 60"
    );
    assert_eq!(
        refused(SampleOptions { cameras: 8, ..SHORT }),
        "the number of cameras is 8, which must be between 1 and 7"
    );
    assert!(refused(SampleOptions { tracks: 301, ..SHORT }).contains("between 0 and 300"));
    assert!(SampleOptions { tracks: 0, ..SHORT }.archive().is_ok());
    assert!(SampleOptions { tracks: 300, duration_s: 1.0, ..SHORT }.archive().is_ok());
}

/// With NEURO_WRITE_SCENES set, writes them instead.
#[test]
fn the_shipped_scenes_are_what_their_recipe_makes() {
    let scenes = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("scenes");
    for (name, options) in shipped() {
        let bytes = options.archive().unwrap();
        assert!(bytes.len() < 5_000_000, "{name} has {} bytes", bytes.len());
        if std::env::var_os("NEURO_WRITE_SCENES").is_some() {
            std::fs::write(scenes.join(name), &bytes).unwrap();
        }
        assert!(
            std::fs::read(scenes.join(name)).unwrap() == bytes,
            "{name} differs: make it again, see scenes/README.md"
        );
    }
}
