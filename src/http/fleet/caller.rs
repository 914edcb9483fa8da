//! Who asks, checked once for every route under `/v1`, and which web pages may.
//!
//! Pages and what belongs to them are open: a key is typed into one. The control websockets have tokens of their own.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::refusal::Refusal;
use super::state::FleetState;
use crate::fleet::FleetError;
use crate::fleet::access::Identity;
use crate::fleet::view::SessionView;
use crate::http::credential::credential;

/// Puts the caller's [`Identity`] into the request, or answers 401 or 403.
pub async fn identify(State(state): State<FleetState>, mut request: Request, next: Next) -> Response {
    if let Err(refusal) = same_origin(&request) {
        return refusal.into_response();
    }
    if !guarded(request.uri().path()) {
        return next.run(request).await;
    }
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>();
    // Without an address the caller is nobody known: not this machine.
    let peer = peer.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |ConnectInfo(address)| address.ip());
    let key = key(request.headers());
    let metrics = request.uri().path() == "/metrics";
    let known = state.access.check(key.as_deref(), peer);
    match known.and_then(|known| if metrics { Ok(known) } else { known.may_use_sessions().map(|()| known) }) {
        Ok(identity) => {
            request.extensions_mut().insert(identity);
            next.run(request).await
        }
        Err(error) => Refusal::from(error).into_response(),
    }
}

fn guarded(path: &str) -> bool {
    path.starts_with("/v1/") || path == "/metrics"
}

/// The key of a request, wherever its client could put it.
#[must_use]
pub fn key(headers: &HeaderMap) -> Option<String> {
    let plain = headers.get("x-api-key").map(|value| value.as_bytes().to_vec());
    let bytes = plain.or_else(|| credential(headers).map(std::borrow::Cow::into_owned))?;
    String::from_utf8(bytes).ok()
}

/// A page of another site may neither change anything here nor read a websocket: browsers say where a page is from.
fn same_origin(request: &Request) -> Result<(), Refusal> {
    let headers = request.headers();
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let reads = matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
    if reads && !headers.contains_key(header::UPGRADE) {
        return Ok(());
    }
    // Robots and tools send no origin.
    let Some(origin) = text("origin") else { return Ok(()) };
    let host = origin.split_once("://").map_or(origin, |(_, host)| host);
    let own = [text("x-forwarded-host"), text("host")].into_iter().flatten().any(|own| own == host);
    if own || !guarded(request.uri().path()) {
        return Ok(());
    }
    let shown: String = origin.chars().take(80).collect();
    let sentence = format!("a page of {shown:?} may not do that here");
    Err(Refusal::new(StatusCode::FORBIDDEN, "cross_origin", sentence))
}

/// Lets a caller at its own sessions only. Those of others are not there for it.
///
/// # Errors
/// `NotFound`.
pub fn own(identity: &Identity, view: SessionView) -> Result<SessionView, FleetError> {
    if identity.sees(&view.row.owner) {
        Ok(view)
    } else {
        Err(FleetError::not_found("session", &view.row.id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Body;

    fn request(method: &str, path: &str, headers: &[(&str, &str)]) -> Request {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(Body::empty()).unwrap()
    }

    #[test]
    fn a_page_of_another_site_changes_nothing_and_hears_nothing() {
        let foreign = [("host", "127.0.0.1:8010"), ("origin", "http://evil.test")];
        let own = [("host", "127.0.0.1:8010"), ("origin", "http://127.0.0.1:8010")];
        let through =
            [("host", "inner"), ("x-forwarded-host", "fleet.test"), ("origin", "https://fleet.test")];
        let path = "/v1/sessions";
        assert!(same_origin(&request("POST", path, &foreign)).is_err());
        assert!(same_origin(&request("POST", path, &own)).is_ok());
        assert!(same_origin(&request("POST", path, &through)).is_ok());
        assert!(same_origin(&request("POST", path, &[("host", "a")])).is_ok(), "tools send no origin");
        assert!(same_origin(&request("GET", path, &foreign)).is_ok(), "without CORS the page cannot read it");
        let socket = [foreign[0], foreign[1], ("upgrade", "websocket")];
        assert!(same_origin(&request("GET", "/v1/events", &socket)).is_err());
    }

    #[test]
    fn a_key_is_found_wherever_a_client_could_put_it() {
        let found = |name: &str, value: &str| key(request("GET", "/", &[(name, value)]).headers());
        assert_eq!(found("x-api-key", "s3cret").as_deref(), Some("s3cret"));
        assert_eq!(found("authorization", "Bearer s3cret").as_deref(), Some("s3cret"));
        assert_eq!(found("sec-websocket-protocol", "neuro.live, bearer.s3%2Fret").as_deref(), Some("s3/ret"));
        assert_eq!(found("cookie", "s3cret"), None);
    }
}
