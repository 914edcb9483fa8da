//! What the original answered to 103 odd requests, sent in the same order. Where this server differs on purpose,
//! [`DIFFERENCES`] says how and why; docs/WIRES.md has the same table.

use serde_json::Value;

use super::{World, drive, recorded};

/// A request that is meant to be answered differently.
struct Difference {
    /// Part of the path, and of the body as the recording has it.
    request: (&'static str, &'static str),
    status: u16,
    why: &'static str,
}

const fn differs(path: &'static str, body: &'static str, status: u16, why: &'static str) -> Difference {
    Difference { request: (path, body), status, why }
}

const EMPTY_BODY: &str = "play and tick take an empty body";
const NOT_FINITE: &str = "a number that is not finite is refused, not a failure";
const ROOT: &str = "the root serves the policy";
const PORT: &str = "a port is 1 to 65535";
const BUILT_IN: &str = "the built-in renderer needs no host or port, so a load does not fail for them";
const DIRECTORY: &str =
    "a directory is the caller's fault: 400; and outside the configured folders nothing is found: 404";
const RENDERED: &str = "the renderer is there";

const DIFFERENCES: &[Difference] = &[
    differs("/api/playback/play", "\"raw_body\":\"\"", 200, EMPTY_BODY),
    differs("/api/playback/tick", "\"raw_body\":\"\"", 200, EMPTY_BODY),
    differs("/api/playback/play", "1e400", 422, NOT_FINITE),
    differs("/api/playback/play", "NaN", 422, NOT_FINITE),
    differs("/api/render", "NaN", 422, NOT_FINITE),
    differs("/api/playback/tick", "{\\\"delta_us\\\": 5}", 200, NOT_FINITE),
    differs("/api/load", "70000", 422, PORT),
    differs("/api/load", "\"nurec_port\":1", 200, BUILT_IN),
    differs("/api/load", "$TMP", 404, DIRECTORY),
    differs("/api/nurec/restart", "drive.usdz", 200, BUILT_IN),
    differs(
        "/api/render/camera_front_wide_120fov?timestamp_us=1721400133438417",
        "render failed",
        200,
        RENDERED,
    ),
];

/// Answers whose body is compared no further: wall time, addresses, pictures.
fn body_is_its_own(path: &str, status: u64) -> bool {
    let live =
        ["/api/playback", "/api/health", "/docs", "/openapi.json", "/api/render", "/api/load", "/api/nurec"];
    status == 200 && live.iter().any(|prefix| path.starts_with(prefix))
}

fn request_text(call: &Value) -> String {
    ["body", "raw_body", "response"]
        .iter()
        .filter_map(|key| call.get(*key).map(|value| format!("\"{key}\":{value}")))
        .collect::<Vec<_>>()
        .join(" ")
}

/// The problems of a 422, without what was sent: long inputs are cut.
fn problems(body: &Value) -> Vec<(Value, Value, Value, Option<Value>)> {
    let detail = body["detail"].as_array().cloned().unwrap_or_default();
    let problem = |item: &Value| {
        (item["type"].clone(), item["loc"].clone(), item["msg"].clone(), item.get("ctx").cloned())
    };
    detail.iter().map(problem).collect()
}

#[tokio::test]
async fn odd_requests_are_answered_as_recorded() {
    let world = World::loaded(&[]).await;
    let mut used = std::collections::HashSet::new();
    for (index, call) in recorded("http_errors.json").as_array().unwrap().iter().enumerate() {
        let (method, path) = (call["method"].as_str().unwrap(), call["path"].as_str().unwrap());
        // The root belongs to the policy here.
        if path == "/" {
            used.insert(ROOT);
            continue;
        }
        let text = request_text(call);
        let body = match (call.get("raw_body"), call.get("body")) {
            (Some(raw), _) => raw.as_str().map(str::to_owned),
            (None, Some(body)) if !body.is_null() => Some(body.to_string()),
            _ => None,
        };
        let body = body.map(|body| body.replace("/scenes/data/drive.usdz", &drive()));
        let difference = DIFFERENCES
            .iter()
            .find(|difference| path.starts_with(difference.request.0) && text.contains(difference.request.1));
        let expected = difference.map_or(call["status"].as_u64().unwrap(), |difference| {
            used.insert(difference.why);
            u64::from(difference.status)
        });
        let redirects = path.ends_with('/');
        if redirects {
            let client =
                reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
            let response = client.get(world.server.at(path)).send().await.unwrap();
            assert_eq!(u64::from(response.status().as_u16()), expected, "{path}");
            continue;
        }
        let (status, ours) = world.raw(method, path, body.as_deref()).await;
        assert_eq!(u64::from(status), expected, "call {index}: {call} gave {ours}");
        if difference.is_some() || body_is_its_own(path, expected) || method == "HEAD" {
            continue;
        }
        let theirs = &call["response"];
        match &theirs["detail"] {
            Value::String(detail) if detail.contains("/scenes/x.usdz") || detail.contains("$TMP") => {}
            Value::String(detail) => assert_eq!(ours["detail"], *detail, "call {index}: {call}"),
            Value::Array(_) => {
                assert_eq!(problems(&ours), problems(theirs), "call {index}: {call} gave {ours}")
            }
            _ => {}
        }
    }
    for difference in DIFFERENCES {
        assert!(used.contains(difference.why), "no recording is concerned: {}", difference.why);
    }
}

#[tokio::test]
async fn nothing_is_answered_before_a_scenario_is_loaded() {
    let world = World::start(&[]);
    let none = "No scenario loaded. Call /api/load first.";
    let clock = "Playback not initialized. Call /api/load first.";
    for (path, detail) in [
        ("/api/scenario", none),
        ("/api/trajectory", none),
        ("/api/pose?timestamp_us=1", none),
        ("/api/cameras", "No scenario loaded"),
        ("/api/playback", clock),
        ("/api/scene", none),
    ] {
        let (status, body) = world.get(path).await;
        assert_eq!((status, body["detail"].as_str()), (400, Some(detail)), "{path}");
    }
    for path in ["/api/playback/play", "/api/playback/stop", "/api/playback/reset", "/api/playback/tick"] {
        let (status, body) = world.raw("POST", path, Some("{}")).await;
        assert_eq!((status, body["detail"].as_str()), (400, Some(clock)), "{path}");
    }
    let body = serde_json::json!({"timestamp_us": 1, "camera_ids": []});
    let (status, body) = world.post("/api/render", &body).await;
    assert_eq!((status, body["detail"].as_str()), (400, Some("No scenario loaded or NuRec not connected")));
    let (_, health) = world.get("/api/health").await;
    assert_eq!(
        (health["status"].as_str(), health["scenario_loaded"].as_bool()),
        (Some("healthy"), Some(false))
    );
}

#[tokio::test]
async fn a_failed_load_leaves_what_was_loaded() {
    let world = World::loaded(&[]).await;
    let before = world.get("/api/scenario").await;
    let moved = world.post("/api/playback/tick", &serde_json::json!({"delta_us": 100_000})).await.1;
    let bad = std::path::Path::new("scenario/corpus/bad");
    for name in ["json_truncated.usdz", "zip_random_bytes.usdz", "ego_empty.usdz", "nan_pose.usdz"] {
        let file = crate::golden::fixture(bad.join(name).to_str().unwrap()).display().to_string();
        let (status, body) = world.post("/api/load", &serde_json::json!({"usdz_path": file})).await;
        let detail = body["detail"].as_str().unwrap();
        assert_eq!(status, 400, "{name}: {detail}");
        assert!(detail.len() > 20, "{name}: {detail}");
        assert_eq!(world.get("/api/scenario").await, before, "after {name}");
        let state = world.get("/api/playback").await.1;
        assert_eq!(state["current_time_us"], moved["current_time_us"], "after {name}");
    }
    assert_eq!(world.get("/api/health").await.1["scenario_loaded"], true);
}

#[tokio::test]
async fn files_outside_the_configured_folders_are_not_found() {
    let world = World::start(&[]);
    let elsewhere = crate::golden::root().join("Cargo.toml").display().to_string();
    for name in [elsewhere.as_str(), "/etc/passwd", "../../../Cargo.toml", ""] {
        for path in ["/api/load", "/api/nurec/restart"] {
            let (status, body) = world.post(path, &serde_json::json!({"usdz_path": name})).await;
            assert_eq!(
                (status, body["detail"].as_str()),
                (404, Some(format!("USDZ file not found: {name}").as_str()))
            );
        }
    }
    let (_, files) = world.get("/api/usdz-files").await;
    let files = files["files"].as_array().unwrap();
    assert!(files.iter().any(|file| file.as_str().unwrap().ends_with("/data/drive.usdz")));
    assert!(files.is_sorted_by_key(|file| file.as_str().unwrap().to_owned()));
}
