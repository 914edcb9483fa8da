//! A [`Shot`] as a `RGBRenderRequest` and back.

use super::{camera, pose};
use crate::proto::nurec::sensorsim::{DynamicObject, ImageFormat, RgbRenderRequest};
use crate::render::{Encoding, MAX_SIDE, MovingObject, Shot};

/// Most objects that one request may place.
const MAX_OBJECTS: usize = 10_000;

/// JPEG quality where a request leaves it out.
const DEFAULT_QUALITY: f32 = 90.0;

/// A shot to the wire. Unknown objects go as none: what a service draws for tracks it is not told of is its own affair.
#[must_use]
pub fn to_wire(shot: &Shot) -> RgbRenderRequest {
    let [resolution_w, resolution_h] = shot.resolution;
    let [frame_start_us, frame_end_us] = shot.shutter_us;
    let (image_format, image_quality) = match shot.encoding {
        Encoding::Jpeg(quality) => (ImageFormat::Jpeg, quality),
        Encoding::Png => (ImageFormat::Png, 0.0),
    };
    RgbRenderRequest {
        scene_id: shot.scene_id.clone(),
        resolution_h,
        resolution_w,
        camera_intrinsics: Some(camera::to_wire(&shot.camera_name, &shot.camera)),
        frame_start_us,
        frame_end_us,
        sensor_pose: Some(pose::pair_to_wire(&shot.world_from_sensor)),
        dynamic_objects: shot.objects.iter().flatten().map(object_to_wire).collect(),
        image_format: image_format.into(),
        image_quality,
        insert_ego_mask: false,
        ego_mask_id: None,
    }
}

/// A shot from the wire, without its scenario. No objects at all means the recorded ones, for the sake of clients that
/// never send any; missing output size means the camera's own.
///
/// # Errors
/// A sentence naming the field, when the request makes no sense.
pub fn from_wire(request: &RgbRenderRequest) -> Result<Shot, String> {
    let spec = request.camera_intrinsics.as_ref().ok_or("camera_intrinsics is missing")?;
    let camera = camera::from_wire(spec)?;
    let resolution = match [request.resolution_w, request.resolution_h] {
        [0, 0] => camera.resolution,
        given => given,
    };
    if resolution.iter().any(|side| !(1..=MAX_SIDE).contains(side)) {
        let [width, height] = resolution;
        return Err(format!("resolution is {width}x{height}, expected 1 to {MAX_SIDE} a side"));
    }
    let shutter_us = [request.frame_start_us, request.frame_end_us];
    if shutter_us[1] < shutter_us[0] {
        let [start_us, end_us] = shutter_us;
        return Err(format!("frame_end_us is {end_us}, before frame_start_us, which is {start_us}"));
    }
    Ok(Shot {
        scene_id: request.scene_id.clone(),
        scenario: None,
        camera_name: spec.logical_id.clone(),
        camera,
        shutter_us,
        world_from_sensor: pose::pair_from_wire(request.sensor_pose.as_ref(), "sensor_pose")?,
        objects: objects_from_wire(&request.dynamic_objects)?,
        resolution,
        encoding: encoding_from_wire(request)?,
    })
}

fn object_to_wire(object: &MovingObject) -> DynamicObject {
    DynamicObject {
        track_id: object.track_id.clone(),
        pose_pair: Some(pose::pair_to_wire(&object.world_from_object)),
    }
}

fn objects_from_wire(objects: &[DynamicObject]) -> Result<Option<Vec<MovingObject>>, String> {
    if objects.is_empty() {
        return Ok(None);
    }
    if objects.len() > MAX_OBJECTS {
        return Err(format!("dynamic_objects has {} entries, expected at most {MAX_OBJECTS}", objects.len()));
    }
    let placed = objects.iter().enumerate().map(|(index, object)| {
        let what = format!("dynamic_objects[{index}].pose_pair");
        Ok(MovingObject {
            track_id: object.track_id.clone(),
            world_from_object: pose::pair_from_wire(object.pose_pair.as_ref(), &what)?,
        })
    });
    placed.collect::<Result<_, String>>().map(Some)
}

fn encoding_from_wire(request: &RgbRenderRequest) -> Result<Encoding, String> {
    let format = ImageFormat::try_from(request.image_format)
        .map_err(|_| format!("image_format {} is unknown; use PNG or JPEG", request.image_format))?;
    match format {
        ImageFormat::Png => Ok(Encoding::Png),
        ImageFormat::Jpeg | ImageFormat::Undefined => {
            let quality = request.image_quality;
            if quality == 0.0 {
                return Ok(Encoding::Jpeg(DEFAULT_QUALITY));
            }
            if !(1.0..=100.0).contains(&quality) {
                return Err(format!("image_quality is {quality}, expected 1 to 100"));
            }
            Ok(Encoding::Jpeg(quality))
        }
        other => Err(format!("image_format {} is not offered; use PNG or JPEG", other.as_str_name())),
    }
}
