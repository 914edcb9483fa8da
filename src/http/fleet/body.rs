//! Bodies and queries: JSON objects whose keys are all known, read within a length and a time.

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::refusal::Refusal;
use super::state::FleetState;
use crate::fleet::{FleetError, SessionId};

/// A JSON body; an empty one is `{}`.
pub struct Body<T>(pub T);

impl<T: DeserializeOwned> FromRequest<FleetState> for Body<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request, state: &FleetState) -> Result<Self, Refusal> {
        let limit = state.options.max_body_bytes;
        let kind = request.headers().get(header::CONTENT_TYPE);
        let kind = kind.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
        let whole = axum::body::to_bytes(request.into_body(), limit);
        let bytes = match tokio::time::timeout(state.options.body_timeout, whole).await {
            Ok(Ok(bytes)) => bytes,
            Ok(Err(error)) => {
                let sentence =
                    format!("the request body ended early or is longer than {limit} bytes: {error}");
                return Err(Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", sentence));
            }
            Err(_) => {
                let waited = state.options.body_timeout.as_millis();
                let sentence = format!("the request body was not complete after {waited} ms");
                return Err(Refusal::new(StatusCode::REQUEST_TIMEOUT, "too_slow", sentence));
            }
        };
        if bytes.is_empty() {
            return parse(b"{}").map(Self);
        }
        // A page of another site can send a form or plain text unasked, JSON only after asking.
        let json = kind.as_deref().is_some_and(|kind| {
            let kind = kind.split(';').next().unwrap_or_default().trim();
            kind.eq_ignore_ascii_case("application/json")
        });
        if !json {
            let shown = kind.unwrap_or_else(|| "nothing".to_owned());
            let sentence = format!("content-type is {shown}, expected application/json");
            return Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "invalid", sentence));
        }
        parse(&bytes).map(Self)
    }
}

/// Reads a document and names the place of what is wrong in it.
fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Refusal> {
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let path = error.path().to_string();
        let field = if path == "." { "body".to_owned() } else { path };
        Refusal::from(FleetError::invalid(field, format!("does not fit: {}", error.into_inner())))
    })?;
    reader.end().map_err(|error| FleetError::invalid("body", format!("goes on after its end: {error}")))?;
    Ok(value)
}

/// A query string whose keys are all known.
pub struct Asked<T>(pub T);

impl<T: DeserializeOwned> FromRequestParts<FleetState> for Asked<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &FleetState) -> Result<Self, Refusal> {
        let read: Result<Query<T>, QueryRejection> = Query::from_request_parts(parts, state).await;
        let refuse = |error: QueryRejection| FleetError::invalid("query", error.body_text());
        Ok(Self(read.map_err(refuse)?.0))
    }
}

/// The session of the path.
pub struct Named(pub SessionId);

impl FromRequestParts<FleetState> for Named {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &FleetState) -> Result<Self, Refusal> {
        let read: Result<Path<std::collections::HashMap<String, String>>, _> =
            Path::from_request_parts(parts, state).await;
        let Path(names) = read.map_err(|error| FleetError::invalid("path", error.body_text()))?;
        let id = names.get("id").map(String::as_str).unwrap_or_default();
        Ok(Self(id.parse()?))
    }
}

/// What most handlers answer.
pub type Answer<T> = Result<Json<T>, Refusal>;

/// A body with this in it.
///
/// # Errors
/// Never; the type saves handlers a word.
pub fn answer<T: Serialize>(value: T) -> Answer<T> {
    Ok(Json(value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Debug, Default, PartialEq, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    struct Outer {
        inner: Inner,
    }

    #[derive(Debug, Default, PartialEq, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    struct Inner {
        fps: i32,
    }

    #[test]
    fn what_is_wrong_is_named_with_its_place() {
        assert_eq!(parse::<Outer>(b"{}").unwrap(), Outer::default());
        let wrong = |text: &str| {
            let problem = parse::<Outer>(text.as_bytes()).unwrap_err().problem;
            (problem.field.unwrap_or_default(), problem.detail)
        };
        let (field, detail) = wrong(r#"{"inner":{"fsp":1}}"#);
        assert_eq!(field, "inner.fsp");
        assert!(detail.contains("unknown field `fsp`, expected `fps`"), "{detail}");
        assert_eq!(wrong(r#"{"inner":{"fps":"x"}}"#).0, "inner.fps");
        assert_eq!(wrong("[").0, "body");
        assert!(wrong("{} x").1.contains("goes on after its end"));
    }
}
