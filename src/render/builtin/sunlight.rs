//! Shadows of the sun on level ground, for things that do not stand on it: an arm, what it carries. A point of the ground
//! is in the shadow of a thing when its ray to the sun meets the thing's body; looked at in a few places of each pixel.

use glam::{DMat3, DVec3};

use super::ground::Ground;
use super::palette::haze;
use super::shade::SUN;
use super::shape::{Body, bodies};
use super::view::PlacedObject;
use crate::scene::camera::pose_during_shutter;

/// How dark a shadow is.
const DEPTH: f32 = 0.42;
/// Where a pixel is looked at, in pixels from its centre.
const LOOKS: [[f64; 2]; 4] = [[-0.125, -0.375], [0.375, -0.125], [0.125, 0.375], [-0.375, 0.125]];

/// Something that throws a shadow.
#[derive(Debug)]
struct Caster {
    bodies: Vec<Body>,
    object_from_world: DMat3,
    centre_m: DVec3,
    /// Towards the sun, in the thing's axes.
    sun: DVec3,
    /// Around its shadow on the ground.
    shadow_m: DVec3,
    radius_m: f64,
}

/// All of them.
#[derive(Debug)]
pub(super) struct Sunlight {
    ground: Ground,
    casters: Vec<Caster>,
}

impl Sunlight {
    pub fn new(objects: &[PlacedObject<'_>], ground: Ground) -> Self {
        let sun = SUN.normalize_or_zero();
        let steep = sun.dot(ground.normal).max(0.1);
        let casters = objects.iter().map(|object| {
            let pose = pose_during_shutter(&object.world_from_object, 0.5);
            let object_from_world = pose.rotation_matrix().transpose();
            let height_m = ground.height_m(pose.translation_m);
            Caster {
                bodies: bodies(object.class, object.dimensions_m),
                object_from_world,
                centre_m: pose.translation_m,
                sun: object_from_world * sun,
                shadow_m: pose.translation_m - sun * (height_m / steep),
                radius_m: 0.5 * object.dimensions_m.length() / steep,
            }
        });
        Self { ground, casters: casters.collect() }
    }

    /// How bright the ground is where a ray in world axes from a place meets it: 1 in the sun. `pixel_rad`: from a pixel to
    /// the next.
    pub fn light(&self, from_m: DVec3, ray: DVec3, pixel_rad: f64) -> f32 {
        let down = -ray.dot(self.ground.normal);
        if down <= 1e-6 {
            return 1.0;
        }
        let distance = self.ground.height_m(from_m) / down;
        let point = from_m + ray * distance;
        let near =
            |caster: &&Caster| point.distance_squared(caster.shadow_m) < (caster.radius_m + 0.02).powi(2);
        let mut near = self.casters.iter().filter(near).peekable();
        if near.peek().is_none() {
            return 1.0;
        }
        let near: Vec<&Caster> = near.collect();
        let across = ray.cross(self.ground.normal).normalize_or_zero() * (pixel_rad * distance);
        let along = across.cross(self.ground.normal) / down;
        let dark = LOOKS.iter().filter(|[right, ahead]| {
            let point = point + across * *right + along * *ahead;
            near.iter().any(|caster| caster.covers(point))
        });
        let part = dark.count() as f32 / LOOKS.len() as f32;
        1.0 - DEPTH * part * (1.0 - haze(distance as f32))
    }
}

impl Caster {
    fn covers(&self, point_m: DVec3) -> bool {
        let origin = self.object_from_world * (point_m - self.centre_m);
        self.bodies.iter().any(|body| body.enter(origin, self.sun).is_some())
    }
}
