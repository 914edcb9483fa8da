use serde_json::Value;

use super::{assert_close, floats, golden, integers, read_tracks};
use crate::scene::VerticalFilter;
use crate::scene::activation::lives_long_enough;

fn strings(value: &Value) -> Vec<&str> {
    value.as_array().unwrap().iter().map(|text| text.as_str().unwrap()).collect()
}

#[test]
fn tracks_come_in_the_recorded_order_with_the_recorded_ranges() {
    let tracks = read_tracks();
    let golden = golden("runtime_tracks.json");
    let order = golden["order_by_start"].as_array().unwrap();
    assert_eq!(tracks.len(), order.len());
    for (track, wanted) in tracks.iter().zip(order) {
        assert_eq!(track.id, wanted[0].as_str().unwrap());
        assert_eq!(Some(track.start_us()), wanted[1].as_i64());
        assert_eq!(Some(track.end_us()), wanted[2].as_i64());
        assert_eq!(Some(track.trajectory.poses.len() as u64), wanted[3].as_u64());
    }
    let possible: Vec<_> =
        tracks.iter().filter(|track| lives_long_enough(track)).map(|track| &track.id).collect();
    assert_eq!(possible, strings(&golden["possible_tracks"]));
    let mut controllable: Vec<&str> =
        tracks.iter().filter(|track| track.controllable).map(|track| track.id.as_str()).collect();
    controllable.sort_unstable();
    let mut wanted = strings(&golden["controllable"]);
    wanted.sort_unstable();
    assert_eq!(controllable, wanted);
}

#[test]
fn the_original_filter_gives_the_recorded_heights_and_samples() {
    let tracks = read_tracks();
    let golden = golden("runtime_tracks.json");
    for wanted in golden["tracks"].as_array().unwrap() {
        let id = wanted["track_id"].as_str().unwrap();
        let track = tracks.by_id(id).unwrap();
        assert_eq!(track.class, wanted["label"].as_str().unwrap());
        assert_eq!(Some(track.dynamic), wanted["dynamic"].as_bool());
        assert_eq!(track.trajectory.timestamps_us, integers(&wanted["timestamps"]));
        let filtered = VerticalFilter::Original.apply(&track.trajectory);
        for (pose, xyz) in filtered.poses.iter().zip(wanted["filtered_xyz"].as_array().unwrap()) {
            assert_close(&pose.translation_m.to_array(), &floats::<3>(xyz), id);
        }
        for sample in wanted["samples"].as_array().unwrap() {
            let pose = filtered.pose_at(sample["t"].as_i64().unwrap());
            assert_eq!(pose.is_none(), sample["xyzquat"].is_null(), "{id}");
            if let Some(pose) = pose {
                let numbers = floats::<7>(&sample["xyzquat"]);
                assert_close(&pose.translation_m.to_array(), &numbers[..3], id);
                assert_close(&pose.quaternion_xyzw(), &numbers[3..], id);
            }
        }
        assert_eq!(VerticalFilter::Raw.apply(&track.trajectory), track.trajectory);
    }
}
