//! `POST /act`: OpenVLA's json-numpy, plain and wrapped, and Tether's form.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use neuro::http::HttpOptions;
use reqwest::{Client, Response};
use serde_json::{Value, json};

use crate::edge::Edge;

fn image() -> Value {
    let data: Vec<u8> = (0..24 * 32 * 3).map(|i| (i % 251) as u8).collect();
    json!({ "__numpy__": STANDARD.encode(data), "dtype": "|u1", "shape": [24, 32, 3] })
}

fn png() -> String {
    let mut file = std::io::Cursor::new(Vec::new());
    let pixels = image::RgbImage::from_fn(32, 24, |x, y| {
        let at = (y * 32 + x) * 3;
        image::Rgb([(at % 251) as u8, ((at + 1) % 251) as u8, ((at + 2) % 251) as u8])
    });
    pixels.write_to(&mut file, image::ImageFormat::Png).unwrap();
    STANDARD.encode(file.into_inner())
}

/// As the stock client posts: no Content-Type at all.
async fn post(edge: &Edge, body: String) -> Response {
    let response = Client::new().post(edge.at("/act")).body(body).send().await.unwrap();
    assert_eq!(response.headers()["content-type"], "application/json");
    response
}

fn decode(array: &Value) -> Vec<f64> {
    assert_eq!((&array["dtype"], &array["shape"]), (&json!("<f8"), &json!([7])));
    let data = STANDARD.decode(array["__numpy__"].as_str().unwrap()).unwrap();
    data.as_chunks::<8>().0.iter().map(|bytes| f64::from_le_bytes(*bytes)).collect()
}

#[tokio::test]
async fn each_form_is_answered_in_kind_with_the_same_action() {
    let edge = Edge::with_model(HttpOptions::default(), "tabletop").await;
    let stats = edge.service.model().unwrap().stats.clone();
    let plain = json!({ "image": image(), "instruction": "push the red block", "unnorm_key": stats.id });
    let response = post(&edge, plain.to_string()).await;
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["x-neuro-model"], "tabletop");
    assert!(response.headers()["x-neuro-stats"].to_str().unwrap().contains(&stats.sha256));
    assert!(
        !response.headers().contains_key("x-neuro-warnings")
            || !response.headers()["x-neuro-warnings"].to_str().unwrap().contains("unnorm_key")
    );
    let action = decode(&response.json().await.unwrap());
    assert!(action.iter().all(|number| number.is_finite()));

    let wrapped = json!({ "encoded": plain.to_string() });
    let answer: Value = post(&edge, wrapped.to_string()).await.json().await.unwrap();
    let inner: Value = serde_json::from_str(answer.as_str().unwrap()).unwrap();
    assert_eq!(decode(&inner), action);

    let tether =
        json!({ "image": png(), "instruction": "push the red block", "state": null, "episode_id": "e" });
    let answer: Value = post(&edge, tether.to_string()).await.json().await.unwrap();
    let row: Vec<f64> = serde_json::from_value(answer["actions"][0].clone()).unwrap();
    assert_eq!(
        row.iter().map(|x| *x as f32).collect::<Vec<_>>(),
        action.iter().map(|x| *x as f32).collect::<Vec<_>>()
    );
    assert_eq!((&answer["num_actions"], &answer["action_dim"]), (&json!(1), &json!(7)));
}

#[tokio::test]
async fn a_foreign_unnorm_key_is_answered_with_a_warning() {
    let edge = Edge::with_model(HttpOptions::default(), "tabletop").await;
    let body = json!({ "image": image(), "instruction": "push", "unnorm_key": "bridge_orig" });
    let response = post(&edge, body.to_string()).await;
    assert_eq!(response.status(), 200);
    let warnings = response.headers()["x-neuro-warnings"].to_str().unwrap();
    assert!(warnings.contains("unnorm_key_ignored") && warnings.contains("`bridge_orig`"), "{warnings}");
    for key in [json!(null), json!("tabletop")] {
        let body = json!({ "image": image(), "unnorm_key": key });
        let response = post(&edge, body.to_string()).await;
        assert!(!format!("{:?}", response.headers()).contains("unnorm_key"));
    }
}

#[tokio::test]
async fn what_is_wrong_has_its_status_and_says_so() {
    let options = HttpOptions { max_body_bytes: 64 << 10, ..HttpOptions::default() };
    let edge = Edge::with_model(options, "tiny").await;
    let short = json!({ "__numpy__": "AQI=", "dtype": "|u1", "shape": [1, 1, 3] });
    let cases = [
        ("not json".to_owned(), 422, "JSON object"),
        (json!({ "instruction": "go" }).to_string(), 422, "`image` is missing"),
        (json!({ "image": [[1]] }).to_string(), 422, "`image` is a list"),
        (json!({ "image": short }).to_string(), 400, "needs 3 bytes, got 2"),
        (json!({ "image": "bm8gcGljdHVyZQ==" }).to_string(), 400, "cannot identify the image"),
        (" ".repeat(70 << 10), 413, "limit"),
    ];
    for (body, status, reason) in cases {
        let response = post(&edge, body).await;
        assert_eq!(response.status(), status, "{reason}");
        let answer: Value = response.json().await.unwrap();
        assert!(answer["error"].as_str().unwrap().contains(reason), "{answer}");
        assert_eq!((&answer["success"], answer["code"].is_string()), (&json!(false), true));
    }
}

#[tokio::test]
async fn without_a_model_clients_are_told_to_come_back() {
    let edge = Edge::empty(HttpOptions::default()).await;
    let response = post(&edge, json!({ "image": image() }).to_string()).await;
    assert_eq!(
        (response.status().as_u16(), &response.headers()["retry-after"]),
        (503, &"1".parse().unwrap())
    );
}
