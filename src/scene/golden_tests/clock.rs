use std::time::Duration;

use serde_json::Value;

use super::{drive, golden};
use crate::scene::activation::TrackChanges;
use crate::scene::clock::{ClockError, PlaybackClock};
use crate::scene::{Scenario, Tracks};

fn ids(indices: &[usize], tracks: &Tracks) -> Value {
    TrackChanges::ids(indices, tracks).collect()
}

fn assert_state(clock: &PlaybackClock, wanted: &Value, operation: usize) {
    let state = clock.state();
    assert_eq!(Some(state.is_playing), wanted["is_playing"].as_bool(), "operation {operation}");
    assert_eq!(Some(state.speed), wanted["speed"].as_f64(), "operation {operation}");
    assert_eq!(Some(state.current_time_us), wanted["current_time_us"].as_i64(), "operation {operation}");
    assert_eq!(
        Some(state.seconds_since_start),
        wanted["seconds_since_start"].as_f64(),
        "operation {operation}"
    );
    assert_eq!(Some(state.done), wanted["done"].as_bool(), "operation {operation}");
}

fn replay(
    scenario: &Scenario,
    clock: &mut PlaybackClock,
    operation: &Value,
) -> (Result<(), ClockError>, TrackChanges) {
    let now = Duration::from_secs(5);
    let body = &operation["body"];
    let mut answer = (Ok(()), TrackChanges::default());
    match operation["path"].as_str().unwrap() {
        "/api/playback" => {}
        "/api/playback/reset" => clock.reset(now),
        "/api/playback/stop" => clock.stop(),
        "/api/playback/play" => answer.0 = clock.play(body["speed"].as_f64(), now),
        "/api/playback/tick" => answer.1 = clock.tick(&scenario.tracks, body["delta_us"].as_i64(), now),
        other => panic!("{other}"),
    }
    answer
}

#[test]
fn the_68_recorded_playback_calls_replay_exactly() {
    let scenario = drive();
    let mut clock = PlaybackClock::of(&scenario, Duration::ZERO);
    let golden = golden("http_playback.json");
    let operations = golden["ops"].as_array().unwrap();
    assert_eq!(operations.len(), 68);
    for (index, operation) in operations.iter().enumerate() {
        let (played, changes) = replay(&scenario, &mut clock, operation);
        let wanted = &operation["response"];
        if operation["status"] == 400 {
            assert_eq!(played.unwrap_err().to_string(), wanted["detail"].as_str().unwrap());
            continue;
        }
        played.unwrap();
        assert_state(&clock, wanted, index);
        if let Some(new) = wanted.get("new_track_ids") {
            assert_eq!(&ids(&changes.new, &scenario.tracks), new, "operation {index}");
            assert_eq!(
                &ids(&changes.removed, &scenario.tracks),
                &wanted["removed_track_ids"],
                "operation {index}"
            );
        }
    }
}

#[test]
fn the_21_recorded_wall_clock_calls_replay_exactly() {
    let scenario = drive();
    let golden = golden("runtime_wallclock.json");
    let operations = golden["ops"].as_array().unwrap();
    assert_eq!(operations.len(), 21);
    // The recording does not say where its clock began. From here the differences of doubles truncate as recorded.
    let mut now = Duration::from_millis(3_150);
    let mut clock = PlaybackClock::of(&scenario, now);
    for (index, operation) in operations.iter().enumerate() {
        now += Duration::try_from_secs_f64(operation["dt_s"].as_f64().unwrap()).unwrap();
        match operation["op"].as_str().unwrap() {
            "reset" => clock.reset(now),
            "stop" => clock.stop(),
            "play" => clock.play(None, now).unwrap(),
            "tick" => {
                let before = clock.current(now);
                let delta_us = operation["args"].get(0).and_then(Value::as_i64);
                let changes = clock.tick(&scenario.tracks, delta_us, now);
                if delta_us.is_none() {
                    assert_eq!(before, clock.state().current_time_us, "operation {index}");
                }
                assert_eq!(ids(&changes.new, &scenario.tracks), operation["result"][0], "operation {index}");
                assert_eq!(
                    ids(&changes.removed, &scenario.tracks),
                    operation["result"][1],
                    "operation {index}"
                );
            }
            other => panic!("{other}"),
        }
        let state = clock.state();
        assert_eq!(Some(state.is_playing), operation["is_playing"].as_bool(), "operation {index}");
        assert_eq!(Some(state.current_time_us), operation["current_time"].as_i64(), "operation {index}");
        assert_eq!(Some(clock.active().len() as u64), operation["active"].as_u64(), "operation {index}");
    }
}
