//! Pictures of the built-in renderer over REST.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use image::{DynamicImage, GenericImageView as _};
use serde_json::{Value, json};

use super::World;

const MIDDLE_US: i64 = 1_721_400_133_438_417;
const FRONT: &str = "camera_front_wide_120fov";

fn picture(base64: &Value) -> DynamicImage {
    let bytes = BASE64_STANDARD.decode(base64.as_str().unwrap()).unwrap();
    image::load_from_memory_with_format(&bytes, image::ImageFormat::Jpeg).unwrap()
}

#[tokio::test]
async fn every_camera_is_drawn_at_the_size_asked_for() {
    let world = World::loaded(&[]).await;
    let (_, names) = world.get("/api/cameras").await;
    let body = json!({"timestamp_us": MIDDLE_US, "camera_ids": names["cameras"], "resolution_scale": 0.1});
    let (status, answer) = world.post("/api/render", &body).await;
    assert_eq!(status, 200);
    assert_eq!(answer["timestamp_us"], MIDDLE_US);
    assert!(answer.get("errors").is_none(), "{answer}");
    let images = answer["images"].as_object().unwrap();
    assert_eq!(images.len(), 6);
    for (name, image) in images {
        assert_eq!(picture(image).dimensions(), (192, 108), "{name}");
    }
    let distinct: std::collections::HashSet<_> = images.values().map(Value::to_string).collect();
    assert_eq!(distinct.len(), 6, "cameras look in different directions");
}

#[tokio::test]
async fn sizes_are_bounded_and_never_empty() {
    let world = World::loaded(&[]).await;
    let render = async |scale: Value| {
        let body = json!({"timestamp_us": MIDDLE_US, "camera_ids": [FRONT], "resolution_scale": scale});
        world.post("/api/render", &body).await
    };
    for scale in [json!(0), json!(-1), json!(1e-9)] {
        let (_, answer) = render(scale.clone()).await;
        assert_eq!(picture(&answer["images"][FRONT]).dimensions(), (1, 1), "{scale}");
    }
    let (status, body) = render(json!(5)).await;
    assert_eq!((status, &body["detail"][0]["type"]), (422, &json!("less_than_equal")));
}

#[tokio::test]
async fn unknown_cameras_are_missing_and_say_why() {
    let world = World::loaded(&[]).await;
    let body =
        json!({"timestamp_us": MIDDLE_US, "camera_ids": ["nope", FRONT, FRONT], "resolution_scale": 0.05});
    let (status, answer) = world.post("/api/render", &body).await;
    assert_eq!(status, 200);
    let names: Vec<_> = answer["images"].as_object().unwrap().keys().collect();
    assert_eq!(names, [FRONT]);
    assert!(answer["errors"]["nope"].as_str().unwrap().contains("nope"));
}

#[tokio::test]
async fn one_picture_comes_as_a_file() {
    let world = World::loaded(&[]).await;
    let (status, bytes) =
        world.bytes(&format!("/api/render/{FRONT}?timestamp_us={MIDDLE_US}&scale=0.125")).await;
    assert_eq!(status, 200);
    assert_eq!(image::load_from_memory(&bytes).unwrap().dimensions(), (240, 135));
}

#[tokio::test]
async fn the_same_picture_twice_is_the_same_and_another_instant_is_not() {
    let world = World::loaded(&[]).await;
    let at =
        async |time: i64| world.bytes(&format!("/api/render/{FRONT}?timestamp_us={time}&scale=0.1")).await.1;
    let first = at(MIDDLE_US).await;
    assert_eq!(first, at(MIDDLE_US).await);
    assert_ne!(first, at(MIDDLE_US + 2_000_000).await);
}
