//! The recording: what the rig and its labels would have seen of a drive.

use glam::{DMat4, DVec3};

use super::SampleOptions;
use super::beside::{self, Prop};
use super::random::Random;
use super::town::Town;
use super::traffic::{self, Vehicle};
use crate::geometry::Pose;

/// The ego's box in the rig.
pub(super) const BOX_CENTROID_M: [f64; 3] = [1.42, 0.0, 0.74];
pub(super) const BOX_DIMENSIONS_M: [f64; 3] = [4.92, 2.02, 1.48];
/// An epoch-like clock, in microseconds.
const START_US: i64 = 1_753_963_200_123_456;
/// Objects further away than this are not labelled, in metres.
const SEEN_M: f64 = 95.0;

/// A drive through the town.
pub(super) struct Recording {
    pub(super) town: Town,
    /// `map_from_world`: the world begins at the ego's first pose.
    pub(super) map_from_world: DMat4,
    pub(super) ego_us: Vec<i64>,
    pub(super) tracks: Vec<RecordedTrack>,
    ego: Vehicle,
}

/// A labelled object.
pub(super) struct RecordedTrack {
    pub(super) class: &'static str,
    pub(super) flags: &'static str,
    pub(super) dimensions_m: DVec3,
    pub(super) timestamps_us: Vec<i64>,
    pub(super) poses: Vec<Pose>,
}

impl Recording {
    pub(super) fn new(options: &SampleOptions) -> Self {
        let town = Town::new();
        let mut random = Random::new(options.seed);
        let moving = (options.tracks * 2 / 5).min(26);
        let people = options.tracks / 4;
        let ego = Vehicle::ego(DVec3::from_array(BOX_DIMENSIONS_M));
        let mut vehicles = traffic::drive(&town, ego, moving, options.duration_s + 1.0, &mut random);
        let mut parked = beside::parked(&mut random);
        let people = beside::people(people, &mut random);
        parked.truncate(options.tracks - people.len() - moving);
        let ego = vehicles.remove(0);

        let count = (options.duration_s * 10.0).round() as i64;
        let mut jitter =
            |index: i64, by_us: f64| START_US + index * 100_000 + random.between(-by_us, by_us) as i64;
        let mut ego_us: Vec<i64> = (0..=count).map(|index| jitter(index, 1800.0)).collect();
        if let Some(first) = ego_us.first_mut() {
            *first = START_US - 37_411;
        }
        let labels_us: Vec<i64> = (0..count).map(|index| jitter(index, 900.0) + 40_000).collect();
        let mut recording = Self { town, map_from_world: DMat4::IDENTITY, ego_us, tracks: Vec::new(), ego };
        recording.map_from_world = recording.map_from_rig(recording.start_us());
        let vehicles = vehicles.iter().map(|vehicle| recording.vehicle(vehicle, &labels_us));
        let props = people.iter().chain(&parked).map(|prop| recording.prop(prop, &labels_us));
        recording.tracks = vehicles.chain(props).flatten().collect();
        recording
    }

    pub(super) fn start_us(&self) -> i64 {
        self.ego_us.first().copied().unwrap_or(START_US)
    }

    pub(super) fn end_us(&self) -> i64 {
        self.ego_us.last().copied().unwrap_or(START_US)
    }

    fn seconds(&self, timestamp_us: i64) -> f64 {
        (timestamp_us - self.start_us()) as f64 / 1e6
    }

    fn map_from_rig(&self, timestamp_us: i64) -> DMat4 {
        let time_s = self.seconds(timestamp_us);
        self.ego.pose(&self.town, time_s, -BOX_CENTROID_M[0]).unwrap_or(DMat4::IDENTITY)
    }

    /// `world_from_rig` at any time of the drive.
    pub(super) fn world_from_rig(&self, timestamp_us: i64) -> DMat4 {
        self.map_from_world.inverse() * self.map_from_rig(timestamp_us)
    }

    fn vehicle(&self, vehicle: &Vehicle, labels_us: &[i64]) -> Option<RecordedTrack> {
        let seen = |time_s| vehicle.pose(&self.town, time_s, 0.0);
        let (timestamps_us, poses) = self.seen(labels_us, vehicle.dimensions_m.z, 1, seen);
        (timestamps_us.len() > 10).then_some(RecordedTrack {
            class: vehicle.class,
            flags: "DYNAMIC|CONTROLLABLE",
            dimensions_m: vehicle.dimensions_m,
            timestamps_us,
            poses,
        })
    }

    fn prop(&self, prop: &Prop, labels_us: &[i64]) -> Option<RecordedTrack> {
        let every = if prop.is_static() { 10 } else { 2 };
        let seen = |time_s| prop.pose(&self.town, time_s);
        let (timestamps_us, poses) = self.seen(labels_us, prop.dimensions_m.z, every, seen);
        (timestamps_us.len() > 1).then_some(RecordedTrack {
            class: prop.class,
            flags: if prop.is_static() { "NONE" } else { "DYNAMIC" },
            dimensions_m: prop.dimensions_m,
            timestamps_us,
            poses,
        })
    }

    /// The first time an object is near without a break: every so many labels and the last.
    fn seen(
        &self,
        labels_us: &[i64],
        height_m: f64,
        every: usize,
        map_from_object: impl Fn(f64) -> Option<DMat4>,
    ) -> (Vec<i64>, Vec<Pose>) {
        let world_from_map = self.map_from_world.inverse();
        let middle = DMat4::from_translation(DVec3::Z * (height_m / 2.0));
        let near = |stamp: &i64| -> Option<(i64, Pose)> {
            let map_from_object = map_from_object(self.seconds(*stamp))?;
            let apart = map_from_object.w_axis - self.map_from_rig(*stamp).w_axis;
            let pose = Pose::from_matrix(&(world_from_map * map_from_object * middle)).ok()?;
            (apart.length() < SEEN_M).then_some((*stamp, pose))
        };
        let labels = labels_us.iter().map(near);
        let labels: Vec<_> = labels.skip_while(Option::is_none).map_while(|label| label).collect();
        let last = labels.len().saturating_sub(1);
        let kept = labels.into_iter().enumerate().filter(|(index, _)| index % every == 0 || *index == last);
        kept.map(|(_, label)| label).unzip()
    }
}
