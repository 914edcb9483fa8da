//! What no route answers, worded as Starlette words it: 404, 405 with `Allow`, and the redirect from `/path/`.

use axum::extract::Request;
use axum::http::{HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::error::detail;

/// Answers a path that has no route: a redirect when the path without its slash has a route, 404.
pub fn no_route(paths: &[String], uri: &Uri) -> Response {
    let path = uri.path();
    let plain = path.trim_end_matches('/');
    if plain != path && paths.iter().any(|known| known == plain) {
        let target = match uri.query() {
            Some(query) => format!("{plain}?{query}"),
            None => plain.to_owned(),
        };
        if let Ok(location) = HeaderValue::try_from(target) {
            return (StatusCode::TEMPORARY_REDIRECT, [(header::LOCATION, location)]).into_response();
        }
    }
    detail(StatusCode::NOT_FOUND, "Not Found")
}

/// Gives 405 answers their body, and refuses `HEAD`, which axum would answer as `GET` and the original does not.
pub async fn methods(mut request: Request, next: Next) -> Response {
    if request.method() == Method::HEAD
        && let Ok(unknown) = Method::from_bytes(b"NEURO-HEAD")
    {
        *request.method_mut() = unknown;
    }
    let response = next.run(request).await;
    if response.status() != StatusCode::METHOD_NOT_ALLOWED {
        return response;
    }
    let allowed = response.headers().get(header::ALLOW).and_then(|value| value.to_str().ok());
    let allowed = allowed.unwrap_or_default().split(',').map(str::trim).filter(|method| *method != "HEAD");
    let allowed = HeaderValue::try_from(allowed.collect::<Vec<_>>().join(", "));
    let mut answer = detail(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed");
    if let Ok(allowed) = allowed {
        answer.headers_mut().insert(header::ALLOW, allowed);
    }
    answer
}
