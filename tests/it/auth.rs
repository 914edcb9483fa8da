//! The token, and who may do without it.

use neuro::http::HttpOptions;
use reqwest::{Client, Method};
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

use crate::edge::Edge;

fn guarded() -> HttpOptions {
    HttpOptions {
        bearer_token: Some("s3cret".into()),
        admin_token: Some("adm1n".into()),
        ..HttpOptions::default()
    }
}

async fn status(edge: &Edge, path: &str, authorization: Option<&str>) -> u16 {
    let mut request = Client::new().get(edge.at(path));
    if let Some(value) = authorization {
        request = request.header("authorization", value);
    }
    request.send().await.unwrap().status().as_u16()
}

#[tokio::test]
async fn every_route_but_health_wants_the_token() {
    let edge = Edge::with_model(guarded(), "tiny").await;
    for path in ["/", "/stats", "/openpi", "/openapi.json", "/metrics", "/no/such/route"] {
        assert_eq!(status(&edge, path, None).await, 401, "{path}");
        assert_eq!(status(&edge, path, Some("Bearer wrong")).await, 401, "{path}");
        assert_ne!(status(&edge, path, Some("Bearer s3cret")).await, 401, "{path}");
        assert_ne!(status(&edge, path, Some("Bearer adm1n")).await, 401, "{path}");
    }
    assert_eq!(status(&edge, "/health", None).await, 200);
    let denied = Client::new().post(edge.at("/predict")).send().await.unwrap();
    assert_eq!(denied.status(), 401);
    assert!(denied.headers()["www-authenticate"].to_str().unwrap().starts_with("Bearer"));
    let body: serde_json::Value = denied.json().await.unwrap();
    assert!(body["detail"].as_str().unwrap().contains("token"));
}

#[tokio::test]
async fn a_websocket_is_let_in_with_an_api_key_and_turned_away_without() {
    let edge = Edge::with_model(guarded(), "tiny").await;
    let error = connect_async(edge.ws("/")).await.unwrap_err();
    assert!(error.to_string().contains("401"), "{error}");
    let mut request = edge.ws("/").into_client_request().unwrap();
    request.headers_mut().insert("authorization", "Api-Key s3cret".parse().unwrap());
    assert!(connect_async(request).await.is_ok());
}

#[tokio::test]
async fn other_origins_are_let_in_only_when_listed() {
    let ask = |edge: &Edge, origin: &str| {
        Client::new()
            .request(Method::OPTIONS, edge.at("/predict"))
            .header("origin", origin)
            .header("access-control-request-method", "POST")
            .send()
    };
    let closed = Edge::empty(HttpOptions::default()).await;
    let answer = ask(&closed, "http://lab.example").await.unwrap();
    assert!(!answer.headers().contains_key("access-control-allow-origin"));

    let listed = HttpOptions { cors_origins: vec!["http://lab.example".into()], ..guarded() };
    let open = Edge::empty(listed).await;
    let answer = ask(&open, "http://lab.example").await.unwrap();
    assert_eq!(answer.headers()["access-control-allow-origin"], "http://lab.example");
    let answer = ask(&open, "http://else.example").await.unwrap();
    assert!(!answer.headers().contains_key("access-control-allow-origin"));
}
