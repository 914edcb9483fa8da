//! Who asks and until when: the robot id and the deadline, which come by header or by field on every wire.

use std::time::{Duration, Instant};

use axum::http::HeaderMap;
use serde_json::json;

use super::coercion;
use super::json::Json;
use super::state::HttpOptions;
use super::validation::{Problem, Step, echo, loc};
use crate::policy::request::MAX_ROBOT_ID_BYTES;

/// Header and field that name the robot.
pub const ROBOT_ID_HEADER: &str = "x-robot-id";
/// Header that says how many milliseconds after its arrival a request loses its use.
pub const DEADLINE_HEADER: &str = "x-deadline-ms";

/// Who asks and until when.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Caller {
    /// Requests of one robot supersede each other.
    pub robot_id: Option<String>,
    /// An answer after this moment is of no use.
    pub deadline: Option<Instant>,
}

impl Caller {
    /// From the headers and the two fields of a request that arrived at `arrival`; a field counts before a
    /// header, as it is nearer to the observation.
    ///
    /// # Errors
    /// Everything that is wrong with either.
    pub fn read(
        headers: &HeaderMap,
        robot_id: Option<&Json>,
        deadline_ms: Option<&Json>,
        arrival: Instant,
        options: &HttpOptions,
    ) -> Result<Self, Vec<Problem>> {
        let robot_id = named(headers, ROBOT_ID_HEADER, robot_id, "robot_id");
        let deadline = named(headers, DEADLINE_HEADER, deadline_ms, "deadline_ms");
        let robot_id = robot_id.map_or(Ok(None), |(value, at)| robot(&value, at).map(Some));
        let deadline = deadline.map_or(Ok(None), |(value, at)| wait(&value, at).map(Some));
        match (robot_id, deadline) {
            (Ok(robot_id), Ok(wait)) => {
                let deadline = wait.and_then(|wait| arrival.checked_add(wait.min(options.max_deadline)));
                Ok(Self { robot_id, deadline })
            }
            (robot_id, deadline) => Err(robot_id.err().into_iter().chain(deadline.err()).collect()),
        }
    }
}

/// The field's value, else the header's, and where it was; empty and null mean not given.
fn named(headers: &HeaderMap, header: &str, field: Option<&Json>, name: &str) -> Option<(Json, Vec<Step>)> {
    let given = |value: &Json| !matches!(value, Json::Null) && value.as_str() != Some("");
    if let Some(field) = field.filter(|value| given(value)) {
        return Some((field.clone(), loc(["body", name])));
    }
    let value = headers.get(header)?;
    let text = String::from_utf8_lossy(value.as_bytes()).into_owned();
    (!text.is_empty()).then(|| (Json::String(text), loc(["header", header])))
}

fn robot(value: &Json, at: Vec<Step>) -> Result<String, Problem> {
    let Some(id) = value.as_str() else {
        return Err(Problem::string_type(at, echo(value)));
    };
    if id.len() > MAX_ROBOT_ID_BYTES {
        let msg = format!("String should have at most {MAX_ROBOT_ID_BYTES} characters");
        let ctx = json!({"max_length": MAX_ROBOT_ID_BYTES});
        return Err(Problem::new("string_too_long", at, msg, echo(value)).with(ctx));
    }
    Ok(id.to_owned())
}

fn wait(value: &Json, at: Vec<Step>) -> Result<Duration, Problem> {
    let milliseconds = coercion::number(value, at.clone())?;
    if !milliseconds.is_finite() {
        return Err(Problem::finite_number(at, echo(value)));
    }
    if milliseconds < 0.0 {
        let msg = "Input should be greater than or equal to 0";
        return Err(Problem::new("greater_than_equal", at, msg, echo(value)).with(json!({"ge": 0.0})));
    }
    Ok(Duration::try_from_secs_f64(milliseconds / 1e3).unwrap_or(Duration::MAX))
}
