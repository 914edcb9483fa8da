//! Reference lines of OpenDRIVE roads in plan view: where a road is at s, and where it points.

use glam::DVec2;

use super::cubic::with_slope;

/// A piece of a reference line.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::scene) struct Geometry {
    pub(in crate::scene) start_m: f64,
    pub(in crate::scene) length_m: f64,
    pub(in crate::scene) origin_m: DVec2,
    pub(in crate::scene) heading_rad: f64,
    pub(in crate::scene) shape: Shape,
}

/// Its form.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::scene) enum Shape {
    Line,
    Arc { curvature: f64 },
    Spiral { start: f64, end: f64 },
    Poly3 { abcd: [f64; 4] },
    ParamPoly3 { u: [f64; 4], v: [f64; 4], normalized: bool },
}

/// A place on a reference line.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::scene) struct Station {
    pub(in crate::scene) position_m: DVec2,
    pub(in crate::scene) heading_rad: f64,
    /// In 1/m, left positive; roughly.
    pub(in crate::scene) curvature: f64,
}

/// Nodes and weights of five-point Gauss-Legendre quadrature on 0..1.
const GAUSS: [(f64, f64); 5] = [
    (0.046_910_077_030_668, 0.118_463_442_528_095),
    (0.230_765_344_947_158, 0.239_314_335_249_683),
    (0.5, 0.284_444_444_444_444),
    (0.769_234_655_052_842, 0.239_314_335_249_683),
    (0.953_089_922_969_332, 0.118_463_442_528_095),
];

impl Geometry {
    /// At a distance along the piece, in metres.
    pub(in crate::scene) fn at(&self, ds: f64) -> Station {
        let (local, heading, curvature) = match self.shape {
            Shape::Line => (DVec2::new(ds, 0.0), 0.0, 0.0),
            Shape::Arc { curvature } => (spiral(curvature, 0.0, ds), curvature * ds, curvature),
            Shape::Spiral { start, end } => {
                let rate = if self.length_m > 0.0 { (end - start) / self.length_m } else { 0.0 };
                (spiral(start, rate, ds), ds * (start + rate * ds / 2.0), start + rate * ds)
            }
            Shape::Poly3 { abcd } => {
                let u = along_poly3(abcd, ds);
                let (v, slope) = with_slope(abcd, u);
                let bend = 2.0 * abcd[2] + 6.0 * abcd[3] * u;
                (DVec2::new(u, v), slope.atan(), bend / (1.0 + slope * slope).powf(1.5))
            }
            Shape::ParamPoly3 { u, v, normalized } => {
                let scale = if normalized && self.length_m > 0.0 { 1.0 / self.length_m } else { 1.0 };
                let p = ds * scale;
                let ((x, dx), (y, dy)) = (with_slope(u, p), with_slope(v, p));
                let bend = |[_, _, c, d]: [f64; 4]| 2.0 * c + 6.0 * d * p;
                let speed = (dx * dx + dy * dy).powf(1.5);
                let curvature = if speed > 0.0 { (dx * bend(v) - dy * bend(u)) / speed } else { 0.0 };
                (DVec2::new(x, y), dy.atan2(dx), curvature)
            }
        };
        Station {
            position_m: self.origin_m + DVec2::from_angle(self.heading_rad).rotate(local),
            heading_rad: self.heading_rad + heading,
            curvature,
        }
    }
}

/// The integral of the unit vector whose angle begins at zero and turns by `curvature + rate * s` a metre: Gauss-Legendre
/// over pieces that turn little each.
fn spiral(curvature: f64, rate: f64, length: f64) -> DVec2 {
    let turned = (curvature.abs() + (rate * length).abs()) * length;
    let pieces = (turned / 0.5).ceil().clamp(1.0, 4096.0);
    let step = length / pieces;
    (0..pieces as usize)
        .flat_map(|piece| GAUSS.map(|(node, weight)| ((piece as f64 + node) * step, weight * step)))
        .map(|(s, weight)| DVec2::from_angle(s * (curvature + rate * s / 2.0)) * weight)
        .sum()
}

/// The u at which the curve (u, v(u)) has a given length: du/ds = 1 / sqrt(1 + v'^2), by Runge-Kutta.
fn along_poly3(abcd: [f64; 4], length: f64) -> f64 {
    let steps = length.abs().ceil().clamp(8.0, 256.0);
    let h = length / steps;
    let rate = |u: f64| with_slope(abcd, u).1.hypot(1.0).recip();
    let mut u = 0.0;
    for _ in 0..steps as usize {
        let first = rate(u);
        let second = rate(u + h / 2.0 * first);
        let third = rate(u + h / 2.0 * second);
        let fourth = rate(u + h * third);
        u += h / 6.0 * (first + 2.0 * second + 2.0 * third + fourth);
    }
    u
}
