//! OpenCV's fisheye model (Kannala and Brandt): an odd polynomial of the angle to the axis, focal lengths for each axis.

use glam::{DVec2, DVec3};

use super::ftheta::limit;
use super::{Fisheye, polynomial};

impl Fisheye {
    /// Where a point in sensor coordinates is seen, in native pixels.
    pub(super) fn project(&self, point: DVec3) -> Option<DVec2> {
        let off_axis = point.x.hypot(point.y);
        let angle = off_axis.atan2(point.z);
        if angle >= limit(self.max_angle_rad) {
            return None;
        }
        let distance = polynomial::value(&self.odd_polynomial(), angle);
        let scale = if off_axis > 0.0 { distance / off_axis } else { 0.0 };
        let ([fx, fy], [cx, cy]) = (self.focal_length, self.principal_point);
        Some(DVec2::new(fx * scale * point.x + cx, fy * scale * point.y + cy))
    }

    /// The unit ray of an image point in native pixels.
    pub(super) fn unproject(&self, pixel: DVec2) -> Option<DVec3> {
        let ([fx, fy], [cx, cy]) = (self.focal_length, self.principal_point);
        let (a, b) = ((pixel.x - cx) / fx, (pixel.y - cy) / fy);
        let distance = a.hypot(b);
        if distance < 1e-12 {
            return Some(DVec3::Z);
        }
        let end = limit(self.max_angle_rad);
        let angle = polynomial::inverse(&self.odd_polynomial(), distance, distance.min(end))?;
        if angle >= end {
            return None;
        }
        let (sine, cosine) = angle.sin_cos();
        Some(DVec3::new(sine * a / distance, sine * b / distance, cosine))
    }

    /// theta (1 + k1 theta^2 + k2 theta^4 + k3 theta^6 + k4 theta^8), as plain coefficients.
    fn odd_polynomial(&self) -> [f64; 10] {
        let [k1, k2, k3, k4] = self.radial;
        [0.0, 1.0, 0.0, k1, 0.0, k2, 0.0, k3, 0.0, k4]
    }
}
