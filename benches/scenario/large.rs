//! A large scenario out of a small one: its cameras, and 20 minutes of an ego vehicle among 5,000 tracks.

use std::f64::consts::TAU;
use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use zip::write::SimpleFileOptions;

const TRACKS: usize = 5000;
const EGO_POSES: usize = 12_001;
const STEP_US: i64 = 100_000;
/// Poses of a track: 91 on average, as in recordings.
const TRACK_POSES: [usize; 2] = [3, 180];

/// Writes it, 80 MB.
pub fn write(small: &Path, path: &Path) -> PathBuf {
    let mut archive = zip::ZipArchive::new(File::open(small).unwrap()).unwrap();
    let mut member = |name: &str| -> Value {
        let mut text = String::new();
        archive.by_name(name).unwrap().read_to_string(&mut text).unwrap();
        serde_json::from_str(&text).unwrap()
    };
    let [mut rig, mut info] = ["rig_trajectories.json", "data_info.json"].map(&mut member);
    let start = info["pose-range"]["start-timestamp_us"].as_i64().unwrap();
    let ego_us = |index: usize| start + index as i64 * STEP_US + jitter(index);
    let end = ego_us(EGO_POSES - 1);
    info["pose-range"] =
        json!({"start-timestamp_us": start, "end-timestamp_us": end, "num-poses": EGO_POSES});
    let ego = &mut rig["rig_trajectories"][0];
    ego["T_rig_worlds"] = (0..EGO_POSES).map(|index| rows(around(index as f64 / 600.0, 400.0))).collect();
    ego["T_rig_world_timestamps_us"] = (0..EGO_POSES).map(ego_us).collect();
    for (_, frames) in ego["cameras_frame_timestamps_us"].as_object_mut().unwrap() {
        *frames = (0..EGO_POSES - 1).map(|index| json!([ego_us(index), ego_us(index) + 31_600])).collect();
    }
    for key in ["cameras_frame_T_rig_worlds", "lidars_frame_timestamps_us"] {
        ego.as_object_mut().unwrap().remove(key);
    }
    let mut file = zip::ZipWriter::new(File::create(path).unwrap());
    let stored = SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    let documents =
        [("rig_trajectories.json", rig), ("sequence_tracks.json", tracks(start)), ("data_info.json", info)];
    for (name, document) in documents {
        file.start_file(name, stored).unwrap();
        file.write_all(document.to_string().as_bytes()).unwrap();
    }
    file.finish().unwrap();
    path.to_owned()
}

fn tracks(start: i64) -> Value {
    let [least, most] = TRACK_POSES;
    let count = |track: usize| least + track * 7919 % (most - least);
    let first = |track: usize| track * 104_729 % (EGO_POSES - most);
    let stamps = |track: usize| -> Value {
        (0..count(track))
            .map(|pose| start + (first(track) + pose) as i64 * STEP_US + jitter(track + pose))
            .collect()
    };
    let poses = |track: usize| -> Value {
        let pose = |pose: usize| {
            let ([x, y, z], yaw) = around((track + pose) as f64 / 700.0, 410.0 + (track % 60) as f64 * 0.37);
            let (sine, cosine) = (yaw / 2.0).sin_cos();
            json!([x, y, z + 0.8, 0.0007 * sine, -0.0011 * cosine, sine, cosine].map(single))
        };
        (0..count(track)).map(pose).collect()
    };
    let every = |of: &dyn Fn(usize) -> Value| -> Value { (0..TRACKS).map(of).collect() };
    json!({"dummy_chunk_id": {
        "tracks_data": {
            "tracks_id": every(&|track| json!(track.to_string())),
            "tracks_poses": every(&poses),
            "tracks_timestamps_us": every(&stamps),
            "tracks_label_class": every(&|_| json!("automobile")),
            "tracks_flags": every(&|_| json!("DYNAMIC|CONTROLLABLE")),
        },
        "cuboidtracks_data": {"cuboids_dims": every(&|_| json!([4.5, 1.85, 1.52].map(single)))},
    }})
}

/// Some milliseconds, as clocks of sensors have.
fn jitter(number: usize) -> i64 {
    (number * 48_271 % 4001) as i64
}

/// A place on a ring road and the direction there.
fn around(turn: f64, radius: f64) -> ([f64; 3], f64) {
    let (sine, cosine) = (TAU * turn).sin_cos();
    ([radius * cosine, radius * sine, 3.0 * (TAU * turn * 5.0).sin()], TAU * turn + TAU / 4.0)
}

fn rows(([x, y, z], yaw): ([f64; 3], f64)) -> Value {
    let (sine, cosine) = yaw.sin_cos();
    let row = |row: [f64; 4]| row.map(single);
    json!([
        row([cosine, -sine, 0.0, x]),
        row([sine, cosine, 0.0, y]),
        row([0.0, 0.0, 1.0, z]),
        [0.0, 0.0, 0.0, 1.0]
    ])
}

/// A number of single precision, printed as a double, as files hold them.
fn single<T: Into<f64>>(value: T) -> f64 {
    f64::from(value.into() as f32)
}
