//! A range of time as a download.

use std::io::Cursor;
use std::time::{Duration, Instant};

use serde_json::Value;
use zip::ZipArchive;

use super::World;

/// What a download answers with.
struct Download {
    status: u16,
    media_type: String,
    disposition: String,
    bytes: Vec<u8>,
}

async fn download(world: &World, query: &str) -> Download {
    let response = reqwest::get(world.server.at(&format!("/api/export?{query}"))).await.unwrap();
    let header = |name: &str| {
        let value = response.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
        value.unwrap_or_default()
    };
    let (status, media_type) = (response.status().as_u16(), header("content-type"));
    let disposition = header("content-disposition");
    Download { status, media_type, disposition, bytes: response.bytes().await.unwrap().to_vec() }
}

/// The first half second of the drive, pictures small.
async fn half_a_second(world: &World) -> String {
    let (_, scene) = world.get("/api/scene").await;
    let start_us = scene["start_us"].as_i64().unwrap();
    format!("start_us={start_us}&end_us={}&rate_hz=4&scale=0.05", start_us + 500_000)
}

#[tokio::test(flavor = "multi_thread")]
async fn each_format_downloads_as_a_file() {
    let world = World::loaded(&[]).await;
    let range = half_a_second(&world).await;
    let (_, scene) = world.get("/api/scene").await;
    let cameras = scene["cameras"].as_array().unwrap().len();

    let table = download(&world, &format!("format=csv&{range}")).await;
    assert_eq!((table.status, table.media_type.as_str()), (200, "text/csv; charset=utf-8"));
    assert!(table.disposition.starts_with("attachment; filename=\""), "{}", table.disposition);
    assert!(table.disposition.ends_with("_0.0-0.5s.csv\""), "{}", table.disposition);
    let text = String::from_utf8(table.bytes).unwrap();
    assert_eq!(text.lines().filter(|line| line.split(',').nth(1) == Some("ego")).count(), 3);

    let pictures = download(&world, &format!("format=png&{range}")).await;
    assert_eq!((pictures.status, pictures.media_type.as_str()), (200, "application/zip"));
    assert_eq!(ZipArchive::new(Cursor::new(pictures.bytes)).unwrap().len(), 3 * cameras + 1);

    let all = download(&world, &format!("format=mcap&{range}")).await;
    assert_eq!((all.status, all.media_type.as_str()), (200, "application/octet-stream"));
    let summary = mcap::Summary::read(&all.bytes).unwrap().unwrap();
    let topics = summary.channels.values().filter(|channel| channel.topic.ends_with("/image"));
    assert_eq!(topics.count(), cameras);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_exported_is_refused_by_field() {
    let world = World::start(&[]);
    let (status, body) = world.get("/api/export?format=csv").await;
    assert_eq!((status, &body["detail"]), (400, &Value::from("No scenario loaded. Call /api/load first.")));
    let world = World::loaded(&[]).await;
    for (query, fields) in [
        ("", vec!["format"]),
        ("format=gif", vec!["format"]),
        ("format=csv&rate_hz=0&start_us=soon", vec!["start_us", "rate_hz"]),
        ("format=mcap&scale=9&quality=0&objects=maybe", vec!["scale", "quality", "objects"]),
        ("format=mcap&cameras=nose", vec!["cameras"]),
        ("format=png&cameras=,", vec!["cameras"]),
        ("format=csv&start_us=5&end_us=4", vec!["start_us"]),
        ("format=csv&start_us=9223372036854775807", vec!["start_us"]),
    ] {
        let (status, body) = world.get(&format!("/api/export?{query}")).await;
        assert_eq!(status, 422, "{query}: {body}");
        let named: Vec<_> =
            body["detail"].as_array().unwrap().iter().map(|problem| problem["loc"][1].clone()).collect();
        assert_eq!(named, fields, "{query}: {body}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_third_export_is_refused_until_a_client_goes_away() {
    let world = World::loaded(&[]).await;
    let everything = world.server.at("/api/export?format=png&scale=1&rate_hz=100");
    let mut slow = Vec::new();
    for _ in 0..2 {
        let mut response = reqwest::get(&everything).await.unwrap();
        assert_eq!(response.status(), 200);
        // Begun, and then left unread: the server has to wait.
        assert!(response.chunk().await.unwrap().is_some());
        slow.push(response);
    }
    let (status, body) = world.get("/api/export?format=csv").await;
    assert_eq!(status, 429, "{body}");
    assert!(body["detail"].as_str().unwrap().starts_with("2 exports are under way"), "{body}");
    drop(slow);
    let deadline = Instant::now() + Duration::from_secs(20);
    while download(&world, "format=csv&rate_hz=1").await.status != 200 {
        assert!(Instant::now() < deadline, "the exports of clients that are gone go on");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renderer_that_is_away_is_told_before_the_download_begins() {
    let world = World::start(&["--renderer", "external", "--nurec", "127.0.0.1:9"]);
    let load = serde_json::json!({"usdz_path": super::drive(), "require_renderer": false});
    let (status, body) = world.post("/api/load", &load).await;
    assert_eq!(status, 200, "{body}");
    let (status, body) = world.get("/api/export?format=mcap").await;
    assert_eq!(status, 503, "{body}");
    assert!(body["detail"].as_str().unwrap().contains("127.0.0.1:9"), "{body}");
    assert_eq!(download(&world, "format=csv&rate_hz=1").await.status, 200);
}
