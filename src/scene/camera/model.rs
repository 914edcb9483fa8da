//! A camera as a whole: windshield, then lens.

use glam::{DVec2, DVec3};

use super::{CameraModel, Projection};

impl CameraModel {
    /// Where a point in sensor coordinates is seen, in pixels of the native resolution; it may lie outside the picture
    /// (see [`CameraModel::contains`]). `None` when the lens does not see in that direction.
    #[must_use]
    pub fn project(&self, point_in_sensor: DVec3) -> Option<DVec2> {
        if !point_in_sensor.is_finite() || point_in_sensor == DVec3::ZERO {
            return None;
        }
        let point = match &self.windshield {
            Some(windshield) => windshield.inward(point_in_sensor)?,
            None => point_in_sensor,
        };
        let pixel = match &self.projection {
            Projection::FTheta(lens) => lens.project(point),
            Projection::Pinhole(lens) => lens.project(point),
            Projection::Fisheye(lens) => lens.project(point),
        };
        pixel.filter(|pixel| pixel.is_finite())
    }

    /// The unit ray, in sensor coordinates, of an image point in pixels of the native resolution. `None` where the lens
    /// shows nothing.
    #[must_use]
    pub fn unproject(&self, pixel: DVec2) -> Option<DVec3> {
        let inside = match &self.projection {
            Projection::FTheta(lens) => lens.unproject(pixel),
            Projection::Pinhole(lens) => lens.unproject(pixel),
            Projection::Fisheye(lens) => lens.unproject(pixel),
        }?;
        let ray = match &self.windshield {
            Some(windshield) => windshield.outward(inside)?,
            None => inside,
        };
        ray.is_finite().then_some(ray)
    }

    /// Whether an image point lies in the picture.
    #[must_use]
    pub fn contains(&self, pixel: DVec2) -> bool {
        let [width, height] = self.resolution.map(f64::from);
        (0.0..width).contains(&pixel.x) && (0.0..height).contains(&pixel.y)
    }

    /// By what to multiply native image points to draw the whole picture at another resolution: never cropped.
    #[must_use]
    pub fn scale_to(&self, resolution: [u32; 2]) -> DVec2 {
        let size = |side: [u32; 2]| DVec2::from_array(side.map(f64::from));
        size(resolution) / size(self.resolution.map(|side| side.max(1)))
    }
}
