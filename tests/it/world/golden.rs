//! The original's recorded answers: numbers to 1e-9, everything else exactly. Fields beside the recorded ones are
//! allowed.

use serde_json::Value;

use super::{World, recorded};

const TOLERANCE: f64 = 1e-9;

/// Whether `ours` says what `theirs` says.
fn agrees(theirs: &Value, ours: &Value) -> bool {
    match (theirs, ours) {
        (Value::Number(theirs), Value::Number(ours)) if theirs.is_f64() || ours.is_f64() => {
            (theirs.as_f64().unwrap() - ours.as_f64().unwrap()).abs() <= TOLERANCE
        }
        (Value::Array(theirs), Value::Array(ours)) => {
            theirs.len() == ours.len() && theirs.iter().zip(ours).all(|(theirs, ours)| agrees(theirs, ours))
        }
        (Value::Object(theirs), Value::Object(ours)) => {
            theirs.iter().all(|(key, theirs)| ours.get(key).is_some_and(|ours| agrees(theirs, ours)))
        }
        _ => theirs == ours,
    }
}

#[test]
fn the_comparison_finds_differences() {
    let theirs = serde_json::json!({"a": [1, 2.0], "b": "x"});
    assert!(agrees(&theirs, &serde_json::json!({"a": [1, 2.0000000001], "b": "x", "c": null})));
    for ours in [
        serde_json::json!({"a": [1, 2.00001], "b": "x"}),
        serde_json::json!({"a": [1], "b": "x"}),
        serde_json::json!({"a": [1, 2.0]}),
        serde_json::json!({"a": [2, 2.0], "b": "x"}),
    ] {
        assert!(!agrees(&theirs, &ours), "{ours}");
    }
}

#[tokio::test]
async fn sixty_eight_operations_of_the_clock_are_answered_as_recorded() {
    let world = World::loaded(&[]).await;
    let recording = recorded("http_playback.json");
    for (index, operation) in recording["ops"].as_array().unwrap().iter().enumerate() {
        let body = operation.get("body").map(Value::to_string);
        let (method, path) = (operation["method"].as_str().unwrap(), operation["path"].as_str().unwrap());
        let (status, ours) = world.raw(method, path, body.as_deref()).await;
        assert_eq!(u64::from(status), operation["status"], "operation {index}: {operation} gave {ours}");
        assert!(agrees(&operation["response"], &ours), "operation {index}: {operation} gave {ours}");
    }
}

#[tokio::test]
async fn two_hundred_poses_are_as_recorded() {
    let world = World::loaded(&[]).await;
    for call in recorded("http_pose.json").as_array().unwrap() {
        let (status, ours) = world.get(call["path"].as_str().unwrap()).await;
        assert_eq!(u64::from(status), call["status"], "{call}");
        assert!(agrees(&call["response"], &ours), "{call} gave {ours}");
    }
}

#[tokio::test]
async fn the_sampled_trajectory_is_as_recorded() {
    let world = World::loaded(&[]).await;
    let call = recorded("http_trajectory_100000.json");
    let (status, ours) = world.get("/api/trajectory?sample_interval_us=100000").await;
    assert_eq!(status, 200);
    assert_eq!(ours["trajectory"].as_array().unwrap().len(), 201);
    assert!(agrees(&call["response"], &ours));
    assert_eq!(world.get("/api/trajectory").await.1, ours, "100 ms is the default");
}

#[tokio::test]
async fn the_scenario_is_as_recorded_but_for_its_resolution_which_the_original_turns_around() {
    let world = World::loaded(&[]).await;
    let mut recording = recorded("http_scenario.json");
    for camera in recording["scenario"]["response"]["cameras"].as_array_mut().unwrap() {
        assert_eq!(camera["resolution"], serde_json::json!([1080, 1920]));
        camera["resolution"] = serde_json::json!([1920, 1080]);
    }
    let (_, ours) = world.get("/api/scenario").await;
    assert!(agrees(&recording["scenario"]["response"], &ours), "{ours}");
    let (_, ours) = world.get("/api/cameras").await;
    assert!(agrees(&recording["cameras"]["response"], &ours), "{ours}");
}
