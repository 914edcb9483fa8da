//! NVIDIA's f-theta model: the distance from the principal point is a polynomial of the angle to the axis.
//!
//! Definition: DriveWorks' `dwFThetaCameraConfig` and NCore's page on sensor models. Two polynomials are stored, one
//! the exact one; the other only starts the search for its inverse. Principal points refer to the centre of the first
//! pixel here, to its corner everywhere else: hence the half.

use glam::{DVec2, DVec3};

use super::{FTheta, ReferencePolynomial, polynomial};

/// Nearer to the principal point than this, in pixels, a ray is the axis itself.
const CENTRE_PX: f64 = 1e-9;

impl FTheta {
    /// Where a point in sensor coordinates is seen, in native pixels.
    pub(super) fn project(&self, point: DVec3) -> Option<DVec2> {
        let off_axis = point.x.hypot(point.y);
        let angle = off_axis.atan2(point.z);
        if angle >= limit(self.max_angle_rad) {
            return None;
        }
        let forward = polynomial::value(&self.angle_to_pixel_distance, angle);
        let distance = match self.reference {
            ReferencePolynomial::AngleToPixelDistance => forward,
            ReferencePolynomial::PixelDistanceToAngle => {
                polynomial::inverse(&self.pixel_distance_to_angle, angle, forward)?
            }
        };
        let scale = if off_axis > 0.0 { distance / off_axis } else { 0.0 };
        let (a, b) = (scale * point.x, scale * point.y);
        let [c, d, e] = self.affine();
        let [cx, cy] = self.principal_point;
        Some(DVec2::new(c * a + d * b + cx + 0.5, e * a + b + cy + 0.5))
    }

    /// The unit ray of an image point in native pixels.
    pub(super) fn unproject(&self, pixel: DVec2) -> Option<DVec3> {
        let [c, d, e] = self.affine();
        let [cx, cy] = self.principal_point;
        let (u, v) = (pixel.x - cx - 0.5, pixel.y - cy - 0.5);
        let determinant = c - d * e;
        let (a, b) = ((u - d * v) / determinant, (c * v - e * u) / determinant);
        let distance = a.hypot(b);
        if distance < CENTRE_PX {
            return Some(DVec3::Z);
        }
        let backward = polynomial::value(&self.pixel_distance_to_angle, distance);
        let angle = match self.reference {
            ReferencePolynomial::PixelDistanceToAngle => backward,
            ReferencePolynomial::AngleToPixelDistance => {
                polynomial::inverse(&self.angle_to_pixel_distance, distance, backward)?
            }
        };
        if !(0.0..limit(self.max_angle_rad)).contains(&angle) {
            return None;
        }
        let (sine, cosine) = angle.sin_cos();
        Some(DVec3::new(sine * a / distance, sine * b / distance, cosine))
    }

    /// c, d, e; all zero stands for the identity, as in DriveWorks.
    fn affine(&self) -> [f64; 3] {
        if self.linear_cde == [0.0; 3] { [1.0, 0.0, 0.0] } else { self.linear_cde }
    }
}

/// The angle, in radians, at which a lens ends; none given (zero) leaves the sphere less its rear pole.
pub(super) fn limit(max_angle_rad: f64) -> f64 {
    use std::f64::consts::PI;
    if max_angle_rad > 0.0 { max_angle_rad.min(PI) } else { PI }
}
