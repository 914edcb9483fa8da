//! When the recorded frames were exposed, and from where.

use super::count::Counter;
use super::json::{Json, Kind, Result};
use super::values::rigid;
use crate::geometry::Pose;

/// No rig has more.
pub(super) const MOST_CAMERAS: usize = 512;

/// By camera: shutter start and end.
pub(super) type Frames = Vec<(String, Vec<[i64; 2]>)>;
/// By camera: `world_from_rig` at shutter start and end.
pub(super) type FramePoses = Vec<(String, Vec<[Pose; 2]>)>;

/// `{camera: [[start, end], ...]}`, or `{camera: [instant, ...]}`.
pub(super) fn shutters(json: &mut Json, counter: &Counter) -> Result<Frames> {
    let mut all: Frames = Vec::new();
    json.object(|json, camera| {
        let mut frames: Vec<[i64; 2]> = Vec::new();
        json.list(|json, _| {
            counter.one(json)?;
            let [start, end] = shutter(json)?;
            if end < start {
                return Err(json.fault(format!("ends at {end}, before it starts at {start}")));
            }
            if let Some([before, _]) = frames.last()
                && start < *before
            {
                return Err(json.fault(format!("starts at {start}, earlier than {before} before it")));
            }
            frames.push([start, end]);
            Ok(())
        })?;
        frames.shrink_to_fit();
        put(json, &mut all, camera, frames)
    })?;
    Ok(all)
}

fn shutter(json: &mut Json) -> Result<[i64; 2]> {
    if json.kind()? == Kind::Number {
        return json.timestamp_us().map(|instant| [instant; 2]);
    }
    let mut pair = [0; 2];
    let count = json.list(|json, index| {
        let instant = json.timestamp_us()?;
        if let Some(slot) = pair.get_mut(index) {
            *slot = instant;
        }
        Ok(())
    })?;
    if count == 2 {
        return Ok(pair);
    }
    Err(json.fault(format!("has {count} timestamps, expected shutter start and end")))
}

/// `{camera: [[4x4, 4x4], ...]}`.
pub(super) fn poses(json: &mut Json, counter: &Counter) -> Result<FramePoses> {
    let mut all: FramePoses = Vec::new();
    json.object(|json, camera| {
        let mut frames = Vec::new();
        json.list(|json, _| {
            let mut pair = [Pose::IDENTITY; 2];
            let count = json.list(|json, index| {
                counter.one(json)?;
                let (_, pose) = rigid(json)?;
                if let Some(slot) = pair.get_mut(index) {
                    *slot = pose;
                }
                Ok(())
            })?;
            if count != 2 {
                return Err(json.fault(format!("has {count} poses, expected shutter start and end")));
            }
            frames.push(pair);
            Ok(())
        })?;
        frames.shrink_to_fit();
        put(json, &mut all, camera, frames)
    })?;
    Ok(all)
}

/// The last of two equal keys counts.
fn put<T>(json: &Json, all: &mut Vec<(String, T)>, camera: &str, value: T) -> Result<()> {
    let full = all.len() == MOST_CAMERAS;
    match all.iter_mut().find(|(name, _)| name == camera) {
        Some((_, earlier)) => *earlier = value,
        None if full => {
            return Err(json.fault(format!("is one too many: the limit is {MOST_CAMERAS} cameras")));
        }
        None => all.push((camera.to_owned(), value)),
    }
    Ok(())
}

/// What a camera has in a list by camera: under its key, or under its logical name.
pub(super) fn take<T>(all: &mut Vec<(String, T)>, key: &str, logical_name: &str) -> Option<T> {
    let index = all
        .iter()
        .position(|(name, _)| name == key)
        .or_else(|| all.iter().position(|(name, _)| name == logical_name))?;
    Some(all.swap_remove(index).1)
}
