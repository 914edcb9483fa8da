//! Camera models: what a NuRec scenario says of a lens, and the mathematics of it.
//!
//! Axes: x right, y down, z forward. Image points: pixels of the native resolution, origin at the top-left corner of the
//! first pixel, pixel centres at +0.5.

mod fisheye;
mod ftheta;
mod model;
mod pinhole;
mod polynomial;
pub(super) mod read;
mod rolling;
mod windshield;

pub use rolling::pose_during_shutter;

#[cfg(test)]
mod tests;

/// A calibrated camera's lens and shutter.
#[derive(Debug, Clone, PartialEq)]
pub struct CameraModel {
    /// Width and height in pixels: the native resolution all parameters below refer to.
    pub resolution: [u32; 2],
    /// How a frame is exposed.
    pub shutter: Shutter,
    /// How a ray becomes an image point.
    pub projection: Projection,
    /// Distortion in front of the lens, where there is any.
    pub windshield: Option<Windshield>,
}

/// In which order rows or columns are exposed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Shutter {
    /// Not known: treated as global.
    #[default]
    Unknown,
    /// First row first.
    RollingTopToBottom,
    /// First column first.
    RollingLeftToRight,
    /// Last row first.
    RollingBottomToTop,
    /// Last column first.
    RollingRightToLeft,
    /// All at once.
    Global,
}

impl Shutter {
    /// As recordings write it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unknown => "UNKNOWN",
            Self::RollingTopToBottom => "ROLLING_TOP_TO_BOTTOM",
            Self::RollingLeftToRight => "ROLLING_LEFT_TO_RIGHT",
            Self::RollingBottomToTop => "ROLLING_BOTTOM_TO_TOP",
            Self::RollingRightToLeft => "ROLLING_RIGHT_TO_LEFT",
            Self::Global => "GLOBAL",
        }
    }
}

/// How a ray becomes an image point.
#[derive(Debug, Clone, PartialEq)]
pub enum Projection {
    /// NVIDIA's f-theta polynomial model.
    FTheta(FTheta),
    /// OpenCV pinhole with radial, tangential and thin-prism distortion.
    Pinhole(Pinhole),
    /// OpenCV fisheye.
    Fisheye(Fisheye),
}

impl Projection {
    /// As recordings write it.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::FTheta(_) => "ftheta",
            Self::Pinhole(_) => "opencv-pinhole",
            Self::Fisheye(_) => "opencv-fisheye",
        }
    }
}

/// Which f-theta polynomial is exact; the other is its approximate inverse.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReferencePolynomial {
    /// Pixel distance to angle, "backward".
    PixelDistanceToAngle,
    /// Angle to pixel distance, "forward".
    AngleToPixelDistance,
}

/// f-theta parameters.
#[derive(Debug, Clone, PartialEq)]
pub struct FTheta {
    /// In pixels; refers to the centre of the first pixel, unlike that of the other models.
    pub principal_point: [f64; 2],
    /// Which polynomial is exact.
    pub reference: ReferencePolynomial,
    /// Radians from pixels, lowest order first.
    pub pixel_distance_to_angle: [f64; 6],
    /// Pixels from radians, lowest order first.
    pub angle_to_pixel_distance: [f64; 6],
    /// Rays further from the axis than this, in radians, are not seen.
    pub max_angle_rad: f64,
    /// c, d, e of the affine part [[c, d], [e, 1]].
    pub linear_cde: [f64; 3],
}

/// OpenCV pinhole parameters.
#[derive(Debug, Clone, PartialEq)]
pub struct Pinhole {
    /// In pixels.
    pub principal_point: [f64; 2],
    /// In pixels.
    pub focal_length: [f64; 2],
    /// k1 to k6.
    pub radial: [f64; 6],
    /// p1, p2.
    pub tangential: [f64; 2],
    /// s1 to s4.
    pub thin_prism: [f64; 4],
}

/// OpenCV fisheye parameters.
#[derive(Debug, Clone, PartialEq)]
pub struct Fisheye {
    /// In pixels.
    pub principal_point: [f64; 2],
    /// In pixels.
    pub focal_length: [f64; 2],
    /// k1 to k4.
    pub radial: [f64; 4],
    /// Rays further from the axis than this, in radians, are not seen.
    pub max_angle_rad: f64,
}

/// Which windshield polynomials are exact; the others are their approximate inverse.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WindshieldReference {
    /// From outside to the lens.
    Forward,
    /// From the lens to the outside.
    Backward,
}

/// Bivariate windshield distortion: two angle polynomials over the angles of the ray, in each direction. Coefficients are
/// in triangular order: for degree two, with x the horizontal and y the vertical angle, those of
/// 1, x, x^2, y, x y, y^2.
#[derive(Debug, Clone, PartialEq)]
pub struct Windshield {
    /// Which direction is exact.
    pub reference: WindshieldReference,
    /// Horizontal angle, from outside to the lens, whichever is exact.
    pub horizontal: Vec<f64>,
    /// Vertical angle, from outside to the lens.
    pub vertical: Vec<f64>,
    /// Horizontal angle, from the lens to the outside.
    pub horizontal_inverse: Vec<f64>,
    /// Vertical angle, from the lens to the outside.
    pub vertical_inverse: Vec<f64>,
}
