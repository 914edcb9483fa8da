//! From an archive to a [`Scenario`]: each member is read once, as a stream, straight into what it is kept as; the two
//! large ones at the same time. Either all of it is understood, or the first thing that is not is named and nothing is
//! kept.

mod count;
mod flags;
mod frames;
mod identify;
mod info;
pub mod json;
mod range;
mod rig;
mod text;
mod tracks;
mod values;

use std::fs;
use std::io::{self, Read};
use std::path::Path;
use std::thread;

use super::camera::{FTheta, Fisheye, Pinhole, Projection};
use super::error::SceneError;
use super::map::Placement;
use super::usdz::{Archive, View};
use super::{Camera, Map, Scenario, Tracks};
use crate::mapping;
use count::Counter;
use info::Info;
use json::{Fault, Json};
use rig::Rig;
use tracks::Counters;

const RIG: &str = "rig_trajectories.json";
const TRACKS: &str = "sequence_tracks.json";
const INFO: &str = "data_info.json";
const METADATA: &str = "metadata.yaml";
const MAP: &str = "map.xodr";
/// The largest `map.xodr`: as a tree it takes ten times that.
const MAP_BYTES: u64 = 32 << 20;
/// The largest `metadata.yaml`.
const METADATA_BYTES: u64 = 1 << 20;

/// How much a scenario may be.
#[derive(Debug, Clone)]
pub struct LoadLimits {
    /// The most members of an archive; those with recorded frames have tens of thousands.
    pub members: u64,
    /// The most bytes of one member, decompressed. A 20-minute drive with 5,000 tracks has 75 MB.
    pub member_bytes: u64,
    /// The most a member may be larger than its compressed bytes. Tracks deflate to a quarter.
    pub member_ratio: u64,
    /// The most tracks.
    pub tracks: usize,
    /// The most poses: of the ego, of recorded frames, and of all tracks together, counted apart.
    pub poses: usize,
}

impl Default for LoadLimits {
    fn default() -> Self {
        Self {
            members: 400_000,
            member_bytes: 512 << 20,
            member_ratio: 200,
            tracks: 200_000,
            poses: 4_000_000,
        }
    }
}

impl Scenario {
    /// Opens a USDZ file. Blocks: call it where that is allowed.
    ///
    /// # Errors
    /// When there is no such file, or it is no scenario: one sentence that names the member, the key and the index.
    pub fn open(path: &Path, limits: &LoadLimits) -> Result<Self, SceneError> {
        let unreadable = |source: io::Error| match source.kind() {
            io::ErrorKind::NotFound => SceneError::NotFound { path: path.to_owned() },
            _ => SceneError::Unreadable { path: path.to_owned(), source },
        };
        let about = fs::metadata(path).map_err(unreadable)?;
        if !about.is_file() {
            return Err(SceneError::NotAFile { path: path.to_owned() });
        }
        if about.len() == 0 {
            return Err(SceneError::Archive { reason: "the file is empty".to_owned() });
        }
        let map = mapping::map_file(path).map_err(unreadable)?;
        read(View::of_map(&map), path, limits)
    }

    /// Reads an archive in memory, as if it were the file at `path`.
    ///
    /// # Errors
    /// As [`Scenario::open`].
    pub fn from_bytes(bytes: &[u8], path: &Path, limits: &LoadLimits) -> Result<Self, SceneError> {
        read(View::of_bytes(bytes), path, limits)
    }
}

fn read(view: View, path: &Path, limits: &LoadLimits) -> Result<Scenario, SceneError> {
    let mut archive = Archive::open(view, limits)?;
    if !archive.has(RIG) {
        return Err(SceneError::Missing { member: RIG, seen: archive.elsewhere(RIG) });
    }
    let mut notes = Vec::new();
    let info = identity(&mut archive, &mut notes)?;
    let (rig, tracks) = both(&archive, limits, &mut notes)?;
    let map = lanes(&mut archive, &rig, &mut notes);
    assemble(path, info, rig, Tracks::new(tracks), map, notes)
}

/// The rig and the tracks, each on a thread of its own.
fn both(
    archive: &Archive,
    limits: &LoadLimits,
    notes: &mut Vec<String>,
) -> Result<(Rig, Vec<super::Track>), SceneError> {
    let (mut for_rig, mut for_tracks) = (archive.clone(), archive.clone());
    let mut track_notes = Vec::new();
    let counters = Counters {
        tracks: Counter::new("entries of tracks", limits.tracks.saturating_mul(ENTRIES_OF_A_TRACK)),
        poses: Counter::new("poses of tracks", limits.poses),
    };
    let (rig, tracks) = thread::scope(|scope| {
        let reader = thread::Builder::new().name("scene-tracks".to_owned()).spawn_scoped(scope, || {
            parse(&mut for_tracks, TRACKS, |json| tracks::tracks(json, &mut track_notes, &counters))
        });
        let reader = reader.map_err(SceneError::Thread)?;
        let counter = Counter::new("poses of the ego and of frames", limits.poses);
        let rig = parse(&mut for_rig, RIG, |json| rig::rig(json, notes, &counter));
        let tracks = reader.join().map_err(|_| SceneError::Member {
            member: TRACKS,
            reason: "its reader stopped unexpectedly".to_owned(),
        })?;
        Ok((rig?, tracks?))
    })?;
    notes.append(&mut track_notes);
    let rig = rig.ok_or(SceneError::Missing { member: RIG, seen: None })?;
    let tracks = tracks.unwrap_or_else(|| {
        notes.push(format!("no {TRACKS}: nothing else moves in this scene"));
        Vec::new()
    });
    Ok((rig, tracks))
}

/// A track has an entry in each of six lists.
const ENTRIES_OF_A_TRACK: usize = 6;

fn identity(archive: &mut Archive, notes: &mut Vec<String>) -> Result<Info, SceneError> {
    let info = parse(archive, INFO, info::data_info)?;
    let there = info.is_some();
    let mut info = info.unwrap_or_default();
    if info.sequence_id.is_some() && info.range_us.is_some() {
        return Ok(info);
    }
    notes.push(if there {
        format!("{INFO} has no sequence id or no time range: {METADATA} is asked")
    } else {
        format!("no {INFO}: {METADATA} is asked")
    });
    if let Some(text) = whole(archive, METADATA, METADATA_BYTES)? {
        match info::metadata(&text) {
            Ok(metadata) => {
                info.sequence_id = info.sequence_id.or(metadata.sequence_id);
                info.range_us = info.range_us.or(metadata.range_us);
            }
            Err(reason) => notes.push(format!("{METADATA} is not understood and left out: {reason}")),
        }
    }
    Ok(info)
}

/// The map, when there is one that is understood: a scene plays without it.
fn lanes(archive: &mut Archive, rig: &Rig, notes: &mut Vec<String>) -> Option<Map> {
    match whole(archive, MAP, MAP_BYTES) {
        Ok(None) => None,
        Ok(Some(text)) => map_of(&text, rig, notes),
        Err(error) => {
            notes.push(format!("{error}: the map is left out"));
            None
        }
    }
}

fn map_of(text: &str, rig: &Rig, notes: &mut Vec<String>) -> Option<Map> {
    let ego_path_m: Vec<_> = rig.drive.ego.poses.iter().map(|pose| pose.translation_m).collect();
    let placement = Placement { ecef_from_world: rig.ecef_from_world.as_ref(), ego_path_m: &ego_path_m };
    match Map::from_xodr(text, &placement) {
        Ok((map, mut more)) => {
            notes.append(&mut more);
            Some(map)
        }
        Err(error) => {
            notes.push(format!("{MAP}: {error}: the map is left out"));
            None
        }
    }
}

/// Parses a member to its end; `None` when there is none.
fn parse<T>(
    archive: &mut Archive,
    member: &'static str,
    read: impl FnOnce(&mut Json) -> json::Result<T>,
) -> Result<Option<T>, SceneError> {
    let Some(mut bytes) = archive.member(member)? else {
        return Ok(None);
    };
    let mut json = Json::new(text::Text::new(&mut bytes));
    let result = read(&mut json).and_then(|value| json.finish().map(|()| value));
    drop(json);
    // Damaged bytes read as nonsense: if they are, that is the better reason.
    bytes.drain().map_err(|reason| SceneError::Member { member, reason })?;
    match result {
        Ok(value) => Ok(Some(value)),
        Err(Fault::Source(error)) => Err(SceneError::Member { member, reason: error.to_string() }),
        Err(Fault::Content { key, reason }) => Err(SceneError::Content { member, key, reason }),
    }
}

/// A small member as text; `None` when there is none.
fn whole(archive: &mut Archive, member: &'static str, most: u64) -> Result<Option<String>, SceneError> {
    let refused = |reason: String| SceneError::Member { member, reason };
    let Some(mut bytes) = archive.member(member)? else {
        return Ok(None);
    };
    let mut text = Vec::new();
    let read = (&mut bytes).take(most + 1).read_to_end(&mut text);
    read.map_err(|error| refused(error.to_string()))?;
    if text.len() as u64 > most {
        return Err(refused(format!("has over {most} bytes")));
    }
    String::from_utf8(text).map(Some).map_err(|_| refused("is not UTF-8 text".to_owned()))
}

fn assemble(
    path: &Path,
    info: Info,
    rig: Rig,
    tracks: Tracks,
    map: Option<Map>,
    mut notes: Vec<String>,
) -> Result<Scenario, SceneError> {
    let Rig { mut drive, calibrations, nre_from_world, ecef_from_world } = rig;
    let timestamps_us = &drive.ego.timestamps_us;
    let poses = timestamps_us.first().zip(timestamps_us.last()).map(|(first, last)| (*first, *last));
    let poses = poses.unwrap_or_default();
    let (start_us, end_us) = range::fit(info.range_us, poses, &mut notes)
        .map_err(|reason| SceneError::Member { member: INFO, reason })?;
    if drive.box_turned {
        notes.push(format!("{RIG}: the turn of rig_bbox is left out"));
    }
    let mut cameras: Vec<Camera> = Vec::with_capacity(calibrations.len());
    for calibration in calibrations {
        cameras.push(camera(calibration, &cameras, &mut drive, &mut notes)?);
    }
    let sequence_id = info.sequence_id.unwrap_or_else(|| {
        let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        notes.push(format!("no sequence id in {INFO} or {METADATA}: the file's name is taken"));
        stem
    });
    Ok(Scenario {
        path: path.to_owned(),
        sequence_id,
        start_us,
        end_us,
        ego: drive.ego,
        cameras,
        tracks,
        map,
        rig_box: drive.rig_box,
        nre_from_world,
        ecef_from_world,
        notes,
    })
}

fn camera(
    calibration: rig::Calibration,
    earlier: &[Camera],
    drive: &mut rig::Drive,
    notes: &mut Vec<String>,
) -> Result<Camera, SceneError> {
    let rig::Calibration { key, mut logical_name, rig_from_sensor_rows, rig_from_sensor, model } =
        calibration;
    let shutters_us = frames::take(&mut drive.frames, &key, &logical_name).unwrap_or_default();
    let shutter_poses = frames::take(&mut drive.frame_poses, &key, &logical_name);
    if let Some(poses) = &shutter_poses
        && poses.len() != shutters_us.len()
    {
        return Err(SceneError::Content {
            member: RIG,
            key: format!("rig_trajectories[0].cameras_frame_T_rig_worlds.{key}"),
            reason: format!(
                "has {} frames, cameras_frame_timestamps_us has {}",
                poses.len(),
                shutters_us.len()
            ),
        });
    }
    if earlier.iter().any(|camera| camera.logical_name == logical_name) {
        notes.push(format!("{RIG}: a second camera is named {logical_name}; it is called {key} here"));
        logical_name.clone_from(&key);
    }
    let (Projection::FTheta(FTheta { principal_point: [x, y], .. })
    | Projection::Pinhole(Pinhole { principal_point: [x, y], .. })
    | Projection::Fisheye(Fisheye { principal_point: [x, y], .. })) = model.projection;
    let [width, height] = model.resolution.map(f64::from);
    if !(0.0..=width).contains(&x) || !(0.0..=height).contains(&y) {
        notes.push(format!(
            "{RIG}: the principal point of {logical_name} ({x:.1}, {y:.1}) lies outside its {width} x {height} pixels"
        ));
    }
    Ok(Camera { key, logical_name, rig_from_sensor_rows, rig_from_sensor, model, shutters_us, shutter_poses })
}
