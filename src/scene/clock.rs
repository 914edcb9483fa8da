//! The playback clock of a session: pure, the time of day is passed in.
//!
//! Two ways to follow it. Ticks move it, as in the original viewer: a tick without a delta accounts the time since the
//! last one, a tick with a delta moves by delta times speed whether it plays or not. And [`PlaybackClock::current`] says
//! where a live viewer is between ticks without moving anything. Whoever mixes both ticks before stopping, or the clock
//! falls back to the last tick.

use std::time::Duration;

use thiserror::Error;

use super::activation::{Activation, TrackChanges};
use super::{Scenario, Tracks};

/// The slowest playback.
pub const MIN_SPEED: f64 = 0.001;
/// The fastest playback.
pub const MAX_SPEED: f64 = 100.0;

/// Why the clock does not take a setting.
#[derive(Debug, Clone, Copy, PartialEq, Error)]
pub enum ClockError {
    /// Zero or negative speed.
    #[error("speed must be > 0")]
    SpeedNotPositive,
    /// Infinite, no number, or unreasonable.
    #[error("speed must be between {MIN_SPEED} and {MAX_SPEED}, not {speed}")]
    SpeedOutOfRange {
        /// The one asked for.
        speed: f64,
    },
    /// A loop without length inside the scenario.
    #[error(
        "the loop from {start_us} to {end_us} has no length inside the scenario, {first_us} to {last_us}"
    )]
    EmptyLoop {
        /// As asked for.
        start_us: i64,
        /// As asked for.
        end_us: i64,
        /// The scenario's first instant.
        first_us: i64,
        /// The scenario's last instant.
        last_us: i64,
    },
}

/// A region to play again and again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoopRegion {
    /// First instant, in microseconds.
    pub start_us: i64,
    /// Reaching it leads back to the start.
    pub end_us: i64,
}

/// What everyone may know of the clock.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PlaybackState {
    /// Whether time runs.
    pub is_playing: bool,
    /// Scenario seconds a second.
    pub speed: f64,
    /// Where it is, in microseconds.
    pub current_time_us: i64,
    /// Since the scenario's start.
    pub seconds_since_start: f64,
    /// At the end.
    pub done: bool,
    /// When it loops.
    pub loop_region: Option<LoopRegion>,
}

/// The clock and the tracks its session has been told of.
#[derive(Debug, Clone, PartialEq)]
pub struct PlaybackClock {
    start_us: i64,
    end_us: i64,
    current_us: i64,
    is_playing: bool,
    speed: f64,
    accounted: Duration,
    loop_region: Option<LoopRegion>,
    activation: Activation,
}

struct Landing {
    unclamped_us: i64,
    wrapped_us: Option<i64>,
}

impl PlaybackClock {
    /// At the start, stopped, speed 1. `now` is any clock that never runs back, the same at every call.
    #[must_use]
    pub fn new(start_us: i64, end_us: i64, now: Duration) -> Self {
        Self {
            start_us,
            end_us: end_us.max(start_us),
            current_us: start_us,
            is_playing: false,
            speed: 1.0,
            accounted: now,
            loop_region: None,
            activation: Activation::default(),
        }
    }

    /// Over a scenario's range.
    #[must_use]
    pub fn of(scenario: &Scenario, now: Duration) -> Self {
        Self::new(scenario.start_us, scenario.end_us, now)
    }

    /// As of the last tick.
    #[must_use]
    pub fn state(&self) -> PlaybackState {
        self.state_at(self.current_us)
    }

    /// As a live viewer sees it now: playing has stopped when the end is reached, tick or no tick.
    #[must_use]
    pub fn live_state(&self, now: Duration) -> PlaybackState {
        let state = self.state_at(self.current(now));
        PlaybackState { is_playing: state.is_playing && !state.done, ..state }
    }

    /// Where it is now, in microseconds: where a tick at this moment would lead. Never outside the scenario.
    #[must_use]
    pub fn current(&self, now: Duration) -> i64 {
        let delta_us = if self.is_playing { self.running_us(now) } else { 0 };
        if delta_us <= 0 {
            return self.current_us;
        }
        let landing = self.landing(delta_us);
        landing.wrapped_us.unwrap_or(landing.unclamped_us).clamp(self.start_us, self.end_us)
    }

    /// The tracks the session has been told of.
    #[must_use]
    pub fn active(&self) -> &[usize] {
        self.activation.active()
    }

    /// Moves on: by `delta_us` times speed, truncated, playing or not; without a delta by the time since the last tick
    /// without one, if playing. Nothing goes back: a result of zero or less changes nothing. Passing the end lands on it
    /// and stops; passing a loop's end leads into the loop.
    pub fn tick(&mut self, tracks: &Tracks, delta_us: Option<i64>, now: Duration) -> TrackChanges {
        let delta_us = match delta_us {
            Some(delta_us) => (delta_us as f64 * self.speed) as i64,
            None if !self.is_playing => 0,
            None => {
                let running_us = self.running_us(now);
                self.accounted = now;
                running_us
            }
        };
        if delta_us <= 0 {
            return TrackChanges::default();
        }
        let landing = self.landing(delta_us);
        if let Some(wrapped_us) = landing.wrapped_us {
            self.current_us = wrapped_us;
            return self.activation.seek(tracks, wrapped_us);
        }
        self.current_us = landing.unclamped_us;
        if self.current_us >= self.end_us {
            self.current_us = self.end_us;
            self.is_playing = false;
        }
        self.activation.advance(tracks, landing.unclamped_us)
    }

    /// Time runs from now on; time since the last tick is not accounted.
    ///
    /// # Errors
    /// On a speed that is not between [`MIN_SPEED`] and [`MAX_SPEED`]; nothing is changed then.
    pub fn play(&mut self, speed: Option<f64>, now: Duration) -> Result<(), ClockError> {
        if let Some(speed) = speed {
            if speed <= 0.0 {
                return Err(ClockError::SpeedNotPositive);
            }
            if !(MIN_SPEED..=MAX_SPEED).contains(&speed) {
                return Err(ClockError::SpeedOutOfRange { speed });
            }
            self.speed = speed;
        }
        self.is_playing = true;
        self.accounted = now;
        Ok(())
    }

    /// Time stands still; time since the last tick is not accounted.
    pub fn stop(&mut self) {
        self.is_playing = false;
    }

    /// Back to the start, stopped, nothing active. Speed and loop stay.
    pub fn reset(&mut self, now: Duration) {
        self.current_us = self.start_us;
        self.is_playing = false;
        self.accounted = now;
        self.activation.reset();
    }

    /// To a time, clamped to the scenario; playing goes on from there.
    pub fn seek(&mut self, tracks: &Tracks, timestamp_us: i64, now: Duration) -> TrackChanges {
        self.current_us = timestamp_us.clamp(self.start_us, self.end_us);
        self.accounted = now;
        self.activation.seek(tracks, self.current_us)
    }

    /// Loops over a region, clamped to the scenario, or no longer. Starting beyond its end plays on to the scenario's.
    ///
    /// # Errors
    /// On a region without length inside the scenario; the loop is as before then.
    pub fn set_loop(&mut self, region: Option<LoopRegion>) -> Result<(), ClockError> {
        self.loop_region = match region {
            None => None,
            Some(LoopRegion { start_us, end_us }) => {
                let [first_us, last_us] = [self.start_us, self.end_us];
                let [from, to] = [start_us, end_us].map(|stamp| stamp.clamp(first_us, last_us));
                if from >= to {
                    return Err(ClockError::EmptyLoop { start_us, end_us, first_us, last_us });
                }
                Some(LoopRegion { start_us: from, end_us: to })
            }
        };
        Ok(())
    }

    /// The difference of two clock readings in seconds as doubles, as clients of the original know it: 0.1 s may be
    /// 99999 microseconds.
    fn running_us(&self, now: Duration) -> i64 {
        ((now.as_secs_f64() - self.accounted.as_secs_f64()) * 1e6 * self.speed) as i64
    }

    fn landing(&self, delta_us: i64) -> Landing {
        let unclamped_us = self.current_us.saturating_add(delta_us);
        let wrapped_us = self
            .loop_region
            .filter(|region| self.current_us <= region.end_us && unclamped_us >= region.end_us)
            .map(|region| {
                let length = region.end_us.abs_diff(region.start_us).max(1);
                region.start_us.saturating_add_unsigned(unclamped_us.abs_diff(region.end_us) % length)
            });
        Landing { unclamped_us, wrapped_us }
    }

    fn state_at(&self, current_us: i64) -> PlaybackState {
        PlaybackState {
            is_playing: self.is_playing,
            speed: self.speed,
            current_time_us: current_us,
            seconds_since_start: current_us.abs_diff(self.start_us) as f64 / 1e6,
            done: current_us >= self.end_us,
            loop_region: self.loop_region,
        }
    }
}
