//! OpenCV's pinhole model with rational radial, tangential and thin-prism distortion.
//!
//! The polynomials fold back on themselves outside the field they were fitted to, and points far off the axis would
//! reappear in the picture. 3DGRUT, which reconstructs these scenes, keeps only points whose radial factor is between
//! 0.8 and 1.2; so does this.

use std::ops::RangeInclusive;

use glam::{DMat2, DVec2, DVec3};

use super::Pinhole;

/// Radial factors that are trusted.
const TRUSTED: RangeInclusive<f64> = 0.8..=1.2;

impl Pinhole {
    /// Where a point in sensor coordinates is seen, in native pixels.
    pub(super) fn project(&self, point: DVec3) -> Option<DVec2> {
        if point.z <= 0.0 {
            return None;
        }
        let (distorted, radial) = self.distort(DVec2::new(point.x, point.y) / point.z);
        TRUSTED.contains(&radial).then(|| {
            distorted * DVec2::from_array(self.focal_length) + DVec2::from_array(self.principal_point)
        })
    }

    /// The unit ray of an image point in native pixels: Newton's method on the distortion, to convergence.
    pub(super) fn unproject(&self, pixel: DVec2) -> Option<DVec3> {
        let target = (pixel - DVec2::from_array(self.principal_point)) / DVec2::from_array(self.focal_length);
        let mut flat = target;
        for _ in 0..32 {
            let (distorted, radial) = self.distort(flat);
            let step = self.jacobian(flat).inverse() * (distorted - target);
            flat -= step;
            if !flat.is_finite() {
                return None;
            }
            if step.length() <= 1e-13 * (1.0 + flat.length()) {
                return TRUSTED.contains(&radial).then(|| flat.extend(1.0).normalize());
            }
        }
        None
    }

    /// A point of the plane z = 1 after distortion, and its radial factor.
    fn distort(&self, flat: DVec2) -> (DVec2, f64) {
        let DVec2 { x, y } = flat;
        let ([p1, p2], [s1, s2, s3, s4]) = (self.tangential, self.thin_prism);
        let r2 = flat.length_squared();
        let (numerator, denominator, _, _) = self.rational(r2);
        let radial = numerator / denominator;
        let shift = DVec2::new(
            2.0 * p1 * x * y + p2 * (r2 + 2.0 * x * x) + r2 * (s1 + r2 * s2),
            p1 * (r2 + 2.0 * y * y) + 2.0 * p2 * x * y + r2 * (s3 + r2 * s4),
        );
        (flat * radial + shift, radial)
    }

    /// The derivative of the distortion.
    fn jacobian(&self, flat: DVec2) -> DMat2 {
        let DVec2 { x, y } = flat;
        let ([p1, p2], [s1, s2, s3, s4]) = (self.tangential, self.thin_prism);
        let r2 = flat.length_squared();
        let (numerator, denominator, numerator_slope, denominator_slope) = self.rational(r2);
        let radial = numerator / denominator;
        let radial_slope = (numerator_slope - radial * denominator_slope) / denominator;
        let (prism_x, prism_y) = (s1 + 2.0 * s2 * r2, s3 + 2.0 * s4 * r2);
        let by_x = DVec2::new(
            radial + 2.0 * x * x * radial_slope + 2.0 * p1 * y + 6.0 * p2 * x + 2.0 * x * prism_x,
            2.0 * x * y * radial_slope + 2.0 * p1 * x + 2.0 * p2 * y + 2.0 * x * prism_y,
        );
        let by_y = DVec2::new(
            2.0 * x * y * radial_slope + 2.0 * p1 * x + 2.0 * p2 * y + 2.0 * y * prism_x,
            radial + 2.0 * y * y * radial_slope + 6.0 * p1 * y + 2.0 * p2 * x + 2.0 * y * prism_y,
        );
        DMat2::from_cols(by_x, by_y)
    }

    /// Numerator and denominator of the radial factor at a squared radius, then their derivatives.
    fn rational(&self, r2: f64) -> (f64, f64, f64, f64) {
        let [k1, k2, k3, k4, k5, k6] = self.radial;
        (
            1.0 + r2 * (k1 + r2 * (k2 + r2 * k3)),
            1.0 + r2 * (k4 + r2 * (k5 + r2 * k6)),
            k1 + r2 * (2.0 * k2 + r2 * 3.0 * k3),
            k4 + r2 * (2.0 * k5 + r2 * 3.0 * k6),
        )
    }
}
