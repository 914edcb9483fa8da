//! The rig's cameras, as a scenario describes them.

use std::f64::consts::FRAC_PI_2;

use glam::{DMat3, DMat4, DVec3};
use serde_json::{Value, json};

use super::documents::{rows, single};
use super::{LensKind, SampleOptions};

/// Name, place in the rig in metres, heading (left positive), downward tilt and horizontal field of view in degrees.
pub(super) const CAMERAS: [(&str, [f64; 3], f64, f64, f64); 7] = [
    ("camera_front_wide_120fov", [1.78, 0.0, 1.46], 0.0, 1.0, 120.0),
    ("camera_cross_left_120fov", [2.46, 0.94, 0.95], 66.0, 2.0, 120.0),
    ("camera_cross_right_120fov", [2.46, -0.94, 0.95], -66.0, 2.0, 120.0),
    ("camera_rear_left_70fov", [2.15, 1.02, 0.98], 152.0, 1.5, 70.0),
    ("camera_rear_right_70fov", [2.15, -1.02, 0.98], -152.0, 1.5, 70.0),
    ("camera_front_tele_30fov", [1.76, -0.06, 1.47], 0.0, 0.3, 30.0),
    ("camera_rear_tele_30fov", [-0.32, 0.0, 1.36], 180.0, 0.5, 30.0),
];
const RESOLUTION: [u32; 2] = [1920, 1080];

/// The calibration of one camera.
pub(super) fn calibration(
    index: usize,
    sequence_id: &str,
    options: &SampleOptions,
) -> Option<(String, Value)> {
    let (name, place, yaw_deg, tilt_deg, field_deg) = *CAMERAS.get(index)?;
    // Columns: the sensor's x, y, z (right, down, forward) in rig axes (forward, left, up).
    let rig_axes = DMat3::from_cols(-DVec3::Y, -DVec3::Z, DVec3::X);
    let turned = DMat4::from_translation(DVec3::from_array(place))
        * DMat4::from_rotation_z(yaw_deg.to_radians())
        * DMat4::from_rotation_y(tilt_deg.to_radians())
        * DMat4::from_mat3(rig_axes);
    let (kind, mut parameters) = match lens(options.model, index) {
        LensKind::Pinhole => ("opencv-pinhole", pinhole(index, field_deg)),
        LensKind::Fisheye => ("opencv-fisheye", fisheye(index, field_deg)),
        LensKind::Ftheta | LensKind::Mixed => ("ftheta", ftheta(index, field_deg)),
    };
    parameters["resolution"] = json!(RESOLUTION);
    parameters["shutter_type"] = json!("ROLLING_TOP_TO_BOTTOM");
    let behind_glass = options.windshield && name.contains("front");
    parameters["external_distortion_parameters"] = if behind_glass { windshield() } else { Value::Null };
    Some((
        format!("{name}@{sequence_id}"),
        json!({
            "sequence_id": sequence_id,
            "logical_sensor_name": name,
            "unique_sensor_idx": index,
            "T_sensor_rig": rows(&turned),
            "camera_model": {"type": kind, "parameters": parameters},
        }),
    ))
}

fn lens(model: LensKind, index: usize) -> LensKind {
    match model {
        LensKind::Mixed => [LensKind::Ftheta, LensKind::Pinhole, LensKind::Fisheye][index % 3],
        one => one,
    }
}

/// A little off the middle of the picture, as in real cameras. Pixel centres at `centre`.
fn principal_point(index: usize, centre: f64) -> Value {
    let [width, height] = RESOLUTION.map(f64::from);
    let (aside, down) = (index as f64 * 1.7).sin_cos();
    json!([
        single(width / 2.0 - 0.5 + centre + 3.4 * aside),
        single(height / 2.0 - 0.5 + centre - 2.3 * down)
    ])
}

fn singles<const N: usize>(values: [f64; N]) -> Vec<f64> {
    values.map(single).to_vec()
}

fn ftheta(index: usize, field_deg: f64) -> Value {
    let half_rad = field_deg.to_radians() / 2.0;
    let edge_px = f64::from(RESOLUTION[0]) / 2.0;
    let [linear, cubic] = [half_rad / edge_px * 1.02, -half_rad / edge_px.powi(3) * 0.02];
    let angle = |r: f64| linear * r + cubic * r.powi(3);
    let corner_px = edge_px.hypot(f64::from(RESOLUTION[1]) / 2.0) * 1.02;
    json!({
        "principal_point": principal_point(index, 0.0),
        "reference_poly": "PIXELDIST_TO_ANGLE",
        "pixeldist_to_angle_poly": singles([0.0, linear, 0.0, cubic, 0.0, 0.0]),
        "angle_to_pixeldist_poly": singles(inverse_polynomial(angle, corner_px)),
        "max_angle": single(angle(corner_px)),
        "linear_cde": singles(if index == 0 { [1.0001, 0.00002, -0.00003] } else { [1.0, 0.0, 0.0] }),
    })
}

/// The r(angle) of fifth order that misses least, in the sense of least squares, over 0 to `largest_px`.
fn inverse_polynomial(angle: impl Fn(f64) -> f64, largest_px: f64) -> [f64; 6] {
    let scale = angle(largest_px);
    let mut normal = [[0.0; 6]; 5];
    for sample in 1..=400 {
        let r = f64::from(sample) / 400.0;
        let x = angle(r * largest_px) / scale;
        let powers: [f64; 5] = std::array::from_fn(|power| x.powi(power as i32 + 1));
        for (row, a) in normal.iter_mut().zip(powers) {
            for (entry, b) in row.iter_mut().zip(powers.into_iter().chain([r])) {
                *entry += a * b;
            }
        }
    }
    let solution = solve(normal);
    let coefficient = |power: usize| match power {
        0 => 0.0,
        _ => solution[power - 1] * largest_px / scale.powi(power as i32),
    };
    std::array::from_fn(coefficient)
}

/// Gauss-Jordan on a positive definite system.
fn solve(mut rows: [[f64; 6]; 5]) -> [f64; 5] {
    for pivot in 0..5 {
        let divisor = rows[pivot][pivot];
        rows[pivot] = rows[pivot].map(|entry| entry / divisor);
        let pivot_row = rows[pivot];
        for (index, row) in rows.iter_mut().enumerate() {
            let factor = row[pivot];
            if index != pivot {
                for (entry, above) in row.iter_mut().zip(pivot_row) {
                    *entry -= factor * above;
                }
            }
        }
    }
    rows.map(|row| row[5])
}

fn pinhole(index: usize, field_deg: f64) -> Value {
    let focal_px = f64::from(RESOLUTION[0]) / 2.0 / (field_deg.min(100.0).to_radians() / 2.0).tan();
    json!({
        "principal_point": principal_point(index, 0.5),
        "focal_length": [single(focal_px), single(focal_px * 1.0005)],
        "radial_coeffs": singles([-0.12, 0.021, 0.0004, 0.0, 0.0, 0.0]),
        "tangential_coeffs": singles([0.0002, -0.0003]),
        "thin_prism_coeffs": singles([0.0; 4]),
    })
}

fn fisheye(index: usize, field_deg: f64) -> Value {
    let half_rad = field_deg.to_radians() / 2.0;
    let focal_px = f64::from(RESOLUTION[0]) / 2.0 / half_rad;
    json!({
        "principal_point": principal_point(index, 0.5),
        "focal_length": [single(focal_px), single(focal_px)],
        "radial_coeffs": singles([-0.012, 0.004, -0.0021, 0.0003]),
        "max_angle": single((half_rad * 1.25).min(FRAC_PI_2 * 1.1)),
    })
}

/// Forward polynomials over the ray's angles (1, x, x^2, y, xy, y^2), and their exact inverses: shift and stretch.
fn windshield() -> Value {
    let ([shift_x, stretch_x], [shift_y, stretch_y]) = ([-0.00052, 1.0021], [0.0011, 0.9987]);
    json!({
        "reference_poly": "FORWARD",
        "horizontal_poly": singles([shift_x, stretch_x, 0.0, 0.0, 0.0, 0.0]),
        "vertical_poly": singles([shift_y, 0.0, 0.0, stretch_y, 0.0, 0.0]),
        "horizontal_poly_inverse": singles([-shift_x / stretch_x, 1.0 / stretch_x, 0.0, 0.0, 0.0, 0.0]),
        "vertical_poly_inverse": singles([-shift_y / stretch_y, 0.0, 0.0, 1.0 / stretch_y, 0.0, 0.0]),
    })
}
