//! Which tracks a session has been told of. Playing forward keeps the books the original NuRec viewer kept, so that its
//! clients hear of the same tracks at the same ticks; seeking starts from what is alive at the new time.

use super::{Track, Tracks};

/// Tracks that live no longer than this, in microseconds, are never active.
pub const MIN_LIFETIME_US: u64 = 100_000;

/// The active tracks of one session, in the order they became active.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Activation {
    active: Vec<usize>,
    next: usize,
}

/// What a step changed: indices into [`Tracks`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TrackChanges {
    /// Became active, in the order of their starts.
    pub new: Vec<usize>,
    /// Were active and are no longer, in the order they had become active.
    pub removed: Vec<usize>,
}

impl TrackChanges {
    /// The identifiers behind indices.
    pub fn ids<'a>(indices: &'a [usize], tracks: &'a Tracks) -> impl Iterator<Item = &'a str> {
        indices.iter().filter_map(|index| tracks.get(*index)).map(|track| track.id.as_str())
    }
}

/// Whether a track is ever active.
#[must_use]
pub fn lives_long_enough(track: &Track) -> bool {
    track.end_us() > track.start_us() && track.end_us().abs_diff(track.start_us()) > MIN_LIFETIME_US
}

impl Activation {
    /// Indices of the active tracks.
    #[must_use]
    pub fn active(&self) -> &[usize] {
        &self.active
    }

    /// Nothing active, as before the first step.
    pub fn reset(&mut self) {
        *self = Self::default();
    }

    /// Plays forward to a time. Removes what ended before it, then adds everything that has started, even what has also
    /// ended since the last step: that is removed at the next step, so every track is heard of once.
    pub fn advance(&mut self, tracks: &Tracks, to_us: i64) -> TrackChanges {
        let mut changes = TrackChanges::default();
        self.active.retain(|index| {
            let ended = tracks.get(*index).is_none_or(|track| to_us > track.end_us());
            if ended {
                changes.removed.push(*index);
            }
            !ended
        });
        let started = tracks.started_by(to_us);
        changes.new = long_enough(tracks, self.next..started).collect();
        self.active.extend(&changes.new);
        self.next = self.next.max(started);
        changes
    }

    /// Jumps to a time, forward or back: active is exactly what is alive then.
    pub fn seek(&mut self, tracks: &Tracks, to_us: i64) -> TrackChanges {
        let alive: Vec<usize> = long_enough(tracks, tracks.alive_indices(to_us)).collect();
        let is_alive = |index: &usize| alive.binary_search(index).is_ok();
        let mut known = self.active.clone();
        known.sort_unstable();
        let changes = TrackChanges {
            new: alive.iter().copied().filter(|index| known.binary_search(index).is_err()).collect(),
            removed: self.active.iter().copied().filter(|index| !is_alive(index)).collect(),
        };
        self.active = alive;
        self.next = tracks.started_by(to_us);
        changes
    }
}

fn long_enough(tracks: &Tracks, indices: impl Iterator<Item = usize>) -> impl Iterator<Item = usize> {
    indices.filter(|index| tracks.get(*index).is_some_and(lives_long_enough))
}
