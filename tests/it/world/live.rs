//! The live websocket.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use super::World;

const START_US: i64 = 1_721_400_123_419_378;
const FRONT: &str = "camera_front_wide_120fov";
const REAR: &str = "camera_rear_left_70fov";
const PATIENCE: Duration = Duration::from_secs(30);

/// What the server says.
pub enum Heard {
    Text(Value),
    Set { header: Value, pictures: Vec<u8> },
}

pub struct Viewer(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Viewer {
    pub async fn connect(world: &World, path: &str) -> Self {
        let url = world.server.at(path).replacen("http", "ws", 1);
        Self(connect_async(url).await.unwrap().0)
    }

    pub async fn say(&mut self, message: &Value) {
        self.0.send(Message::text(message.to_string())).await.unwrap();
    }

    async fn see(&mut self, cameras: &[&str]) {
        self.say(&json!({"type": "view", "cameras": cameras, "scale": 0.1})).await;
    }

    async fn hear(&mut self) -> Heard {
        self.hear_within(PATIENCE).await.expect("the server says nothing")
    }

    pub async fn hear_within(&mut self, patience: Duration) -> Option<Heard> {
        loop {
            match timeout(patience, self.0.next()).await.ok()?.unwrap().unwrap() {
                Message::Text(text) => return Some(Heard::Text(serde_json::from_str(&text).unwrap())),
                Message::Binary(bytes) => {
                    let length = u32::from_le_bytes(bytes[..4].try_into().unwrap()) as usize;
                    let header = serde_json::from_slice(&bytes[4..4 + length]).unwrap();
                    return Some(Heard::Set { header, pictures: bytes[4 + length..].to_vec() });
                }
                _ => {}
            }
        }
    }

    /// The next set; what the clock says in between is passed over.
    async fn set(&mut self) -> (Value, Vec<u8>) {
        loop {
            if let Heard::Set { header, pictures } = self.hear().await {
                return (header, pictures);
            }
        }
    }

    async fn text(&mut self) -> Value {
        loop {
            if let Heard::Text(text) = self.hear().await {
                return text;
            }
        }
    }

    pub async fn acknowledge(&mut self, header: &Value) {
        self.say(&json!({"type": "ack", "seq": header["seq"]})).await;
    }

    /// Whether nothing comes for a while.
    async fn is_quiet(&mut self) -> bool {
        timeout(Duration::from_millis(400), self.0.next()).await.is_err()
    }
}

#[tokio::test]
async fn a_viewer_sees_the_instant_the_clock_shows() {
    let world = World::loaded(&[]).await;
    let mut viewer = Viewer::connect(&world, "/api/live").await;
    let state = viewer.text().await;
    assert_eq!((state["type"].as_str(), state["current_time_us"].as_i64()), (Some("state"), Some(START_US)));
    viewer.see(&[FRONT, "nope", REAR, FRONT]).await;
    let (header, pictures) = viewer.set().await;
    assert_eq!((header["seq"].as_u64(), header["timestamp_us"].as_i64()), (Some(1), Some(START_US)));
    let images = header["images"].as_array().unwrap();
    let names: Vec<_> = images.iter().map(|image| image["camera"].as_str().unwrap()).collect();
    assert_eq!(names, [FRONT, "nope", REAR]);
    assert!(images[1]["error"].as_str().unwrap().contains("nope"));
    for image in [&images[0], &images[2]] {
        let from = usize::try_from(image["offset"].as_u64().unwrap()).unwrap();
        let to = from + usize::try_from(image["length"].as_u64().unwrap()).unwrap();
        let picture = image::load_from_memory(&pictures[from..to]).unwrap();
        assert_eq!((picture.width(), picture.height()), (192, 108));
    }
    assert_eq!(header["ego"]["position"], json!([0.0, 0.0, 0.0]));
    assert!(header["timings_ms"]["total"].as_f64().unwrap() > 0.0);
    assert!(header.get("overlay").is_none());
}

#[tokio::test]
async fn a_held_clock_sends_one_set_and_a_seek_another() {
    let world = World::loaded(&[]).await;
    let mut viewer = Viewer::connect(&world, "/api/live").await;
    viewer.see(&[FRONT]).await;
    let (header, _) = viewer.set().await;
    viewer.acknowledge(&header).await;
    assert!(viewer.is_quiet().await, "nothing has changed");
    viewer.say(&json!({"type": "show", "timestamp_us": START_US + 3_000_000})).await;
    let (header, _) = viewer.set().await;
    assert_eq!(header["timestamp_us"], START_US + 3_000_000);
    assert!(!header["tracks"].as_array().unwrap().is_empty());
    assert_eq!(world.get("/api/playback").await.1["current_time_us"], START_US + 3_000_000);
    viewer.say(&json!({"type": "show", "timestamp_us": START_US + 1_000_000})).await;
    let (header, _) = viewer.set().await;
    assert_eq!(header["timestamp_us"], START_US + 1_000_000, "back again");
}

#[tokio::test]
async fn a_playing_clock_sends_sets_as_they_are_acknowledged_and_no_more() {
    let world = World::loaded(&[]).await;
    let mut viewer = Viewer::connect(&world, "/api/live").await;
    viewer.see(&[FRONT]).await;
    world.raw("POST", "/api/playback/play", None).await;
    let mut last = 0;
    for _ in 0..5 {
        let (header, _) = viewer.set().await;
        let time = header["timestamp_us"].as_i64().unwrap();
        assert!(time >= last, "time runs on");
        last = time;
        viewer.acknowledge(&header).await;
    }
    assert!(last > START_US);
    // Nothing is acknowledged any more: at most two sets come.
    let mut unacknowledged = 0;
    while let Ok(Some(Ok(message))) = timeout(Duration::from_millis(600), viewer.0.next()).await {
        unacknowledged += usize::from(message.is_binary());
    }
    assert!(unacknowledged <= 2, "{unacknowledged} sets came unasked");
    world.raw("POST", "/api/playback/stop", None).await;
    let stopped = world.get("/api/playback").await.1;
    assert!(
        stopped["current_time_us"].as_i64().unwrap() >= last,
        "it stops where it was, not where it began"
    );
}

#[tokio::test]
async fn the_end_is_told() {
    let world = World::loaded(&[]).await;
    let mut viewer = Viewer::connect(&world, "/api/live").await;
    viewer.see(&[FRONT]).await;
    world.post("/api/playback/seek", &json!({"seconds": 19.9})).await;
    world.post("/api/playback/play", &json!({"speed": 4.0})).await;
    loop {
        match viewer.hear().await {
            Heard::Set { header, .. } => viewer.acknowledge(&header).await,
            Heard::Text(state) if state["done"] == true => {
                assert_eq!(state["is_playing"], false);
                break;
            }
            Heard::Text(_) => {}
        }
    }
}

#[tokio::test]
async fn outlines_of_cuboids_come_when_asked_for() {
    let world = World::loaded(&[]).await;
    let mut viewer = Viewer::connect(&world, "/api/live").await;
    world.post("/api/playback/seek", &json!({"seconds": 10.0})).await;
    viewer.say(&json!({"type": "view", "cameras": [FRONT], "scale": 0.05, "overlay": true})).await;
    let (header, _) = viewer.set().await;
    let outlines = header["overlay"][FRONT].as_array().unwrap();
    assert!(!outlines.is_empty());
    for point in outlines[0]["lines"][0].as_array().unwrap() {
        assert!(
            point.as_array().unwrap().iter().all(|value| (-0.25..=1.25).contains(&value.as_f64().unwrap()))
        );
    }
}

#[tokio::test]
async fn what_is_not_understood_is_said_and_the_viewer_stays() {
    let world = World::loaded(&[]).await;
    let mut viewer = Viewer::connect(&world, "/api/live").await;
    viewer.text().await;
    for bad in [
        json!({"type": "dance"}),
        json!({"type": "view"}),
        json!({"type": "view", "cameras": [FRONT], "scale": 99}),
        json!({"type": "view", "cameras": [FRONT], "quality": 0}),
        json!([]),
    ] {
        viewer.say(&bad).await;
        let answer = viewer.text().await;
        assert_eq!(answer["type"], "error", "{bad}");
        assert!(answer["message"].as_str().unwrap().len() > 10, "{bad}");
    }
    viewer.see(&[FRONT]).await;
    viewer.set().await;
}

#[tokio::test]
async fn a_viewer_that_comes_before_the_scenario_sees_it_when_it_is_loaded() {
    let world = World::start(&[]);
    let mut viewer = Viewer::connect(&world, "/api/live").await;
    assert_eq!(viewer.text().await["sequence_id"], Value::Null);
    viewer.see(&[FRONT]).await;
    world.post("/api/load", &json!({"usdz_path": super::drive()})).await;
    let (header, _) = viewer.set().await;
    assert_eq!(header["timestamp_us"], START_US);
    assert_eq!(world.get("/api/sessions").await.1["sessions"][0]["viewers"], 1);
}

#[tokio::test]
async fn a_token_may_come_as_a_subprotocol() {
    let world = World::start(&["--token", "s3cret"]);
    let url = world.server.at("/api/live").replacen("http", "ws", 1);
    assert!(connect_async(&url).await.is_err(), "no token, no pictures");
    let request = tokio_tungstenite::tungstenite::ClientRequestBuilder::new(url.parse().unwrap())
        .with_sub_protocol("neuro.live")
        .with_sub_protocol("bearer.s3cret");
    let (_, response) = connect_async(request).await.unwrap();
    assert_eq!(response.headers()["sec-websocket-protocol"], "neuro.live");
}
