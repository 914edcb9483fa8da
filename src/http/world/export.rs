//! A range of time as a file to keep: MCAP, PNG files in a zip archive, or a table of poses. Sent while it is drawn; when
//! the client goes away, drawing stops.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::{StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::Stream;
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::query::{Pairs, at};
use super::refusal::Refusal;
use super::session::Chosen;
use crate::export::{
    ChannelSink, ExportPlan, ExportRequest, Format, MAX_RATE_HZ, MIN_RATE_HZ, MIN_SCALE, planner, to_stream,
};
use crate::http::coercion;
use crate::http::error::Detail;
use crate::http::state::AppState;
use crate::http::validation::{Problem, Problems, ValidationErrors};
use crate::playback::{Session, View};
use crate::render::MAX_SCALE;

/// A client that takes nothing for so long has its export ended, so that others get theirs.
const STALLED: Duration = Duration::from_secs(60);
/// Chunks of 64 KiB between the one who writes and the one who sends.
const CHUNKS: usize = 4;

/// A range of time as a file
///
/// Sent while it is drawn. When it cannot be finished, the connection breaks before the end of the body. Pictures that
/// could not be drawn are named in the file.
#[utoipa::path(
    get, path = "/export", tag = "playback",
    params(
        ("format" = String, Query, description = "`mcap`, `png` (a zip archive) or `csv`"),
        ("start_us" = Option<i64>, Query, description = "Microseconds; the scenario's start when not given"),
        ("end_us" = Option<i64>, Query, description = "Microseconds, inclusive; the scenario's end when not given"),
        ("cameras" = Option<String>, Query, description = "Names, separated by commas; all when not given"),
        ("rate_hz" = Option<f64>, Query, description = "Samples a second, 0.001 to 1000; 10 when not given"),
        ("scale" = Option<f64>, Query, description = "Size by that of the camera, 0.01 to 4; 0.25 when not given"),
        ("quality" = Option<f64>, Query, description = "JPEG quality in MCAP, 1 to 100; 90 when not given"),
        ("objects" = Option<bool>, Query, description = "Whether tracks are in it; true when not given")
    ),
    responses(
        (status = 200, description = "The file", content_type = "application/octet-stream", body = Vec<u8>),
        (status = 400, description = "Nothing is loaded", body = Detail),
        (status = 422, body = ValidationErrors),
        (status = 429, description = "As many exports are under way as may be", body = Detail),
        (status = 503, description = "The renderer does not answer", body = Detail)
    )
)]
pub async fn export(
    State(state): State<AppState>,
    Chosen(session): Chosen,
    uri: Uri,
) -> Result<Response, Refusal> {
    let request = read(&Pairs::of(&uri))?;
    let plan = plan(&session, request)?;
    let Ok(place) = Arc::clone(&state.export_places).try_acquire_owned() else {
        let most = state.options.max_exports;
        let sentence =
            format!("{most} exports are under way, which is the limit; try again when one has ended");
        return Err(Refusal::said(StatusCode::TOO_MANY_REQUESTS, sentence));
    };
    let View { planner: viewers, .. } = session.view();
    let renderer = viewers.renderer();
    if !plan.cameras.is_empty() && !renderer.reachable().await {
        let sentence = format!(
            "{} does not answer; check that it runs, that host and port are right, and its log",
            renderer.place()
        );
        return Err(Refusal::said(StatusCode::SERVICE_UNAVAILABLE, sentence));
    }
    let disposition = format!("attachment; filename=\"{}\"", plan.file_name());
    let headers = [
        (header::CONTENT_TYPE, plan.format.media_type().to_owned()),
        (header::CONTENT_DISPOSITION, disposition),
        (header::CACHE_CONTROL, "no-store".to_owned()),
    ];
    let (chunks, arriving) = mpsc::channel(CHUNKS);
    let taken = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&taken);
    let exporting = tokio::spawn(async move {
        let sink = ChannelSink::new(chunks.clone());
        let ended = tokio::select! {
            ended = to_stream(plan, planner(renderer), sink, |_| ()) => ended.map_err(io::Error::other),
            () = stalled(&chunks, &counted) => Err(io::ErrorKind::TimedOut.into()),
        };
        drop(place);
        if let Err(error) = ended {
            tracing::warn!(%error, "an export ended early");
            // Breaks the body off: a file without its end must not look whole. When nobody reads, nobody is told.
            drop(chunks.send(Err(error)).await);
        }
    });
    Ok((headers, Body::from_stream(Download { arriving, taken, exporting })).into_response())
}

/// The body: as long as it is read, the export goes on.
struct Download {
    arriving: mpsc::Receiver<io::Result<Bytes>>,
    taken: Arc<AtomicU64>,
    exporting: JoinHandle<()>,
}

impl Stream for Download {
    type Item = io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let chunk = self.arriving.poll_recv(context);
        if chunk.is_ready() {
            self.taken.fetch_add(1, Ordering::Relaxed);
        }
        chunk
    }
}

impl Drop for Download {
    fn drop(&mut self) {
        self.exporting.abort();
    }
}

/// Returns when chunks have waited for [`STALLED`] and none was taken.
async fn stalled(chunks: &mpsc::Sender<io::Result<Bytes>>, taken: &AtomicU64) {
    loop {
        let before = taken.load(Ordering::Relaxed);
        tokio::time::sleep(STALLED).await;
        if chunks.capacity() == 0 && taken.load(Ordering::Relaxed) == before {
            return;
        }
    }
}

fn plan(session: &Session, request: ExportRequest) -> Result<Arc<ExportPlan>, Refusal> {
    let plan = ExportPlan::new(session.scenario()?, &request);
    let plan =
        plan.map_err(|error| Problem::value_error(at(error.field()), &error.to_string(), Value::Null))?;
    Ok(Arc::new(plan))
}

/// The request a query asks for; everything that is wrong is listed.
fn read(pairs: &Pairs) -> Result<ExportRequest, Vec<Problem>> {
    let mut problems = Problems::default();
    let format = problems.keep(format(pairs));
    let start_us = problems.keep(pairs.integer("start_us"));
    let end_us = problems.keep(pairs.integer("end_us"));
    let rate_hz = problems.keep(pairs.number("rate_hz", 10.0, [MIN_RATE_HZ, MAX_RATE_HZ]));
    let scale = problems.keep(pairs.number("scale", 0.25, [MIN_SCALE, MAX_SCALE]));
    let quality = problems.keep(pairs.number("quality", 90.0, [1.0, 100.0]));
    let objects = problems.keep(objects(pairs));
    let range_us = start_us.zip(end_us).map(|(start_us, end_us)| [start_us, end_us]);
    let numbers = rate_hz.zip(scale).zip(quality).zip(objects);
    let request = format.zip(range_us).zip(numbers).map(
        |((format, range_us), (((rate_hz, scale), quality), objects))| ExportRequest {
            format,
            range_us,
            cameras: pairs.get("cameras").map(names),
            rate_hz,
            scale,
            quality: quality as f32,
            objects,
        },
    );
    problems.settle(request)
}

fn format(pairs: &Pairs) -> Result<Format, Problem> {
    let text = pairs.get("format").ok_or_else(|| Problem::missing(at("format"), Value::Null))?;
    Format::parse(text).ok_or_else(|| {
        let names = Format::ALL.map(Format::name).join(", ");
        Problem::value_error(at("format"), &format!("expected one of {names}"), text.into())
    })
}

fn objects(pairs: &Pairs) -> Result<bool, Problem> {
    let Some(text) = pairs.get("objects") else { return Ok(true) };
    coercion::boolean(text).ok_or_else(|| Problem::bool_parsing(at("objects"), text.into()))
}

/// Names between commas; nothing between two of them names nothing.
fn names(list: &str) -> Vec<String> {
    list.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect()
}
