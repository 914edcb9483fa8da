//! The colour of a point of an object: class, light from the sun and the sky, lamps and wheels, a dark line along edges.

use glam::DVec3;

use super::palette::{Colour, GLASS, HAZE, INK, LAMP, METAL, REAR_LAMP, haze, mix};
use super::shape::{Face, Material};
use super::solid::{Hit, Sight, Solid};

/// Towards the sun, in world coordinates; need not be of unit length.
pub(super) const SUN: DVec3 = DVec3::new(-0.35, 0.45, 0.82);
/// Half the width of an outline, in pixels.
const OUTLINE_PX: f64 = 0.75;
/// Objects this many pixels high have full outlines; smaller ones fainter, or they would be nothing else.
const OUTLINED_PX: f64 = 44.0;

/// The colour where a ray of the sensor hits. `pitch_rad`: angle from a pixel to the next.
pub(super) fn shade(solid: &Solid, sight: &Sight, ray: DVec3, hit: &Hit, pitch_rad: f64) -> Colour {
    let Some((body, face)) = solid
        .bodies
        .get(usize::from(hit.body))
        .and_then(|body| Some((body, body.faces.get(usize::from(hit.face))?)))
    else {
        return solid.colour;
    };
    let point = sight.sensor_m + sight.object_from_sensor * ray * f64::from(hit.distance_m);
    let pixel_m = (pitch_rad * f64::from(hit.distance_m)).max(1e-6);
    let (colour, glow) = paint(solid, face, point, pixel_m);
    let light = match round(face.material, point / solid.half_m) {
        Some(normal) => light(solid.rotation * (normal / solid.half_m).normalize_or_zero()),
        None => face.light,
    };
    let lit = colour.map(|value| value * (glow + (1.0 - glow) * light));
    let size_px = 2.0 * solid.half_m.z / pixel_m;
    let strength = (size_px / OUTLINED_PX).clamp(0.0, 1.0) * 0.75;
    let from_edge_px = body.edge_distance(usize::from(hit.face), point) / pixel_m;
    let outline = (OUTLINE_PX + 0.5 - from_edge_px).clamp(0.0, 1.0) * strength;
    mix(mix(lit, INK, outline as f32), HAZE, haze(hit.distance_m))
}

/// The normal of what is round, before it was stretched to its dimensions.
fn round(material: Material, place: DVec3) -> Option<DVec3> {
    match material {
        Material::Tube => Some(place.with_z(0.0)),
        Material::Ball => Some(place),
        _ => None,
    }
}

/// Sun and sky on a face with this normal, in world coordinates.
pub(super) fn light(normal: DVec3) -> f32 {
    let sun = normal.dot(SUN.normalize_or_zero()).max(0.0);
    (0.60 + 0.14 * normal.z + 0.36 * sun) as f32
}

/// The colour of a face at a point, and how much of it shines by itself.
fn paint(solid: &Solid, face: &Face, point: DVec3, pixel_m: f64) -> (Colour, f32) {
    let half = solid.half_m;
    let place = point / half;
    let soft = |inside_m: f64| (inside_m / pixel_m + 0.5).clamp(0.0, 1.0) as f32;
    let above_ground = point.z + half.z;
    let paint = mix(INK, solid.colour, 0.25 + 0.75 * soft(above_ground - 0.09 * half.z));
    match face.material {
        Material::Paint | Material::Tube | Material::Ball => (solid.colour, 0.0),
        Material::Glass => (glass(place), 0.0),
        Material::Skin => ([226.0, 184.0, 152.0], 0.0),
        Material::Dark => ([58.0, 62.0, 68.0], 0.0),
        Material::Arrow => {
            let along = place.x * 0.5 + 0.25;
            let inside = (0.55 * (1.0 - along * 1.6) - place.y.abs()).min(along + 0.1) * half.y;
            (mix(solid.colour, [255.0; 3], 0.65 * soft(inside)), 0.0)
        }
        Material::Side => (wheels(paint, half, point, &soft), 0.0),
        Material::Windows => {
            let band = (0.34 * half.z - (point.z - 0.36 * half.z).abs()).min(0.96 * half.x - point.x.abs());
            let bay = (point.x / 1.4).rem_euclid(1.0);
            let pillar = (bay.min(1.0 - bay) * 1.4 - 0.05).min(band);
            (wheels(mix(paint, glass(place), soft(pillar)), half, point, &soft), 0.0)
        }
        Material::Front => {
            let lamp = (0.13 * half.z - (point.z + 0.28 * half.z).abs())
                .min(0.2 * half.y - (point.y.abs() - 0.72 * half.y).abs());
            let grille = (0.14 * half.z - (point.z + 0.52 * half.z).abs()).min(0.45 * half.y - point.y.abs());
            let glow = soft(lamp);
            (mix(mix(paint, INK, 0.7 * soft(grille)), LAMP, glow), glow)
        }
        Material::TallFront => {
            let screen = (0.36 * half.z - (point.z - 0.30 * half.z).abs()).min(0.86 * half.y - point.y.abs());
            let lamp = (0.07 * half.z - (point.z + 0.66 * half.z).abs())
                .min(0.14 * half.y - (point.y.abs() - 0.74 * half.y).abs());
            let glow = soft(lamp);
            (mix(mix(paint, glass(place), soft(screen)), LAMP, glow), glow)
        }
        Material::Rear => {
            let lamp = (0.12 * half.z - (point.z + 0.16 * half.z).abs())
                .min(0.16 * half.y - (point.y.abs() - 0.76 * half.y).abs());
            let glow = soft(lamp);
            (mix(paint, REAR_LAMP, glow), 0.6 * glow)
        }
    }
}

/// Windows mirror the sky towards their top.
fn glass(place: DVec3) -> Colour {
    mix(GLASS, [142.0, 172.0, 200.0], (0.5 + 0.45 * place.z).clamp(0.0, 1.0) as f32 * 0.7)
}

/// Two wheels on a side.
fn wheels(paint: Colour, half: DVec3, point: DVec3, soft: &impl Fn(f64) -> f32) -> Colour {
    let radius = (0.30 * half.z * 1.5).min(0.52).min(0.2 * half.x);
    let from_axle = (point.x.abs() - 0.61 * half.x).hypot(point.z + half.z - radius);
    let tyre = mix(paint, INK, soft(radius * 1.12 - from_axle));
    mix(tyre, METAL, soft(radius * 0.58 - from_axle))
}
