//! Everything that moves or may move, and which of it is there at a time.

use std::collections::HashMap;

use glam::DVec3;

use super::Trajectory;
use super::track_index::TrackIndex;
use crate::geometry::Pose;

/// All tracks, sorted by start (stable), with an index over time.
#[derive(Debug, Clone, Default)]
pub struct Tracks {
    list: Vec<Track>,
    index: TrackIndex,
    by_id: HashMap<String, usize>,
}

/// One object over time.
#[derive(Debug, Clone, PartialEq)]
pub struct Track {
    /// As in the file.
    pub id: String,
    /// `automobile`, `person`, ...
    pub class: String,
    /// Whether it moves.
    pub dynamic: bool,
    /// Whether a simulator may drive it.
    pub controllable: bool,
    /// Length, width, height, in metres.
    pub dimensions_m: DVec3,
    /// `world_from_cuboid` over time; the cuboid's origin is its centre.
    pub trajectory: Trajectory,
}

impl Track {
    /// First instant, in microseconds.
    #[must_use]
    pub fn start_us(&self) -> i64 {
        self.trajectory.range()[0]
    }

    /// Last instant, in microseconds; inclusive.
    #[must_use]
    pub fn end_us(&self) -> i64 {
        self.trajectory.range()[1]
    }
}

impl Tracks {
    /// Sorts by start, keeping the order of equals, and builds the index.
    #[must_use]
    pub fn new(mut list: Vec<Track>) -> Self {
        list.sort_by_key(Track::start_us);
        let ranges: Vec<_> = list.iter().map(|track| track.trajectory.range()).collect();
        let mut by_id = HashMap::with_capacity(list.len());
        for (index, track) in list.iter().enumerate() {
            by_id.entry(track.id.clone()).or_insert(index);
        }
        Self { index: TrackIndex::new(&ranges), by_id, list }
    }

    /// All, sorted by start.
    pub fn iter(&self) -> std::slice::Iter<'_, Track> {
        self.list.iter()
    }

    /// How many.
    #[must_use]
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// By position in the order of starts.
    #[must_use]
    pub fn get(&self, index: usize) -> Option<&Track> {
        self.list.get(index)
    }

    /// By identifier; the earliest where several share one.
    #[must_use]
    pub fn by_id(&self, id: &str) -> Option<&Track> {
        self.by_id.get(id).and_then(|index| self.get(*index))
    }

    /// The tracks recorded at a time in microseconds, in the order of their starts, each with its pose then. All of them,
    /// however short: what a session calls active leaves very short ones out, see [`super::activation`].
    pub fn alive_at(&self, timestamp_us: i64) -> impl Iterator<Item = (usize, &Track, Pose)> {
        self.index.alive_at(timestamp_us).filter_map(move |index| {
            let track = self.get(index)?;
            Some((index, track, track.trajectory.pose_at(timestamp_us)?))
        })
    }

    /// As [`Tracks::alive_at`], without poses.
    pub(super) fn alive_indices(&self, timestamp_us: i64) -> impl Iterator<Item = usize> {
        self.index.alive_at(timestamp_us)
    }

    /// How many tracks start at or before a time: the index of the first that does not.
    pub(super) fn started_by(&self, timestamp_us: i64) -> usize {
        self.index.started_by(timestamp_us)
    }
}

impl<'a> IntoIterator for &'a Tracks {
    type Item = &'a Track;
    type IntoIter = std::slice::Iter<'a, Track>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}
