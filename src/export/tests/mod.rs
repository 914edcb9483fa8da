//! Exports of a made scenario, read back by other code than wrote them.

mod breaks;
mod files;
mod mcap;
mod plan;

use std::io::{self, Write};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use futures_util::future::BoxFuture;

use super::{ExportError, ExportPlan, ExportRequest, Format, Report, planner, to_stream};
use crate::render::builtin::Builtin;
use crate::render::{Frame, RenderError, Renderer, Shot};
use crate::scene::sample::{LensKind, SampleOptions};
use crate::scene::{LoadLimits, Scenario};

/// Four seconds of a town, seen through every kind of lens.
static TOWN: LazyLock<Arc<Scenario>> = LazyLock::new(|| {
    let sample = SampleOptions { duration_s: 4.0, model: LensKind::Mixed, ..SampleOptions::default() };
    let archive = sample.archive().unwrap();
    Arc::new(Scenario::from_bytes(&archive, Path::new("town.usdz"), &LoadLimits::default()).unwrap())
});

static BUILTIN: LazyLock<Builtin> = LazyLock::new(|| Builtin::new(2).unwrap());

fn town() -> Arc<Scenario> {
    Arc::clone(&TOWN)
}

/// Small pictures of two cameras.
fn small(format: Format) -> ExportRequest {
    let cameras = town().cameras.iter().take(2).map(|camera| camera.logical_name.clone()).collect();
    ExportRequest { cameras: Some(cameras), scale: 0.02, ..ExportRequest::new(format) }
}

fn plan(request: &ExportRequest) -> Arc<ExportPlan> {
    Arc::new(ExportPlan::new(town(), request).unwrap())
}

/// The built-in renderer, late or failing on request.
struct Flaky {
    delay: Duration,
    fails: fn(&Shot) -> bool,
    begun: AtomicUsize,
}

impl Flaky {
    fn new(delay: Duration, fails: fn(&Shot) -> bool) -> Arc<Self> {
        Arc::new(Self { delay, fails, begun: AtomicUsize::new(0) })
    }

    fn begun(&self) -> usize {
        self.begun.load(Ordering::SeqCst)
    }
}

struct Handle(Arc<Flaky>);

impl Renderer for Handle {
    fn name(&self) -> &'static str {
        "flaky"
    }

    fn place(&self) -> String {
        "a renderer of the tests".to_owned()
    }

    fn render(&self, shot: Shot) -> BoxFuture<'static, Result<Frame, RenderError>> {
        let flaky = Arc::clone(&self.0);
        Box::pin(async move {
            flaky.begun.fetch_add(1, Ordering::SeqCst);
            tokio::time::sleep(flaky.delay).await;
            if (flaky.fails)(&shot) {
                return Err(RenderError::Empty { place: "a renderer of the tests".to_owned() });
            }
            BUILTIN.render(shot).await
        })
    }

    fn reachable(&self) -> BoxFuture<'static, bool> {
        Box::pin(std::future::ready(true))
    }
}

/// Bytes that outlive the export.
#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Vec<u8>>>);

impl Kept {
    fn bytes(&self) -> Vec<u8> {
        self.0.lock().unwrap().clone()
    }
}

impl Write for Kept {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

async fn export_with(
    renderer: Arc<dyn Renderer>,
    plan: Arc<ExportPlan>,
) -> (Result<Report, ExportError>, Vec<u8>) {
    let kept = Kept::default();
    let report = to_stream(plan, planner(renderer), kept.clone(), |_| ()).await;
    (report, kept.bytes())
}

async fn export(plan: &Arc<ExportPlan>) -> (Report, Vec<u8>) {
    let (report, bytes) = export_with(Arc::new(BUILTIN.clone()), Arc::clone(plan)).await;
    (report.unwrap(), bytes)
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
        .block_on(future)
}
