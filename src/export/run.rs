//! Drawing and writing side by side.

use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

use futures_util::stream::{self, StreamExt};
use tokio::sync::mpsc;

use super::csv::CsvTarget;
use super::mcap::McapTarget;
use super::png::{FolderTarget, ZipTarget};
use super::sink::{Gate, Latch};
use super::{ExportError, ExportPlan, Format, Report};
use crate::render::plan::{FramePlanner, FrameSet, PlanOptions};
use crate::render::{RenderError, Renderer, ShotOptions, shot};

/// Pictures drawn ahead of the writer, roughly; at least one instant and at most [`MOST_AHEAD`].
const PICTURES_AHEAD: usize = 16;
/// Instants drawn ahead of the writer at most.
const MOST_AHEAD: usize = 8;
/// Pictures being drawn at once: fewer than viewers may have, who wait for theirs.
const DRAWING: u32 = 8;
/// Pictures remembered: a recorded frame may answer several samples in a row.
const CACHE_BYTES: u64 = 16 << 20;
/// An export of which that many instants, from the first on, have no picture at all is given up.
const PATIENCE: u64 = 8;

/// Everything of one instant.
pub(super) struct Sample {
    pub(super) timestamp_us: i64,
    /// One a camera of the plan, in its order.
    pub(super) pictures: Vec<Picture>,
}

/// A picture, or why there is none.
pub(super) struct Picture {
    /// When its shutter opened.
    pub(super) shutter_us: i64,
    pub(super) drawn: Result<bytes::Bytes, RenderError>,
}

/// A format being written.
pub(super) trait Target {
    fn put(&mut self, sample: Sample) -> Result<(), ExportError>;
    fn finish(&mut self, report: &Report) -> Result<(), ExportError>;
}

enum Step {
    Put(Sample),
    Finish(Report),
}

type Opened = Result<Box<dyn Target>, ExportError>;

/// A planner for one export: its pictures neither queue before a viewer's nor push them out of the cache.
#[must_use]
pub fn planner(renderer: Arc<dyn Renderer>) -> FramePlanner {
    FramePlanner::new(renderer, PlanOptions { max_drawing: DRAWING, cache_bytes: CACHE_BYTES })
}

/// Exports into one stream of bytes, which is written on a thread that may block. `done` hears how many samples were
/// handed to the writer.
///
/// # Errors
/// When the stream breaks or no picture can be drawn: the stream then lacks its end.
pub async fn to_stream(
    plan: Arc<ExportPlan>,
    planner: FramePlanner,
    sink: impl Write + Send + 'static,
    done: impl FnMut(u64) + Send,
) -> Result<Report, ExportError> {
    let latch = Latch::default();
    let gate = Gate::new(sink, latch.clone());
    let kind = Arc::clone(&plan);
    let open = move || -> Opened {
        Ok(match kind.format {
            Format::Mcap => Box::new(McapTarget::open(kind, gate)?),
            Format::Png => Box::new(ZipTarget::new(kind, gate)),
            Format::Csv => Box::new(CsvTarget::open(kind, gate)?),
        })
    };
    run(plan, planner, open, latch, done).await
}

/// Exports pictures as files below a folder, which is made.
///
/// # Errors
/// As [`to_stream`], and for other formats than PNG. Files written so far stay.
pub async fn to_folder(
    plan: Arc<ExportPlan>,
    planner: FramePlanner,
    folder: PathBuf,
    done: impl FnMut(u64) + Send,
) -> Result<Report, ExportError> {
    if plan.format != Format::Png {
        return Err(ExportError::NotForFolders { format: plan.format.name() });
    }
    let kind = Arc::clone(&plan);
    let open = move || -> Opened { Ok(Box::new(FolderTarget::open(kind, folder)?)) };
    run(plan, planner, open, Latch::default(), done).await
}

async fn run(
    plan: Arc<ExportPlan>,
    planner: FramePlanner,
    open: impl FnOnce() -> Opened + Send + 'static,
    latch: Latch,
    done: impl FnMut(u64) + Send,
) -> Result<Report, ExportError> {
    let (steps, inbox) = mpsc::channel(1);
    let writing = tokio::task::spawn_blocking(move || write(open, inbox, &latch));
    let drawn = draw(plan, planner, steps, done).await;
    let written = writing.await.map_err(|_| ExportError::GivenUp)?;
    match (drawn, written) {
        // The writer's reason comes first: drawing is given up because of it.
        (Err(ExportError::GivenUp) | Ok(_), Err(reason)) | (Err(reason), _) => Err(reason),
        (Ok(report), Ok(())) => Ok(report),
    }
}

fn write(
    open: impl FnOnce() -> Opened,
    mut inbox: mpsc::Receiver<Step>,
    latch: &Latch,
) -> Result<(), ExportError> {
    let mut target = open()?;
    let written = loop {
        match inbox.blocking_recv() {
            None => break Err(ExportError::GivenUp),
            Some(Step::Finish(report)) => break target.finish(&report),
            Some(Step::Put(sample)) => {
                if let Err(error) = target.put(sample) {
                    break Err(error);
                }
            }
        }
    };
    if written.is_err() {
        latch.close();
    }
    written
}

async fn draw(
    plan: Arc<ExportPlan>,
    planner: FramePlanner,
    steps: mpsc::Sender<Step>,
    mut done: impl FnMut(u64) + Send,
) -> Result<Report, ExportError> {
    let ahead = (PICTURES_AHEAD / plan.cameras.len().max(1)).clamp(1, MOST_AHEAD);
    let mut sets = stream::iter(0..plan.samples).map(frames(&plan, &planner)).buffered(ahead);
    let mut report = Report::default();
    while let Some(set) = sets.next().await {
        let sample = sample(&plan, set, &mut report);
        give_up_without_pictures(&report, report.samples == PATIENCE)?;
        steps.send(Step::Put(sample)).await.map_err(|_| ExportError::GivenUp)?;
        done(report.samples);
    }
    give_up_without_pictures(&report, true)?;
    steps.send(Step::Finish(report.clone())).await.map_err(|_| ExportError::GivenUp)?;
    Ok(report)
}

/// What draws the instant of an index.
fn frames(
    plan: &Arc<ExportPlan>,
    planner: &FramePlanner,
) -> impl Fn(u64) -> futures_util::future::BoxFuture<'static, FrameSet> + Send + use<> {
    let (plan, planner) = (Arc::clone(plan), planner.clone());
    let cameras: Arc<[String]> = plan.cameras.iter().map(|camera| camera.name.clone()).collect();
    move |index| {
        let (plan, planner, cameras) = (Arc::clone(&plan), planner.clone(), Arc::clone(&cameras));
        Box::pin(async move {
            let at_us = plan.instant(index);
            planner.frames(None, &plan.scenario, at_us, &cameras, &plan.shots).await
        })
    }
}

fn sample(plan: &ExportPlan, set: FrameSet, report: &mut Report) -> Sample {
    let timestamp_us = set.timestamp_us;
    report.samples += 1;
    let mut pictures = Vec::with_capacity(set.images.len());
    for (camera, drawn) in set.images {
        match &drawn {
            Ok(_) => report.pictures += 1,
            Err(reason) => report.miss(timestamp_us, &camera, reason),
        }
        let still = ShotOptions { objects: false, ..plan.shots };
        let shutter = shot(&plan.scenario, timestamp_us, &camera, &still);
        let shutter_us = shutter.ok().and_then(|shot| i64::try_from(shot.shutter_us[0]).ok());
        let drawn = drawn.map(|frame| frame.bytes);
        pictures.push(Picture { shutter_us: shutter_us.unwrap_or(timestamp_us), drawn });
    }
    Sample { timestamp_us, pictures }
}

fn give_up_without_pictures(report: &Report, late: bool) -> Result<(), ExportError> {
    match report.examples.first().filter(|_| late && report.pictures == 0) {
        None => Ok(()),
        Some(first) => {
            Err(ExportError::NoPictures { pictures: report.missing, reason: first.reason.clone() })
        }
    }
}
