//! Lanes of a scenario, from its OpenDRIVE member.

use glam::DVec3;

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
