//! From "this viewer wants these cameras at this instant" to pictures: what is cached, what somebody else is already
//! waiting for, what nobody wants any more.
//!
//! A picture being drawn belongs to whoever waits for it. When the last of them goes (a newer request of the same viewer,
//! a closed connection) its drawing is dropped, and a renderer over gRPC hears of that. All pictures of one answer are of
//! one instant. Failures are told to those who wait and kept for nobody.

mod flight;
mod viewer;

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use futures_util::future::join_all;
use tokio::sync::Semaphore;

use super::cache::{PictureCache, PictureKey};
use super::{Frame, RenderError, Renderer, Shot, ShotOptions, shots};
use crate::scene::Scenario;
use flight::{Done, Flight, Flights};
use viewer::Viewers;

/// How much at once, and how much to keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlanOptions {
    /// Most pictures being drawn at once, of all viewers.
    pub max_drawing: u32,
    /// Most bytes of pictures kept.
    pub cache_bytes: u64,
}

impl Default for PlanOptions {
    fn default() -> Self {
        Self { max_drawing: 32, cache_bytes: 128 << 20 }
    }
}

/// The pictures of one instant.
#[derive(Debug, Clone, PartialEq)]
pub struct FrameSet {
    /// The instant asked for.
    pub timestamp_us: i64,
    /// Camera and picture, each camera once, in the order first asked for.
    pub images: Vec<(String, Result<Frame, RenderError>)>,
    /// Where the time went.
    pub timings: Timings,
    /// How many pictures were cached.
    pub cached: usize,
}

impl FrameSet {
    /// Whether a newer request of the same viewer took its place: then no picture is there.
    #[must_use]
    pub fn is_superseded(&self) -> bool {
        self.images.iter().any(|(_, image)| matches!(image, Err(RenderError::Superseded)))
    }
}

/// Where the time of a frame set went. With several pictures, that of the slowest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Timings {
    /// Until the renderer was asked.
    pub queued: Duration,
    /// Until it answered.
    pub render: Duration,
    /// From request to answer.
    pub total: Duration,
}

/// A renderer as it was put in place, with its own bound: what hangs in one does not hold up the next.
struct Place {
    generation: u64,
    renderer: Arc<dyn Renderer>,
    permits: Semaphore,
}

/// Plans pictures for all viewers of one server. Cheap to clone; clones are one planner.
#[derive(Clone)]
pub struct FramePlanner {
    shared: Arc<Shared>,
}

struct Shared {
    options: PlanOptions,
    place: ArcSwap<Place>,
    generations: AtomicU64,
    cache: PictureCache,
    flights: Arc<Flights>,
    viewers: Viewers,
}

/// One camera of a request on its way.
enum Picture {
    There(Frame),
    Awaited(Arc<Flight>),
    Failed(RenderError),
}

impl FramePlanner {
    /// Draws with `renderer`.
    #[must_use]
    pub fn new(renderer: Arc<dyn Renderer>, options: PlanOptions) -> Self {
        let shared = Shared {
            options,
            place: ArcSwap::from_pointee(options.place(0, renderer)),
            generations: AtomicU64::new(1),
            cache: PictureCache::new(options.cache_bytes),
            flights: Arc::default(),
            viewers: Viewers::default(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// The renderer in use.
    #[must_use]
    pub fn renderer(&self) -> Arc<dyn Renderer> {
        Arc::clone(&self.shared.place.load().renderer)
    }

    /// Draws with another renderer from now on. What is being drawn is finished by the old one for those who wait, and
    /// none of its pictures answers a later request.
    pub fn set_renderer(&self, renderer: Arc<dyn Renderer>) {
        let generation = self.shared.generations.fetch_add(1, Ordering::Relaxed);
        self.shared.place.store(Arc::new(self.shared.options.place(generation, renderer)));
    }

    /// Bytes of pictures kept.
    #[must_use]
    pub fn cached_bytes(&self) -> u64 {
        self.shared.cache.bytes()
    }

    /// The pictures of some cameras at an instant. With a viewer's name, an older request of that viewer ends now, each
    /// of its pictures [`RenderError::Superseded`]; without one, requests leave each other alone. Dropping the future
    /// gives up what nobody else waits for.
    pub async fn frames(
        &self,
        viewer: Option<&str>,
        scenario: &Arc<Scenario>,
        at_us: i64,
        cameras: &[String],
        options: &ShotOptions,
    ) -> FrameSet {
        let started = Instant::now();
        let mut seen = HashSet::new();
        let cameras: Vec<String> = cameras.iter().filter(|camera| seen.insert(*camera)).cloned().collect();
        let turn = viewer.map(|viewer| self.shared.viewers.enter(viewer));
        let pictures = self.start(shots(scenario, at_us, &cameras, options));
        let cached = pictures.iter().filter(|picture| matches!(picture, Picture::There(_))).count();
        let all = join_all(pictures.into_iter().map(Picture::outcome));
        let done = match turn {
            None => Some(all.await),
            Some(mut turn) => tokio::select! {
                biased;
                () = turn.superseded() => None,
                done = all => Some(done),
            },
        };
        let mut timings = Timings::default();
        let images = match done {
            None => cameras.into_iter().map(|camera| (camera, Err(RenderError::Superseded))).collect(),
            Some(done) => {
                timings.queued = done.iter().map(|done| done.queued).max().unwrap_or_default();
                timings.render = done.iter().map(|done| done.render).max().unwrap_or_default();
                cameras.into_iter().zip(done.into_iter().map(|done| done.outcome)).collect()
            }
        };
        timings.total = started.elapsed();
        FrameSet { timestamp_us: at_us, images, timings, cached }
    }

    /// Looks up, joins, or begins each picture.
    fn start(&self, shots: Vec<Result<Shot, RenderError>>) -> Vec<Picture> {
        let place = self.shared.place.load_full();
        let mut wanted = Vec::new();
        let mut pictures: Vec<Option<Picture>> = Vec::with_capacity(shots.len());
        for (index, shot) in shots.into_iter().enumerate() {
            pictures.push(match shot {
                Err(error) => Some(Picture::Failed(error)),
                Ok(shot) => {
                    let key = PictureKey::of(&shot, place.generation);
                    let found = self.shared.cache.get(&key).map(Picture::There);
                    if found.is_none() {
                        wanted.push((index, key, shot));
                    }
                    found
                }
            });
        }
        for (index, flight) in self.shared.join(&place, wanted) {
            if let Some(picture) = pictures.get_mut(index) {
                *picture = Some(Picture::Awaited(flight));
            }
        }
        pictures.into_iter().flatten().collect()
    }
}

impl Picture {
    async fn outcome(self) -> Done {
        match self {
            Self::There(frame) => Done::at_once(Ok(frame)),
            Self::Failed(error) => Done::at_once(Err(error)),
            Self::Awaited(flight) => flight.done().await,
        }
    }
}

impl PlanOptions {
    fn place(&self, generation: u64, renderer: Arc<dyn Renderer>) -> Place {
        let permits = Semaphore::new(self.max_drawing.max(1) as usize);
        Place { generation, renderer, permits }
    }
}
