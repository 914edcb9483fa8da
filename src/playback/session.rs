//! One session: a scenario and its clock, owned by one task. Handles send it orders and read what it published last.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot, watch};

use super::error::WorldError;
use crate::render::plan::FramePlanner;
use crate::scene::Scenario;
use crate::scene::activation::TrackChanges;
use crate::scene::clock::{ClockError, LoopRegion, PlaybackClock, PlaybackState};

/// Orders waiting for a session at most; more wait at their sender.
const ORDERS: usize = 64;

/// What everybody may see of a session.
#[derive(Clone)]
pub struct View {
    /// The loaded scenario.
    pub scenario: Option<Arc<Scenario>>,
    /// Where its clock is, as of the last order.
    pub state: Option<PlaybackState>,
    /// Who draws for this session.
    pub planner: FramePlanner,
}

/// A moved clock, and the tracks that came and went by it.
#[derive(Debug, Clone, PartialEq)]
pub struct Ticked {
    /// Where the clock is.
    pub state: PlaybackState,
    /// In order of their start.
    pub new_track_ids: Vec<String>,
    /// In the order they came.
    pub removed_track_ids: Vec<String>,
}

/// Where to set a clock.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum SeekTo {
    /// To an instant, in microseconds.
    Instant(i64),
    /// To so many seconds after the first instant.
    Seconds(f64),
    /// By so many microseconds, backwards when negative.
    Delta(i64),
}

enum Order {
    Load(Arc<Scenario>, FramePlanner, oneshot::Sender<()>),
    Unload(FramePlanner, oneshot::Sender<()>),
    Change(Change, oneshot::Sender<Result<Ticked, WorldError>>),
}

enum Change {
    Play(Option<f64>),
    Stop,
    Reset,
    Tick(Option<i64>),
    Seek(SeekTo),
    Loop(Option<[Option<i64>; 2]>),
    /// Moves a playing clock to now, and tells nobody of tracks.
    Advance,
}

/// A handle on a session.
pub struct Session {
    name: String,
    orders: mpsc::Sender<Order>,
    view: watch::Receiver<View>,
    viewers: AtomicUsize,
}

impl Session {
    /// Starts a session's task. It ends when the last handle is dropped.
    #[must_use]
    pub fn start(name: String, planner: FramePlanner) -> Self {
        let (orders, inbox) = mpsc::channel(ORDERS);
        let (publish, view) = watch::channel(View { scenario: None, state: None, planner });
        tokio::spawn(serve(inbox, publish));
        Self { name, orders, view, viewers: AtomicUsize::new(0) }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it published last.
    #[must_use]
    pub fn view(&self) -> View {
        self.view.borrow().clone()
    }

    /// A receiver that wakes at every change.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<View> {
        self.view.clone()
    }

    /// The loaded scenario.
    ///
    /// # Errors
    /// [`WorldError::NotLoaded`]
    pub fn scenario(&self) -> Result<Arc<Scenario>, WorldError> {
        self.view.borrow().scenario.clone().ok_or(WorldError::NotLoaded)
    }

    /// Where the clock is, as of the last order.
    ///
    /// # Errors
    /// [`WorldError::NotLoaded`]
    pub fn state(&self) -> Result<PlaybackState, WorldError> {
        self.view.borrow().state.ok_or(WorldError::NotLoaded)
    }

    /// Live viewers now.
    #[must_use]
    pub fn viewers(&self) -> usize {
        self.viewers.load(Ordering::Relaxed)
    }

    /// Counts a live viewer until the value is dropped.
    #[must_use]
    pub fn watched(self: &Arc<Self>) -> Watching {
        self.viewers.fetch_add(1, Ordering::Relaxed);
        Watching(Arc::clone(self))
    }

    /// Puts a scenario in place of the one before, with a new clock.
    ///
    /// # Errors
    /// [`WorldError::Ended`]
    pub async fn load(&self, scenario: Arc<Scenario>, planner: FramePlanner) -> Result<(), WorldError> {
        let (reply, answer) = oneshot::channel();
        self.send(Order::Load(scenario, planner, reply)).await?;
        answer.await.map_err(|_| WorldError::Ended)
    }

    /// Takes the scenario away.
    ///
    /// # Errors
    /// [`WorldError::Ended`]
    pub async fn unload(&self, planner: FramePlanner) -> Result<(), WorldError> {
        let (reply, answer) = oneshot::channel();
        self.send(Order::Unload(planner, reply)).await?;
        answer.await.map_err(|_| WorldError::Ended)
    }

    /// Lets wall time move the clock, at a speed if one is given.
    ///
    /// # Errors
    /// [`WorldError::NotLoaded`], or a speed that cannot be.
    pub async fn play(&self, speed: Option<f64>) -> Result<PlaybackState, WorldError> {
        self.change(Change::Play(speed)).await.map(|ticked| ticked.state)
    }

    /// Holds the clock.
    ///
    /// # Errors
    /// [`WorldError::NotLoaded`]
    pub async fn stop(&self) -> Result<PlaybackState, WorldError> {
        // What live viewers saw last is where it stops; without any, time since the last tick does not count.
        if self.viewers() > 0 {
            self.now().await?;
        }
        self.change(Change::Stop).await.map(|ticked| ticked.state)
    }

    /// Holds the clock at the first instant; the speed stays.
    ///
    /// # Errors
    /// [`WorldError::NotLoaded`]
    pub async fn reset(&self) -> Result<PlaybackState, WorldError> {
        self.change(Change::Reset).await.map(|ticked| ticked.state)
    }

    /// Moves the clock by microseconds times the speed, or by wall time.
    ///
    /// # Errors
    /// [`WorldError::NotLoaded`]
    pub async fn tick(&self, delta_us: Option<i64>) -> Result<Ticked, WorldError> {
        self.change(Change::Tick(delta_us)).await
    }

    /// Sets the clock, within the range.
    ///
    /// # Errors
    /// [`WorldError::NotLoaded`]
    pub async fn seek(&self, to: SeekTo) -> Result<Ticked, WorldError> {
        self.change(Change::Seek(to)).await
    }

    /// Repeats a range (its open ends are the scenario's), or none.
    ///
    /// # Errors
    /// [`WorldError::NotLoaded`], or an empty range.
    pub async fn set_loop(&self, range_us: Option<[Option<i64>; 2]>) -> Result<PlaybackState, WorldError> {
        self.change(Change::Loop(range_us)).await.map(|ticked| ticked.state)
    }

    /// Where the clock is now: a playing one is moved by the wall time that went by.
    ///
    /// # Errors
    /// [`WorldError::NotLoaded`]
    pub async fn now(&self) -> Result<PlaybackState, WorldError> {
        let state = self.state()?;
        if !state.is_playing {
            return Ok(state);
        }
        self.change(Change::Advance).await.map(|ticked| ticked.state)
    }

    async fn change(&self, change: Change) -> Result<Ticked, WorldError> {
        let (reply, answer) = oneshot::channel();
        self.send(Order::Change(change, reply)).await?;
        answer.await.map_err(|_| WorldError::Ended)?
    }

    async fn send(&self, order: Order) -> Result<(), WorldError> {
        self.orders.send(order).await.map_err(|_| WorldError::Ended)
    }
}

/// A live viewer, for as long as it lives.
pub struct Watching(Arc<Session>);

impl Drop for Watching {
    fn drop(&mut self) {
        self.0.viewers.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A loaded scenario with its clock.
struct Playing {
    scenario: Arc<Scenario>,
    clock: PlaybackClock,
    /// Tracks that came and went while only live viewers moved the clock: the next tick tells of them.
    untold: TrackChanges,
}

async fn serve(mut inbox: mpsc::Receiver<Order>, publish: watch::Sender<View>) {
    let begin = Instant::now();
    let mut playing: Option<Playing> = None;
    while let Some(order) = inbox.recv().await {
        match order {
            Order::Load(scenario, planner, reply) => {
                let loaded = Playing::new(Arc::clone(&scenario), begin.elapsed());
                let state = Some(loaded.clock.state());
                playing = Some(loaded);
                publish.send_replace(View { scenario: Some(scenario), state, planner });
                let _ = reply.send(());
            }
            Order::Unload(planner, reply) => {
                playing = None;
                publish.send_replace(View { scenario: None, state: None, planner });
                let _ = reply.send(());
            }
            Order::Change(change, reply) => {
                let result = match &mut playing {
                    Some(playing) => playing.change(&change, begin.elapsed()),
                    None => Err(WorldError::NotLoaded),
                };
                if let Ok(ticked) = &result {
                    publish.send_if_modified(|view| {
                        let changed = view.state.as_ref() != Some(&ticked.state);
                        view.state = Some(ticked.state);
                        changed
                    });
                }
                drop(reply.send(result));
            }
        }
    }
}

impl Playing {
    fn new(scenario: Arc<Scenario>, now: Duration) -> Self {
        let clock = PlaybackClock::of(&scenario, now);
        Self { scenario, clock, untold: TrackChanges::default() }
    }

    fn change(&mut self, change: &Change, now: Duration) -> Result<Ticked, WorldError> {
        let tracks = &self.scenario.tracks;
        match *change {
            Change::Play(speed) => self.clock.play(speed, now)?,
            Change::Stop => self.clock.stop(),
            Change::Reset => {
                self.clock.reset(now);
                self.untold = TrackChanges::default();
            }
            Change::Loop(range_us) => {
                let [first_us, last_us] = [self.scenario.start_us, self.scenario.end_us];
                let region = range_us.map(|[start_us, end_us]| LoopRegion {
                    start_us: start_us.unwrap_or(first_us),
                    end_us: end_us.unwrap_or(last_us),
                });
                self.clock.set_loop(region)?;
            }
            Change::Advance => {
                let changes = self.clock.tick(tracks, None, now);
                merge(&mut self.untold, changes);
            }
            Change::Tick(delta_us) => {
                let changes = self.clock.tick(tracks, delta_us, now);
                return Ok(self.told(changes));
            }
            Change::Seek(to) => {
                let instant_us = match to {
                    SeekTo::Instant(instant_us) => instant_us,
                    #[allow(
                        clippy::cast_possible_truncation,
                        reason = "saturates, and is clamped to the range"
                    )]
                    SeekTo::Seconds(seconds) => self.scenario.start_us.saturating_add((seconds * 1e6) as i64),
                    SeekTo::Delta(delta_us) => self.clock.current(now).saturating_add(delta_us),
                };
                let changes = self.clock.seek(tracks, instant_us, now);
                return Ok(self.told(changes));
            }
        }
        Ok(Ticked { state: self.clock.state(), new_track_ids: Vec::new(), removed_track_ids: Vec::new() })
    }

    fn told(&mut self, changes: TrackChanges) -> Ticked {
        merge(&mut self.untold, changes);
        let TrackChanges { new, removed } = std::mem::take(&mut self.untold);
        let ids = |indices: &[usize]| {
            TrackChanges::ids(indices, &self.scenario.tracks).map(str::to_owned).collect()
        };
        Ticked { state: self.clock.state(), new_track_ids: ids(&new), removed_track_ids: ids(&removed) }
    }
}

/// Adds later changes to earlier ones; what came and went, or went and came back, is no change.
fn merge(earlier: &mut TrackChanges, later: TrackChanges) {
    let cancel = |list: &mut Vec<usize>, index: usize| {
        let found = list.iter().position(|other| *other == index);
        found.map(|place| list.remove(place)).is_some()
    };
    for index in later.removed {
        if !cancel(&mut earlier.new, index) {
            earlier.removed.push(index);
        }
    }
    for index in later.new {
        if !cancel(&mut earlier.removed, index) {
            earlier.new.push(index);
        }
    }
}

impl From<ClockError> for WorldError {
    fn from(error: ClockError) -> Self {
        Self::Invalid(error.to_string())
    }
}
