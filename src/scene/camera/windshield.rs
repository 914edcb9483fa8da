//! The windshield in front of a lens: it bends rays, as polynomials of their horizontal and vertical angle.
//!
//! Definition: NCore's `BivariateWindshieldModel`. The angles are arc sines of the unit ray's x and y. Files store
//! polynomials for both directions, fitted apart, so that one does not quite undo the other. Here the one named as
//! reference is inverted for the other direction, where the stored polynomial only starts the search: projecting and
//! unprojecting then agree.

use glam::{DMat2, DVec2, DVec3};

use super::{Windshield, WindshieldReference};

impl Windshield {
    /// The ray at the lens of a ray outside. `None` for rays that do not pass.
    pub(super) fn inward(&self, outside: DVec3) -> Option<DVec3> {
        let exact = self.reference == WindshieldReference::Forward;
        bend(outside, |angles| {
            if exact {
                Some(self.forward().at(angles).0)
            } else {
                self.backward().solve(angles, &self.forward())
            }
        })
    }

    /// The ray outside of a ray at the lens. `None` for rays that do not pass.
    pub(super) fn outward(&self, inside: DVec3) -> Option<DVec3> {
        let exact = self.reference == WindshieldReference::Backward;
        bend(inside, |angles| {
            if exact {
                Some(self.backward().at(angles).0)
            } else {
                self.forward().solve(angles, &self.backward())
            }
        })
    }

    fn forward(&self) -> Pair<'_> {
        Pair { horizontal: &self.horizontal, vertical: &self.vertical }
    }

    fn backward(&self) -> Pair<'_> {
        Pair { horizontal: &self.horizontal_inverse, vertical: &self.vertical_inverse }
    }
}

/// Takes the angles of a ray to others. It stays on its side of the sensor's plane.
fn bend(ray: DVec3, angles_to: impl Fn(DVec2) -> Option<DVec2>) -> Option<DVec3> {
    let unit = ray.try_normalize()?;
    let angles = DVec2::new(unit.x.clamp(-1.0, 1.0).asin(), unit.y.clamp(-1.0, 1.0).asin());
    let bent = angles_to(angles)?;
    let (x, y) = (bent.x.sin(), bent.y.sin());
    let rest = 1.0 - x * x - y * y;
    (rest >= 0.0).then(|| DVec3::new(x, y, rest.sqrt().copysign(unit.z)))
}

/// The polynomials of one direction.
struct Pair<'a> {
    horizontal: &'a [f64],
    vertical: &'a [f64],
}

impl Pair<'_> {
    /// Both angles after the windshield, and their derivative.
    fn at(&self, angles: DVec2) -> (DVec2, DMat2) {
        let horizontal = Bivariate::at(self.horizontal, angles, DVec2::X);
        let vertical = Bivariate::at(self.vertical, angles, DVec2::Y);
        let value = DVec2::new(horizontal.value, vertical.value);
        (value, DMat2::from_cols(horizontal.slope, vertical.slope).transpose())
    }

    /// The angles which these polynomials take to `target`: Newton's method from where the approximate inverse says.
    fn solve(&self, target: DVec2, approximate_inverse: &Self) -> Option<DVec2> {
        let mut angles = approximate_inverse.at(target).0;
        for _ in 0..16 {
            let (value, derivative) = self.at(angles);
            let step = derivative.inverse() * (value - target);
            angles -= step;
            if !angles.is_finite() {
                return None;
            }
            if step.length() < 1e-14 {
                return Some(angles);
            }
        }
        None
    }
}

/// A polynomial of two variables at a point.
struct Bivariate {
    value: f64,
    slope: DVec2,
}

impl Bivariate {
    /// Evaluates triangular coefficients: for each power of y from zero up, those of the powers of x. No coefficients at
    /// all stand for the angle along `axis` itself.
    fn at(coefficients: &[f64], angles: DVec2, axis: DVec2) -> Self {
        if coefficients.is_empty() {
            return Self { value: axis.dot(angles), slope: axis };
        }
        let mut degree = 0;
        while (degree + 1) * (degree + 2) / 2 < coefficients.len() {
            degree += 1;
        }
        let mut sum = Self { value: 0.0, slope: DVec2::ZERO };
        let mut rest = coefficients.iter().copied();
        let (mut y_power, mut y_slope) = (1.0, 0.0);
        for row in 0..=degree {
            let (mut x_power, mut x_slope) = (1.0, 0.0);
            for (order, coefficient) in rest.by_ref().take(degree + 1 - row).enumerate() {
                sum.value += coefficient * x_power * y_power;
                sum.slope += coefficient * DVec2::new(x_slope * y_power, x_power * y_slope);
                x_slope = (order + 1) as f64 * x_power;
                x_power *= angles.x;
            }
            y_slope = (row + 1) as f64 * y_power;
            y_power *= angles.y;
        }
        sum
    }
}
