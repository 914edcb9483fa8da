//! Scenario files: every file of the corpus and its verdict, what was read against what was written, and the commands.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use neuro::scene::camera::Projection;
use neuro::scene::{LoadLimits, Scenario, SceneError};
use serde_json::{Value, json};

use crate::golden::root;
use crate::scene_files::{Files, open_bytes, refusal};
use crate::shell::{neuro, run};

pub fn fixture(name: &str) -> PathBuf {
    root().join("tests/fixtures/scenario").join(name)
}

fn open(path: &Path) -> Result<Scenario, SceneError> {
    Scenario::open(path, &LoadLimits::default())
}

/// All but those about the map.
fn notes(scenario: &Scenario) -> Vec<&str> {
    scenario.notes.iter().map(String::as_str).filter(|note| !note.starts_with("the map ")).collect()
}

/// The longest a file may take, refused or not.
const SLOWEST: Duration = Duration::from_secs(2);

/// Files that load although something is odd about them, and the word a note must have. Why they load:
/// a missing `data_info.json` and one without a range are documented releases (there is `metadata.yaml`, and the poses
/// themselves); a range from 0 was never filled in, and the poses say when the drive was; the last of two keys counts,
/// as everywhere; a second camera or track of one name can still be told apart; bytes before a zip are allowed.
const ODD: [(&str, &str); 9] = [
    ("camera_same_name", "it is called camera_cross_left_120fov@"),
    ("info_no_pose_range", "metadata.yaml is asked"),
    ("info_range_enormous", "far before the ego's first pose"),
    ("info_range_wider", "0.5 s before the ego's first pose"),
    ("json_dup_keys", ""),
    ("missing_info", "no data_info.json"),
    ("tracks_dup_ids", "share their id"),
    ("tracks_id_int", ""),
    ("zip_prefix_garbage", ""),
];

const RIG: &str = "rig_trajectories.json: ";
const TRACKS: &str = "sequence_tracks.json: ";
const INFO: &str = "data_info.json: ";

/// Files that are refused, how the sentence starts, and what else is in it.
const REFUSED: [(&str, &str, &str); 45] = [
    ("camera_list", RIG, "camera_calibrations is a list, expected an object"),
    ("camera_no_extrinsics", RIG, "T_sensor_rig is missing"),
    ("camera_none", RIG, "camera_calibrations has no camera"),
    ("camera_resolution0", RIG, "camera_model.parameters.resolution[0] is 0, expected 1 to 16384"),
    ("camera_resolution_huge", RIG, "resolution[0] is 2147483648, expected 1 to 16384"),
    // Two poses at one instant: which of them is the vehicle's?
    ("ego_duplicate_ts", RIG, "T_rig_world_timestamps_us[6] is 1721400123956369, the same as"),
    ("ego_empty", RIG, "rig_trajectories[0].T_rig_worlds has no pose"),
    ("ego_fewer_poses", RIG, "T_rig_worlds has 20 poses, T_rig_world_timestamps_us has 21"),
    ("ego_fewer_ts", RIG, "T_rig_worlds has 21 poses, T_rig_world_timestamps_us has 20"),
    ("ego_no_trajectory", RIG, "rig_trajectories has no entry"),
    ("ego_nonorthogonal", RIG, "rig_trajectories[0].T_rig_worlds[5] is no rigid transform"),
    ("ego_ragged", RIG, "rig_trajectories[0].T_rig_worlds[3][2] has 3 numbers, expected 4"),
    ("ego_ts_huge", RIG, "is 1180591620717411303424, expected a whole number of 64 bits"),
    (
        "ego_ts_negative",
        RIG,
        "T_rig_world_timestamps_us[0] is -530399690265870, expected microseconds from 0",
    ),
    ("ego_ts_string", RIG, "T_rig_world_timestamps_us[0] is a string, expected a number"),
    ("ego_unsorted", RIG, "T_rig_world_timestamps_us[6] is 1721400123956369, earlier than"),
    ("ego_zero_rotation", RIG, "T_rig_worlds[5] is no rigid transform"),
    ("huge_pose", RIG, "T_rig_worlds[5] is 1e308 m from the origin"),
    ("inf_pose", RIG, "T_rig_worlds[5][1][3] is Infinity, expected a finite number"),
    ("info_range_reversed", INFO, "pose-range ends at 1721400123419378, before it starts at"),
    ("info_range_string", INFO, "pose-range.start-timestamp_us is a string, expected a number"),
    ("json_bad_utf8", INFO, "byte 21 is not UTF-8"),
    ("json_deep_nesting", INFO, "x is nested deeper than 1000 levels"),
    ("json_empty", INFO, "the document is empty"),
    ("json_root_list", INFO, "the document is a list, expected an object"),
    ("json_root_null", RIG, "the document is null, expected an object"),
    ("json_truncated", RIG, "T_rig_world_timestamps_us[18] is cut off"),
    ("missing_rig", "no rig_trajectories.json", "at the root of the archive"),
    ("names_subdir", "no rig_trajectories.json", "only scene/rig_trajectories.json"),
    ("nan_pose", RIG, "T_rig_worlds[5][0][3] is NaN, expected a finite number"),
    ("tracks_dims_short", TRACKS, "cuboidtracks_data.cuboids_dims has 7 entries, tracks_id has 8"),
    ("tracks_dup_ts", TRACKS, "tracks_timestamps_us[7][1] is 1721400123719378, the same as"),
    ("tracks_nan", TRACKS, "dummy_chunk_id.tracks_data.tracks_poses[7][1][2] is NaN"),
    ("tracks_pose6", TRACKS, "tracks_poses[7][0] has 6 numbers, expected 7"),
    ("tracks_pose_object", TRACKS, "tracks_poses[7][0] is an object, expected a list"),
    ("tracks_pose_ts_mismatch", TRACKS, "tracks_poses[7] has 2 poses, tracks_timestamps_us[7] has 1"),
    ("tracks_unsorted_ts", TRACKS, "tracks_timestamps_us[7][1] is 1721400123719378, earlier than"),
    ("tracks_zero_quat", TRACKS, "tracks_poses[7][0] has a quaternion of length 0"),
    ("zip_bomb_256m", TRACKS, "inflates beyond"),
    ("zip_crc_mismatch", TRACKS, "do not match their checksum"),
    ("zip_declared_short", RIG, "its 100 bytes do not match their checksum"),
    ("zip_encrypted_flag", RIG, "is encrypted"),
    ("zip_overlapping", RIG, "shares its bytes with sequence_tracks.json"),
    ("zip_random_bytes", "not a USDZ archive: ", "4096 bytes have no end of a zip directory"),
    ("zip_truncated_eocd", "not a USDZ archive: ", "have no end of a zip directory"),
];

fn names(folder: &str) -> BTreeSet<String> {
    let entries = fs::read_dir(fixture(folder)).unwrap();
    entries.map(|entry| entry.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned()).collect()
}

#[test]
fn every_variant_that_occurs_in_the_wild_loads() {
    for name in names("corpus/variants") {
        let scenario = open(&fixture(&format!("corpus/variants/{name}.usdz")));
        let scenario = scenario.unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(notes(&scenario), [""; 0], "{name}");
    }
}

#[test]
fn every_bad_file_is_refused_with_one_sentence_or_loads_with_a_note_and_fast() {
    let listed = ODD.iter().map(|(name, _)| *name).chain(REFUSED.iter().map(|(name, ..)| *name));
    assert_eq!(listed.map(str::to_owned).collect::<BTreeSet<_>>(), names("corpus/bad"));
    for (name, start, part) in REFUSED {
        let before = Instant::now();
        let sentence =
            open(&fixture(&format!("corpus/bad/{name}.usdz"))).err().map(|error| error.to_string());
        let sentence = sentence.unwrap_or_else(|| panic!("{name} loads"));
        assert!(sentence.starts_with(start) && sentence.contains(part), "{name}: {sentence}");
        assert!(!sentence.contains('\n') && sentence.len() < 400, "{name}: {sentence}");
        assert!(before.elapsed() < SLOWEST, "{name} took {:?}", before.elapsed());
    }
    for (name, note) in ODD {
        let scenario = open(&fixture(&format!("corpus/bad/{name}.usdz")));
        let scenario = scenario.unwrap_or_else(|error| panic!("{name}: {error}"));
        let noted = scenario.notes.iter().any(|line| line.contains(note));
        assert!(noted || note.is_empty(), "{name}: {:?}", scenario.notes);
    }
}

#[test]
fn no_file_of_the_corpus_takes_more_than_200_megabytes() {
    let files = |folder: &str| {
        let names = names(folder).into_iter();
        names.map(|name| fixture(&format!("{folder}/{name}.usdz"))).collect::<Vec<_>>()
    };
    let all = [files("corpus/bad"), files("corpus/variants"), vec![fixture("data/drive.usdz")]].concat();
    let binary = neuro();
    let mut shell = std::process::Command::new("sh");
    shell.args(["-c", "ulimit -d 204800 && exec \"$@\"", "sh"]).arg(binary.get_program());
    let ended = shell.args(["scene", "check"]).args(&all).current_dir(root()).output().unwrap();
    let out = String::from_utf8(ended.stdout).unwrap();
    assert_eq!(ended.status.code(), Some(1), "{out}{}", String::from_utf8_lossy(&ended.stderr));
    assert_eq!(out.lines().count(), all.len(), "{out}");
    assert_eq!(out.lines().filter(|line| line.ends_with(": ok")).count(), all.len() - REFUSED.len(), "{out}");
}

#[test]
fn however_a_scenario_is_packed_and_encoded_it_is_the_same_scenario() {
    let base = open(&fixture("corpus/variants/baseline.usdz")).unwrap();
    assert_eq!(base.tracks.len(), 8);
    let tracks = |scenario: &Scenario| scenario.tracks.iter().cloned().collect::<Vec<_>>();
    for name in [
        "bom",
        "chunk_key_sequence_id",
        "data_descriptor",
        "deflated",
        "flags_int",
        "flags_list",
        "method_bzip2",
        "method_lzma",
        "pretty_json",
        "utf16",
    ] {
        let same = open(&fixture(&format!("corpus/variants/{name}.usdz"))).unwrap();
        assert_eq!(same.sequence_id, base.sequence_id, "{name}");
        assert_eq!((same.start_us, same.end_us), (base.start_us, base.end_us), "{name}");
        assert_eq!(same.ego, base.ego, "{name}");
        assert_eq!(same.cameras, base.cameras, "{name}");
        assert_eq!(tracks(&same), tracks(&base), "{name}");
    }
    assert!(base.tracks.iter().any(|track| track.dynamic && track.controllable));
    assert!(base.tracks.iter().any(|track| track.dynamic && !track.controllable));
}

#[test]
fn the_flavours_of_a_camera_are_told_apart() {
    let open = |name: &str| open(&fixture(&format!("corpus/variants/{name}.usdz"))).unwrap();
    let kinds: Vec<_> = open("mixed_models")
        .cameras
        .iter()
        .map(|camera| match &camera.model.projection {
            Projection::FTheta(_) => "ftheta",
            Projection::Pinhole(lens) => {
                assert!(lens.radial[0] < -0.3 && lens.tangential[1] < 0.0);
                "pinhole"
            }
            Projection::Fisheye(lens) => {
                assert!(lens.radial[3] > 0.0);
                "fisheye"
            }
        })
        .collect();
    assert_eq!(kinds, ["ftheta", "pinhole", "fisheye", "ftheta", "pinhole", "fisheye"]);
    for name in ["linear_cde_missing", "linear_cde_dict"] {
        for camera in open(name).cameras {
            let Projection::FTheta(lens) = camera.model.projection else { panic!("{name}") };
            assert_eq!(lens.linear_cde, [1.0, 0.0, 0.0], "{name}");
        }
    }
    let windshield = open("windshield").cameras[0].model.windshield.clone().unwrap();
    assert_eq!(windshield.horizontal.len(), 6);
    assert!(open("baseline").cameras[0].model.windshield.is_none());
    let camera = open("frame_poses").cameras[0].clone();
    assert_eq!(camera.shutter_poses.unwrap().len(), camera.shutters_us.len());
    let single =
        |name: &str| open(name).tracks.iter().filter(|track| track.trajectory.poses.len() == 1).count();
    assert_eq!(single("single_pose_track"), single("baseline") + 1);
    assert!(open("empty_tracks").tracks.is_empty());
}

#[test]
fn the_recorded_answers_describe_what_is_read() {
    let scenario = open(&fixture("data/drive.usdz")).unwrap();
    let recorded: Value =
        serde_json::from_slice(&fs::read(fixture("golden/http_scenario.json")).unwrap()).unwrap();
    let recorded = find(&recorded, "cameras").unwrap();
    assert_eq!(scenario.cameras.len(), 6);
    for (camera, golden) in scenario.cameras.iter().zip(recorded["cameras"].as_array().unwrap()) {
        assert_eq!(camera.logical_name, golden["logical_name"]);
        let [width, height] = camera.model.resolution;
        assert_eq!(json!([height, width]), golden["resolution"], "the original's are transposed");
        for (row, golden) in
            camera.rig_from_sensor_rows.iter().zip(golden["T_sensor_rig"].as_array().unwrap())
        {
            let golden: [f64; 4] = serde_json::from_value(golden.clone()).unwrap();
            assert!(
                row.iter().zip(golden).all(|(is, should)| (is - should).abs() < 1e-12),
                "{row:?} {golden:?}"
            );
        }
    }
    assert_eq!(scenario.start_us, recorded["time_range"]["start_us"]);
    assert_eq!(scenario.end_us, recorded["time_range"]["end_us"]);
    assert_eq!(scenario.sequence_id, recorded["sequence_id"]);
}

#[test]
fn the_recorded_poses_hold_for_what_is_read() {
    let scenario = open(&fixture("data/drive.usdz")).unwrap();
    let recorded: Value =
        serde_json::from_slice(&fs::read(fixture("golden/http_pose.json")).unwrap()).unwrap();
    let mut answered = 0;
    for call in recorded.as_array().unwrap() {
        let query = call["path"].as_str().unwrap().split("timestamp_us=").nth(1).unwrap();
        let pose = query.parse().ok().and_then(|instant| scenario.ego.pose_at(instant));
        assert_eq!(pose.is_some(), call["status"] == 200, "{query}");
        let Some(pose) = pose else { continue };
        answered += 1;
        let golden =
            |key: &str| -> Vec<f64> { serde_json::from_value(call["response"][key].clone()).unwrap() };
        let close =
            |is: &[f64], key: &str| is.iter().zip(golden(key)).all(|(is, should)| (is - should).abs() < 1e-9);
        assert!(close(&pose.translation_m.to_array(), "position"), "{query}: {pose:?}");
        assert!(close(&pose.rotation.to_array(), "quaternion"), "{query}: {pose:?} {call}");
    }
    assert!(answered > 150, "only {answered} poses compared");
}

/// The first object with a time range and this key, at any depth.
fn find<'a>(value: &'a Value, key: &str) -> Option<&'a Value> {
    match value {
        Value::Object(map) if map.contains_key(key) && map.contains_key("time_range") => Some(value),
        Value::Object(map) => map.values().find_map(|inner| find(inner, key)),
        Value::Array(list) => list.iter().find_map(|inner| find(inner, key)),
        _ => None,
    }
}

#[test]
fn identity_and_time_come_from_the_first_member_that_has_them() {
    let base = open(&fixture("data/tiny.usdz")).unwrap();
    let with = |info: Option<Value>, metadata: Option<&str>| {
        let mut files = Files::tiny();
        files.set("data_info.json", info.map(|info| info.to_string()));
        files.set("metadata.yaml", metadata.map(str::to_owned));
        open_bytes(&files.zip()).unwrap()
    };
    let (start, end) = (base.start_us, base.end_us);
    let v4 = json!({"version": "v4.0.0", "sequence_id": "four",
        "sequence_timestamp_interval_us": {"start": start + 1, "stop": end}});
    let read = with(Some(v4), None);
    assert_eq!((read.sequence_id.as_str(), read.start_us, read.end_us), ("four", start + 1, end - 1));
    assert_eq!(notes(&read), [""; 0]);
    let yaml =
        format!("scene_id: five\ntime_range:\n  start: {:?}\n  end: {:?}\n", start as f64 + 2.0, end as f64);
    let read = with(None, Some(&yaml));
    assert_eq!((read.sequence_id.as_str(), read.start_us, read.end_us), ("five", start + 2, end));
    let read = with(Some(json!({"sequence_id": "six"})), Some(&yaml));
    assert_eq!((read.sequence_id.as_str(), read.start_us, read.end_us), ("six", start + 2, end));
    let read = with(None, None);
    assert_eq!((read.sequence_id.as_str(), read.start_us, read.end_us), ("made", start, end));
    assert!(read.notes.iter().any(|note| note.contains("the file's name is taken")), "{:?}", read.notes);
    let read = with(None, Some("scene_id: [unclosed"));
    assert!(
        read.notes.iter().any(|note| note.contains("metadata.yaml is not understood")),
        "{:?}",
        read.notes
    );
    let mut elsewhere = Files::tiny();
    let range = json!({"start-timestamp_us": 5, "end-timestamp_us": 6});
    elsewhere.set("data_info.json", Some(json!({"pose-range": range}).to_string()));
    assert!(refusal(&elsewhere.zip()).contains("the time range 5 to 6 has no instant in common"));
}

#[test]
fn what_is_not_at_the_path_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("none.usdz");
    let error = open(&missing).unwrap_err();
    assert!(matches!(error, SceneError::NotFound { .. }));
    assert_eq!(error.to_string(), format!("USDZ file not found: {}", missing.display()));
    assert!(matches!(open(folder.path()).unwrap_err(), SceneError::NotAFile { .. }));
    assert!(matches!(open(Path::new("/dev/null")).unwrap_err(), SceneError::NotAFile { .. }));
    let empty = folder.path().join("empty.usdz");
    fs::write(&empty, "").unwrap();
    assert_eq!(open(&empty).unwrap_err().to_string(), "not a USDZ archive: the file is empty");
}

#[test]
fn info_tells_a_person_and_a_program_what_a_scene_has() {
    let path = fixture("data/drive.usdz");
    let path = path.to_str().unwrap();
    let ended = run(&["scene", "info", path]);
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    for part in ["20.0", "201 poses", "camera_front_wide_120fov", "ftheta", "1920x1080", "tracks       120"] {
        assert!(ended.out.contains(part), "{part} is not in:\n{}", ended.out);
    }
    let ended = run(&["scene", "info", "--json", path]);
    let value: Value = serde_json::from_str(&ended.out).unwrap();
    assert_eq!(value["tracks"]["count"], 120);
    assert_eq!(value["cameras"][0]["resolution"], json!([1920, 1080]));
    assert_eq!(value["ego"]["poses"], 201);
    let bad = fixture("corpus/bad/nan_pose.usdz");
    let ended = run(&["scene", "info", bad.to_str().unwrap()]);
    assert_eq!(ended.code, Some(1));
    assert!(ended.err.lines().count() == 1 && ended.err.contains("is NaN"), "{}", ended.err);
}

#[test]
fn check_says_one_line_a_file_and_fails_if_any_is_refused() {
    let good = fixture("data/tiny.usdz");
    let bad = fixture("corpus/bad/tracks_pose6.usdz");
    let (good, bad) = (good.to_str().unwrap(), bad.to_str().unwrap());
    let ended = run(&["scene", "check", good]);
    assert_eq!((ended.code, ended.out), (Some(0), format!("{good}: ok\n")));
    let ended = run(&["scene", "check", bad, good]);
    assert_eq!(ended.code, Some(1));
    let lines: Vec<_> = ended.out.lines().collect();
    assert!(lines[0].starts_with(&format!("{bad}: sequence_tracks.json: ")), "{}", ended.out);
    assert_eq!(lines[1..], [format!("{good}: ok")]);
}
