//! `nre.grpc.protos.sensorsim.SensorsimService` over any [`Renderer`] and a shelf of scenes: what NuRec clients speak to.
//!
//! A camera is drawn from the request's own intrinsics, whether the scene has it or not. Time is half open as NuRec has it:
//! a frame must begin before the scene's last instant. Requests without dynamic objects show the recorded ones; with some,
//! tracks that clients may drive are where the request has them or nowhere, and all others where they were recorded. Ego
//! masks are not offered; a request for one is drawn without.

mod answers;
mod calls;
mod shelf;
mod status;

use std::collections::HashSet;
use std::sync::Arc;

use tokio::sync::{Notify, Semaphore, SemaphorePermit};
use tonic::Status;

use crate::proto::nurec::sensorsim::RgbRenderRequest;
use crate::render::nurec::shot_from_wire;
use crate::render::{Renderer, Shot, recorded_objects};
use crate::scene::Scenario;

pub use shelf::{SceneShelf, ShelfError};

/// Most pictures asked for at once, of all clients; further ones are refused.
const MAX_PICTURES: usize = 256;

/// Most pictures of one batch.
const MAX_BATCH: usize = 64;

/// The service.
pub struct SensorsimService {
    renderer: Arc<dyn Renderer>,
    shelf: Arc<SceneShelf>,
    pictures: Arc<Semaphore>,
    shut_down: Option<Arc<Notify>>,
}

impl SensorsimService {
    /// Draws the scenes of `shelf` with `renderer`. `shut_down` is told when a client asks for that; without it, clients
    /// are refused.
    #[must_use]
    pub fn new(renderer: Arc<dyn Renderer>, shelf: Arc<SceneShelf>, shut_down: Option<Arc<Notify>>) -> Self {
        Self { renderer, shelf, pictures: Arc::new(Semaphore::new(MAX_PICTURES)), shut_down }
    }

    /// A view of what is being drawn, to keep when the service goes to its server.
    #[must_use]
    pub fn drawing(&self) -> Drawing {
        Drawing { pictures: Arc::clone(&self.pictures) }
    }

    /// The scene of a request.
    async fn scene(&self, scene_id: &str) -> Result<Arc<Scenario>, Status> {
        SceneShelf::scene(&self.shelf, scene_id).await.map_err(|error| status::of_shelf(&error))
    }

    /// What a request wants drawn.
    async fn shot(&self, request: &RgbRenderRequest) -> Result<Shot, Status> {
        let mut shot = shot_from_wire(request).map_err(Status::invalid_argument)?;
        let scenario = self.scene(&request.scene_id).await?;
        within(&scenario, shot.shutter_us)?;
        stay(&scenario, &mut shot);
        shot.scenario = Some(scenario);
        Ok(shot)
    }

    /// Room for some pictures.
    fn room(&self, pictures: usize) -> Result<SemaphorePermit<'_>, Status> {
        if pictures > MAX_BATCH {
            let message = format!("{pictures} pictures in one request, expected at most {MAX_BATCH}");
            return Err(Status::invalid_argument(message));
        }
        let count = u32::try_from(pictures).unwrap_or(u32::MAX);
        self.pictures.try_acquire_many(count).map_err(|_| {
            Status::resource_exhausted(format!(
                "{MAX_PICTURES} pictures are being drawn already; ask again later"
            ))
        })
    }
}

/// Clients send the tracks they drive. Those they cannot drive stay where they were recorded: parked cars and people do
/// not vanish because one car is driven.
fn stay(scenario: &Scenario, shot: &mut Shot) {
    let Some(objects) = &mut shot.objects else { return };
    let sent: HashSet<String> = objects.iter().map(|object| object.track_id.clone()).collect();
    let shutter_us = shot.shutter_us.map(|instant_us| i64::try_from(instant_us).unwrap_or(i64::MAX));
    let recorded = recorded_objects(scenario, shutter_us);
    objects.extend(recorded.into_iter().filter(|object| {
        let driven = scenario.tracks.by_id(&object.track_id).is_some_and(|track| track.controllable);
        !driven && !sent.contains(&object.track_id)
    }));
}

/// How much a service has to do.
#[derive(Debug, Clone)]
pub struct Drawing {
    pictures: Arc<Semaphore>,
}

impl Drawing {
    /// How many pictures are being drawn.
    #[must_use]
    pub fn count(&self) -> usize {
        MAX_PICTURES.saturating_sub(self.pictures.available_permits())
    }
}

/// Whether a frame lies within its scene.
fn within(scenario: &Scenario, [start_us, end_us]: [u64; 2]) -> Result<(), Status> {
    let inside = |time_us: u64, first: i64, last: i64| {
        i64::try_from(time_us).is_ok_and(|time_us| (first..=last).contains(&time_us))
    };
    let (first, last) = (scenario.start_us, scenario.end_us);
    if inside(start_us, first, last.saturating_sub(1)) && inside(end_us, first, last) {
        return Ok(());
    }
    Err(Status::out_of_range(format!(
        "frame {start_us} to {end_us} is not within scene {:?}, which lasts from {first} to {last}",
        scenario.sequence_id
    )))
}
