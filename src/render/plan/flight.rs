//! Pictures being drawn. Those of one request are drawn together, since a renderer may take them as a batch; each can be
//! waited for by any number of requests.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::task::AbortHandle;

use super::super::cache::PictureKey;
use super::super::{Frame, RenderError, Shot};
use super::{Place, Shared};

/// How a picture ended.
#[derive(Debug, Clone)]
pub(super) struct Done {
    pub(super) outcome: Result<Frame, RenderError>,
    pub(super) queued: Duration,
    pub(super) render: Duration,
}

impl Done {
    pub(super) fn at_once(outcome: Result<Frame, RenderError>) -> Self {
        Self { outcome, queued: Duration::ZERO, render: Duration::ZERO }
    }
}

/// A picture being drawn, as those see it who wait for it.
pub(super) struct Flight {
    done: watch::Receiver<Option<Done>>,
    place: String,
    _group: Arc<Group>,
}

/// Pictures being drawn together; drawing ends with the last flight that is waited for.
#[derive(Default)]
struct Group {
    drawing: OnceLock<AbortHandle>,
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(drawing) = self.drawing.get() {
            drawing.abort();
        }
    }
}

/// All pictures being drawn.
#[derive(Default)]
pub(super) struct Flights {
    by_key: Mutex<HashMap<PictureKey, Weak<Flight>>>,
}

/// One of the pictures of a group, as the one who draws sees it.
struct Commission {
    key: PictureKey,
    shot: Shot,
    tell: watch::Sender<Option<Done>>,
}

type Wanted = (usize, PictureKey, Shot);

impl Flights {
    fn locked(&self) -> MutexGuard<'_, HashMap<PictureKey, Weak<Flight>>> {
        self.by_key.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Flight {
    /// Waits for the picture.
    pub(super) async fn done(&self) -> Done {
        let mut done = self.done.clone();
        let told = done.wait_for(Option::is_some).await.map(|done| done.clone());
        told.ok().flatten().unwrap_or_else(|| {
            let reason = "it stopped in the middle of a picture".to_owned();
            Done::at_once(Err(RenderError::Unreachable { place: self.place.clone(), reason }))
        })
    }
}

impl Shared {
    /// For each picture wanted: the flight that is under way, or a new one.
    pub(super) fn join(
        self: &Arc<Self>,
        place: &Arc<Place>,
        wanted: Vec<Wanted>,
    ) -> Vec<(usize, Arc<Flight>)> {
        if wanted.is_empty() {
            return Vec::new();
        }
        let together = self.options.max_drawing.max(1) as usize;
        let mut flights = Vec::with_capacity(wanted.len());
        let mut commissions: Vec<Commission> = Vec::new();
        let mut group = Arc::<Group>::default();
        let mut by_key = self.flights.locked();
        for (index, key, shot) in wanted {
            if let Some(flight) = by_key.get(&key).and_then(Weak::upgrade) {
                flights.push((index, flight));
                continue;
            }
            if commissions.len() == together {
                self.begin(place, &std::mem::take(&mut group), std::mem::take(&mut commissions));
            }
            let (tell, done) = watch::channel(None);
            let flight = Arc::new(Flight { done, place: place.renderer.place(), _group: Arc::clone(&group) });
            by_key.insert(key.clone(), Arc::downgrade(&flight));
            flights.push((index, flight));
            commissions.push(Commission { key, shot, tell });
        }
        if !commissions.is_empty() {
            self.begin(place, &group, commissions);
        }
        flights
    }

    fn begin(self: &Arc<Self>, place: &Arc<Place>, group: &Arc<Group>, commissions: Vec<Commission>) {
        let drawing = tokio::spawn(draw(Arc::clone(self), Arc::clone(place), commissions));
        drop(group.drawing.set(drawing.abort_handle()));
    }
}

async fn draw(shared: Arc<Shared>, place: Arc<Place>, commissions: Vec<Commission>) {
    let asked = Instant::now();
    let count = u32::try_from(commissions.len()).unwrap_or(u32::MAX);
    let mut work = Work { flights: Arc::clone(&shared.flights), commissions };
    let Ok(_permits) = place.permits.acquire_many(count).await else {
        return;
    };
    let queued = asked.elapsed();
    let drawing = Instant::now();
    let shots = work.commissions.iter().map(|commission| commission.shot.clone()).collect();
    let outcomes = place.renderer.render_all(shots).await;
    let render = drawing.elapsed();
    for (commission, outcome) in work.commissions.iter_mut().zip(outcomes) {
        if let Ok(frame) = &outcome {
            let scenario = commission.shot.scenario.as_ref();
            shared.cache.keep(commission.key.clone(), frame.clone(), scenario);
        }
        commission.tell.send_replace(Some(Done { outcome, queued, render }));
    }
}

/// What is being drawn; leaves the list of flights however drawing ends.
struct Work {
    flights: Arc<Flights>,
    commissions: Vec<Commission>,
}

impl Drop for Work {
    fn drop(&mut self) {
        let mut by_key = self.flights.locked();
        for commission in &self.commissions {
            let own = |flight: &Weak<Flight>| {
                flight.upgrade().is_none_or(|flight| commission.tell.subscribe().same_channel(&flight.done))
            };
            if by_key.get(&commission.key).is_some_and(own) {
                by_key.remove(&commission.key);
            }
        }
    }
}
