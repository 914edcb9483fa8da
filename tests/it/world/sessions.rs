//! Sessions beside the default one, seeking and loops.

use serde_json::{Value, json};

use super::{World, drive};

const START_US: i64 = 1_721_400_123_419_378;
const END_US: i64 = 1_721_400_143_457_456;

#[tokio::test]
async fn sessions_have_clocks_of_their_own() {
    let world = World::loaded(&[]).await;
    let (status, created) = world.post("/api/sessions", &json!({"name": "bob"})).await;
    assert_eq!((status, created["name"].as_str()), (201, Some("bob")));
    assert_eq!(world.get("/api/sessions/bob/playback").await.0, 400, "nothing is loaded there yet");
    let (status, _) = world.post("/api/sessions/bob/load", &json!({"usdz_path": drive()})).await;
    assert_eq!(status, 200);
    world.post("/api/sessions/bob/playback/tick", &json!({"delta_us": 2_000_000})).await;
    let at = async |path: &str| world.get(path).await.1["current_time_us"].as_i64().unwrap();
    assert_eq!(at("/api/sessions/bob/playback").await, START_US + 2_000_000);
    assert_eq!(at("/api/playback").await, START_US);
    let (_, list) = world.get("/api/sessions").await;
    let names: Vec<_> = list["sessions"].as_array().unwrap().iter().map(|session| &session["name"]).collect();
    assert_eq!(names, ["bob", "default"]);

    assert_eq!(world.raw("DELETE", "/api/sessions/bob", None).await.0, 204);
    let (status, body) = world.get("/api/sessions/bob/playback").await;
    assert_eq!(status, 404);
    assert!(body["detail"].as_str().unwrap().contains("bob"), "{body}");
    assert_eq!(world.raw("DELETE", "/api/sessions/default", None).await.0, 204);
    assert_eq!(world.get("/api/playback").await.0, 400, "the default session is emptied and stays");
}

#[tokio::test]
async fn names_of_sessions_are_checked() {
    let world = World::start(&[]);
    for name in ["", "a/b", "a b", "ä", &"x".repeat(65)] {
        let (status, body) = world.post("/api/sessions", &json!({"name": name})).await;
        assert_eq!(status, 400, "{name:?}: {body}");
    }
    let (_, unnamed) = world.raw("POST", "/api/sessions", None).await;
    let name = unnamed["name"].as_str().unwrap().to_owned();
    assert_eq!(world.post("/api/sessions", &json!({"name": name})).await.0, 409);
    assert_eq!(world.post("/api/sessions", &json!({"name": 5})).await.0, 422);
    for index in 0..62 {
        assert_eq!(world.post("/api/sessions", &json!({"name": format!("s{index}")})).await.0, 201);
    }
    assert_eq!(world.post("/api/sessions", &json!({"name": "one-more"})).await.0, 429);
}

fn ids(answer: &Value, key: &str) -> Vec<String> {
    answer[key].as_array().unwrap().iter().map(|id| id.as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn seeking_goes_back_and_forth_within_the_range() {
    let world = World::loaded(&[]).await;
    let seek = async |body: Value| {
        let (status, answer) = world.post("/api/playback/seek", &body).await;
        assert_eq!(status, 200, "{body}: {answer}");
        answer
    };
    let there = seek(json!({"seconds": 5.0})).await;
    assert_eq!(there["current_time_us"], START_US + 5_000_000);
    assert!(!ids(&there, "new_track_ids").is_empty());
    let back = seek(json!({"delta_us": -4_000_000})).await;
    assert_eq!(back["current_time_us"], START_US + 1_000_000);
    assert!(!ids(&back, "removed_track_ids").is_empty(), "tracks of the fifth second are gone");
    let again = seek(json!({"timestamp_us": START_US + 5_000_000})).await;
    assert_eq!(ids(&again, "new_track_ids").len(), ids(&back, "removed_track_ids").len());
    assert_eq!(seek(json!({"timestamp_us": 0})).await["current_time_us"], START_US);
    let end = seek(json!({"seconds": 1e9})).await;
    assert_eq!((end["current_time_us"].as_i64(), end["done"].as_bool()), (Some(END_US), Some(true)));
    for body in [json!({}), json!({"seconds": 1, "delta_us": 1}), json!({"timestamp_us": "x"})] {
        assert_eq!(world.post("/api/playback/seek", &body).await.0, 422, "{body}");
    }
}

#[tokio::test]
async fn a_loop_leads_back_to_its_start() {
    let world = World::loaded(&[]).await;
    let range = json!({"enabled": true, "start_us": START_US + 1_000_000, "end_us": START_US + 3_000_000});
    let (status, state) = world.post("/api/playback/loop", &range).await;
    assert_eq!((status, &state["loop"]["end_us"]), (200, &range["end_us"]));
    world.post("/api/playback/tick", &json!({"delta_us": 2_500_000})).await;
    let (_, wrapped) = world.post("/api/playback/tick", &json!({"delta_us": 1_000_000})).await;
    assert_eq!(wrapped["current_time_us"], START_US + 1_500_000);
    let (_, off) = world.post("/api/playback/loop", &json!({"enabled": false})).await;
    assert_eq!(off["loop"], Value::Null);
    let empty = json!({"start_us": START_US + 2, "end_us": START_US + 2});
    let (status, body) = world.post("/api/playback/loop", &empty).await;
    assert_eq!(status, 400, "{body}");
}

#[tokio::test]
async fn the_scene_says_all_a_viewer_needs() {
    let world = World::loaded(&[]).await;
    let (status, scene) = world.get("/api/scene").await;
    assert_eq!(status, 200);
    assert_eq!((scene["start_us"].as_i64(), scene["end_us"].as_i64()), (Some(START_US), Some(END_US)));
    assert_eq!(scene["renderer"]["name"], "embedded");
    let cameras = scene["cameras"].as_array().unwrap();
    assert_eq!(cameras.len(), 6);
    assert_eq!(cameras[0]["resolution"], json!([1920, 1080]));
    assert_eq!(cameras[0]["model"], "ftheta");
    assert_eq!(scene["tracks"].as_array().unwrap().len(), 120);
    assert!(scene["ego"].as_array().unwrap().len() > 100);
    assert!(!scene["frame_timestamps_us"].as_array().unwrap().is_empty());

    let middle = START_US + 10_000_000;
    let (_, alive) = world.get(&format!("/api/tracks?timestamp_us={middle}")).await;
    let alive: Vec<&str> =
        alive["tracks"].as_array().unwrap().iter().map(|track| track["id"].as_str().unwrap()).collect();
    let expected: Vec<&str> = scene["tracks"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|track| {
            track["start_us"].as_i64().unwrap() <= middle && middle <= track["end_us"].as_i64().unwrap()
        })
        .map(|track| track["id"].as_str().unwrap())
        .collect();
    assert!(!alive.is_empty());
    assert_eq!(alive, expected);
    let (status, path) = world.get(&format!("/api/track/{}", alive[0])).await;
    assert_eq!(status, 200);
    assert!(path["path"].as_array().unwrap().len() > 1);
    assert_eq!(world.get("/api/track/nobody").await.0, 404);
}
