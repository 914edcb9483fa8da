//! One session: a scenario and its clock. Orders change it one at a time; everybody else reads what it published last.
//!
//! An order is some microseconds of arithmetic, so it is carried out where it arrives, under a lock that nobody awaits
//! with: a task with an inbox would cost a tick two hand-overs, which are most of what a tick costs.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::error::WorldError;
use crate::render::plan::FramePlanner;
use crate::scene::Scenario;
use crate::scene::activation::TrackChanges;
use crate::scene::clock::{ClockError, LoopRegion, PlaybackClock, PlaybackState};

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

/// A session; shared by those who use it.
pub struct Session {
    name: String,
    begin: Instant,
    playing: Mutex<Option<Playing>>,
    /// Written under the lock of `playing`, so that what is published last was changed last.
    view: watch::Sender<View>,
    viewers: AtomicUsize,
}

impl Session {
    /// A session with nothing loaded.
    #[must_use]
    pub fn new(name: String, planner: FramePlanner) -> Self {
        let (view, _) = watch::channel(View { scenario: None, state: None, planner });
        Self { name, begin: Instant::now(), playing: Mutex::default(), view, viewers: AtomicUsize::new(0) }
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
        self.view.subscribe()
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
    pub fn load(&self, scenario: Arc<Scenario>, planner: FramePlanner) {
        let mut playing = self.playing();
        let loaded = Playing::new(Arc::clone(&scenario), self.begin.elapsed());
        let state = Some(loaded.clock.state());
        *playing = Some(loaded);
        self.view.send_replace(View { scenario: Some(scenario), state, planner });
    }

    /// Takes the scenario away.
    pub fn unload(&self, planner: FramePlanner) {
        let mut playing = self.playing();
        *playing = None;
        self.view.send_replace(View { scenario: None, state: None, planner });
    }

    /// Lets wall time move the clock, at a speed if one is given.
    ///
    /// # Errors
    /// [`WorldError::NotLoaded`], or a speed that cannot be.
    pub fn play(&self, speed: Option<f64>) -> Result<PlaybackState, WorldError> {
        self.change(&Change::Play(speed)).map(|ticked| ticked.state)
    }

    /// Holds the clock.
    ///
    /// # Errors
    /// [`WorldError::NotLoaded`]
    pub fn stop(&self) -> Result<PlaybackState, WorldError> {
        // What live viewers saw last is where it stops; without any, time since the last tick does not count.
        if self.viewers() > 0 {
            self.now()?;
        }
        self.change(&Change::Stop).map(|ticked| ticked.state)
    }

    /// Holds the clock at the first instant; the speed stays.
    ///
    /// # Errors
    /// [`WorldError::NotLoaded`]
    pub fn reset(&self) -> Result<PlaybackState, WorldError> {
        self.change(&Change::Reset).map(|ticked| ticked.state)
    }

    /// Moves the clock by microseconds times the speed, or by wall time.
    ///
    /// # Errors
    /// [`WorldError::NotLoaded`]
    pub fn tick(&self, delta_us: Option<i64>) -> Result<Ticked, WorldError> {
        self.change(&Change::Tick(delta_us))
    }

    /// Sets the clock, within the range.
    ///
    /// # Errors
    /// [`WorldError::NotLoaded`]
    pub fn seek(&self, to: SeekTo) -> Result<Ticked, WorldError> {
        self.change(&Change::Seek(to))
    }

    /// Repeats a range (its open ends are the scenario's), or none.
    ///
    /// # Errors
    /// [`WorldError::NotLoaded`], or an empty range.
    pub fn set_loop(&self, range_us: Option<[Option<i64>; 2]>) -> Result<PlaybackState, WorldError> {
        self.change(&Change::Loop(range_us)).map(|ticked| ticked.state)
    }

    /// Where the clock is now: a playing one is moved by the wall time that went by.
    ///
    /// # Errors
    /// [`WorldError::NotLoaded`]
    pub fn now(&self) -> Result<PlaybackState, WorldError> {
        let state = self.state()?;
        if !state.is_playing {
            return Ok(state);
        }
        self.change(&Change::Advance).map(|ticked| ticked.state)
    }

    fn change(&self, change: &Change) -> Result<Ticked, WorldError> {
        let mut playing = self.playing();
        let ticked = playing.as_mut().ok_or(WorldError::NotLoaded)?.change(change, self.begin.elapsed())?;
        self.view.send_if_modified(|view| {
            let changed = view.state.as_ref() != Some(&ticked.state);
            view.state = Some(ticked.state);
            changed
        });
        Ok(ticked)
    }

    fn playing(&self) -> MutexGuard<'_, Option<Playing>> {
        self.playing.lock().unwrap_or_else(PoisonError::into_inner)
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
