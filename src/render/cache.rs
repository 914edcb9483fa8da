//! Pictures that were drawn, up to a number of bytes. The key holds everything a picture depends on, so nothing is ever
//! invalidated: what is no longer asked for leaves by itself.

use std::sync::{Arc, Weak};

use quick_cache::Weighter;
use quick_cache::sync::Cache;

use super::{Encoding, Frame, Shot};
use crate::scene::Scenario;

/// What a key and the bookkeeping weigh, roughly.
const ENTRY_BYTES: u64 = 512;

/// Size of a usual picture, for the number of slots.
const USUAL_PICTURE_BYTES: u64 = 32 << 10;

/// Everything a picture depends on.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PictureKey {
    /// Which renderer, counted as they are put in place.
    generation: u64,
    /// The scenario in memory. Its address is not used again while a cached picture refers to it: see [`Drawn`].
    scenario: usize,
    scene_id: String,
    camera_name: String,
    shutter_us: [u64; 2],
    /// Both poses, bit by bit.
    poses: [[u64; 7]; 2],
    /// Whether there are objects; where they are follows from scenario and shutter.
    objects: bool,
    resolution: [u32; 2],
    encoding: (bool, u32),
}

impl PictureKey {
    /// The key of a shot made by [`super::shot`].
    #[must_use]
    pub fn of(shot: &Shot, generation: u64) -> Self {
        let scenario = shot.scenario.as_ref().map_or(0, |scenario| Arc::as_ptr(scenario).addr());
        let poses = shot.world_from_sensor.map(|pose| {
            let [x, y, z] = pose.translation_m.to_array().map(f64::to_bits);
            let [qx, qy, qz, qw] = pose.rotation.to_array().map(f64::to_bits);
            [x, y, z, qx, qy, qz, qw]
        });
        Self {
            generation,
            scenario,
            scene_id: shot.scene_id.clone(),
            camera_name: shot.camera_name.clone(),
            shutter_us: shot.shutter_us,
            poses,
            objects: shot.objects.as_ref().is_none_or(|objects| !objects.is_empty()),
            resolution: shot.resolution,
            encoding: match shot.encoding {
                Encoding::Jpeg(quality) => (false, quality.to_bits()),
                Encoding::Png => (true, 0),
            },
        }
    }
}

/// A picture, and a hold on its scenario's address (not on its contents).
#[derive(Debug, Clone)]
struct Drawn {
    frame: Frame,
    _scenario: Weak<Scenario>,
}

#[derive(Debug, Clone)]
struct ByBytes;

impl Weighter<PictureKey, Drawn> for ByBytes {
    fn weight(&self, _: &PictureKey, drawn: &Drawn) -> u64 {
        ENTRY_BYTES + drawn.frame.bytes.len() as u64
    }
}

/// Pictures by what they depend on.
#[derive(Debug)]
pub struct PictureCache {
    drawn: Cache<PictureKey, Drawn, ByBytes>,
}

impl PictureCache {
    /// Holds that many bytes; with none, nothing.
    #[must_use]
    pub fn new(capacity_bytes: u64) -> Self {
        let slots = usize::try_from(capacity_bytes / USUAL_PICTURE_BYTES).unwrap_or(usize::MAX).max(1);
        Self { drawn: Cache::with_weighter(slots, capacity_bytes, ByBytes) }
    }

    /// The picture, if it is still there.
    #[must_use]
    pub fn get(&self, key: &PictureKey) -> Option<Frame> {
        self.drawn.get(key).map(|drawn| drawn.frame)
    }

    /// Keeps a picture of a shot.
    pub fn keep(&self, key: PictureKey, frame: Frame, scenario: Option<&Arc<Scenario>>) {
        let _scenario = scenario.map_or_else(Weak::new, Arc::downgrade);
        self.drawn.insert(key, Drawn { frame, _scenario });
    }

    /// What the pictures held weigh.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.drawn.weight()
    }
}
