//! An MCAP file in Foxglove's protobuf schemas, which Foxglove, Lichtblick and Rerun open. Written as a stream: chunks are
//! not compressed (pictures are already), and the summary, indexes and statistics come at the end.
//!
//! | topic | schema | when |
//! |---|---|---|
//! | `/camera/NAME/image` | CompressedImage (JPEG) | each sample; timestamp: the opening of the shutter |
//! | `/camera/NAME/calibration` | CameraCalibration, see [`camera`] | once |
//! | `/tf_static` | FrameTransforms, `rig` to `camera/NAME` | once |
//! | `/tf` | FrameTransforms, `world` to `rig` | each sample |
//! | `/tracks` | SceneUpdate: cuboids and labels in `world` | each sample |
//! | `/ego/path` | PosesInFrame in `world` | once |
//! | `/ego/box` | SceneUpdate in `rig` | once, if known |
//! | `/map` | SceneUpdate in `world` | once, if there is one |
//! | `/ego/location` | LocationFix of `rig` | each sample, if the scenario is placed on the earth |
//! | `/log` | Log: pictures that are missing | as they are missed |
//!
//! Every message is logged at the instant of its sample, the single ones at the first. The metadata record `neuro.export`
//! holds what was asked for and what is missing.

mod camera;
mod location;
mod outlet;
mod schema;
mod space;

use std::collections::{BTreeMap, HashSet};
use std::io::Write;
use std::sync::Arc;

use glam::DMat4;

use self::outlet::{Outlet, Topic, stamp};
use super::run::{Picture, Sample, Target};
use super::{ExportError, ExportPlan, Report};
use crate::geometry::Pose;
use crate::proto::foxglove::{self, CompressedImage, FrameTransform, FrameTransforms, Log};
use crate::render::RenderError;
use crate::scene::Scenario;

pub(super) const WORLD: &str = "world";
pub(super) const RIG: &str = "rig";

/// Points of the ego path at most.
const PATH_POINTS: u64 = 2000;

/// Foxglove's frame of a camera.
pub(super) fn frame_of(label: &str) -> String {
    format!("camera/{label}")
}

pub(super) struct McapTarget<W: Write> {
    plan: Arc<ExportPlan>,
    outlet: Outlet<W>,
    topics: Topics,
    /// Tracks of the last sample.
    shown: HashSet<String>,
}

struct Topics {
    images: Vec<Topic>,
    transforms: Topic,
    tracks: Option<Topic>,
    location: Option<(Topic, DMat4)>,
    /// Once there is something to say.
    log: Option<Topic>,
}

impl<W: Write> McapTarget<W> {
    pub(super) fn open(plan: Arc<ExportPlan>, out: W) -> Result<Self, ExportError> {
        let mut outlet = Outlet::new(out)?;
        let earth = plan.scenario.ecef_from_world;
        let images = plan.cameras.iter().map(|camera| {
            outlet.topic(&format!("/camera/{}/image", camera.label), "foxglove.CompressedImage")
        });
        let images = images.collect::<Result<_, _>>()?;
        let topics = Topics {
            images,
            transforms: outlet.topic("/tf", "foxglove.FrameTransforms")?,
            tracks: plan
                .shots
                .objects
                .then(|| outlet.topic("/tracks", "foxglove.SceneUpdate"))
                .transpose()?,
            location: earth
                .map(|earth| {
                    outlet.topic("/ego/location", "foxglove.LocationFix").map(|topic| (topic, earth))
                })
                .transpose()?,
            log: None,
        };
        let mut target = Self { plan, outlet, topics, shown: HashSet::new() };
        target.once()?;
        Ok(target)
    }

    /// What does not change.
    fn once(&mut self) -> Result<(), ExportError> {
        let plan = Arc::clone(&self.plan);
        let at_us = plan.range_us[0];
        let mut mounted = Vec::new();
        for camera in &plan.cameras {
            let Some(found) = super::request::find(&plan.scenario, &camera.name) else { continue };
            let topic = self.outlet.topic_with(
                &format!("/camera/{}/calibration", camera.label),
                "foxglove.CameraCalibration",
                &camera::beyond_the_schema(&found.model),
            )?;
            let calibration = camera::calibration(&found.model, camera, at_us);
            self.outlet.send(&topic, at_us, &calibration)?;
            mounted.push(transform(at_us, [RIG, &frame_of(&camera.label)], &found.rig_from_sensor));
        }
        if !mounted.is_empty() {
            let topic = self.outlet.topic("/tf_static", "foxglove.FrameTransforms")?;
            self.outlet.send(&topic, at_us, &FrameTransforms { transforms: mounted })?;
        }
        let topic = self.outlet.topic("/ego/path", "foxglove.PosesInFrame")?;
        self.outlet.send(&topic, at_us, &ego_path(&plan))?;
        let still = [
            ("/ego/box", plan.scenario.rig_box.map(|rig_box| space::ego_box(&rig_box, at_us))),
            ("/map", plan.scenario.map.as_ref().map(|map| space::map(map, at_us))),
        ];
        for (name, update) in still {
            if let Some(update) = update {
                let topic = self.outlet.topic(name, "foxglove.SceneUpdate")?;
                self.outlet.send(&topic, at_us, &update)?;
            }
        }
        Ok(())
    }

    fn pictures(&mut self, at_us: i64, pictures: Vec<Picture>) -> Result<(), ExportError> {
        let plan = Arc::clone(&self.plan);
        for (index, (camera, picture)) in plan.cameras.iter().zip(pictures).enumerate() {
            let Some(topic) = self.topics.images.get(index) else { continue };
            match picture.drawn {
                Ok(data) => {
                    let image = CompressedImage {
                        timestamp: Some(stamp(picture.shutter_us)),
                        frame_id: frame_of(&camera.label),
                        data,
                        format: "jpeg".to_owned(),
                    };
                    self.outlet.send(topic, at_us, &image)?;
                }
                Err(reason) => {
                    let log = match self.topics.log.take() {
                        Some(log) => log,
                        None => self.outlet.topic("/log", "foxglove.Log")?,
                    };
                    self.outlet.send(&log, at_us, &missing(at_us, &camera.name, &reason))?;
                    self.topics.log = Some(log);
                }
            }
        }
        Ok(())
    }
}

impl<W: Write> Target for McapTarget<W> {
    fn put(&mut self, sample: Sample) -> Result<(), ExportError> {
        let plan = Arc::clone(&self.plan);
        let (scenario, at_us) = (&plan.scenario, sample.timestamp_us);
        if let Some(world_from_rig) = scenario.ego.pose_at(at_us) {
            let transforms = vec![transform(at_us, [WORLD, RIG], &world_from_rig)];
            self.outlet.send(&self.topics.transforms, at_us, &FrameTransforms { transforms })?;
            if let Some((topic, ecef_from_world)) = &self.topics.location {
                let place_m = ecef_from_world.transform_point3(world_from_rig.translation_m);
                self.outlet.send(topic, at_us, &location::fix(place_m, at_us))?;
            }
        }
        if let Some(topic) = &self.topics.tracks {
            let update = space::tracks(scenario, at_us, &mut self.shown);
            self.outlet.send(topic, at_us, &update)?;
        }
        self.pictures(at_us, sample.pictures)
    }

    fn finish(&mut self, report: &Report) -> Result<(), ExportError> {
        let mut metadata = BTreeMap::new();
        if let serde_json::Value::Object(facts) = report.as_json(&self.plan) {
            for (key, value) in facts {
                let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                metadata.insert(key, text);
            }
        }
        self.outlet.finish("neuro.export", metadata)
    }
}

fn transform(at_us: i64, [parent, child]: [&str; 2], parent_from_child: &Pose) -> FrameTransform {
    FrameTransform {
        timestamp: Some(stamp(at_us)),
        parent_frame_id: parent.to_owned(),
        child_frame_id: child.to_owned(),
        translation: Some(space::vector(parent_from_child.translation_m)),
        rotation: Some(space::quaternion(parent_from_child)),
    }
}

fn ego_path(plan: &ExportPlan) -> foxglove::PosesInFrame {
    let Scenario { ego, .. } = plan.scenario.as_ref();
    let [start_us, end_us] = plan.range_us;
    let step_us = end_us.abs_diff(start_us).div_ceil(PATH_POINTS).max(1);
    let sampled = ego.sample(start_us, end_us, i64::try_from(step_us).unwrap_or(i64::MAX));
    foxglove::PosesInFrame {
        timestamp: Some(stamp(start_us)),
        frame_id: WORLD.to_owned(),
        poses: sampled.map(|(_, pose)| space::pose(&pose)).collect(),
    }
}

fn missing(at_us: i64, camera: &str, reason: &RenderError) -> Log {
    Log {
        timestamp: Some(stamp(at_us)),
        level: foxglove::log::Level::Warning.into(),
        message: format!("no picture of {camera}: {reason}"),
        name: "export".to_owned(),
        ..Log::default()
    }
}
