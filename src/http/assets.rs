//! The files of `static/`, built into the binary: a server copied to a robot brings its pages along.

use axum::extract::Path;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use rust_embed::RustEmbed;

use super::error::detail;

#[derive(RustEmbed)]
#[folder = "static/"]
struct Static;

/// Pages run their own scripts and talk to their own server, nothing else.
const POLICY: &str = "default-src 'self'; img-src 'self' data: blob:; object-src 'none'; base-uri 'none'";

/// The file called `name` under `static/`, or 404.
#[must_use]
pub fn page(name: &str) -> Response {
    let Some(file) = Static::get(name) else {
        return detail(StatusCode::NOT_FOUND, "Not Found");
    };
    let kind = HeaderValue::from_str(file.metadata.mimetype())
        .unwrap_or(HeaderValue::from_static("application/octet-stream"));
    let headers: [(HeaderName, HeaderValue); 4] = [
        (header::CONTENT_TYPE, kind),
        (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY)),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
    ];
    (headers, file.data).into_response()
}

/// `GET /scenario`: the page that plays scenarios.
pub async fn scenario_page() -> Response {
    page("scenario.html")
}

/// `GET /static/...`: what the pages refer to.
pub async fn file(Path(name): Path<String>) -> Response {
    page(&name)
}

/// Whether the first media type of `Accept` that means anything here is HTML.
#[must_use]
pub fn wants_html(headers: &HeaderMap) -> bool {
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let mut kinds = accept.split(',').map(|range| range.split(';').next().unwrap_or_default().trim());
    kinds.find(|kind| matches!(*kind, "text/html" | "application/json" | "*/*")) == Some("text/html")
}
