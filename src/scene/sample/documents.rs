//! The members of a scenario's archive that this program reads, in the layout NVIDIA's reconstruction tool writes.

use glam::{DMat4, DVec3};
use serde_json::{Map as Object, Value, json};

use super::cameras::{CAMERAS, calibration};
use super::random::Random;
use super::recording::{BOX_CENTROID_M, BOX_DIMENSIONS_M, Recording};
use super::{SampleOptions, xodr};
use crate::scene::map::ecef_from_enu;

/// Latitude and longitude in degrees, altitude in metres, of the map's origin: a field.
const ORIGIN: [f64; 3] = [48.4421, 10.0537, 512.0];
/// Between frames of a camera, and from a frame's first row to its last, in microseconds.
const FRAME_US: i64 = 33_333;
const READOUT_US: i64 = 31_600;

/// A number of single precision, as files hold them.
pub(super) fn single(value: f64) -> f64 {
    f64::from(value as f32)
}

/// A matrix row by row, in single precision.
pub(super) fn rows(matrix: &DMat4) -> [[f64; 4]; 4] {
    matrix.transpose().to_cols_array_2d().map(|row| row.map(single))
}

/// Names and contents, in the archive's order.
pub(super) fn members(recording: &Recording, options: &SampleOptions) -> Vec<(&'static str, String)> {
    let mut random = Random::new(options.seed ^ 0x5eed);
    let (high, low) = (random.bits(), random.bits());
    let uuid = format!(
        "{:08x}-{:04x}-4{:03x}-a{:03x}-{:012x}",
        high >> 32,
        (high >> 16) & 0xffff,
        high & 0xfff,
        low >> 52,
        low & 0xffff_ffff_ffff
    );
    let sequence_id = format!("clipgt-{uuid}");
    vec![
        (
            "default.usda",
            "#usda 1.0\n(\n    defaultPrim = \"World\"\n)\ndef Xform \"World\"\n{\n}\n".to_owned(),
        ),
        ("metadata.yaml", metadata(recording, options, &uuid)),
        ("map.xodr", xodr::text(&recording.town, ORIGIN)),
        ("rig_trajectories.json", rig(recording, options, &sequence_id).to_string()),
        ("sequence_tracks.json", tracks(recording).to_string()),
        ("data_info.json", data_info(recording, &sequence_id).to_string()),
    ]
}

fn rig(recording: &Recording, options: &SampleOptions, sequence_id: &str) -> Value {
    let calibrations = (0..options.cameras).filter_map(|index| calibration(index, sequence_id, options));
    let calibrations: Object<String, Value> = calibrations.collect();
    let (mut stamps, mut poses, mut first) = (Object::new(), Object::new(), Object::new());
    for (index, key) in calibrations.keys().enumerate() {
        let start = recording.start_us() + 3_000 + 4_700 * index as i64;
        let frames: Vec<i64> = (0..)
            .map(|frame| start + frame * FRAME_US)
            .take_while(|start| start + READOUT_US <= recording.end_us())
            .collect();
        let pair = |start: &i64| [*start, start + READOUT_US];
        stamps.insert(key.clone(), frames.iter().map(|start| json!(pair(start))).collect());
        let pose = |stamp| rows(&recording.world_from_rig(stamp));
        poses.insert(key.clone(), frames.iter().map(|start| json!(pair(start).map(pose))).collect());
        first.insert(key.clone(), json!(0));
    }
    let [latitude, longitude, altitude] = ORIGIN;
    let ecef_from_world = ecef_from_enu(latitude, longitude, altitude) * recording.map_from_world;
    let middle = recording.world_from_rig(recording.end_us()).w_axis.truncate() / 2.0;
    json!({
        "T_world_base": ecef_from_world.transpose().to_cols_array_2d(),
        "world_to_nre": {"matrix": rows(&DMat4::from_translation(-middle.with_z(0.0)))},
        "camera_calibrations": calibrations,
        "rig_trajectories": [{
            "sequence_id": sequence_id,
            "rig_bbox": {"centroid": BOX_CENTROID_M, "dim": BOX_DIMENSIONS_M, "rot": [0.0, 0.0, 0.0]},
            "cameras_linear_start_frame_indices": first,
            "cameras_frame_timestamps_us": stamps,
            "cameras_frame_T_rig_worlds": poses,
            "T_rig_worlds": recording.ego_us.iter().map(|stamp| rows(&recording.world_from_rig(*stamp))).collect::<Vec<_>>(),
            "T_rig_world_timestamps_us": recording.ego_us,
        }],
    })
}

fn tracks(recording: &Recording) -> Value {
    let all = || recording.tracks.iter();
    let numbers = |vector: DVec3| vector.to_array().map(single);
    let pose = |pose: &crate::geometry::Pose| -> Value {
        numbers(pose.translation_m).into_iter().chain(pose.quaternion_xyzw().map(single)).collect()
    };
    json!({"dummy_chunk_id": {
        "tracks_data": {
            "tracks_id": (1..=recording.tracks.len()).map(|id| id.to_string()).collect::<Vec<_>>(),
            "tracks_poses": all().map(|track| track.poses.iter().map(pose).collect()).collect::<Vec<Value>>(),
            "tracks_timestamps_us": all().map(|track| &track.timestamps_us).collect::<Vec<_>>(),
            "tracks_label_class": all().map(|track| track.class).collect::<Vec<_>>(),
            "tracks_flags": all().map(|track| track.flags).collect::<Vec<_>>(),
        },
        "cuboidtracks_data": {"cuboids_dims": all().map(|track| numbers(track.dimensions_m)).collect::<Vec<_>>()},
    }})
}

fn data_info(recording: &Recording, sequence_id: &str) -> Value {
    let range = json!({
        "start-timestamp_us": recording.start_us(),
        "end-timestamp_us": recording.end_us(),
        "num-poses": recording.ego_us.len(),
    });
    json!({
        "sequence_id": sequence_id,
        "pose-range": range,
        "shard-ids": [0],
        "shards": [{"id": 0, "path": format!("{sequence_id}_0-1.zarr.itar"), "md5": "0".repeat(32), "pose-range": range, "sensors": {}}],
    })
}

fn metadata(recording: &Recording, options: &SampleOptions, uuid: &str) -> String {
    let cameras: String =
        CAMERAS.iter().take(options.cameras).map(|(name, ..)| format!("  - {name}\n")).collect();
    format!(
        "scene_id: clipgt-{uuid}\nuuid: {uuid}\nversion_string: neuro-sample-1\ntraining_date: '2025-07-31'\n\
         dataset_hash: '{}'\nis_resumable: false\nsensors:\n  camera_ids:\n{cameras}  lidar_ids: []\n\
         time_range:\n  start: {}.0\n  end: {}.0\n",
        "0".repeat(32),
        recording.start_us(),
        recording.end_us()
    )
}
