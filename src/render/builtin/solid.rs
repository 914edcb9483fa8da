//! Objects ready to be looked at: their bodies, and for every line of the picture where the sensor is in their own
//! coordinates. Rays, not projected corners: that holds for any lens, behind the camera and across its plane.

use std::ops::Range;

use glam::{DMat3, DVec3};

use super::palette::{Colour, of_class};
use super::rays::{Cone, RayTable, TILE};
use super::shade::light;
use super::shape::{Body, bodies};
use super::sweep::{Order, Sweep};
use super::view::PlacedObject;
use crate::scene::camera::pose_during_shutter;

/// Objects further than this are left out, in metres.
const REACH_M: f64 = 600.0;
/// Shadows reach so far from their object, in metres.
pub(super) const SHADOW_M: f64 = 0.6;
/// Thinner than this many pixels, an object may hide between their centres.
const SMALL_PX: f64 = 5.0;

/// The sensor, in coordinates of an object, while one line is exposed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sight {
    pub object_from_sensor: DMat3,
    pub sensor_m: DVec3,
}

/// An object as one picture sees it.
#[derive(Debug)]
pub(super) struct Solid {
    pub bodies: Vec<Body>,
    pub half_m: DVec3,
    pub colour: Colour,
    /// World from object, in the middle of the shutter.
    pub rotation: DMat3,
    /// Directions in which it or its shadow may be seen, in sensor coordinates.
    pub cone: Cone,
    /// Directions in which it may be seen without its shadow: within the angle of this cosine of the cone's axis.
    body_cosine: f64,
    /// No part is nearer than this, in metres.
    pub near_m: f64,
    /// Whether it may be narrower than a few pixels.
    pub small: bool,
    lines: Range<usize>,
    sights: Vec<Sight>,
}

/// A solid that a tile may show, with what rules it out for most rays.
#[derive(Debug, Clone, Copy)]
pub(super) struct Candidate {
    axis: DVec3,
    body_cosine: f64,
    shadow_cosine: f64,
    /// No part is nearer than this, in metres.
    pub near_m: f64,
    /// Its place among the solids.
    pub solid: u32,
}

impl Candidate {
    pub fn new(solid: &Solid, index: u32) -> Self {
        Self {
            axis: solid.cone.axis,
            body_cosine: solid.body_cosine,
            shadow_cosine: cosine(solid.cone.half_angle_rad),
            near_m: solid.near_m,
            solid: index,
        }
    }

    /// Whether a ray of about unit length may meet the object.
    pub fn may_meet(&self, ray: DVec3) -> bool {
        ray.dot(self.axis) >= self.body_cosine
    }

    /// Whether it may meet the object's shadow.
    pub fn may_shade(&self, ray: DVec3) -> bool {
        ray.dot(self.axis) >= self.shadow_cosine
    }
}

/// Of an angle, for comparing with rays of about unit length.
fn cosine(angle_rad: f64) -> f64 {
    if angle_rad < std::f64::consts::PI { angle_rad.cos() } else { -2.0 }
}

/// Where an object is hit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Hit {
    /// In units of the ray's length.
    pub distance_m: f32,
    pub body: u8,
    pub face: u8,
}

impl Solid {
    /// `None` when the picture cannot show it, or is taken from inside it.
    pub fn new(object: &PlacedObject<'_>, table: &RayTable, sweep: &Sweep<'_>) -> Option<Self> {
        let half_m = 0.5 * object.dimensions_m.abs();
        let radius = half_m.length() + SHADOW_M;
        if !radius.is_finite() || half_m.min_element() <= 0.0 {
            return None;
        }
        let last = sweep.lines.len() - 1;
        let looks = [0, last / 2, last].map(|index| {
            let line = &sweep.lines[index];
            let pose = pose_during_shutter(&object.world_from_object, line.fraction);
            let away = pose.translation_m - sweep.origin - line.position;
            (line.rotation.transpose() * away, away.length())
        });
        let nearest = looks.iter().map(|(_, distance)| *distance).fold(f64::INFINITY, f64::min);
        if nearest.is_nan() || nearest - radius > REACH_M {
            return None;
        }
        let cone = cone_around(&looks, radius);
        if !table.whole.meets(&cone) {
            return None;
        }
        let lines = lines_seen(&cone, table, sweep)?;
        let sights: Vec<Sight> = lines
            .clone()
            .map(|index| {
                let line = &sweep.lines[index];
                let pose = pose_during_shutter(&object.world_from_object, line.fraction);
                let object_from_world = pose.rotation_matrix().transpose();
                Sight {
                    object_from_sensor: object_from_world * line.rotation,
                    sensor_m: object_from_world * (sweep.origin + line.position - pose.translation_m),
                }
            })
            .collect();
        if sights.iter().any(|sight| sight.sensor_m.abs().cmple(half_m).all()) {
            return None;
        }
        let mut pitch: Vec<f32> =
            table.pitch_rad.iter().copied().step_by(table.pitch_rad.len() / 16 + 1).collect();
        pitch.sort_by(f32::total_cmp);
        let pixel_m = nearest * f64::from(*pitch.last()?);
        // Around the same axis, unless the wide cone is everything and its axis any.
        let body_cosine = if cone.half_angle_rad < std::f64::consts::PI {
            cosine(cone_around(&looks, half_m.length()).half_angle_rad)
        } else {
            cosine(cone.half_angle_rad)
        };
        let mut lit = bodies(object.class, 2.0 * half_m);
        let rotation = pose_during_shutter(&object.world_from_object, 0.5).rotation_matrix();
        for face in lit.iter_mut().flat_map(|body| &mut body.faces) {
            face.light = light(rotation * face.normal);
        }
        Some(Self {
            bodies: lit,
            half_m,
            colour: individual(of_class(object.class), object.id),
            rotation,
            body_cosine,
            cone,
            near_m: nearest - radius,
            small: 2.0 * half_m.min_element() < SMALL_PX * pixel_m,
            lines,
            sights,
        })
    }

    /// The sensor when line `index` is exposed; `None` where the object is not seen.
    pub fn sight(&self, index: usize) -> Option<&Sight> {
        self.sights.get(index.checked_sub(self.lines.start)?)
    }

    /// Where a ray of the sensor first meets the object.
    pub fn hit(&self, sight: &Sight, ray: DVec3) -> Option<Hit> {
        let direction = sight.object_from_sensor * ray;
        if !self.meets_cuboid(sight.sensor_m, direction) {
            return None;
        }
        let mut first: Option<Hit> = None;
        for (index, body) in self.bodies.iter().enumerate() {
            if let Some((distance_m, face)) = body.enter(sight.sensor_m, direction)
                && first.is_none_or(|hit| (distance_m as f32) < hit.distance_m)
            {
                first = Some(Hit { distance_m: distance_m as f32, body: index as u8, face: face as u8 });
            }
        }
        first
    }

    fn meets_cuboid(&self, origin: DVec3, direction: DVec3) -> bool {
        let inverse = direction.recip();
        let (a, b) = ((-self.half_m - origin) * inverse, (self.half_m - origin) * inverse);
        let (enter, leave) = (a.min(b).max_element(), a.max(b).min_element());
        // A ray along a side gives infinities or NaN: then the bodies decide.
        !(enter > leave || leave < 0.0)
    }
}

/// Around a sphere at each of the places it is seen at.
fn cone_around(looks: &[(DVec3, f64); 3], radius: f64) -> Cone {
    let everything = Cone { axis: DVec3::Z, half_angle_rad: std::f64::consts::PI };
    if looks.iter().any(|(_, distance)| *distance <= radius) {
        return everything;
    }
    let axis = looks.iter().map(|(towards, distance)| *towards / *distance).sum::<DVec3>().try_normalize();
    let Some(axis) = axis else { return everything };
    let half_angle_rad = looks
        .iter()
        .map(|(towards, distance)| towards.angle_between(axis) + (radius / distance).asin())
        .fold(0.0, f64::max);
    Cone { axis, half_angle_rad: half_angle_rad + 1e-3 }
}

/// The lines that expose tiles in which a cone is seen.
fn lines_seen(cone: &Cone, table: &RayTable, sweep: &Sweep<'_>) -> Option<Range<usize>> {
    let columns = table.width.div_ceil(TILE);
    let places = table.tiles.iter().enumerate().filter(|(_, tile)| tile.meets(cone)).map(|(index, _)| {
        match sweep.order {
            Order::Whole => 0,
            Order::Rows => index / columns * TILE,
            Order::Columns => index % columns * TILE,
        }
    });
    let (mut first, mut last) = (usize::MAX, 0);
    for place in places {
        first = first.min(place);
        last = last.max(place);
    }
    (first <= last).then(|| first..(last + TILE).min(sweep.lines.len()))
}

/// A class's colour, a little lighter or darker by the track, so that neighbours can be told apart.
fn individual(colour: Colour, id: &str) -> Colour {
    let hash =
        id.bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    let shade = 0.9 + 0.2 * ((hash >> 16) & 0xff) as f32 / 255.0;
    colour.map(|value| (value * shade).min(255.0))
}
