//! Camera models on the wire, both ways. Enumerations are mapped by name: their numbers differ between file and wire.

use crate::proto::nurec::sensorsim::{
    BivariateWindshieldModelParameters, CameraSpec, FthetaCameraParam, LinearCde, OpenCvFisheyeCameraParam,
    OpenCvPinholeCameraParam, ShutterType, bivariate_windshield_model_parameters as windshield,
    camera_spec::{CameraParam, ExternalDistortion},
    ftheta_camera_param as ftheta,
};
use crate::scene::camera::{
    CameraModel, FTheta, Fisheye, Pinhole, Projection, ReferencePolynomial, Shutter, Windshield,
    WindshieldReference,
};

/// Greatest native width or height that is believed, in pixels.
const MAX_NATIVE_SIDE: u32 = 32_768;

/// Greatest number of coefficients of a windshield polynomial: order 10 in two variables.
const MAX_WINDSHIELD_COEFFICIENTS: usize = 66;

/// A camera to the wire.
#[must_use]
pub fn to_wire(logical_name: &str, model: &CameraModel) -> CameraSpec {
    let [resolution_w, resolution_h] = model.resolution;
    CameraSpec {
        logical_id: logical_name.to_owned(),
        trajectory_idx: 0,
        resolution_h,
        resolution_w,
        shutter_type: shutter_to_wire(model.shutter).into(),
        camera_param: Some(projection_to_wire(&model.projection)),
        external_distortion: model.windshield.as_ref().map(windshield_to_wire),
        ..CameraSpec::default()
    }
}

/// A camera from the wire.
///
/// # Errors
/// A sentence naming the field, when the model is missing or makes no sense.
pub fn from_wire(spec: &CameraSpec) -> Result<CameraModel, String> {
    let resolution = [spec.resolution_w, spec.resolution_h];
    if resolution.iter().any(|side| !(1..=MAX_NATIVE_SIDE).contains(side)) {
        let [width, height] = resolution;
        return Err(format!(
            "camera_intrinsics.resolution is {width}x{height}, expected 1 to {MAX_NATIVE_SIDE} a side"
        ));
    }
    let param = spec.camera_param.as_ref().ok_or("camera_intrinsics has no camera_param")?;
    let windshield = match &spec.external_distortion {
        Some(ExternalDistortion::BivariateWindshieldModelParam(param)) => Some(windshield_from_wire(param)?),
        None => None,
    };
    Ok(CameraModel {
        resolution,
        shutter: shutter_from_wire(spec.shutter_type()),
        projection: projection_from_wire(param)?,
        windshield,
    })
}

fn shutter_to_wire(shutter: Shutter) -> ShutterType {
    match shutter {
        Shutter::Unknown => ShutterType::Unknown,
        Shutter::RollingTopToBottom => ShutterType::RollingTopToBottom,
        Shutter::RollingLeftToRight => ShutterType::RollingLeftToRight,
        Shutter::RollingBottomToTop => ShutterType::RollingBottomToTop,
        Shutter::RollingRightToLeft => ShutterType::RollingRightToLeft,
        Shutter::Global => ShutterType::Global,
    }
}

fn shutter_from_wire(shutter: ShutterType) -> Shutter {
    match shutter {
        ShutterType::Unknown => Shutter::Unknown,
        ShutterType::RollingTopToBottom => Shutter::RollingTopToBottom,
        ShutterType::RollingLeftToRight => Shutter::RollingLeftToRight,
        ShutterType::RollingBottomToTop => Shutter::RollingBottomToTop,
        ShutterType::RollingRightToLeft => Shutter::RollingRightToLeft,
        ShutterType::Global => Shutter::Global,
    }
}

fn projection_to_wire(projection: &Projection) -> CameraParam {
    match projection {
        Projection::FTheta(model) => {
            let reference = match model.reference {
                ReferencePolynomial::PixelDistanceToAngle => ftheta::PolynomialType::PixeldistToAngle,
                ReferencePolynomial::AngleToPixelDistance => ftheta::PolynomialType::AngleToPixeldist,
            };
            let [linear_c, linear_d, linear_e] = affine(model.linear_cde);
            CameraParam::FthetaParam(FthetaCameraParam {
                principal_point_x: model.principal_point[0],
                principal_point_y: model.principal_point[1],
                reference_poly: reference.into(),
                pixeldist_to_angle_poly: model.pixel_distance_to_angle.to_vec(),
                angle_to_pixeldist_poly: model.angle_to_pixel_distance.to_vec(),
                max_angle: model.max_angle_rad,
                linear_cde: Some(LinearCde { linear_c, linear_d, linear_e }),
            })
        }
        Projection::Pinhole(model) => CameraParam::OpencvPinholeParam(OpenCvPinholeCameraParam {
            principal_point_x: model.principal_point[0],
            principal_point_y: model.principal_point[1],
            focal_length_x: model.focal_length[0],
            focal_length_y: model.focal_length[1],
            radial_coeffs: model.radial.to_vec(),
            tangential_coeffs: model.tangential.to_vec(),
            thin_prism_coeffs: model.thin_prism.to_vec(),
        }),
        Projection::Fisheye(model) => CameraParam::OpencvFisheyeParam(OpenCvFisheyeCameraParam {
            principal_point_x: model.principal_point[0],
            principal_point_y: model.principal_point[1],
            focal_length_x: model.focal_length[0],
            focal_length_y: model.focal_length[1],
            radial_coeffs: model.radial.to_vec(),
            max_angle: model.max_angle_rad,
        }),
    }
}

fn projection_from_wire(param: &CameraParam) -> Result<Projection, String> {
    match param {
        CameraParam::FthetaParam(param) => {
            let reference = match param.reference_poly() {
                ftheta::PolynomialType::AngleToPixeldist => ReferencePolynomial::AngleToPixelDistance,
                // Clients that leave it out mean the polynomial that calibrations come with.
                ftheta::PolynomialType::PixeldistToAngle | ftheta::PolynomialType::Unknown => {
                    ReferencePolynomial::PixelDistanceToAngle
                }
            };
            let linear = param.linear_cde.unwrap_or_default();
            let linear_cde = affine([linear.linear_c, linear.linear_d, linear.linear_e]);
            finite(&linear_cde, "ftheta_param.linear_cde")?;
            Ok(Projection::FTheta(FTheta {
                principal_point: pair(
                    param.principal_point_x,
                    param.principal_point_y,
                    "ftheta_param.principal_point",
                )?,
                reference,
                pixel_distance_to_angle: padded(
                    &param.pixeldist_to_angle_poly,
                    "ftheta_param.pixeldist_to_angle_poly",
                )?,
                angle_to_pixel_distance: padded(
                    &param.angle_to_pixeldist_poly,
                    "ftheta_param.angle_to_pixeldist_poly",
                )?,
                max_angle_rad: angle(param.max_angle, "ftheta_param.max_angle")?,
                linear_cde,
            }))
        }
        CameraParam::OpencvPinholeParam(param) => Ok(Projection::Pinhole(Pinhole {
            principal_point: pair(
                param.principal_point_x,
                param.principal_point_y,
                "opencv_pinhole_param.principal_point",
            )?,
            focal_length: focal(param.focal_length_x, param.focal_length_y, "opencv_pinhole_param")?,
            radial: padded(&param.radial_coeffs, "opencv_pinhole_param.radial_coeffs")?,
            tangential: padded(&param.tangential_coeffs, "opencv_pinhole_param.tangential_coeffs")?,
            thin_prism: padded(&param.thin_prism_coeffs, "opencv_pinhole_param.thin_prism_coeffs")?,
        })),
        CameraParam::OpencvFisheyeParam(param) => Ok(Projection::Fisheye(Fisheye {
            principal_point: pair(
                param.principal_point_x,
                param.principal_point_y,
                "opencv_fisheye_param.principal_point",
            )?,
            focal_length: focal(param.focal_length_x, param.focal_length_y, "opencv_fisheye_param")?,
            radial: padded(&param.radial_coeffs, "opencv_fisheye_param.radial_coeffs")?,
            max_angle_rad: angle(param.max_angle, "opencv_fisheye_param.max_angle")?,
        })),
    }
}

fn windshield_to_wire(model: &Windshield) -> ExternalDistortion {
    let reference = match model.reference {
        WindshieldReference::Forward => windshield::ReferencePolynomial::Forward,
        WindshieldReference::Backward => windshield::ReferencePolynomial::Backward,
    };
    ExternalDistortion::BivariateWindshieldModelParam(BivariateWindshieldModelParameters {
        reference_poly: reference.into(),
        horizontal_poly: model.horizontal.clone(),
        vertical_poly: model.vertical.clone(),
        horizontal_poly_inverse: model.horizontal_inverse.clone(),
        vertical_poly_inverse: model.vertical_inverse.clone(),
    })
}

fn windshield_from_wire(param: &BivariateWindshieldModelParameters) -> Result<Windshield, String> {
    let coefficients = |values: &[f64], name: &str| {
        let what = format!("bivariate_windshield_model_param.{name}");
        if values.len() > MAX_WINDSHIELD_COEFFICIENTS {
            return Err(format!(
                "{what} has {} coefficients, expected at most {MAX_WINDSHIELD_COEFFICIENTS}",
                values.len()
            ));
        }
        finite(values, &what)?;
        Ok(values.to_vec())
    };
    Ok(Windshield {
        reference: match param.reference_poly() {
            windshield::ReferencePolynomial::Forward => WindshieldReference::Forward,
            windshield::ReferencePolynomial::Backward => WindshieldReference::Backward,
        },
        horizontal: coefficients(&param.horizontal_poly, "horizontal_poly")?,
        vertical: coefficients(&param.vertical_poly, "vertical_poly")?,
        horizontal_inverse: coefficients(&param.horizontal_poly_inverse, "horizontal_poly_inverse")?,
        vertical_inverse: coefficients(&param.vertical_poly_inverse, "vertical_poly_inverse")?,
    })
}

/// All zero means the identity: that is how files and clients leave it out.
fn affine(linear_cde: [f64; 3]) -> [f64; 3] {
    if linear_cde == [0.0; 3] { [1.0, 0.0, 0.0] } else { linear_cde }
}

fn finite(values: &[f64], what: &str) -> Result<(), String> {
    match values.iter().position(|value| !value.is_finite()) {
        Some(index) => Err(format!("{what}[{index}] is not a finite number")),
        None => Ok(()),
    }
}

fn padded<const N: usize>(values: &[f64], what: &str) -> Result<[f64; N], String> {
    finite(values, what)?;
    let mut all = [0.0; N];
    let taken = all
        .get_mut(..values.len())
        .ok_or_else(|| format!("{what} has {} coefficients, expected at most {N}", values.len()))?;
    taken.copy_from_slice(values);
    Ok(all)
}

fn pair(x: f64, y: f64, what: &str) -> Result<[f64; 2], String> {
    finite(&[x, y], what)?;
    Ok([x, y])
}

fn focal(x: f64, y: f64, what: &str) -> Result<[f64; 2], String> {
    if [x, y].iter().all(|value| value.is_finite() && *value > 0.0) {
        return Ok([x, y]);
    }
    Err(format!("{what}.focal_length is {x}, {y}, expected two positive numbers"))
}

/// Zero means not given: as far as the model goes.
fn angle(radians: f64, what: &str) -> Result<f64, String> {
    if !radians.is_finite() || radians < 0.0 {
        return Err(format!("{what} is {radians}, expected a positive number of radians"));
    }
    Ok(if radians == 0.0 { std::f64::consts::PI } else { radians })
}
