//! Who may ask: an optional token, compared in constant time.
//!
//! `Authorization: Bearer TOKEN`, `Api-Key TOKEN` as the openpi client writes it, or Tether's `X-Tether-Key`. A websocket
//! is let in or turned away at its upgrade request like any other; a browser, which can set no header there, offers
//! the subprotocols `neuro.live` and `bearer.TOKEN`, percent-encoded. Pages are open: a token is typed into one.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde_json::json;
use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};

use super::assets::wants_html;
use super::credential::credential;
use super::state::AppState;

pub use super::credential::WEBSOCKET_PROTOCOL;

/// Answers 401 to a request without a valid token, when one is configured. The admin token opens everything too.
pub async fn require_token(State(state): State<AppState>, request: Request, next: Next) -> Response {
    let options = Arc::clone(&state.options);
    let Some(token) = options.bearer_token.as_deref() else { return next.run(request).await };
    let path = request.uri().path();
    let open = options.open_paths.iter().any(|open| open == path) || asks_for_page(&request);
    let tokens = [Some(token), options.admin_token.as_deref()];
    if open || presents(request.headers(), &tokens) { next.run(request).await } else { unauthorized() }
}

/// Whether a browser asks for a page or what belongs to one.
fn asks_for_page(request: &Request) -> bool {
    let path = request.uri().path();
    let root =
        path == "/" && !request.headers().contains_key(header::UPGRADE) && wants_html(request.headers());
    request.method() == Method::GET && (root || path == "/scenario" || path.starts_with("/static/"))
}

/// Whether the request carries one of `tokens`. The time taken depends neither on the token nor on how much of it
/// was guessed.
#[must_use]
pub fn presents(headers: &HeaderMap, tokens: &[Option<&str>]) -> bool {
    let Some(presented) = credential(headers) else { return false };
    let presented = Sha256::digest(presented);
    let mut found = Choice::from(0);
    for token in tokens.iter().flatten().filter(|token| !token.is_empty()) {
        found |= Sha256::digest(token.as_bytes()).ct_eq(&presented);
    }
    found.into()
}

/// 401, with the scheme that would have worked.
#[must_use]
pub fn unauthorized() -> Response {
    let body = json!({ "detail": "a valid token is required: `Authorization: Bearer TOKEN`", "code": "unauthorized" });
    let mut response = (StatusCode::UNAUTHORIZED, axum::Json(body)).into_response();
    let challenge = HeaderValue::from_static("Bearer realm=\"neuro\"");
    response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(value: &str) -> HeaderMap {
        HeaderMap::from_iter([(header::AUTHORIZATION, HeaderValue::from_str(value).unwrap())])
    }

    #[test]
    fn both_schemes_carry_the_token() {
        for value in ["Bearer s3cret", "bearer  s3cret", "Api-Key s3cret", "API-KEY s3cret "] {
            assert!(presents(&with(value), &[Some("s3cret"), None]), "{value}");
        }
        assert!(presents(&with("Bearer admin"), &[Some("s3cret"), Some("admin")]));
        let tether =
            HeaderMap::from_iter([("x-tether-key".parse().unwrap(), HeaderValue::from_static("s3cret"))]);
        assert!(presents(&tether, &[Some("s3cret")]) && !presents(&tether, &[Some("other")]));
    }

    #[test]
    fn a_browser_offers_its_token_as_a_subprotocol() {
        let protocols = |value: &'static str| {
            HeaderMap::from_iter([(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(value))])
        };
        assert!(presents(&protocols("neuro.live, bearer.s3cret"), &[Some("s3cret")]));
        assert!(presents(&protocols("neuro.live,bearer.a%2Fb%3D"), &[Some("a/b=")]));
        assert!(!presents(&protocols("neuro.live, bearer.other"), &[Some("s3cret")]));
        assert!(!presents(&protocols("neuro.live"), &[Some("neuro.live")]));
    }

    #[test]
    fn anything_else_does_not() {
        let values =
            ["Bearer s3cre", "Bearer s3crets", "Bearer", "Bearer ", "Basic s3cret", "s3cret", "Bearers3cret"];
        for value in values {
            assert!(!presents(&with(value), &[Some("s3cret"), None]), "{value}");
        }
        assert!(!presents(&with("Bearer "), &[Some("")]));
        assert!(!presents(&HeaderMap::new(), &[Some("s3cret")]));
    }
}
