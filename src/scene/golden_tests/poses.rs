use glam::DMat4;
use serde_json::Value;

use super::{assert_close, drive, floats, golden, matrix, rig};
use crate::geometry::Pose;
use crate::scene::spectator;

fn assert_pose(pose: &Pose, position: [f64; 3], quaternion: [f64; 4], what: &str) {
    assert_close(&pose.translation_m.to_array(), &position, what);
    assert_close(&pose.quaternion_xyzw(), &quaternion, what);
}

#[test]
fn the_200_recorded_poses_are_answered() {
    let ego = drive().ego;
    let calls = golden("http_pose.json");
    let (mut answered, mut refused) = (0, 0);
    for call in calls.as_array().unwrap() {
        let path = call["path"].as_str().unwrap();
        let asked = path.rsplit('=').next().unwrap().parse::<i64>();
        let pose = asked.ok().and_then(|timestamp_us| ego.pose_at(timestamp_us));
        if call["status"] == 200 {
            let answer = &call["response"];
            assert_pose(&pose.unwrap(), floats(&answer["position"]), floats(&answer["quaternion"]), path);
            answered += 1;
        } else {
            assert_eq!(pose, None, "{path}");
            refused += 1;
        }
    }
    assert_eq!((answered, refused), (195, 5));
}

#[test]
fn the_recorded_trajectory_is_sampled() {
    let scenario = drive();
    let golden = golden("http_trajectory_100000.json");
    let wanted = golden["response"]["trajectory"].as_array().unwrap();
    let got: Vec<_> = scenario.ego.sample(scenario.start_us, scenario.end_us, 100_000).collect();
    assert_eq!(got.len(), wanted.len());
    for ((timestamp_us, pose), wanted) in got.iter().zip(wanted) {
        assert_eq!(Some(*timestamp_us), wanted["timestamp_us"].as_i64());
        let what = timestamp_us.to_string();
        assert_pose(pose, floats(&wanted["position"]), floats(&wanted["quaternion"]), &what);
    }
}

fn assert_matrix(got: &DMat4, wanted: &Value) {
    assert_close(&got.to_cols_array(), &matrix(wanted).to_cols_array(), "matrix");
}

#[test]
fn the_recorded_spectator_path_is_followed() {
    let scenario = drive();
    let golden = golden("runtime_spectator.json");
    let (timestamps_us, rigs, calibrations) = rig();
    let best = spectator::best_camera(&scenario.cameras).unwrap();
    assert_eq!(scenario.cameras[best].logical_name, golden["camera"].as_str().unwrap());
    let rig_from_sensor = matrix(&calibrations[&scenario.cameras[best].key]["T_sensor_rig"]);
    let path = spectator::path(timestamps_us, rigs.into_iter(), &rig_from_sensor).unwrap();
    let rounded = scenario.spectator().unwrap();
    for sample in golden["samples"].as_array().unwrap() {
        let timestamp_us = sample["t"].as_i64().unwrap();
        let Some(pose) = path.pose_at(timestamp_us) else {
            assert!(sample["matrix"].is_null());
            continue;
        };
        assert_matrix(&path.matrix_at(timestamp_us).unwrap(), &sample["matrix"]);
        assert_close(&pose.translation_m.to_array(), &floats::<7>(&sample["xyzquat"])[..3], "spectator");
        assert_close(&pose.quaternion_xyzw(), &floats::<7>(&sample["xyzquat"])[3..], "spectator");
        let apart = rounded.pose_at(timestamp_us).unwrap().translation_m - pose.translation_m;
        assert!(apart.length() < 1e-7, "{apart}");
    }
    for sample in golden["ego_matrices"].as_array().unwrap() {
        let timestamp_us = sample["t"].as_i64().unwrap();
        assert_matrix(&scenario.ego.matrix_at(timestamp_us).unwrap(), &sample["matrix"]);
    }
}

/// Whether a double, sent as a single, is the recorded single or its neighbour.
fn assert_within_one_ulp(got: f64, recorded: f64, what: &str) {
    let (got, recorded) = (got as f32, recorded as f32);
    assert!(
        got == recorded || got == recorded.next_up() || got == recorded.next_down(),
        "{what}: {got:e} instead of {recorded:e}"
    );
}

#[test]
fn cameras_stand_where_the_recorded_render_requests_put_them() {
    let scenario = drive();
    let golden = golden("grpc_requests.json");
    let requests = golden["requests"].as_array().unwrap();
    assert_eq!(requests.len(), 19);
    for request in requests {
        let name = request["camera"].as_str().unwrap();
        let timestamp_us = request["start"].as_i64().unwrap();
        let camera = scenario.cameras.iter().position(|camera| camera.logical_name == name).unwrap();
        let pose = scenario.world_from_sensor_rounded(camera, timestamp_us).unwrap();
        let what = format!("{name} at {timestamp_us}");
        for (got, recorded) in pose.translation_m.to_array().into_iter().zip(floats::<3>(&request["vec"])) {
            assert_within_one_ulp(got, recorded, &what);
        }
        let [w, x, y, z] = floats(&request["quat_wxyz"]);
        for (got, recorded) in pose.quaternion_xyzw().into_iter().zip([x, y, z, w]) {
            assert_within_one_ulp(got, recorded, &what);
        }
        let exact = scenario.world_from_sensor(camera, timestamp_us).unwrap();
        assert!((exact.translation_m - pose.translation_m).length() < 1e-6, "{what}");
    }
}
