//! The clock of a session: play, stop, reset, tick, seek, loop.

use axum::Json as JsonBody;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use super::body::Fields;
use super::refusal::Refusal;
use super::session::Chosen;
use crate::http::error::Detail;
use crate::http::state::AppState;
use crate::http::validation::{Problem, ValidationErrors, loc};
use crate::playback::{SeekTo, Ticked, WorldError};
use crate::scene::clock::{LoopRegion, PlaybackState};

/// A playing range.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, ToSchema)]
pub struct LoopRange {
    /// In microseconds.
    pub start_us: i64,
    /// In microseconds; inclusive.
    pub end_us: i64,
}

/// Where the clock is.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct ClockState {
    /// Whether wall time moves it.
    pub is_playing: bool,
    /// Seconds of the scenario a second.
    pub speed: f64,
    /// In microseconds.
    pub current_time_us: i64,
    /// Since the first instant.
    pub seconds_since_start: f64,
    /// Whether it is at the last instant.
    pub done: bool,
    /// The range that repeats, if one does.
    #[serde(rename = "loop")]
    #[schema(rename = "loop")]
    pub looping: Option<LoopRange>,
}

impl From<&PlaybackState> for ClockState {
    fn from(state: &PlaybackState) -> Self {
        Self {
            is_playing: state.is_playing,
            speed: state.speed,
            current_time_us: state.current_time_us,
            seconds_since_start: state.seconds_since_start,
            done: state.done,
            looping: state.loop_region.map(|LoopRegion { start_us, end_us }| LoopRange { start_us, end_us }),
        }
    }
}

/// Where the clock is, and which tracks came and went.
#[derive(Debug, Serialize, ToSchema)]
pub struct TickAnswer {
    #[serde(flatten)]
    state: ClockState,
    /// Tracks that are alive now and were not before.
    new_track_ids: Vec<String>,
    /// Tracks that were alive before and are not now.
    removed_track_ids: Vec<String>,
}

impl From<Ticked> for TickAnswer {
    fn from(ticked: Ticked) -> Self {
        Self {
            state: (&ticked.state).into(),
            new_track_ids: ticked.new_track_ids,
            removed_track_ids: ticked.removed_track_ids,
        }
    }
}

/// How `play` may be asked.
#[derive(ToSchema)]
#[allow(dead_code, reason = "the schema of a body that is read field by field")]
pub struct PlayRequest {
    /// Seconds of the scenario a second; kept as it is when not given.
    speed: Option<f64>,
}

/// How `tick` may be asked.
#[derive(ToSchema)]
#[allow(dead_code, reason = "the schema of a body that is read field by field")]
pub struct TickRequest {
    /// Microseconds to go on, times the speed; the wall time since the last tick when not given.
    delta_us: Option<i64>,
}

/// Where to go: one of the three.
#[derive(ToSchema)]
#[allow(dead_code, reason = "the schema of a body that is read field by field")]
pub struct SeekRequest {
    /// An instant, in microseconds.
    timestamp_us: Option<i64>,
    /// Seconds since the first instant.
    seconds: Option<f64>,
    /// Microseconds from here, backwards when negative.
    delta_us: Option<i64>,
}

/// Which range repeats.
#[derive(ToSchema)]
#[allow(dead_code, reason = "the schema of a body that is read field by field")]
pub struct LoopRequest {
    /// Whether one does.
    enabled: bool,
    /// In microseconds; the first instant when not given.
    start_us: Option<i64>,
    /// In microseconds; the last instant when not given.
    end_us: Option<i64>,
}

type Answer<T> = Result<JsonBody<T>, Refusal>;

fn not_loaded(error: WorldError) -> Refusal {
    match error {
        WorldError::NotLoaded => {
            Refusal::said(StatusCode::BAD_REQUEST, "Playback not initialized. Call /api/load first.")
        }
        other => other.into(),
    }
}

/// Where the clock is
#[utoipa::path(
    get, path = "/playback", tag = "playback",
    responses((status = 200, body = ClockState), (status = 400, description = "Nothing is loaded", body = Detail))
)]
pub async fn state(Chosen(session): Chosen) -> Answer<ClockState> {
    session.state().map(|state| JsonBody((&state).into())).map_err(not_loaded)
}

/// Let wall time move the clock
#[utoipa::path(
    post, path = "/playback/play", tag = "playback", request_body = PlayRequest,
    responses((status = 200, body = ClockState), (status = 400, body = Detail), (status = 422, body = ValidationErrors))
)]
pub async fn play(
    State(state): State<AppState>,
    Chosen(session): Chosen,
    request: Request,
) -> Answer<ClockState> {
    let mut fields = Fields::read_optional(request, &state.options).await?;
    let speed = fields.optional_number("speed", true);
    fields.settle(Some(()))?;
    session.state().map_err(not_loaded)?;
    if speed.is_some_and(|speed| speed <= 0.0) {
        return Err(Refusal::said(StatusCode::BAD_REQUEST, "speed must be > 0"));
    }
    let state = session.play(speed).map_err(not_loaded)?;
    Ok(JsonBody((&state).into()))
}

/// Hold the clock
#[utoipa::path(
    post, path = "/playback/stop", tag = "playback",
    responses((status = 200, body = ClockState), (status = 400, description = "Nothing is loaded", body = Detail))
)]
pub async fn stop(Chosen(session): Chosen) -> Answer<ClockState> {
    let state = session.stop().map_err(not_loaded)?;
    Ok(JsonBody((&state).into()))
}

/// Hold the clock at the first instant
#[utoipa::path(
    post, path = "/playback/reset", tag = "playback",
    responses((status = 200, body = ClockState), (status = 400, description = "Nothing is loaded", body = Detail))
)]
pub async fn reset(Chosen(session): Chosen) -> Answer<ClockState> {
    let state = session.reset().map_err(not_loaded)?;
    Ok(JsonBody((&state).into()))
}

/// Move the clock on
#[utoipa::path(
    post, path = "/playback/tick", tag = "playback", request_body = TickRequest,
    responses((status = 200, body = TickAnswer), (status = 400, body = Detail), (status = 422, body = ValidationErrors))
)]
pub async fn tick(
    State(state): State<AppState>,
    Chosen(session): Chosen,
    request: Request,
) -> Answer<TickAnswer> {
    let mut fields = Fields::read_optional(request, &state.options).await?;
    let delta_us = fields.optional_integer("delta_us");
    fields.settle(Some(()))?;
    let ticked = session.tick(delta_us).map_err(not_loaded)?;
    Ok(JsonBody(ticked.into()))
}

/// Set the clock
#[utoipa::path(
    post, path = "/playback/seek", tag = "playback", request_body = SeekRequest,
    responses((status = 200, body = TickAnswer), (status = 400, body = Detail), (status = 422, body = ValidationErrors))
)]
pub async fn seek(
    State(state): State<AppState>,
    Chosen(session): Chosen,
    request: Request,
) -> Answer<TickAnswer> {
    let mut fields = Fields::read(request, &state.options).await?;
    let instant = fields.optional_integer("timestamp_us").map(SeekTo::Instant);
    let seconds = fields.optional_number("seconds", true).map(SeekTo::Seconds);
    let delta = fields.optional_integer("delta_us").map(SeekTo::Delta);
    let given: Vec<SeekTo> = [instant, seconds, delta].into_iter().flatten().collect();
    if given.len() > 1 {
        let reason = "give one of timestamp_us, seconds and delta_us";
        fields.refuse(Problem::value_error(loc(["body"]), reason, serde_json::Value::Null));
    }
    if given.is_empty() {
        fields.refuse(Problem::missing(loc(["body", "timestamp_us"]), serde_json::Value::Null));
    }
    let to = fields.settle(given.first().copied())?;
    let ticked = session.seek(to).map_err(not_loaded)?;
    Ok(JsonBody(ticked.into()))
}

/// Repeat a range
#[utoipa::path(
    post, path = "/playback/loop", tag = "playback", request_body = LoopRequest,
    responses((status = 200, body = ClockState), (status = 400, body = Detail), (status = 422, body = ValidationErrors))
)]
pub async fn set_loop(
    State(state): State<AppState>,
    Chosen(session): Chosen,
    request: Request,
) -> Answer<ClockState> {
    let mut fields = Fields::read(request, &state.options).await?;
    let enabled = fields.optional_boolean("enabled").unwrap_or(true);
    let (start_us, end_us) = (fields.optional_integer("start_us"), fields.optional_integer("end_us"));
    fields.settle(Some(()))?;
    let range = enabled.then_some([start_us, end_us]);
    let state = session.set_loop(range).map_err(not_loaded)?;
    Ok(JsonBody((&state).into()))
}
