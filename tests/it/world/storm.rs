//! Many viewers scrubbing at random over a renderer that fails, hangs and returns rubbish at random: every answer is
//! right or a clear error, nothing grows, and when the renderer is well again so is everything.
//!
//! `TEST_STORM_SECONDS=60` makes it as long as one wants; the tests take a few seconds of it.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::live::{Heard, Viewer};
use super::{World, drive};
use crate::stub_nurec::{Behaviour, Fault, StubNurec};

const VIEWERS: u64 = 32;
const SESSIONS: u64 = 8;
const START_US: i64 = 1_721_400_123_419_378;
const LENGTH_US: i64 = 20_038_078;
const CAMERAS: [&str; 3] = ["camera_front_wide_120fov", "camera_cross_left_120fov", "camera_rear_left_70fov"];
/// A recorded frame counts as an instant's within 10 ms of its shutter, which is open for 32 ms.
const FRAME_REACH_US: i64 = 45_000;

fn seconds() -> u64 {
    std::env::var("TEST_STORM_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(6)
}

/// When the stub's picture of `camera` was asked for.
fn drawn_at(picture: &[u8], camera: &str) -> Option<i64> {
    let name = format!("{camera}@");
    let at = picture.windows(name.len()).position(|part| part == name.as_bytes())? + name.len();
    let digits: String =
        picture[at..].iter().take_while(|byte| byte.is_ascii_digit()).map(|byte| *byte as char).collect();
    digits.parse().ok()
}

fn resident_bytes(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

/// Right and failed pictures of a set; panics at a wrong one.
fn judge(header: &Value, pictures: &[u8]) -> (u64, u64) {
    let (mut right, mut failed) = (0, 0);
    let instant_us = header["timestamp_us"].as_i64().unwrap();
    for image in header["images"].as_array().unwrap() {
        let camera = image["camera"].as_str().unwrap();
        if let Some(error) = image["error"].as_str() {
            assert!(error.len() > 30 && !error.contains('\n'), "{error:?}");
            failed += 1;
            continue;
        }
        let range = |key: &str| usize::try_from(image[key].as_u64().unwrap()).unwrap();
        let picture = &pictures[range("offset")..range("offset") + range("length")];
        let drawn_us = drawn_at(picture, camera).unwrap_or_else(|| panic!("not a picture of {camera}"));
        assert!((drawn_us - instant_us).abs() <= FRAME_REACH_US, "{camera} of {drawn_us} at {instant_us}");
        right += 1;
    }
    (right, failed)
}

async fn scrub(mut viewer: Viewer, seed: u64, until: Instant) -> (u64, u64) {
    let (mut right, mut failed, mut random) = (0, 0, seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    viewer.say(&json!({"type": "view", "cameras": CAMERAS, "scale": 0.02})).await;
    while Instant::now() < until {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let offset_us = i64::try_from(random >> 33).unwrap() % LENGTH_US;
        viewer.say(&json!({"type": "show", "timestamp_us": START_US + offset_us})).await;
        let Some(heard) = viewer.hear_within(Duration::from_millis(200)).await else { continue };
        if let Heard::Set { header, pictures } = heard {
            let (good, bad) = judge(&header, &pictures);
            (right, failed) = (right + good, failed + bad);
            viewer.acknowledge(&header).await;
        }
    }
    (right, failed)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thirty_two_viewers_scrub_over_a_renderer_that_fails_at_random() {
    let stub = StubNurec::start(Behaviour { delay: Duration::from_millis(2), ..Behaviour::default() });
    let nurec = stub.address.to_string();
    let world = World::start(&["--renderer", "external", "--nurec", &nurec, "--frame-cache", "4MiB"]);
    for session in 0..SESSIONS {
        let name = format!("s{session}");
        assert_eq!(world.post("/api/sessions", &json!({"name": name})).await.0, 201);
        let (status, body) =
            world.post(&format!("/api/sessions/{name}/load"), &json!({"usdz_path": drive()})).await;
        assert_eq!(status, 200, "{body}");
    }
    let warm = resident_bytes(world.server.pid());
    stub.behave(|behaviour| behaviour.fault = Fault::Chance);
    let until = Instant::now() + Duration::from_secs(seconds());
    let mut viewers = Vec::new();
    for seed in 0..VIEWERS {
        let viewer = Viewer::connect(&world, &format!("/api/sessions/s{}/live", seed % SESSIONS)).await;
        viewers.push(tokio::spawn(scrub(viewer, seed + 1, until)));
    }
    let mut slowest = Duration::ZERO;
    while Instant::now() < until {
        let asked = Instant::now();
        assert_eq!(world.get("/api/health").await.0, 200);
        slowest = slowest.max(asked.elapsed());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let counts = futures_util::future::join_all(viewers).await;
    let (right, failed) =
        counts.into_iter().map(Result::unwrap).fold((0, 0), |sum, count| (sum.0 + count.0, sum.1 + count.1));
    assert!(right > 50 && failed > 10, "{right} right, {failed} failed");
    assert!(slowest < Duration::from_secs(1), "health waited {slowest:?} behind the storm");
    let after = resident_bytes(world.server.pid());
    assert!(after < warm + (64 << 20), "grew from {warm} to {after} bytes");

    // The renderer dies, says so, comes back at its place, and so do the pictures.
    let address = stub.kill();
    let body = json!({"timestamp_us": START_US + 7_000_000, "camera_ids": CAMERAS, "resolution_scale": 0.02});
    let (status, away) = world.post("/api/sessions/s0/render", &body).await;
    assert_eq!(status, 200);
    let errors: HashMap<String, String> = serde_json::from_value(away["errors"].clone()).unwrap();
    assert_eq!(errors.len(), CAMERAS.len(), "{away}");
    assert!(errors.values().all(|error| error.contains(&nurec) && error.contains("check")), "{errors:?}");
    let _stub = StubNurec::start_at(address, Behaviour::default());
    let back = Instant::now();
    loop {
        let (_, answer) = world.post("/api/sessions/s0/render", &body).await;
        if answer["images"].as_object().unwrap().len() == CAMERAS.len() {
            break;
        }
        assert!(back.elapsed() < Duration::from_secs(20), "{answer}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
