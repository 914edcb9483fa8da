//! From "this camera at this instant" to a [`Shot`]: which poses, which objects, which size.
//!
//! **Shutter.** A recorded frame belongs to an instant when its shutter is open then, or opens or closes no more than
//! [`FRAME_REACH_US`] from it; of several the nearest counts. Where the scenario has the poses of that frame, and the
//! frame lies within the scenario, the picture is that frame: its shutter times, its two poses. Otherwise both poses are
//! the rig's at the instant, and the shutter is open for one microsecond.
//!
//! **Time.** Renderers hold scenarios as half open, so the last instant is drawn one microsecond earlier.
//!
//! **Mounting.** Where a camera sits on the rig is rounded to single precision first, as NuRec itself hands it out, so
//! that every client of one renderer asks for the same picture.

use std::sync::Arc;

use super::{Encoding, MovingObject, RenderError, Shot};
use crate::geometry::Pose;
use crate::scene::{Camera, Scenario};

/// How far an instant may be from a recorded frame's open shutter to count as that frame, in microseconds.
pub const FRAME_REACH_US: i64 = 10_000;

/// Greatest factor from native to output size.
pub const MAX_SCALE: f64 = 4.0;

/// Greatest width or height of a picture, in pixels.
pub const MAX_SIDE: u32 = 8192;

/// What a viewer wants of its pictures.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ShotOptions {
    /// Output size by native size, 0 to [`MAX_SCALE`]; sides are rounded down, to one pixel at least.
    pub scale: f64,
    /// How pictures are encoded.
    pub encoding: Encoding,
    /// Whether tracks are drawn where they are at the time; otherwise the request has no moving objects.
    pub objects: bool,
    /// Whether recorded frames bring their own shutter times and poses; see the module.
    pub recorded_frames: bool,
}

impl Default for ShotOptions {
    fn default() -> Self {
        Self { scale: 0.25, encoding: Encoding::Jpeg(90.0), objects: true, recorded_frames: true }
    }
}

/// One shot per camera name, in the order asked.
///
/// # Errors
/// Each camera's own: [`shot`].
#[must_use]
pub fn shots<S: AsRef<str>>(
    scenario: &Arc<Scenario>,
    at_us: i64,
    cameras: &[S],
    options: &ShotOptions,
) -> Vec<Result<Shot, RenderError>> {
    cameras.iter().map(|camera| shot(scenario, at_us, camera.as_ref(), options)).collect()
}

/// What to ask a renderer for, to see `camera` (its logical name, or its key in the file) at an instant. The instant is
/// clamped to the scenario.
///
/// # Errors
/// [`RenderError::Invalid`] when there is no such camera, no pose, or the size is out of bounds.
pub fn shot(
    scenario: &Arc<Scenario>,
    at_us: i64,
    camera: &str,
    options: &ShotOptions,
) -> Result<Shot, RenderError> {
    let camera = find(scenario, camera)?;
    let resolution = scaled(camera, options.scale)?;
    let at_us = at_us.min(scenario.end_us.saturating_sub(1)).max(scenario.start_us);
    let recorded = if options.recorded_frames { recorded_frame(scenario, camera, at_us) } else { None };
    let (shutter_us, world_from_rig) = match recorded {
        Some(frame) => frame,
        None => {
            let world_from_rig = scenario.ego.pose_at(at_us).ok_or_else(|| {
                RenderError::Invalid(format!(
                    "the ego vehicle has no pose at {at_us}: its poses do not cover the scenario"
                ))
            })?;
            ([at_us, at_us + 1], [world_from_rig; 2])
        }
    };
    let mounting = camera.rig_from_sensor.rounded_to_f32();
    Ok(Shot {
        scene_id: scenario.sequence_id.clone(),
        scenario: Some(Arc::clone(scenario)),
        camera_name: camera.logical_name.clone(),
        camera: camera.model.clone(),
        shutter_us: [instant(shutter_us[0])?, instant(shutter_us[1])?],
        world_from_sensor: world_from_rig.map(|pose| pose.compose(&mounting)),
        objects: Some(if options.objects { recorded_objects(scenario, shutter_us) } else { Vec::new() }),
        resolution,
        encoding: options.encoding,
    })
}

/// Of two cameras with one logical name the later counts, as in NuRec.
fn find<'a>(scenario: &'a Scenario, name: &str) -> Result<&'a Camera, RenderError> {
    let by_key = || scenario.cameras.iter().find(|camera| camera.key == name);
    scenario.cameras.iter().rfind(|camera| camera.logical_name == name).or_else(by_key).ok_or_else(|| {
        RenderError::Invalid(format!("camera {name:?} is not in scene {:?}", scenario.sequence_id))
    })
}

fn scaled(camera: &Camera, scale: f64) -> Result<[u32; 2], RenderError> {
    if !(0.0..=MAX_SCALE).contains(&scale) {
        return Err(RenderError::Invalid(format!(
            "resolution_scale is {scale}, not within 0 to {MAX_SCALE}"
        )));
    }
    let size = camera.model.resolution.map(|side| ((f64::from(side) * scale) as u32).max(1));
    if size.iter().any(|side| *side > MAX_SIDE) {
        let [width, height] = size;
        return Err(RenderError::Invalid(format!(
            "a picture of {width}x{height} of camera {:?} is more than {MAX_SIDE} pixels a side",
            camera.logical_name
        )));
    }
    Ok(size)
}

/// Shutter times and `world_from_rig` at both, of the frame that an instant belongs to.
fn recorded_frame(scenario: &Scenario, camera: &Camera, at_us: i64) -> Option<([i64; 2], [Pose; 2])> {
    let poses = camera.shutter_poses.as_ref()?;
    let after = camera.shutters_us.partition_point(|[start_us, _]| *start_us <= at_us);
    let candidates = after.saturating_sub(1)..=after;
    let distance_us = |[start_us, end_us]: [i64; 2]| (start_us - at_us).max(at_us - end_us).max(0);
    let (index, shutter_us) = candidates
        .filter_map(|index| camera.shutters_us.get(index).map(|shutter| (index, *shutter)))
        .min_by_key(|(_, shutter)| distance_us(*shutter))?;
    let [start_us, end_us] = shutter_us;
    let within = scenario.start_us <= start_us && start_us < end_us && end_us <= scenario.end_us;
    (within && distance_us(shutter_us) <= FRAME_REACH_US).then_some((shutter_us, *poses.get(index)?))
}

/// The tracks alive when the shutter opens, with their poses when it opens and closes.
#[must_use]
pub fn recorded_objects(scenario: &Scenario, [start_us, end_us]: [i64; 2]) -> Vec<MovingObject> {
    let alive = scenario.tracks.alive_at(start_us);
    alive
        .map(|(_, track, start)| {
            let still = end_us <= start_us + 1;
            let end = if still { None } else { track.trajectory.pose_at(end_us) };
            MovingObject { track_id: track.id.clone(), world_from_object: [start, end.unwrap_or(start)] }
        })
        .collect()
}

fn instant(time_us: i64) -> Result<u64, RenderError> {
    u64::try_from(time_us).map_err(|_| {
        RenderError::Invalid(format!("the instant {time_us} is before 1970: it cannot be asked for"))
    })
}
