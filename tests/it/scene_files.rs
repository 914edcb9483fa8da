//! Scenario files made by tests: random ones read back, damaged ones refused, limits kept.

use std::io::{Cursor, Read, Write};
use std::path::Path;

use neuro::scene::camera::{Projection, Shutter};
use neuro::scene::{LoadLimits, Scenario, SceneError};
use proptest::prelude::*;
use serde_json::{Value, json};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipArchive, ZipWriter};

use crate::scene::fixture;

/// The members of an archive to be.
#[derive(Clone)]
pub struct Files(Vec<(String, Vec<u8>)>);

impl Files {
    /// Those of `tiny.usdz`.
    pub fn tiny() -> Self {
        let mut zip = ZipArchive::new(Cursor::new(tiny())).unwrap();
        let mut all = Vec::new();
        for index in 0..zip.len() {
            let mut member = zip.by_index(index).unwrap();
            let mut bytes = Vec::new();
            member.read_to_end(&mut bytes).unwrap();
            all.push((member.name().unwrap().into_owned(), bytes));
        }
        Self(all)
    }

    /// Puts a member in place of the one of this name, or takes that out.
    pub fn set(&mut self, name: &str, text: Option<String>) {
        self.0.retain(|(member, _)| member != name);
        self.0.extend(text.map(|text| (name.to_owned(), text.into_bytes())));
    }

    fn edit(mut self, name: &str, edit: impl FnOnce(&mut Value)) -> Self {
        let (_, bytes) = self.0.iter_mut().find(|(member, _)| member == name).unwrap();
        let mut value = serde_json::from_slice(bytes).unwrap();
        edit(&mut value);
        *bytes = serde_json::to_vec(&value).unwrap();
        self
    }

    pub fn zip(&self) -> Vec<u8> {
        self.packed(CompressionMethod::Stored)
    }

    fn packed(&self, method: CompressionMethod) -> Vec<u8> {
        let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
        for (name, bytes) in &self.0 {
            let options = SimpleFileOptions::default().compression_method(method).large_file(true);
            zip.start_file(name.as_str(), options).unwrap();
            zip.write_all(bytes).unwrap();
        }
        zip.finish().unwrap().into_inner()
    }
}

fn tiny() -> Vec<u8> {
    std::fs::read(fixture("data/tiny.usdz")).unwrap()
}

pub fn open_bytes(bytes: &[u8]) -> Result<Scenario, SceneError> {
    Scenario::from_bytes(bytes, Path::new("scenes/made.usdz"), &LoadLimits::default())
}

pub fn refusal(bytes: &[u8]) -> String {
    open_bytes(bytes).expect_err("it loads").to_string()
}

fn refused_within(bytes: &[u8], limits: &LoadLimits) -> String {
    Scenario::from_bytes(bytes, Path::new("made.usdz"), limits).expect_err("it loads").to_string()
}

#[test]
fn tracks_under_several_keys_are_refused_by_name() {
    let files = Files::tiny().edit("sequence_tracks.json", |tracks| {
        tracks["other"] = tracks["dummy_chunk_id"].clone();
        tracks["version"] = json!({"tracks": 3});
    });
    let sentence = refusal(&files.zip());
    assert!(sentence.ends_with("several keys, expected one: \"dummy_chunk_id\", \"other\""), "{sentence}");
    let mut none = Files::tiny();
    none.set("sequence_tracks.json", Some("{\"a\": {\"b\": []}}".to_owned()));
    assert!(refusal(&none.zip()).contains("has no key with tracks_data"));
    none.set("sequence_tracks.json", None);
    let scenario = open_bytes(&none.zip()).unwrap();
    assert!(scenario.tracks.is_empty() && scenario.notes[0].contains("no sequence_tracks.json"));
}

#[test]
fn a_second_key_takes_the_place_of_the_first() {
    let mut files = Files::tiny();
    let (_, rig) = files.0.iter().find(|(name, _)| name == "rig_trajectories.json").unwrap().clone();
    let text = String::from_utf8(rig).unwrap();
    let doubled = text.replacen('{', "{\"rig_trajectories\": [], \"world_to_nre\": [1],", 1);
    assert!(
        refusal(&{
            files.set("rig_trajectories.json", Some(doubled));
            files.zip()
        })
        .contains("rig_trajectories has no entry")
    );
    let nested = text.replacen("\"T_rig_worlds\":", "\"T_rig_worlds\": [], \"T_rig_worlds\":", 1);
    files.set("rig_trajectories.json", Some(nested));
    assert_eq!(open_bytes(&files.zip()).unwrap().ego, open_bytes(&tiny()).unwrap().ego);
}

#[test]
fn flat_frame_times_bare_matrices_and_what_is_left_out_are_understood() {
    let files = Files::tiny().edit("rig_trajectories.json", |rig| {
        let matrix = rig["world_to_nre"]["matrix"].take();
        rig.as_object_mut().unwrap().remove("world_to_nre");
        rig["world_to_scene"] = matrix;
        let drive = &mut rig["rig_trajectories"][0];
        drive["rig_bbox"] = Value::Null;
        for (_, frames) in drive["cameras_frame_timestamps_us"].as_object_mut().unwrap() {
            *frames = frames.as_array().unwrap().iter().map(|pair| pair[0].clone()).collect();
        }
        for (_, camera) in rig["camera_calibrations"].as_object_mut().unwrap() {
            camera.as_object_mut().unwrap().remove("logical_sensor_name");
            camera["camera_model"]["parameters"]["linear_cde"] = json!([0, 0, 0]);
            camera["camera_model"]["parameters"]["pixeldist_to_angle_poly"] = json!([0, 0.001]);
            camera["camera_model"]["parameters"]["shutter_type"] = json!("SIDEWAYS");
        }
    });
    let (read, base) = (open_bytes(&files.zip()).unwrap(), open_bytes(&tiny()).unwrap());
    assert_eq!(read.nre_from_world, base.nre_from_world);
    assert!(read.nre_from_world.is_some() && read.ecef_from_world.is_some());
    assert!(read.rig_box.is_none() && base.rig_box.is_some());
    for (camera, before) in read.cameras.iter().zip(&base.cameras) {
        assert_eq!(camera.logical_name, before.logical_name);
        let starts = |[start, _]: &[i64; 2]| *start;
        assert!(camera.shutters_us.iter().all(|[start, end]| start == end));
        assert!(camera.shutters_us.iter().map(starts).eq(before.shutters_us.iter().map(starts)));
        assert_eq!(camera.model.shutter, Shutter::Unknown);
        let Projection::FTheta(lens) = &camera.model.projection else { panic!("{camera:?}") };
        assert_eq!(lens.linear_cde, [1.0, 0.0, 0.0]);
        assert_eq!(lens.pixel_distance_to_angle, [0.0, 0.001, 0.0, 0.0, 0.0, 0.0]);
    }
}

#[test]
fn a_lens_that_cannot_be_is_refused_where_it_stands() {
    for (key, value, expected) in [
        ("resolution", json!([1920]), "resolution has 1 numbers, expected width and height"),
        (
            "reference_poly",
            json!("FORWARD"),
            "reference_poly is \"FORWARD\", expected \"PIXELDIST_TO_ANGLE\"",
        ),
        (
            "angle_to_pixeldist_poly",
            json!([0, 1, 2, 3, 4, 5, 6]),
            "angle_to_pixeldist_poly has 7 coefficients, expected at most 6",
        ),
        ("pixeldist_to_angle_poly", json!([0, 0]), "pixeldist_to_angle_poly has only zeros"),
        ("max_angle", json!(0), "max_angle is 0, expected radians above 0"),
        ("linear_cde", json!([1, 0]), "linear_cde has 2 numbers, expected 3"),
        ("principal_point", Value::Null, "principal_point is null, expected a list"),
        (
            "external_distortion_parameters",
            json!({}),
            "external_distortion_parameters.reference_poly is missing",
        ),
    ] {
        let files = Files::tiny().edit("rig_trajectories.json", |rig| {
            let cameras = rig["camera_calibrations"].as_object_mut().unwrap();
            cameras.values_mut().next().unwrap()["camera_model"]["parameters"][key] = value;
        });
        let sentence = refusal(&files.zip());
        let place = "rig_trajectories.json: camera_calibrations.camera_front_wide_120fov@";
        assert!(sentence.starts_with(place) && sentence.contains(expected), "{sentence}");
    }
    let files = Files::tiny().edit("rig_trajectories.json", |rig| {
        let cameras = rig["camera_calibrations"].as_object_mut().unwrap();
        cameras.values_mut().next().unwrap()["camera_model"]["type"] = json!("lidar");
    });
    assert!(refusal(&files.zip()).contains("camera_model.type is \"lidar\", expected \"ftheta\""));
}

#[test]
fn limits_are_kept_and_named() {
    let bytes = tiny();
    let limits = |change: fn(&mut LoadLimits)| {
        let mut limits = LoadLimits::default();
        change(&mut limits);
        limits
    };
    let sentence = refused_within(&bytes, &limits(|limits| limits.member_bytes = 1000));
    assert!(sentence.contains(" bytes, the limit is 1000"), "{sentence}");
    let sentence = refused_within(&bytes, &limits(|limits| limits.poses = 20));
    assert!(
        sentence.contains("[20] is one too many: the limit is 20 poses of the ego and of frames"),
        "{sentence}"
    );
    let sentence = refused_within(&bytes, &limits(|limits| limits.tracks = 2));
    assert!(sentence.contains("is one too many: the limit is 12 entries of tracks"), "{sentence}");
    let mut bomb = Files::tiny();
    bomb.set("data_info.json", Some(" ".repeat(8 << 20)));
    let sentence = refusal(&bomb.packed(CompressionMethod::Deflated));
    assert!(sentence.starts_with("data_info.json: inflates beyond"), "{sentence}");
}

#[test]
fn an_archive_of_many_members_needs_zip64_and_has_a_limit() {
    let mut files = Files::tiny();
    files.0.extend((0..66_000).map(|index| (format!("frames/{index}.jpeg"), Vec::new())));
    let bytes = files.zip();
    assert!(open_bytes(&bytes).is_ok());
    let few = LoadLimits { members: 66_000, ..LoadLimits::default() };
    let sentence = refused_within(&bytes, &few);
    assert_eq!(sentence, "not a USDZ archive: it lists 66018 members, the limit is 66000");
}

#[test]
fn a_compression_that_is_not_built_in_is_refused_by_name() {
    let mut bytes = Files::tiny().zip();
    let name = b"data_info.json";
    let places: Vec<_> = (0..bytes.len() - name.len()).filter(|at| bytes[*at..].starts_with(name)).collect();
    let [local, central] = places[..] else { panic!("{places:?}") };
    bytes[local - 30 + 8] = 93;
    bytes[central - 46 + 10] = 93;
    assert_eq!(
        refusal(&bytes),
        "data_info.json: is compressed with zstd (93), expected stored, deflate, bzip2 or lzma"
    );
}

#[test]
fn a_file_cut_at_any_byte_is_refused() {
    let bytes = tiny();
    let directory = bytes.len() - 3000;
    for length in (0..directory).step_by(97).chain(directory..bytes.len()) {
        let error = open_bytes(&bytes[..length]).expect_err("part of a file loads");
        assert!(matches!(error, SceneError::Archive { .. }), "{length}: {error}");
    }
}

/// Id, dimensions, and poses over time.
type MadeTrack = (String, [f64; 3], Vec<(i64, [f64; 7])>);

/// A scenario to be written and read.
#[derive(Debug, Clone)]
struct Made {
    ego: Vec<(i64, [f64; 3], [f64; 4])>,
    tracks: Vec<MadeTrack>,
    lens: [f64; 12],
    resolution: [u32; 2],
}

fn unit(raw: [f64; 4]) -> [f64; 4] {
    let length = raw.iter().map(|part| part * part).sum::<f64>().sqrt();
    raw.map(|part| part / length)
}

prop_compose! {
    fn turns()(raw in proptest::array::uniform4(-1.0..1.0_f64)
        .prop_filter("long enough", |raw| raw.iter().map(|part| part * part).sum::<f64>() > 0.1)) -> [f64; 4] {
        unit(raw)
    }
}

prop_compose! {
    fn times(most: usize)(start in 0..(1_i64 << 52), steps in proptest::collection::vec(1..1_000_000_i64, 1..most))
        -> Vec<i64> {
        steps.iter().scan(start, |now, step| { *now += step; Some(*now) }).collect()
    }
}

fn made() -> impl Strategy<Value = Made> {
    let place = || proptest::array::uniform3(-1e6..1e6_f64);
    let poses = || (times(20), proptest::collection::vec((place(), turns()), 20));
    let track = ("[^\u{0}]{0,12}", proptest::array::uniform3(0.0..50.0_f64), poses());
    (
        poses(),
        proptest::collection::vec(track, 0..6),
        proptest::array::uniform12(-1.0..1.0_f64),
        [1..=16_384_u32, 1..=16_384_u32],
    )
        .prop_map(|((times, poses), tracks, lens, resolution)| Made {
            ego: times.into_iter().zip(poses).map(|(t, (place, turn))| (t, place, turn)).collect(),
            tracks: tracks
                .into_iter()
                .map(|(id, size, (times, poses))| {
                    let seven = |([x, y, z], [a, b, c, d]): ([f64; 3], [f64; 4])| [x, y, z, a, b, c, d];
                    (id, size, times.into_iter().zip(poses.into_iter().map(seven)).collect())
                })
                .collect(),
            lens,
            resolution,
        })
}

impl Made {
    fn rows([x, y, z]: [f64; 3], turn: [f64; 4]) -> Value {
        let matrix = glam::DMat3::from_quat(glam::DQuat::from_array(turn));
        let row = |index: usize, last: f64| {
            let row = matrix.row(index);
            json!([row.x, row.y, row.z, last])
        };
        json!([row(0, x), row(1, y), row(2, z), [0, 0, 0, 1]])
    }

    fn bytes(&self, method: CompressionMethod) -> Vec<u8> {
        let lens = &self.lens;
        let rig = json!({
            "camera_calibrations": {"front@made": {
                "T_sensor_rig": Self::rows(self.ego[0].1, self.ego[0].2),
                "camera_model": {"parameters": {
                    "resolution": self.resolution,
                    "principal_point": [lens[0], lens[1]],
                    "focal_length": [lens[2].abs() + 1.0, lens[3].abs() + 1.0],
                    "radial_coeffs": &lens[4..10],
                    "tangential_coeffs": &lens[10..12],
                }, "type": "opencv-pinhole"},
            }},
            "rig_trajectories": [{
                "T_rig_worlds": self.ego.iter().map(|(_, place, turn)| Self::rows(*place, *turn)).collect::<Vec<_>>(),
                "T_rig_world_timestamps_us": self.ego.iter().map(|(time, ..)| time).collect::<Vec<_>>(),
            }],
        });
        let list = |pick: fn(&MadeTrack) -> Value| self.tracks.iter().map(pick).collect::<Value>();
        let tracks = json!({"made": {
            "tracks_data": {
                "tracks_id": list(|(id, ..)| json!(id)),
                "tracks_poses": list(|(.., poses)| poses.iter().map(|(_, pose)| json!(pose)).collect()),
                "tracks_timestamps_us": list(|(.., poses)| poses.iter().map(|(time, _)| json!(time)).collect()),
                "tracks_label_class": list(|(id, ..)| json!(format!("class of {id}"))),
                "tracks_flags": list(|(.., poses)| json!(if poses.len() > 5 { "DYNAMIC" } else { "NONE" })),
            },
            "cuboidtracks_data": {"cuboids_dims": list(|(_, size, _)| json!(size))},
        }});
        let files = [("rig_trajectories.json", rig), ("sequence_tracks.json", tracks)];
        Files(files.map(|(name, value)| (name.to_owned(), serde_json::to_vec(&value).unwrap())).to_vec())
            .packed(method)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_scenario_that_was_written_is_read_back(made in made(), pack in any::<bool>()) {
        let method = if pack { CompressionMethod::Deflated } else { CompressionMethod::Stored };
        let read = open_bytes(&made.bytes(method)).unwrap();
        prop_assert_eq!(read.ego.poses.len(), made.ego.len());
        for (index, (time, place, turn)) in made.ego.iter().enumerate() {
            prop_assert_eq!(read.ego.timestamps_us[index], *time);
            prop_assert_eq!(read.ego.poses[index].translation_m.to_array(), *place);
            let same = read.ego.poses[index].rotation.dot(glam::DQuat::from_array(*turn)).abs();
            prop_assert!((same - 1.0).abs() < 1e-12, "{}", same);
        }
        let mut expected = made.tracks.clone();
        expected.sort_by_key(|(.., poses)| poses[0].0);
        prop_assert_eq!(read.tracks.len(), expected.len());
        for (track, (id, size, poses)) in read.tracks.iter().zip(expected) {
            prop_assert_eq!(&track.id, &id);
            prop_assert_eq!(&track.class, &format!("class of {id}"));
            prop_assert_eq!(track.dimensions_m.to_array(), size);
            prop_assert_eq!(track.dynamic, poses.len() > 5);
            prop_assert_eq!(track.trajectory.poses.len(), poses.len());
            for (index, (time, [x, y, z, a, b, c, d])) in poses.into_iter().enumerate() {
                prop_assert_eq!(track.trajectory.timestamps_us[index], time);
                prop_assert_eq!(track.trajectory.poses[index].translation_m.to_array(), [x, y, z]);
                let turn = track.trajectory.poses[index].rotation;
                prop_assert!((turn - glam::DQuat::from_xyzw(a, b, c, d)).length() < 1e-15);
            }
        }
        let camera = &read.cameras[0];
        prop_assert_eq!(camera.model.resolution, made.resolution);
        let Projection::Pinhole(lens) = &camera.model.projection else { panic!("{camera:?}") };
        prop_assert_eq!(lens.principal_point, [made.lens[0], made.lens[1]]);
        prop_assert_eq!(&lens.radial[..], &made.lens[4..10]);
        prop_assert_eq!(&lens.tangential[..], &made.lens[10..12]);
    }

    #[test]
    fn a_file_with_changed_bytes_loads_or_is_refused(
        changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..8),
        in_directory in any::<bool>(),
    ) {
        let mut bytes = tiny();
        let from = if in_directory { bytes.len() - 2000 } else { 0 };
        for (at, value) in changes {
            let at = from + at.index(bytes.len() - from);
            bytes[at] = value;
        }
        if let Err(error) = open_bytes(&bytes) {
            prop_assert!(!error.to_string().contains('\n'));
        }
    }

    #[test]
    fn a_member_with_changed_letters_loads_or_is_refused(
        changes in proptest::collection::vec((any::<proptest::sample::Index>(), "[0-9eE.,:\"\\[\\]{}a-zN-]"), 1..4),
        rig in any::<bool>(),
    ) {
        let name = if rig { "rig_trajectories.json" } else { "sequence_tracks.json" };
        let mut files = Files::tiny();
        let (_, bytes) = files.0.iter_mut().find(|(member, _)| member == name).unwrap();
        for (at, letter) in changes {
            let at = at.index(bytes.len());
            bytes[at] = letter.as_bytes()[0];
        }
        if let Err(error) = open_bytes(&files.zip()) {
            let sentence = error.to_string();
            prop_assert!(sentence.starts_with(name) && !sentence.contains('\n'), "{}", sentence);
        }
    }
}
