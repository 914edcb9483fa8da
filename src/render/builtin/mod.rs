//! The renderer that needs nothing but a processor: sky, ground, lanes, the path ahead and the tracks' cuboids, through
//! the scenario's real cameras. It shows where things are, not what they look like, and says "preview".
//!
//! Drawing runs on a pool of its own: never on the threads that serve requests. What waits for the pool waits in the
//! asking futures, so the queue is as long as the callers are many; a dropped future stops its drawing between rows.

mod backdrop;
mod cancel;
mod draw;
mod ground;
mod mask;
mod palette;
mod picture;
mod rays;
mod ribbons;
mod shade;
mod shape;
mod solid;
mod sunlight;
mod sweep;
#[cfg(test)]
mod tests;
mod view;
mod watermark;

use std::sync::Arc;

use futures_util::future::BoxFuture;
use tokio::sync::{Semaphore, oneshot};

use super::{Frame, RenderError, Renderer, Shot};
pub use cancel::Cancel;
pub use draw::{MAX_PIXELS, draw};
pub use ground::Ground;
pub use palette::class_colour;
pub use picture::Picture;
pub use rays::RayTables;
pub use view::{PlacedObject, SceneView, Shadows, Stage};

/// What messages call it.
const PLACE: &str = "the built-in renderer";

/// The built-in renderer. Clones share threads and tables.
#[derive(Debug, Clone)]
pub struct Builtin {
    pool: Arc<rayon::ThreadPool>,
    tables: Arc<RayTables>,
    /// One picture is drawn at a time, by all threads: a thread that waits for its rows would take up another picture
    /// and be late with its own, and answers would overtake each other. Encoding is outside of it.
    places: Arc<Semaphore>,
}

/// Why there is no built-in renderer.
#[derive(Debug, thiserror::Error)]
#[error("cannot start {threads} threads to draw with: {reason}")]
pub struct BuiltinError {
    threads: usize,
    reason: String,
}

impl Builtin {
    /// Starts `threads` threads; at least one.
    ///
    /// # Errors
    /// When the system gives no threads.
    pub fn new(threads: usize) -> Result<Self, BuiltinError> {
        let threads = threads.max(1);
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .thread_name(|index| format!("draw-{index}"))
            .panic_handler(|_| tracing::error!("drawing a picture panicked"))
            .build()
            .map_err(|error| BuiltinError { threads, reason: error.to_string() })?;
        Ok(Self { pool: Arc::new(pool), tables: Arc::default(), places: Arc::new(Semaphore::new(1)) })
    }

    /// Draws and encodes a shot on the pool, waiting for it: not for async threads.
    ///
    /// # Errors
    /// See [`draw`], and when the shot brings no scenario.
    pub fn render_now(&self, shot: &Shot, cancel: &Cancel) -> Result<Frame, RenderError> {
        self.pool.install(|| {
            let picture = draw(&SceneView::of(shot)?, shot, &self.tables, cancel)?;
            Ok(Frame { bytes: picture.encode(shot.encoding)? })
        })
    }

    /// Draws a stage: what a shot shows where no scenario says it. Dropping the future cancels the work.
    ///
    /// # Errors
    /// See [`draw`], and when the stage has nothing to show.
    pub async fn stage(&self, stage: impl Stage, shot: Shot) -> Result<Frame, RenderError> {
        let ended = || picture::failed("drawing ended without a picture".to_owned());
        let place = Arc::clone(&self.places).acquire_owned().await.map_err(|_| ended())?;
        let cancel = Cancel::default();
        let _guard = cancel.on_drop();
        let (sender, answer) = oneshot::channel();
        let tables = Arc::clone(&self.tables);
        self.pool.spawn(move || {
            let drawn = stage.view(&shot).and_then(|view| draw(&view, &shot, &tables, &cancel));
            drop(place);
            let encoded = drawn.and_then(|picture| picture.encode(shot.encoding));
            if sender.send(encoded.map(|bytes| Frame { bytes })).is_err() {
                tracing::trace!("a picture was drawn for nobody");
            }
        });
        answer.await.map_err(|_| ended())?
    }
}

impl Renderer for Builtin {
    fn name(&self) -> &'static str {
        "embedded"
    }

    fn place(&self) -> String {
        PLACE.to_owned()
    }

    fn render(&self, shot: Shot) -> BoxFuture<'static, Result<Frame, RenderError>> {
        let renderer = self.clone();
        Box::pin(async move { renderer.stage(view::Recorded, shot).await })
    }

    fn reachable(&self) -> BoxFuture<'static, bool> {
        Box::pin(std::future::ready(true))
    }
}
