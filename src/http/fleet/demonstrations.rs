//! Recorded take-overs: the list, and the files of one.

use std::path::{Path as FilePath, PathBuf};

use axum::Extension;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use super::body::{Answer, Named, answer};
use super::event_json::Demonstration;
use super::refusal::{Problem, Refusal};
use super::sessions::reach;
use super::state::FleetState;
use crate::fleet::access::Identity;
use crate::fleet::{FleetError, SessionId};

/// All demonstrations of a session.
#[derive(Debug, Serialize, ToSchema)]
pub struct Demonstrations {
    /// Oldest first.
    demonstrations: Vec<Demonstration>,
}

/// List demonstrations
#[utoipa::path(
    get, path = "/v1/sessions/{id}/demonstrations", tag = "control", params(("id" = String, Path)),
    responses((status = 200, body = Demonstrations), (status = 404, body = Problem))
)]
pub async fn list(
    State(state): State<FleetState>,
    Extension(identity): Extension<Identity>,
    Named(id): Named,
) -> Answer<Demonstrations> {
    reach(&state, &identity, &id)?;
    let rows = state.orchestrator.demonstrations(&id)?;
    answer(Demonstrations { demonstrations: rows.iter().map(|row| (&row.demonstration).into()).collect() })
}

/// A file of a demonstration
///
/// `meta.json`, `steps.jsonl` or `frames/NNNNNN.jpg`.
#[utoipa::path(
    get, path = "/v1/sessions/{id}/demonstrations/{demonstration}/{file}", tag = "control",
    params(("id" = String, Path), ("demonstration" = String, Path, description = "Its id"), ("file" = String, Path)),
    responses((status = 200, description = "The file"), (status = 404, body = Problem))
)]
pub async fn file(
    State(state): State<FleetState>,
    Extension(identity): Extension<Identity>,
    Path((id, demonstration, file)): Path<(String, String, String)>,
) -> Result<Response, Refusal> {
    let session: SessionId = id.parse()?;
    reach(&state, &identity, &session)?;
    let rows = state.orchestrator.demonstrations(&session)?;
    let row = rows.iter().find(|row| row.demonstration.id == demonstration);
    let row = row.ok_or_else(|| FleetError::not_found("demonstration", &demonstration))?;
    let missing = || FleetError::not_found("file of the demonstration", &file);
    let (path, kind) = place(&row.demonstration.uri, &file).ok_or_else(missing)?;
    let bytes = tokio::fs::read(&path).await.map_err(|_| missing())?;
    let headers: [(HeaderName, HeaderValue); 2] = [
        (header::CONTENT_TYPE, HeaderValue::from_static(kind)),
        (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    ];
    Ok((headers, Body::from(bytes)).into_response())
}

/// Where a file is and what it is; `None` for one that no demonstration has.
fn place(uri: &str, file: &str) -> Option<(PathBuf, &'static str)> {
    let folder = FilePath::new(uri.strip_prefix("file://").unwrap_or(uri));
    let kind = match file {
        "meta.json" => "application/json",
        "steps.jsonl" => "application/x-ndjson",
        frame => {
            let number = frame.strip_prefix("frames/")?.strip_suffix(".jpg")?;
            let counted = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
            if !counted {
                return None;
            }
            "image/jpeg"
        }
    };
    Some((folder.join(file), kind))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_files_of_a_demonstration_can_be_had() {
        let path = |file| place("file:///data/d1", file).map(|(path, _)| path.display().to_string());
        assert_eq!(path("meta.json").as_deref(), Some("/data/d1/meta.json"));
        assert_eq!(path("frames/000012.jpg").as_deref(), Some("/data/d1/frames/000012.jpg"));
        for file in ["../meta.json", "frames/../x.jpg", "frames/.jpg", "x", "", "frames/1.png"] {
            assert_eq!(path(file), None, "{file}");
        }
    }
}
