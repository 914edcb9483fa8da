//! `sequence_tracks.json`: everything that moves or may move, as parallel lists under a key of any name.

use std::collections::HashSet;

use glam::DVec3;

use super::count::Counter;
use super::flags::{Flags, flags};
use super::json::{Json, Kind, Result};
use super::values::{increasing_us, seven};
use crate::geometry::Pose;
use crate::scene::{Track, Trajectory};

const CUBOIDS: &str = "cuboidtracks_data.cuboids_dims";
/// Names that are listed in a message before it ends with dots.
const LISTED: usize = 8;

/// How much there may be.
#[derive(Debug)]
pub(super) struct Counters {
    pub(super) tracks: Counter,
    pub(super) poses: Counter,
}

/// Reads the whole member.
///
/// # Errors
/// At the first thing that is not as it must be.
pub(super) fn tracks(json: &mut Json, notes: &mut Vec<String>, most: &Counters) -> Result<Vec<Track>> {
    let mut found: Option<(String, Vec<Track>)> = None;
    let mut others = Vec::new();
    let mut keys = 0_usize;
    json.object(|json, key| {
        keys += 1;
        if json.kind()? != Kind::Object {
            return json.skip();
        }
        if found.as_ref().is_some_and(|(name, _)| name != key) {
            if has_tracks(json)? && others.len() < LISTED {
                others.push(key.to_owned());
            }
            return Ok(());
        }
        if let Some(list) = chunk(json, notes, most)? {
            found = Some((key.to_owned(), list));
        }
        Ok(())
    })?;
    match found {
        Some((name, _)) if !others.is_empty() => {
            others.insert(0, name);
            let names = others.iter().map(|name| format!("{name:?}")).collect::<Vec<_>>().join(", ");
            Err(json.fault(format!("has tracks under several keys, expected one: {names}")))
        }
        Some((_, list)) => Ok(list),
        None if keys == 0 => Ok(Vec::new()),
        None => Err(json.fault("has no key with tracks_data in it")),
    }
}

/// Passes over an object; whether it is one with tracks.
fn has_tracks(json: &mut Json) -> Result<bool> {
    let mut has = false;
    json.object(|json, key| {
        has |= key == "tracks_data";
        json.skip()
    })?;
    Ok(has)
}

/// The lists of `tracks_data`, as long as each other.
#[derive(Default)]
struct Lists {
    ids: Option<Vec<String>>,
    poses: Option<Vec<Vec<Pose>>>,
    timestamps_us: Option<Vec<Vec<i64>>>,
    classes: Option<Vec<String>>,
    flags: Option<Vec<Flags>>,
}

fn chunk(json: &mut Json, notes: &mut Vec<String>, most: &Counters) -> Result<Option<Vec<Track>>> {
    let (mut lists, mut dimensions) = (None, None);
    json.object(|json, key| {
        match key {
            "tracks_data" => lists = Some(data(json, most)?),
            "cuboidtracks_data" => {
                dimensions = None;
                json.object(|json, key| {
                    if key == "cuboids_dims" {
                        dimensions = Some(each(json, &most.tracks, size)?);
                        return Ok(());
                    }
                    json.skip()
                })?;
            }
            _ => json.skip()?,
        }
        Ok(())
    })?;
    let Some(lists) = lists else {
        return Ok(None);
    };
    assemble(json, lists, dimensions, notes).map(Some)
}

fn data(json: &mut Json, most: &Counters) -> Result<Lists> {
    let mut lists = Lists::default();
    json.object(|json, key| {
        match key {
            "tracks_id" => lists.ids = Some(each(json, &most.tracks, Json::name)?),
            "tracks_poses" => {
                lists.poses = Some(each(json, &most.tracks, |json| each(json, &most.poses, seven))?);
            }
            "tracks_timestamps_us" => {
                lists.timestamps_us = Some(each(json, &most.tracks, increasing_us)?);
            }
            "tracks_label_class" => lists.classes = Some(each(json, &most.tracks, Json::name)?),
            "tracks_flags" => {
                lists.flags = json.optional(|json| each(json, &most.tracks, flags))?;
            }
            _ => json.skip()?,
        }
        Ok(())
    })?;
    Ok(lists)
}

fn each<'a, T>(
    json: &mut Json<'a>,
    most: &Counter,
    mut read: impl FnMut(&mut Json<'a>) -> Result<T>,
) -> Result<Vec<T>> {
    let mut all = Vec::new();
    json.list(|json, _| {
        most.one(json)?;
        all.push(read(json)?);
        Ok(())
    })?;
    all.shrink_to_fit();
    Ok(all)
}

fn size(json: &mut Json) -> Result<DVec3> {
    let size = DVec3::from(json.numbers::<3>()?);
    if size.min_element() < 0.0 {
        return Err(json.fault(format!("is {:?}, expected metres from 0", size.to_array())));
    }
    Ok(size)
}

fn assemble(
    json: &Json,
    lists: Lists,
    dimensions: Option<Vec<DVec3>>,
    notes: &mut Vec<String>,
) -> Result<Vec<Track>> {
    let missing = |key: &str| json.fault_in(&format!(".{key}"), "is missing");
    let ids = lists.ids.ok_or_else(|| missing("tracks_data.tracks_id"))?;
    let poses = lists.poses.ok_or_else(|| missing("tracks_data.tracks_poses"))?;
    let timestamps_us = lists.timestamps_us.ok_or_else(|| missing("tracks_data.tracks_timestamps_us"))?;
    let classes = lists.classes.ok_or_else(|| missing("tracks_data.tracks_label_class"))?;
    let dimensions = dimensions.ok_or_else(|| missing(CUBOIDS))?;
    let flags = lists.flags.unwrap_or_else(|| {
        notes.push("sequence_tracks.json: no tracks_flags, so every track is taken for static".to_owned());
        vec![Flags::default(); ids.len()]
    });
    for (key, count) in [
        ("tracks_data.tracks_poses", poses.len()),
        ("tracks_data.tracks_timestamps_us", timestamps_us.len()),
        ("tracks_data.tracks_label_class", classes.len()),
        ("tracks_data.tracks_flags", flags.len()),
        (CUBOIDS, dimensions.len()),
    ] {
        let surplus = key == CUBOIDS && count > ids.len();
        if surplus && !ids.is_empty() {
            notes.push(format!("sequence_tracks.json: {count} cuboids for {} tracks", ids.len()));
        }
        if count != ids.len() && !surplus {
            let reason = format!("has {count} entries, tracks_id has {}", ids.len());
            return Err(json.fault_in(&format!(".{key}"), reason));
        }
    }
    let mut all = Vec::with_capacity(ids.len());
    let rest = poses.into_iter().zip(timestamps_us).zip(classes).zip(flags).zip(dimensions);
    let mut empty = 0_usize;
    for (index, (id, ((((poses, timestamps_us), class), flags), dimensions_m))) in
        ids.into_iter().zip(rest).enumerate()
    {
        if poses.len() != timestamps_us.len() {
            return Err(json.fault_in(
                &format!(".tracks_data.tracks_poses[{index}]"),
                format!(
                    "has {} poses, tracks_timestamps_us[{index}] has {}",
                    poses.len(),
                    timestamps_us.len()
                ),
            ));
        }
        if poses.is_empty() {
            empty += 1;
            continue;
        }
        let Flags { dynamic, controllable } = flags;
        let trajectory = Trajectory { timestamps_us, poses, last_matrix: None };
        all.push(Track { id, class, dynamic, controllable, dimensions_m, trajectory });
    }
    if empty > 0 {
        notes.push(format!("sequence_tracks.json: {empty} tracks without a pose are left out"));
    }
    note_repeated(&all, notes);
    Ok(all)
}

fn note_repeated(all: &[Track], notes: &mut Vec<String>) {
    let mut seen = HashSet::with_capacity(all.len());
    let repeated: Vec<&str> =
        all.iter().map(|track| track.id.as_str()).filter(|id| !seen.insert(*id)).collect();
    if let Some(first) = repeated.first() {
        notes.push(format!(
            "sequence_tracks.json: {} tracks share their id with an earlier one, {first:?} for example",
            repeated.len()
        ));
    }
}
