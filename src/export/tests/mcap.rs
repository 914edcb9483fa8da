//! MCAP, read back with the library's reader and our own decoding of the messages.

use std::collections::{BTreeMap, BTreeSet};

use glam::{DVec2, DVec3};
use mcap::{MessageStream, Summary};
use proptest::prelude::*;
use prost::Message;
use prost_types::{FileDescriptorSet, Timestamp};

use super::super::{ExportPlan, ExportRequest, Format};
use super::{block_on, export, plan, small, town};
use crate::proto::foxglove::{
    CameraCalibration, CompressedImage, FrameTransforms, LocationFix, PosesInFrame, SceneUpdate,
};
use crate::render::shot;

/// Log time in microseconds and message, by topic.
type ByTopic = BTreeMap<String, Vec<(i64, Vec<u8>)>>;

pub(super) fn read(bytes: &[u8]) -> ByTopic {
    let mut topics = ByTopic::new();
    for message in MessageStream::new(bytes).unwrap() {
        let message = message.unwrap();
        assert_eq!(message.channel.message_encoding, "protobuf");
        let time_us = i64::try_from(message.log_time / 1000).unwrap();
        let messages = topics.entry(message.channel.topic.clone()).or_default();
        assert_eq!(message.sequence as usize, messages.len(), "{}", message.channel.topic);
        messages.push((time_us, message.data.into_owned()));
    }
    topics
}

fn all<M: Message + Default>(topics: &ByTopic, topic: &str) -> Vec<(i64, M)> {
    let messages = topics.get(topic).unwrap_or_else(|| panic!("no {topic}"));
    messages.iter().map(|(time_us, data)| (*time_us, M::decode(data.as_slice()).unwrap())).collect()
}

fn one<M: Message + Default>(topics: &ByTopic, topic: &str) -> M {
    let mut messages = all(topics, topic);
    assert_eq!(messages.len(), 1, "{topic}");
    messages.remove(0).1
}

fn micros(stamp: Option<&Timestamp>) -> i64 {
    let Timestamp { seconds, nanos } = stamp.unwrap();
    seconds * 1_000_000 + i64::from(*nanos) / 1000
}

fn vector(value: Option<crate::proto::foxglove::Vector3>) -> DVec3 {
    let value = value.unwrap();
    DVec3::new(value.x, value.y, value.z)
}

fn short() -> ExportRequest {
    ExportRequest { range_us: [None, Some(town().start_us + 400_000)], ..small(Format::Mcap) }
}

fn instants(plan: &ExportPlan) -> Vec<i64> {
    (0..plan.samples).map(|index| plan.instant(index)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10))]

    #[test]
    fn every_topic_has_a_message_a_sample_whatever_range_and_rate(
        start in 0_i64..3_500_000, length in 0_i64..500_000, rate_hz in 0.5_f64..25.0,
    ) {
        let start_us = town().start_us + start;
        let range_us = [Some(start_us), Some(start_us + length)];
        let plan = plan(&ExportRequest { range_us, rate_hz, ..small(Format::Mcap) });
        let (report, bytes) = block_on(export(&plan));
        prop_assert_eq!((report.samples, report.missing), (plan.samples, 0));
        let topics = read(&bytes);
        let mut steady = vec!["/tf".to_owned(), "/tracks".to_owned(), "/ego/location".to_owned()];
        steady.extend(plan.cameras.iter().map(|camera| format!("/camera/{}/image", camera.label)));
        for topic in steady {
            let times: Vec<i64> = topics[&topic].iter().map(|(time_us, _)| *time_us).collect();
            prop_assert_eq!(times, instants(&plan), "{}", topic);
        }
        let summary = Summary::read(&bytes).unwrap().unwrap();
        let stats = summary.stats.unwrap();
        prop_assert_eq!(stats.message_count as usize, topics.values().map(Vec::len).sum::<usize>());
        prop_assert_eq!(stats.chunk_count as usize, summary.chunk_indexes.len());
        prop_assert!(summary.chunk_indexes.iter().all(|chunk| chunk.compression.is_empty()));
        prop_assert_eq!(stats.metadata_count, 1);
        prop_assert_eq!(stats.message_start_time, start_us as u64 * 1000);
        prop_assert_eq!(stats.message_end_time, plan.instant(plan.samples - 1) as u64 * 1000);
    }
}

#[test]
fn every_schema_is_there_whole() {
    let plan = plan(&short());
    let (_, bytes) = block_on(export(&plan));
    let summary = Summary::read(&bytes).unwrap().unwrap();
    assert!(summary.channels.values().all(|channel| channel.schema.is_some()));
    for schema in summary.schemas.values() {
        assert_eq!(schema.encoding, "protobuf");
        let set = FileDescriptorSet::decode(&*schema.data).unwrap();
        let names: BTreeSet<&str> = set.file.iter().map(|file| file.name()).collect();
        assert!(set.file.iter().flat_map(|file| &file.dependency).all(|name| names.contains(name.as_str())));
        let defined = set.file.iter().flat_map(|file| {
            file.message_type.iter().map(|message| format!("{}.{}", file.package(), message.name()))
        });
        assert!(defined.collect::<BTreeSet<_>>().contains(&schema.name), "{}", schema.name);
    }
}

#[test]
fn pictures_are_jpeg_of_the_calibrated_size_stamped_by_their_shutter() {
    let plan = plan(&short());
    let (_, bytes) = block_on(export(&plan));
    let topics = read(&bytes);
    let mut rolling = 0;
    for camera in &plan.cameras {
        let calibration: CameraCalibration = one(&topics, &format!("/camera/{}/calibration", camera.label));
        for (at_us, image) in all::<CompressedImage>(&topics, &format!("/camera/{}/image", camera.label)) {
            assert_eq!((image.format.as_str(), &image.frame_id), ("jpeg", &calibration.frame_id));
            let decoded = image::load_from_memory_with_format(&image.data, image::ImageFormat::Jpeg).unwrap();
            assert_eq!([decoded.width(), decoded.height()], [calibration.width, calibration.height]);
            let asked = shot(&town(), at_us, &camera.name, &plan.shots).unwrap();
            assert_eq!(micros(image.timestamp.as_ref()), asked.shutter_us[0] as i64);
            rolling += usize::from(asked.shutter_us[0] as i64 != at_us);
        }
    }
    assert!(rolling > 0, "no sample met a recorded frame beside its instant");
}

#[test]
fn calibrations_agree_with_the_lens_near_the_axis() {
    let request = ExportRequest { scale: 0.1, cameras: None, rate_hz: 0.1, ..small(Format::Mcap) };
    let plan = plan(&request);
    let (_, bytes) = block_on(export(&plan));
    let topics = read(&bytes);
    let mut models = BTreeSet::new();
    for camera in &plan.cameras {
        let calibration: CameraCalibration = one(&topics, &format!("/camera/{}/calibration", camera.label));
        let found = town().cameras.iter().find(|found| found.logical_name == camera.name).unwrap().clone();
        let mut model = found.model;
        model.windshield = None;
        let k = |index: usize| calibration.k[index];
        for ray in [DVec3::Z, DVec3::new(1e-4, 0.0, 1.0), DVec3::new(0.0, -1e-4, 1.0)] {
            let native = model.project(ray).unwrap();
            let seen = native * model.scale_to(camera.resolution) - DVec2::splat(0.5);
            let pinhole = DVec2::new(k(0) * ray.x + k(2), k(4) * ray.y + k(5));
            assert!(seen.distance(pinhole) < 1e-4, "{}: {seen} {pinhole}", camera.name);
        }
        let lengths = (calibration.k.len(), calibration.r.len(), calibration.p.len());
        assert_eq!(lengths, (9, 9, 12));
        let parameters = match calibration.distortion_model.as_str() {
            "ftheta" => 21,
            "kannala_brandt" => 4,
            "rational_polynomial" => 8,
            "opencv_thin_prism" => 12,
            other => panic!("{other}"),
        };
        assert_eq!(calibration.d.len(), parameters);
        models.insert(calibration.distortion_model);
    }
    assert!(models.len() >= 3, "{models:?}");
}

#[test]
fn transforms_lead_from_the_world_to_every_camera() {
    let plan = plan(&short());
    let (_, bytes) = block_on(export(&plan));
    let topics = read(&bytes);
    for (at_us, message) in all::<FrameTransforms>(&topics, "/tf") {
        let transform = &message.transforms[0];
        assert_eq!((transform.parent_frame_id.as_str(), transform.child_frame_id.as_str()), ("world", "rig"));
        assert_eq!(vector(transform.translation), town().ego.pose_at(at_us).unwrap().translation_m);
        assert_eq!(micros(transform.timestamp.as_ref()), at_us);
    }
    let mounted: FrameTransforms = one(&topics, "/tf_static");
    let frames: Vec<_> =
        mounted.transforms.iter().map(|transform| transform.child_frame_id.clone()).collect();
    let expected: Vec<_> = plan.cameras.iter().map(|camera| format!("camera/{}", camera.label)).collect();
    assert_eq!(frames, expected);
}

#[test]
fn applying_the_updates_shows_the_tracks_that_are_there() {
    let plan = plan(&ExportRequest { rate_hz: 4.0, cameras: Some(Vec::new()), ..small(Format::Mcap) });
    let (_, bytes) = block_on(export(&plan));
    let mut shown = BTreeMap::new();
    let mut deleted = 0;
    for (at_us, update) in all::<SceneUpdate>(&read(&bytes), "/tracks") {
        for deletion in update.deletions {
            assert!(shown.remove(&deletion.id).is_some(), "{} was not there", deletion.id);
            deleted += 1;
        }
        for entity in update.entities {
            let cube = entity.cubes[0];
            shown.insert(entity.id, (vector(cube.pose.unwrap().position), vector(cube.size)));
        }
        let alive = town();
        let alive = alive.tracks.alive_at(at_us);
        let alive: BTreeMap<_, _> = alive
            .map(|(_, track, pose)| (track.id.clone(), (pose.translation_m, track.dimensions_m)))
            .collect();
        assert_eq!(shown, alive, "at {at_us}");
    }
    assert!(deleted > 0, "no track ended in four seconds: the test shows nothing");
}

#[test]
fn the_path_box_map_and_place_on_earth_are_there() {
    let plan = plan(&short());
    let (_, bytes) = block_on(export(&plan));
    let topics = read(&bytes);
    let path: PosesInFrame = one(&topics, "/ego/path");
    assert!(path.poses.len() > 100 && path.frame_id == "world", "{}", path.poses.len());
    let map: SceneUpdate = one(&topics, "/map");
    assert_eq!(map.entities[0].lines.len(), town().map.as_ref().unwrap().lines.len());
    assert_eq!(topics.contains_key("/ego/box"), town().rig_box.is_some());
    for (at_us, fix) in all::<LocationFix>(&topics, "/ego/location") {
        let place = town().ego.pose_at(at_us).unwrap().translation_m;
        let ecef = town().ecef_from_world.unwrap().transform_point3(place);
        let latitude = fix.latitude.to_radians();
        // The ellipsoid's normal there points at the place: geocentric and geodetic latitude differ by 0.2 degrees at most.
        assert!((latitude.sin() - ecef.z / ecef.length()).abs() < 0.004, "{fix:?}");
        assert!((fix.longitude.to_radians() - ecef.y.atan2(ecef.x)).abs() < 1e-12);
    }
}

#[test]
fn without_objects_there_is_no_topic_of_tracks() {
    let plan = plan(&ExportRequest { objects: false, ..short() });
    let (_, bytes) = block_on(export(&plan));
    assert!(!read(&bytes).contains_key("/tracks"));
}
