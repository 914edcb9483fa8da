//! The OpenAPI document and its page: complete, typed, and built in.

use neuro::http::HttpOptions;
use serde_json::Value;

use crate::edge::Edge;
use crate::golden::root;

#[tokio::test]
async fn every_route_is_in_the_openapi_document_with_typed_answers() {
    let edge = Edge::with_model(HttpOptions::default(), "tiny").await;
    let document: Value = reqwest::get(edge.at("/openapi.json")).await.unwrap().json().await.unwrap();
    let paths = document["paths"].as_object().unwrap();
    let mut declared = Vec::new();
    let mut folders = vec![root().join("src/http")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if entry.is_dir() {
                // Other programs serve these: `neuro orchestrate` and `neuro simulate`.
                let elsewhere =
                    ["fleet", "instance"].iter().any(|name| entry.ends_with(format!("http/{name}")));
                folders.extend((!elsewhere).then_some(entry));
            } else {
                let source = std::fs::read_to_string(&entry).unwrap();
                let attributes = source.split("#[utoipa::path(").skip(1);
                let path = |text: &str| text.split("path = \"").nth(1)?.split('"').next().map(str::to_owned);
                // Playback is described where it stands and mounted under `/api`.
                let mount = if entry.starts_with(root().join("src/http/world")) { "/api" } else { "" };
                declared.extend(attributes.filter_map(path).map(|path| format!("{mount}{path}")));
            }
        }
    }
    assert!(declared.len() >= 8, "{declared:?}");
    for path in &declared {
        assert!(paths.contains_key(path), "{path} is described and not registered");
        // Not there until they are configured: the admin token, the recorder of metrics.
        let optional = path.starts_with("/admin") || path == "/metrics";
        let status = reqwest::get(edge.at(path)).await.unwrap().status();
        assert!(optional || status != 404, "{path} is described and not served");
    }
    for path in ["/", "/health", "/stats", "/predict", "/predict_isaac", "/info", "/reset"] {
        for (method, operation) in paths[path].as_object().unwrap() {
            for (status, response) in operation["responses"].as_object().unwrap() {
                let schema = &response["content"]["application/json"]["schema"];
                assert!(status == "101" || schema.is_object(), "{method} {path} {status} has no schema");
            }
        }
    }
    let schemas = document["components"]["schemas"].as_object().unwrap();
    assert!(
        ["PredictAnswer", "IsaacAnswer", "ValidationErrors"].iter().all(|name| schemas.contains_key(*name))
    );
}

#[test]
fn every_route_of_the_fleet_is_in_its_document_with_typed_answers() {
    let document = serde_json::to_value(neuro::http::fleet::document()).unwrap();
    let paths = document["paths"].as_object().unwrap();
    let source =
        |entry: std::io::Result<std::fs::DirEntry>| std::fs::read_to_string(entry.unwrap().path()).ok();
    let sources = std::fs::read_dir(root().join("src/http/fleet")).unwrap().filter_map(source);
    let mut described = 0;
    for source in sources {
        for attribute in source.split("#[utoipa::path(").skip(1) {
            let path = attribute.split("path = \"").nth(1).unwrap().split('"').next().unwrap();
            assert!(paths.contains_key(path), "{path} is described and not registered");
            described += 1;
        }
    }
    assert!(described >= 24, "only {described} are described");
    for (path, methods) in paths {
        for (method, operation) in methods.as_object().unwrap() {
            assert!(operation["summary"].is_string(), "{method} {path} says nothing");
            for (status, response) in operation["responses"].as_object().unwrap() {
                let refused = status.starts_with('4') || status.starts_with('5');
                let typed = response["content"]["application/json"]["schema"].is_object();
                assert!(!refused || typed || path == "/metrics", "{method} {path} {status} has no schema");
            }
        }
    }
}

#[tokio::test]
async fn the_documentation_page_asks_nobody_else_for_anything() {
    let edge = Edge::with_model(HttpOptions::default(), "tiny").await;
    let page = reqwest::get(edge.at("/docs")).await.unwrap().text().await.unwrap();
    assert!(page.contains("swagger-ui"));
    for reference in page.split(['"', '\'']).filter(|text| text.contains("//")) {
        assert!(!reference.starts_with("http") && !reference.starts_with("//"), "{reference}");
    }
    let settings = reqwest::get(edge.at("/docs/swagger-initializer.js")).await.unwrap().text().await.unwrap();
    assert!(
        settings.contains(r#""url": "/openapi.json""#) && settings.contains(r#""validatorUrl": "none""#),
        "{settings}"
    );
    assert!(!settings.contains("http://") && !settings.contains("https://"), "{settings}");
    let index = std::fs::read_to_string(root().join("static/index.html")).unwrap();
    assert!(!index.contains("//cdn") && !index.contains("https://"), "the page loads from elsewhere");
}
