//! Where a map lies in the world. OpenDRIVE coordinates are metres east, north and up of a geographic origin; the
//! scenario knows its own place on earth: `world_from_map = ecef_from_world^-1 * ecef_from_enu(origin)`.
//!
//! A transverse Mercator around that origin is taken for the plane that touches the earth there: their difference is
//! below a centimetre within a kilometre and some decimetres at five.

use glam::{DMat4, DVec3};
use roxmltree::Node;

use super::read::children;

/// WGS 84: half the long axis in metres, flattening.
const SEMI_MAJOR_M: f64 = 6_378_137.0;
const FLATTENING: f64 = 1.0 / 298.257_223_563;

/// What of a scenario decides where its map lies. By default the map is in world coordinates.
#[derive(Debug, Clone, Copy, Default)]
pub struct Placement<'a> {
    /// World to earth-centred, earth-fixed metres.
    pub ecef_from_world: Option<&'a DMat4>,
    /// Where the ego was, in world coordinates: the ground the lanes are laid on. May be empty.
    pub ego_path_m: &'a [DVec3],
}

/// `ecef_from_enu`: from metres east, north and up of a geographic place to earth-centred, earth-fixed metres.
#[must_use]
pub fn ecef_from_enu(latitude_deg: f64, longitude_deg: f64, altitude_m: f64) -> DMat4 {
    let (sin_lat, cos_lat) = latitude_deg.to_radians().sin_cos();
    let (sin_lon, cos_lon) = longitude_deg.to_radians().sin_cos();
    let eccentricity2 = FLATTENING * (2.0 - FLATTENING);
    let radius_m = SEMI_MAJOR_M / (1.0 - eccentricity2 * sin_lat * sin_lat).sqrt();
    let level_m = radius_m + altitude_m;
    let up_m = radius_m * (1.0 - eccentricity2) + altitude_m;
    let origin = DVec3::new(level_m * cos_lat * cos_lon, level_m * cos_lat * sin_lon, up_m * sin_lat);
    let east = DVec3::new(-sin_lon, cos_lon, 0.0);
    let north = DVec3::new(-sin_lat * cos_lon, -sin_lat * sin_lon, cos_lat);
    let up = DVec3::new(cos_lat * cos_lon, cos_lat * sin_lon, sin_lat);
    DMat4::from_cols(east.extend(0.0), north.extend(0.0), up.extend(0.0), origin.extend(1.0))
}

impl Placement<'_> {
    pub(super) fn world_from_map(&self, root: Node<'_, '_>, notes: &mut Vec<String>) -> DMat4 {
        let header = children(root, "header").next();
        let reference = header.and_then(|header| children(header, "geoReference").next()).map(text_of);
        let Some(reference) = reference else {
            notes.push("the map has no geoReference: taken to be in world coordinates".to_owned());
            return DMat4::IDENTITY;
        };
        let Some(ecef_from_enu) = georeferenced(&reference) else {
            let shown: String = reference.trim().chars().take(80).collect();
            notes.push(format!(
                "the map's geoReference \"{shown}\" names no local origin: taken to be in world coordinates"
            ));
            return DMat4::IDENTITY;
        };
        let world_from_ecef = self.ecef_from_world.map(DMat4::inverse).filter(|matrix| matrix.is_finite());
        let Some(world_from_ecef) = world_from_ecef else {
            notes.push(
                "the scenario has no place on earth: the map is taken to be in world coordinates".to_owned(),
            );
            return DMat4::IDENTITY;
        };
        let offset = header.and_then(|header| children(header, "offset").next());
        world_from_ecef * ecef_from_enu * offset.map_or(DMat4::IDENTITY, header_offset)
    }
}

fn text_of(node: Node<'_, '_>) -> String {
    node.children().filter_map(|child| child.text()).collect()
}

/// OpenDRIVE 1.7: geographic coordinates are the map's, turned and shifted.
fn header_offset(node: Node<'_, '_>) -> DMat4 {
    let number = |name: &str| {
        let parsed = node.attribute(name).and_then(|text| text.trim().parse::<f64>().ok());
        parsed.filter(|number| number.abs() < 1e8).unwrap_or(0.0)
    };
    DMat4::from_translation(DVec3::new(number("x"), number("y"), number("z")))
        * DMat4::from_rotation_z(number("hdg"))
}

/// From a PROJ string, as it comes: `+=alt_0=0` has been seen in released files.
fn georeferenced(reference: &str) -> Option<DMat4> {
    let number = |key: &str| {
        let fields = reference.split_whitespace().map(|field| field.trim_start_matches(['+', '=']));
        let mut values = fields.filter_map(|field| field.split_once('=')).filter(|(name, _)| *name == key);
        values.next().and_then(|(_, value)| value.parse::<f64>().ok()).filter(|number| number.is_finite())
    };
    let latitude_deg = number("lat_0").filter(|degrees| degrees.abs() <= 90.0)?;
    let longitude_deg = number("lon_0").filter(|degrees| degrees.abs() <= 360.0)?;
    let metres = |key| number(key).filter(|metres: &f64| metres.abs() < 1e7).unwrap_or(0.0);
    let ecef_from_enu = ecef_from_enu(latitude_deg, longitude_deg, metres("alt_0"));
    Some(ecef_from_enu * DMat4::from_translation(DVec3::new(-metres("x_0"), -metres("y_0"), 0.0)))
}
