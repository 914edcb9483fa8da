//! Hot swap over HTTP: only for the admin, only under the model roots, only to a model that proves itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use neuro::http::HttpOptions;
use reqwest::{Client, Response};
use serde_json::{Value, json};

use crate::edge::{Edge, model_dir};
use crate::golden::root;

fn options() -> HttpOptions {
    HttpOptions {
        admin_token: Some("adm1n".into()),
        model_roots: vec![root().join("models")],
        ..HttpOptions::default()
    }
}

async fn swap(edge: &Edge, token: &str, body: Value) -> Response {
    Client::new().post(edge.at("/admin/model")).bearer_auth(token).json(&body).send().await.unwrap()
}

async fn detail(response: Response) -> String {
    response.json::<Value>().await.unwrap()["detail"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn without_an_admin_token_the_routes_do_not_exist() {
    let edge = Edge::with_model(HttpOptions::default(), "tiny").await;
    assert_eq!(swap(&edge, "", json!({ "model": "tabletop" })).await.status(), 404);
    let guarded = Edge::with_model(options(), "tiny").await;
    assert_eq!(swap(&guarded, "wrong", json!({ "model": "tabletop" })).await.status(), 401);
    assert_eq!(guarded.service.model().unwrap().id, "tiny");
}

#[tokio::test]
async fn a_swap_answers_with_the_new_model_and_no_request_fails_meanwhile() {
    let edge = Edge::with_model(options(), "tiny").await;
    let (stop, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let asking = {
        let (url, stop, answered) = (edge.at("/act"), Arc::clone(&stop), Arc::clone(&answered));
        tokio::spawn(async move {
            let body = json!({ "image": { "__numpy__": "AQIDBAUG", "dtype": "|u1", "shape": [1, 2, 3] } });
            let client = Client::new();
            while !stop.load(Ordering::Relaxed) {
                let response = client.post(&url).body(body.to_string()).send().await.unwrap();
                assert_eq!(response.status(), 200);
                answered.fetch_add(1, Ordering::Relaxed);
            }
        })
    };
    for (name, wanted) in [("tabletop", json!("tabletop")), ("tiny", json!(model_dir("tiny")))] {
        let response = swap(&edge, "adm1n", json!({ "model": wanted })).await;
        assert_eq!(response.status(), 200);
        let body: Value = response.json().await.unwrap();
        assert_eq!((&body["id"], body["load_seconds"].is_number()), (&json!(name), true));
        let current = Client::new().get(edge.at("/admin/model")).bearer_auth("adm1n").send().await.unwrap();
        assert_eq!(current.json::<Value>().await.unwrap()["id"], name);
    }
    stop.store(true, Ordering::Relaxed);
    asking.await.unwrap();
    assert!(answered.load(Ordering::Relaxed) > 0);
}

#[tokio::test]
async fn a_model_that_is_refused_leaves_the_old_one_serving() {
    let dir = tempfile::tempdir().unwrap();
    let broken = dir.path().join("broken");
    std::fs::create_dir(&broken).unwrap();
    for file in ["config.json", "action_stats.json", "tokenizer.json"] {
        std::fs::copy(model_dir("tiny").join(file), broken.join(file)).unwrap();
    }
    let options = HttpOptions { model_roots: vec![dir.path().to_owned()], ..options() };
    let edge = Edge::with_model(options, "tiny").await;
    let response = swap(&edge, "adm1n", json!({ "model": "broken" })).await;
    assert_eq!(response.status(), 422);
    assert!(detail(response).await.contains("broken"));
    for (body, status, reason) in [
        (json!({ "model": model_dir("tabletop") }), 403, "no folder under a model root"),
        (json!({ "model": "../../etc" }), 403, "no folder under a model root"),
        (json!({ "model": "broken", "dtype": "f8" }), 400, "dtype `f8`"),
        (json!({ "mode": "broken" }), 400, "unknown field `mode`"),
    ] {
        let response = swap(&edge, "adm1n", body).await;
        assert_eq!(response.status(), status);
        let detail = detail(response).await;
        assert!(detail.contains(reason), "{detail}");
    }
    assert_eq!(edge.service.model().unwrap().id, "tiny");
    assert_eq!(reqwest::get(edge.at("/health")).await.unwrap().status(), 200);
}
