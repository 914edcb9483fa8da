//! `rig_trajectories.json`: where the ego vehicle was, and its cameras.

use glam::DMat4;

use super::count::Counter;
use super::frames::{self, FramePoses, Frames, MOST_CAMERAS};
use super::json::{Json, Result};
use super::values::{Rows, increasing_us, matrix, rigid, wrapped_matrix};
use crate::geometry::Pose;
use crate::scene::camera::CameraModel;
use crate::scene::camera::read::camera_model;
use crate::scene::{RigBox, Trajectory};

/// The member.
#[derive(Debug)]
pub(super) struct Rig {
    pub(super) drive: Drive,
    pub(super) calibrations: Vec<Calibration>,
    pub(super) nre_from_world: Option<DMat4>,
    pub(super) ecef_from_world: Option<DMat4>,
}

/// The first entry of `rig_trajectories`; there is no writer of a second.
#[derive(Debug)]
pub(super) struct Drive {
    pub(super) ego: Trajectory,
    pub(super) rig_box: Option<RigBox>,
    pub(super) box_turned: bool,
    pub(super) frames: Frames,
    pub(super) frame_poses: FramePoses,
}

/// One camera.
#[derive(Debug)]
pub(super) struct Calibration {
    pub(super) key: String,
    pub(super) logical_name: String,
    pub(super) rig_from_sensor_rows: Rows,
    pub(super) rig_from_sensor: Pose,
    pub(super) model: CameraModel,
}

/// Reads the whole member.
///
/// # Errors
/// At the first thing that is not as it must be.
pub(super) fn rig(json: &mut Json, notes: &mut Vec<String>, poses: &Counter) -> Result<Rig> {
    let (mut drive, mut calibrations) = (None, None);
    let (mut nre_from_world, mut ecef_from_world) = (None, None);
    let mut extra = 0;
    json.object(|json, key| {
        match key {
            "rig_trajectories" => {
                let found = drives(json, poses)?;
                (drive, extra) = (Some(found.0), found.1);
            }
            "camera_calibrations" => calibrations = Some(cameras(json)?),
            "world_to_nre" | "world_to_scene" => {
                nre_from_world = json.optional(wrapped_matrix)?.or(nre_from_world);
            }
            "T_world_base" => ecef_from_world = json.optional(wrapped_matrix)?,
            _ => json.skip()?,
        }
        Ok(())
    })?;
    if extra > 0 {
        notes.push(format!("rig_trajectories.json: only the first of {} trajectories is used", extra + 1));
    }
    Ok(Rig {
        drive: drive.ok_or_else(|| json.fault_in(".rig_trajectories", "is missing"))?,
        calibrations: calibrations.ok_or_else(|| json.fault_in(".camera_calibrations", "is missing"))?,
        nre_from_world,
        ecef_from_world,
    })
}

fn drives(json: &mut Json, poses: &Counter) -> Result<(Drive, usize)> {
    let mut first = None;
    let count = json.list(|json, index| {
        if index > 0 {
            return json.skip();
        }
        first = Some(drive(json, poses)?);
        Ok(())
    })?;
    let first = first.ok_or_else(|| json.fault("has no entry, expected the drive"))?;
    Ok((first, count - 1))
}

fn drive(json: &mut Json, counter: &Counter) -> Result<Drive> {
    let (mut poses, mut timestamps_us) = (None, None);
    let (mut rig_box, mut frames, mut frame_poses) = (None, None, None);
    json.object(|json, key| {
        match key {
            "T_rig_worlds" => poses = Some(rigids(json, counter)?),
            "T_rig_world_timestamps_us" => timestamps_us = Some(increasing_us(json)?),
            "rig_bbox" => rig_box = json.optional(bounding_box)?,
            "cameras_frame_timestamps_us" => {
                frames = json.optional(|json| frames::shutters(json, counter))?;
            }
            "cameras_frame_T_rig_worlds" => {
                frame_poses = json.optional(|json| frames::poses(json, counter))?;
            }
            _ => json.skip()?,
        }
        Ok(())
    })?;
    let (poses, last_matrix) = poses.ok_or_else(|| json.fault_in(".T_rig_worlds", "is missing"))?;
    let timestamps_us =
        timestamps_us.ok_or_else(|| json.fault_in(".T_rig_world_timestamps_us", "is missing"))?;
    if poses.is_empty() {
        return Err(json.fault_in(".T_rig_worlds", "has no pose"));
    }
    if poses.len() != timestamps_us.len() {
        return Err(json.fault_in(
            ".T_rig_worlds",
            format!("has {} poses, T_rig_world_timestamps_us has {}", poses.len(), timestamps_us.len()),
        ));
    }
    let (rig_box, box_turned) = rig_box.map_or((None, false), |(found, turned)| (Some(found), turned));
    Ok(Drive {
        ego: Trajectory { timestamps_us, poses, last_matrix },
        rig_box,
        box_turned,
        frames: frames.unwrap_or_default(),
        frame_poses: frame_poses.unwrap_or_default(),
    })
}

/// Poses, and the matrix of the last one.
fn rigids(json: &mut Json, counter: &Counter) -> Result<(Vec<Pose>, Option<DMat4>)> {
    let (mut poses, mut last) = (Vec::new(), None);
    json.list(|json, _| {
        counter.one(json)?;
        let (rows, pose) = rigid(json)?;
        poses.push(pose);
        last = Some(matrix(&rows));
        Ok(())
    })?;
    poses.shrink_to_fit();
    Ok((poses, last))
}

/// The box, and whether the file turns it.
fn bounding_box(json: &mut Json) -> Result<(RigBox, bool)> {
    let (mut centroid, mut dimensions, mut rotation) = (None, None, None);
    json.object(|json, key| {
        match key {
            "centroid" => centroid = Some(json.numbers::<3>()?),
            "dim" => dimensions = Some(json.numbers::<3>()?),
            "rot" => rotation = json.optional(Json::numbers::<3>)?,
            _ => json.skip()?,
        }
        Ok(())
    })?;
    let centroid_m = centroid.ok_or_else(|| json.fault_in(".centroid", "is missing"))?.into();
    let dimensions_m = dimensions.ok_or_else(|| json.fault_in(".dim", "is missing"))?.into();
    Ok((RigBox { centroid_m, dimensions_m }, rotation.is_some_and(|angles| angles != [0.0; 3])))
}

fn cameras(json: &mut Json) -> Result<Vec<Calibration>> {
    let mut found: Vec<Calibration> = Vec::new();
    json.object(|json, key| {
        let read = calibration(json, key)?;
        let full = found.len() == MOST_CAMERAS;
        match found.iter_mut().find(|earlier| earlier.key == key) {
            Some(earlier) => *earlier = read,
            None if full => {
                return Err(json.fault(format!("is one too many: the limit is {MOST_CAMERAS} cameras")));
            }
            None => found.push(read),
        }
        Ok(())
    })?;
    if found.is_empty() {
        return Err(json.fault("has no camera, expected at least one"));
    }
    Ok(found)
}

fn calibration(json: &mut Json, name: &str) -> Result<Calibration> {
    let (mut logical_name, mut extrinsics, mut model) = (None, None, None);
    json.object(|json, key| {
        match key {
            "logical_sensor_name" => logical_name = json.optional(Json::string)?,
            "T_sensor_rig" => extrinsics = Some(rigid(json)?),
            "camera_model" => model = Some(camera_model(json)?),
            _ => json.skip()?,
        }
        Ok(())
    })?;
    let (rig_from_sensor_rows, rig_from_sensor) =
        extrinsics.ok_or_else(|| json.fault_in(".T_sensor_rig", "is missing"))?;
    let model = model.ok_or_else(|| json.fault_in(".camera_model", "is missing"))?;
    let logical_name = logical_name.unwrap_or_else(|| name.split('@').next().unwrap_or_default().to_owned());
    Ok(Calibration { key: name.to_owned(), logical_name, rig_from_sensor_rows, rig_from_sensor, model })
}
