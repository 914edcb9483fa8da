//! `camera_model` of a calibration: `{type, parameters}`, as NVIDIA's NCore writes it and as third parties do.

use std::f64::consts::PI;

use super::{
    CameraModel, FTheta, Fisheye, Pinhole, Projection, ReferencePolynomial, Shutter, Windshield,
    WindshieldReference,
};
use crate::scene::load::json::{Json, Kind, Result};

/// Wider or higher pictures than this are taken for an error.
const LARGEST_SIDE_PX: i64 = 16_384;
/// Numbers of coefficients of a full polynomial of two variables.
const TRIANGULAR: [usize; 6] = [1, 3, 6, 10, 15, 21];

/// The parameters of any model, in whatever order they come.
#[derive(Default)]
struct Parameters {
    resolution: Option<[u32; 2]>,
    shutter: Shutter,
    windshield: Option<Windshield>,
    principal_point: Option<[f64; 2]>,
    focal_length: Option<[f64; 2]>,
    reference: Option<ReferencePolynomial>,
    pixel_distance_to_angle: Option<[f64; 6]>,
    angle_to_pixel_distance: Option<[f64; 6]>,
    max_angle_rad: Option<f64>,
    linear_cde: Option<[f64; 3]>,
    radial: Option<[f64; 6]>,
    tangential: Option<[f64; 2]>,
    thin_prism: Option<[f64; 4]>,
}

/// Reads `{type, parameters}`.
///
/// # Errors
/// When the type is not known, a parameter is missing, or one has a value no lens has.
pub fn camera_model(json: &mut Json) -> Result<CameraModel> {
    let (mut kind, mut found) = (None, None);
    json.object(|json, key| {
        match key {
            "type" => kind = Some(json.string()?),
            "parameters" => found = Some(parameters(json)?),
            _ => json.skip()?,
        }
        Ok(())
    })?;
    let kind = kind.ok_or_else(|| json.fault_in(".type", "is missing"))?;
    let found = found.ok_or_else(|| json.fault_in(".parameters", "is missing"))?;
    let resolution = need(json, found.resolution, "resolution")?;
    let projection = match kind.as_str() {
        "ftheta" => Projection::FTheta(ftheta(json, &found)?),
        "opencv-pinhole" | "opencv_pinhole" | "pinhole" => Projection::Pinhole(pinhole(json, &found)?),
        "opencv-fisheye" | "opencv_fisheye" | "fisheye" => Projection::Fisheye(fisheye(json, &found)?),
        _ => {
            let reason =
                format!("is {kind:?}, expected \"ftheta\", \"opencv-pinhole\" or \"opencv-fisheye\"");
            return Err(json.fault_in(".type", reason));
        }
    };
    Ok(CameraModel { resolution, shutter: found.shutter, projection, windshield: found.windshield })
}

fn parameters(json: &mut Json) -> Result<Parameters> {
    let mut found = Parameters::default();
    json.object(|json, key| {
        match key {
            "resolution" => found.resolution = Some(resolution(json)?),
            "shutter_type" => found.shutter = json.optional(shutter)?.unwrap_or_default(),
            "external_distortion_parameters" => found.windshield = json.optional(windshield)?,
            "principal_point" => found.principal_point = Some(json.numbers()?),
            "focal_length" => found.focal_length = Some(focal_length(json)?),
            "reference_poly" => found.reference = Some(reference(json)?),
            "pixeldist_to_angle_poly" => found.pixel_distance_to_angle = Some(padded(json)?),
            "angle_to_pixeldist_poly" => found.angle_to_pixel_distance = Some(padded(json)?),
            "max_angle" => found.max_angle_rad = json.optional(max_angle)?,
            "linear_cde" => found.linear_cde = json.optional(linear_cde)?,
            "radial_coeffs" => found.radial = json.optional(padded)?,
            "tangential_coeffs" => found.tangential = json.optional(padded)?,
            "thin_prism_coeffs" => found.thin_prism = json.optional(padded)?,
            _ => json.skip()?,
        }
        Ok(())
    })?;
    Ok(found)
}

fn ftheta(json: &Json, found: &Parameters) -> Result<FTheta> {
    let reference = need(json, found.reference, "reference_poly")?;
    let pixel_distance_to_angle = need(json, found.pixel_distance_to_angle, "pixeldist_to_angle_poly")?;
    let angle_to_pixel_distance = need(json, found.angle_to_pixel_distance, "angle_to_pixeldist_poly")?;
    let (exact, key) = match reference {
        ReferencePolynomial::PixelDistanceToAngle => (pixel_distance_to_angle, "pixeldist_to_angle_poly"),
        ReferencePolynomial::AngleToPixelDistance => (angle_to_pixel_distance, "angle_to_pixeldist_poly"),
    };
    if exact.iter().all(|coefficient| *coefficient == 0.0) {
        return Err(json.fault_in(&format!(".parameters.{key}"), "has only zeros, expected the lens"));
    }
    let linear_cde = found.linear_cde.filter(|cde| *cde != [0.0; 3]).unwrap_or([1.0, 0.0, 0.0]);
    Ok(FTheta {
        principal_point: need(json, found.principal_point, "principal_point")?,
        reference,
        pixel_distance_to_angle,
        angle_to_pixel_distance,
        max_angle_rad: found.max_angle_rad.unwrap_or(PI),
        linear_cde,
    })
}

fn pinhole(json: &Json, found: &Parameters) -> Result<Pinhole> {
    Ok(Pinhole {
        principal_point: need(json, found.principal_point, "principal_point")?,
        focal_length: need(json, found.focal_length, "focal_length")?,
        radial: found.radial.unwrap_or_default(),
        tangential: found.tangential.unwrap_or_default(),
        thin_prism: found.thin_prism.unwrap_or_default(),
    })
}

fn fisheye(json: &Json, found: &Parameters) -> Result<Fisheye> {
    let [k1, k2, k3, k4, k5, k6] = found.radial.unwrap_or_default();
    if k5 != 0.0 || k6 != 0.0 {
        return Err(json.fault_in(".parameters.radial_coeffs", "has 6 coefficients, expected 4"));
    }
    Ok(Fisheye {
        principal_point: need(json, found.principal_point, "principal_point")?,
        focal_length: need(json, found.focal_length, "focal_length")?,
        radial: [k1, k2, k3, k4],
        max_angle_rad: found.max_angle_rad.unwrap_or(PI),
    })
}

fn need<T>(json: &Json, value: Option<T>, key: &str) -> Result<T> {
    value.ok_or_else(|| json.fault_in(&format!(".parameters.{key}"), "is missing"))
}

fn resolution(json: &mut Json) -> Result<[u32; 2]> {
    let mut sides = [0; 2];
    let count = json.list(|json, index| {
        let side = json.integer()?;
        if !(1..=LARGEST_SIDE_PX).contains(&side) {
            return Err(json.fault(format!("is {side}, expected 1 to {LARGEST_SIDE_PX} pixels")));
        }
        if let Some(slot) = sides.get_mut(index) {
            *slot = u32::try_from(side).unwrap_or_default();
        }
        Ok(())
    })?;
    if count == 2 {
        return Ok(sides);
    }
    Err(json.fault(format!("has {count} numbers, expected width and height")))
}

fn shutter(json: &mut Json) -> Result<Shutter> {
    Ok(match json.string()?.as_str() {
        "ROLLING_TOP_TO_BOTTOM" => Shutter::RollingTopToBottom,
        "ROLLING_LEFT_TO_RIGHT" => Shutter::RollingLeftToRight,
        "ROLLING_BOTTOM_TO_TOP" => Shutter::RollingBottomToTop,
        "ROLLING_RIGHT_TO_LEFT" => Shutter::RollingRightToLeft,
        "GLOBAL" => Shutter::Global,
        _ => Shutter::Unknown,
    })
}

fn reference(json: &mut Json) -> Result<ReferencePolynomial> {
    match json.string()?.as_str() {
        "PIXELDIST_TO_ANGLE" => Ok(ReferencePolynomial::PixelDistanceToAngle),
        "ANGLE_TO_PIXELDIST" => Ok(ReferencePolynomial::AngleToPixelDistance),
        other => {
            Err(json
                .fault(format!("is {other:?}, expected \"PIXELDIST_TO_ANGLE\" or \"ANGLE_TO_PIXELDIST\"")))
        }
    }
}

fn focal_length(json: &mut Json) -> Result<[f64; 2]> {
    let lengths: [f64; 2] = json.numbers()?;
    if lengths.iter().all(|length| *length > 0.0) {
        return Ok(lengths);
    }
    Err(json.fault(format!("is {lengths:?}, expected pixels above 0")))
}

fn max_angle(json: &mut Json) -> Result<f64> {
    let angle = json.finite()?;
    if angle > 0.0 {
        return Ok(angle);
    }
    Err(json.fault(format!("is {angle}, expected radians above 0")))
}

/// A list, or an object that names the three.
fn linear_cde(json: &mut Json) -> Result<[f64; 3]> {
    if json.kind()? == Kind::List {
        return json.numbers();
    }
    let mut cde = [1.0, 0.0, 0.0];
    let [c, d, e] = &mut cde;
    json.object(|json, key| {
        match key {
            "linear_c" | "c" => *c = json.finite()?,
            "linear_d" | "d" => *d = json.finite()?,
            "linear_e" | "e" => *e = json.finite()?,
            _ => json.skip()?,
        }
        Ok(())
    })?;
    Ok(cde)
}

/// Up to `N` coefficients, lowest order first; those left out are zero.
fn padded<const N: usize>(json: &mut Json) -> Result<[f64; N]> {
    let mut values = [0.0; N];
    let count = json.list(|json, index| {
        let value = json.finite()?;
        if let Some(slot) = values.get_mut(index) {
            *slot = value;
        }
        Ok(())
    })?;
    if count <= N {
        return Ok(values);
    }
    Err(json.fault(format!("has {count} coefficients, expected at most {N}")))
}

fn windshield(json: &mut Json) -> Result<Windshield> {
    let mut reference = None;
    let mut polynomials: [Option<Vec<f64>>; 4] = Default::default();
    let [horizontal, vertical, horizontal_inverse, vertical_inverse] = &mut polynomials;
    json.object(|json, key| {
        match key {
            "reference_poly" => reference = Some(windshield_reference(json)?),
            "horizontal_poly" => *horizontal = Some(polynomial(json)?),
            "vertical_poly" => *vertical = Some(polynomial(json)?),
            "horizontal_poly_inverse" => *horizontal_inverse = Some(polynomial(json)?),
            "vertical_poly_inverse" => *vertical_inverse = Some(polynomial(json)?),
            _ => json.skip()?,
        }
        Ok(())
    })?;
    let missing = |key: &str| json.fault_in(key, "is missing");
    let [horizontal, vertical, horizontal_inverse, vertical_inverse] = polynomials;
    Ok(Windshield {
        reference: reference.ok_or_else(|| missing(".reference_poly"))?,
        horizontal: horizontal.ok_or_else(|| missing(".horizontal_poly"))?,
        vertical: vertical.ok_or_else(|| missing(".vertical_poly"))?,
        horizontal_inverse: horizontal_inverse.ok_or_else(|| missing(".horizontal_poly_inverse"))?,
        vertical_inverse: vertical_inverse.ok_or_else(|| missing(".vertical_poly_inverse"))?,
    })
}

fn windshield_reference(json: &mut Json) -> Result<WindshieldReference> {
    match json.string()?.as_str() {
        "FORWARD" => Ok(WindshieldReference::Forward),
        "BACKWARD" => Ok(WindshieldReference::Backward),
        other => Err(json.fault(format!("is {other:?}, expected \"FORWARD\" or \"BACKWARD\""))),
    }
}

fn polynomial(json: &mut Json) -> Result<Vec<f64>> {
    let mut values = Vec::new();
    let count = json.list(|json, index| {
        let value = json.finite()?;
        if index < TRIANGULAR.len().pow(2) {
            values.push(value);
        }
        Ok(())
    })?;
    if TRIANGULAR.contains(&count) {
        return Ok(values);
    }
    Err(json.fault(format!("has {count} coefficients, expected one of {TRIANGULAR:?}")))
}
