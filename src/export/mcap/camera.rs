//! `foxglove.CameraCalibration` of the lenses that NuRec scenarios have.
//!
//! `K` and `P` are those of the pictures' size, pixel centres at whole numbers as in OpenCV. `distortion_model` and `D`:
//!
//! - OpenCV pinhole: `rational_polynomial`, D = k1 k2 p1 p2 k3 k4 k5 k6. With thin-prism terms, which that model has not:
//!   `opencv_thin_prism`, D = the same, then s1 s2 s3 s4 (OpenCV's order).
//! - OpenCV fisheye: `kannala_brandt`, D = k1 k2 k3 k4.
//! - f-theta: `ftheta`, a name of ours, since no published one fits. D, all in pixels of the native resolution: its width
//!   and height; the principal point x y (from the centre of the first pixel); 1 if the angle-to-pixels polynomial is the
//!   exact one, 0 if the other; the largest angle in radians; c d e of the affine part [[c, d], [e, 1]]; six
//!   coefficients of the polynomial from pixels to radians, then six of that from radians to pixels, lowest order first.
//!   `K` and `P` are the pinhole camera that agrees with it at the principal point: good for a rough overlay near the
//!   centre, wrong towards the edges.
//!
//! What the schema has no place for (the windshield, the shutter, the native resolution) is in the channel's metadata.

use std::collections::BTreeMap;

use serde_json::json;

use super::frame_of;
use super::outlet::stamp;
use crate::export::ExportCamera;
use crate::proto::foxglove::CameraCalibration;
use crate::scene::camera::{
    CameraModel, FTheta, Pinhole, Projection, ReferencePolynomial, Windshield, WindshieldReference,
};

/// A lens as viewers know it; pixels are native ones, measured from the corner of the first.
struct Lens {
    focal_length: [f64; 2],
    principal_point: [f64; 2],
    name: &'static str,
    parameters: Vec<f64>,
}

/// The calibration of a camera's pictures.
pub(super) fn calibration(model: &CameraModel, camera: &ExportCamera, at_us: i64) -> CameraCalibration {
    let lens = lens(model);
    let scale = model.scale_to(camera.resolution);
    let [fx, fy] = [lens.focal_length[0] * scale.x, lens.focal_length[1] * scale.y];
    let [cx, cy] = [lens.principal_point[0] * scale.x - 0.5, lens.principal_point[1] * scale.y - 0.5];
    let [width, height] = camera.resolution;
    CameraCalibration {
        timestamp: Some(stamp(at_us)),
        frame_id: frame_of(&camera.label),
        width,
        height,
        distortion_model: lens.name.to_owned(),
        d: lens.parameters,
        k: vec![fx, 0.0, cx, 0.0, fy, cy, 0.0, 0.0, 1.0],
        r: vec![1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0],
        p: vec![fx, 0.0, cx, 0.0, 0.0, fy, cy, 0.0, 0.0, 0.0, 1.0, 0.0],
    }
}

fn lens(model: &CameraModel) -> Lens {
    match &model.projection {
        Projection::FTheta(ftheta) => Lens {
            focal_length: focal_length(ftheta),
            principal_point: ftheta.principal_point.map(|place| place + 0.5),
            name: "ftheta",
            parameters: ftheta_parameters(ftheta, model.resolution),
        },
        Projection::Pinhole(pinhole) => Lens {
            focal_length: pinhole.focal_length,
            principal_point: pinhole.principal_point,
            name: if pinhole.thin_prism == [0.0; 4] { "rational_polynomial" } else { "opencv_thin_prism" },
            parameters: pinhole_parameters(pinhole),
        },
        Projection::Fisheye(fisheye) => Lens {
            focal_length: fisheye.focal_length,
            principal_point: fisheye.principal_point,
            name: "kannala_brandt",
            parameters: fisheye.radial.to_vec(),
        },
    }
}

fn pinhole_parameters(pinhole: &Pinhole) -> Vec<f64> {
    let ([k1, k2, k3, k4, k5, k6], [p1, p2]) = (pinhole.radial, pinhole.tangential);
    let mut parameters = vec![k1, k2, p1, p2, k3, k4, k5, k6];
    if pinhole.thin_prism != [0.0; 4] {
        parameters.extend(pinhole.thin_prism);
    }
    parameters
}

fn ftheta_parameters(ftheta: &FTheta, resolution: [u32; 2]) -> Vec<f64> {
    let forward = ftheta.reference == ReferencePolynomial::AngleToPixelDistance;
    let mut parameters = resolution.map(f64::from).to_vec();
    parameters.extend(ftheta.principal_point);
    parameters.extend([f64::from(u8::from(forward)), ftheta.max_angle_rad]);
    parameters.extend(affine(ftheta));
    parameters.extend(ftheta.pixel_distance_to_angle);
    parameters.extend(ftheta.angle_to_pixel_distance);
    parameters
}

/// c, d, e; all zero stands for the identity.
fn affine(ftheta: &FTheta) -> [f64; 3] {
    if ftheta.linear_cde == [0.0; 3] { [1.0, 0.0, 0.0] } else { ftheta.linear_cde }
}

/// Pixels a radian at the principal point, across and down.
fn focal_length(ftheta: &FTheta) -> [f64; 2] {
    let [_, forward, ..] = ftheta.angle_to_pixel_distance;
    let [_, backward, ..] = ftheta.pixel_distance_to_angle;
    let exact_is_forward = ftheta.reference == ReferencePolynomial::AngleToPixelDistance;
    let focal = if exact_is_forward || backward == 0.0 { forward } else { 1.0 / backward };
    [affine(ftheta)[0] * focal, focal]
}

/// Facts about a camera for which the schema has no place.
pub(super) fn beyond_the_schema(model: &CameraModel) -> BTreeMap<String, String> {
    let [width, height] = model.resolution;
    let mut facts = BTreeMap::from([
        ("native_resolution".to_owned(), format!("{width}x{height}")),
        ("shutter".to_owned(), format!("{:?}", model.shutter)),
    ]);
    if let Some(windshield) = &model.windshield {
        facts.insert("windshield".to_owned(), windshield_text(windshield));
    }
    facts
}

fn windshield_text(windshield: &Windshield) -> String {
    let exact = match windshield.reference {
        WindshieldReference::Forward => "forward",
        WindshieldReference::Backward => "backward",
    };
    json!({
        "exact": exact,
        "horizontal": windshield.horizontal,
        "vertical": windshield.vertical,
        "horizontal_inverse": windshield.horizontal_inverse,
        "vertical_inverse": windshield.vertical_inverse,
    })
    .to_string()
}
