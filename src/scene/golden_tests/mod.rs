//! The recorded answers of the original viewer hold.

mod clock;
mod map;
mod poses;
mod tracks;

use std::io::Read as _;
use std::path::PathBuf;

use glam::{DMat4, DVec3};
use serde_json::Value;

use super::camera::{CameraModel, Pinhole, Projection, Shutter};
use super::{Camera, Scenario, Track, Tracks, Trajectory};
use crate::geometry::Pose;

fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/scenario").join(name)
}

fn golden(name: &str) -> Value {
    serde_json::from_slice(&std::fs::read(fixture("golden").join(name)).unwrap()).unwrap()
}

fn text(name: &str) -> String {
    let file = std::fs::File::open(fixture("data/drive.usdz")).unwrap();
    let mut text = String::new();
    zip::ZipArchive::new(file).unwrap().by_name(name).unwrap().read_to_string(&mut text).unwrap();
    text
}

fn member(name: &str) -> Value {
    serde_json::from_str(&text(name)).unwrap()
}

fn integers(value: &Value) -> Vec<i64> {
    value.as_array().unwrap().iter().map(|number| number.as_i64().unwrap()).collect()
}

fn floats<const N: usize>(value: &Value) -> [f64; N] {
    std::array::from_fn(|index| value[index].as_f64().unwrap())
}

fn matrix(value: &Value) -> DMat4 {
    let rows: [[f64; 4]; 4] = std::array::from_fn(|row| floats(&value[row]));
    DMat4::from_cols_array_2d(&rows).transpose()
}

fn rig() -> (Vec<i64>, Vec<DMat4>, Value) {
    let rig = member("rig_trajectories.json");
    let first = &rig["rig_trajectories"][0];
    let matrices = first["T_rig_worlds"].as_array().unwrap().iter().map(matrix).collect();
    (integers(&first["T_rig_world_timestamps_us"]), matrices, rig["camera_calibrations"].clone())
}

fn read_tracks() -> Tracks {
    let document = member("sequence_tracks.json");
    let (data, cuboids) =
        (&document["dummy_chunk_id"]["tracks_data"], &document["dummy_chunk_id"]["cuboidtracks_data"]);
    let track = |index: usize| {
        let poses = data["tracks_poses"][index].as_array().unwrap().iter();
        let flags = data["tracks_flags"][index].as_str().unwrap();
        let poses = poses.map(|pose| {
            let [x, y, z, qx, qy, qz, qw] = floats(pose);
            Pose::from_xyz_quat([x, y, z], [qx, qy, qz, qw]).unwrap()
        });
        Track {
            id: data["tracks_id"][index].as_str().unwrap().to_owned(),
            class: data["tracks_label_class"][index].as_str().unwrap().to_owned(),
            dynamic: flags.contains("DYNAMIC"),
            controllable: flags.contains("CONTROLLABLE"),
            dimensions_m: DVec3::from_array(floats(&cuboids["cuboids_dims"][index])),
            trajectory: Trajectory::new(integers(&data["tracks_timestamps_us"][index]), poses.collect())
                .unwrap(),
        }
    };
    Tracks::new((0..data["tracks_id"].as_array().unwrap().len()).map(track).collect())
}

fn drive() -> Scenario {
    let (timestamps_us, matrices, calibrations) = rig();
    let camera = |(key, calibration): (&String, &Value)| Camera {
        key: key.clone(),
        logical_name: calibration["logical_sensor_name"].as_str().unwrap().to_owned(),
        rig_from_sensor_rows: std::array::from_fn(|row| floats(&calibration["T_sensor_rig"][row])),
        rig_from_sensor: Pose::from_matrix(&matrix(&calibration["T_sensor_rig"])).unwrap(),
        model: CameraModel {
            resolution: [2, 2],
            shutter: Shutter::Global,
            projection: Projection::Pinhole(Pinhole {
                principal_point: [1.0; 2],
                focal_length: [1.0; 2],
                radial: [0.0; 6],
                tangential: [0.0; 2],
                thin_prism: [0.0; 4],
            }),
            windshield: None,
        },
        shutters_us: Vec::new(),
        shutter_poses: None,
    };
    let info = &member("data_info.json")["pose-range"];
    Scenario {
        path: fixture("data/drive.usdz"),
        sequence_id: "drive".to_owned(),
        start_us: info["start-timestamp_us"].as_i64().unwrap(),
        end_us: info["end-timestamp_us"].as_i64().unwrap(),
        ego: Trajectory::from_matrices(timestamps_us, &matrices).unwrap(),
        cameras: calibrations.as_object().unwrap().iter().map(camera).collect(),
        tracks: read_tracks(),
        map: None,
        rig_box: None,
        nre_from_world: None,
        ecef_from_world: None,
        notes: Vec::new(),
    }
}

fn assert_close(got: &[f64], wanted: &[f64], what: &str) {
    assert_eq!(got.len(), wanted.len(), "{what}");
    for (a, b) in got.iter().zip(wanted) {
        assert!((a - b).abs() < 1e-9, "{what}: {got:?} instead of {wanted:?}");
    }
}
