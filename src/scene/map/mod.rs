//! Lanes of a scenario, from its OpenDRIVE member: sampled to polylines, placed in the world, laid on the ground.

pub(super) mod cubic;
mod ground;
mod lanes;
mod placement;
pub(super) mod plan;
mod read;
mod sampling;
#[cfg(test)]
mod tests;

use glam::DVec3;
use thiserror::Error;

pub use placement::{Placement, ecef_from_enu};

/// The largest text taken, in bytes.
pub const MAX_TEXT_BYTES: usize = 32 << 20;
/// The most roads taken.
pub const MAX_ROADS: usize = 20_000;
/// The most metres all roads may have together.
pub const MAX_TOTAL_M: f64 = 5e6;
/// The most points all lines may have together.
pub const MAX_POINTS: usize = 500_000;
/// Roads further than this from the ego's path are left out, in metres.
pub const REACH_M: f64 = 400.0;

/// Lanes as polylines in world coordinates.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Map {
    /// Lane borders and road marks.
    pub lines: Vec<MapLine>,
}

/// One polyline of a map.
#[derive(Debug, Clone, PartialEq)]
pub struct MapLine {
    /// What it marks.
    pub kind: MapLineKind,
    /// In metres, world coordinates.
    pub points_m: Vec<DVec3>,
}

/// What a map line marks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MapLineKind {
    /// The outer edge of a driving surface.
    RoadEdge,
    /// A border between lanes, drawn solid.
    Solid,
    /// A border between lanes, drawn broken.
    Broken,
    /// Kerb, sidewalk or any other border.
    Other,
}

/// Why a text is no usable OpenDRIVE map.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum MapError {
    /// More text than anyone needs.
    #[error("has {bytes} bytes, more than the {MAX_TEXT_BYTES} a map may have")]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
    /// Not XML, or XML that is no plain document.
    #[error("is not readable XML: {reason}")]
    Xml {
        /// From the parser, with line and column.
        reason: String,
    },
    /// Another kind of document.
    #[error("begins with <{root}>, not <OpenDRIVE>")]
    NotOpenDrive {
        /// Name of the root element.
        root: String,
    },
    /// More roads than anyone needs.
    #[error("has more than {MAX_ROADS} roads")]
    TooManyRoads,
    /// Longer than anyone drives.
    #[error("its roads are longer than {MAX_TOTAL_M} m together, at road \"{road}\"")]
    TooLong {
        /// The road it happened at.
        road: String,
    },
    /// More lines than anyone can draw.
    #[error("needs more than {MAX_POINTS} points, at road \"{road}\"")]
    TooManyPoints {
        /// The road it happened at.
        road: String,
    },
    /// A road that does not make sense.
    #[error("road \"{road}\" at s = {s_m} m: {problem}")]
    Road {
        /// Its id.
        road: String,
        /// Where on the road.
        s_m: f64,
        /// What is wrong there.
        problem: String,
    },
}

impl Map {
    /// Reads an OpenDRIVE text and places its lanes in the world. Also answers what a person should know about the result.
    ///
    /// # Errors
    /// On a text that is too large, not XML, not OpenDRIVE, or has a road that makes no sense. A geographic reference
    /// that makes no sense is no error: the map is then taken to be in world coordinates, with a note.
    pub fn from_xodr(text: &str, placement: &Placement) -> Result<(Self, Vec<String>), MapError> {
        if text.len() > MAX_TEXT_BYTES {
            return Err(MapError::TooLarge { bytes: text.len() });
        }
        let options = roxmltree::ParsingOptions { nodes_limit: 8_000_000, ..Default::default() };
        let document = roxmltree::Document::parse_with_options(text, options)
            .map_err(|error| MapError::Xml { reason: error.to_string() })?;
        let root = document.root_element();
        if root.tag_name().name() != "OpenDRIVE" {
            return Err(MapError::NotOpenDrive { root: root.tag_name().name().to_owned() });
        }
        let mut notes = Vec::new();
        let world_from_map = placement.world_from_map(root, &mut notes);
        let near = ground::Near::new(placement.ego_path_m);
        let mut map = Self::default();
        let (mut points, mut total_m) = (0, 0.0);
        for (count, road) in read::children(root, "road").enumerate() {
            if count >= MAX_ROADS {
                return Err(MapError::TooManyRoads);
            }
            let road = read::road(road)?;
            total_m += road.length_m;
            if total_m > MAX_TOTAL_M {
                return Err(MapError::TooLong { road: road.id });
            }
            if !road.comes_near(&near, &world_from_map) {
                continue;
            }
            sampling::lines(&road, MAX_POINTS - points, &mut |kind, map_points: &[DVec3]| {
                points += map_points.len();
                let points_m =
                    map_points.iter().map(|point| world_from_map.transform_point3(*point)).collect();
                map.lines.push(MapLine { kind, points_m });
            })?;
        }
        notes.extend(near.settle(&mut map.lines));
        Ok((map, notes))
    }
}
