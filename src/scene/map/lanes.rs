//! Lanes beside a reference line, their borders and what marks them.

use super::MapLineKind;
use super::cubic::{Cubic, value};
use super::plan::{Geometry, Station};

/// A road, read.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Road {
    pub(super) id: String,
    pub(super) length_m: f64,
    /// Within a junction lanes cross: borders count only where a mark says so.
    pub(super) in_junction: bool,
    pub(super) plan: Vec<Geometry>,
    pub(super) elevation: Vec<Cubic>,
    pub(super) superelevation: Vec<Cubic>,
    pub(super) lane_offset: Vec<Cubic>,
    pub(super) sections: Vec<Section>,
}

/// Lanes from one s to the next section's.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Section {
    pub(super) start_m: f64,
    /// Marks of the reference line.
    pub(super) centre_marks: Vec<Mark>,
    /// From the reference line outwards.
    pub(super) left: Vec<Lane>,
    /// From the reference line outwards.
    pub(super) right: Vec<Lane>,
}

/// One lane.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Lane {
    pub(super) drivable: bool,
    /// Whether it is there at all: a lane of type `none` is a gap.
    pub(super) exists: bool,
    pub(super) width: Vec<Cubic>,
    /// Distance of the outer border from the lane reference line, where no width is given.
    pub(super) border: Vec<Cubic>,
    pub(super) marks: Vec<Mark>,
}

/// What is painted on a border from an s on.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Mark {
    pub(super) start_m: f64,
    pub(super) paint: Paint,
}

/// What is painted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Paint {
    Nothing,
    Solid,
    Broken,
    Kerb,
}

impl Paint {
    /// By OpenDRIVE's name.
    pub(super) fn named(name: &str) -> Self {
        match name {
            "none" => Self::Nothing,
            "curb" | "edge" | "grass" => Self::Kerb,
            name if name.contains("solid") => Self::Solid,
            name if name.contains("broken") || name.contains("dots") => Self::Broken,
            _ => Self::Solid,
        }
    }
}

/// Whether vehicles drive on a lane of this OpenDRIVE type.
pub(super) fn is_drivable(kind: &str) -> bool {
    const DRIVABLE: [&str; 17] = [
        "driving",
        "bidirectional",
        "bus",
        "taxi",
        "hov",
        "entry",
        "exit",
        "onRamp",
        "offRamp",
        "connectingRamp",
        "slipLane",
        "mwyEntry",
        "mwyExit",
        "parking",
        "stop",
        "special1",
        "roadWorks",
    ];
    DRIVABLE.contains(&kind)
}

impl Lane {
    /// Where its outer border is, given its inner: unsigned distance from the lane reference line, in metres.
    pub(super) fn outer_m(&self, inner_m: f64, s_m: f64) -> f64 {
        if self.width.is_empty() && !self.border.is_empty() {
            value(&self.border, s_m).abs().max(inner_m)
        } else {
            inner_m + value(&self.width, s_m).max(0.0)
        }
    }
}

impl Road {
    /// The place on the reference line.
    pub(super) fn station(&self, s_m: f64) -> Option<Station> {
        let after = self.plan.partition_point(|piece| piece.start_m <= s_m + 1e-9).max(1);
        let piece = self.plan.get(after - 1)?;
        Some(piece.at((s_m - piece.start_m).clamp(0.0, piece.length_m)))
    }

    /// What a border between an inner and an outer lane shows, painted as `paint`; nothing where it shows nothing.
    pub(super) fn kind(
        &self,
        paint: Option<Paint>,
        inner: Option<&Lane>,
        outer: Option<&Lane>,
    ) -> Option<MapLineKind> {
        let drivable = |lane: Option<&Lane>| lane.is_some_and(|lane| lane.drivable);
        let exists = |lane: Option<&Lane>| lane.is_some_and(|lane| lane.exists);
        let is_edge = drivable(inner) != drivable(outer);
        match paint {
            Some(Paint::Solid) => Some(MapLineKind::Solid),
            Some(Paint::Broken) => Some(MapLineKind::Broken),
            Some(Paint::Kerb) if is_edge => Some(MapLineKind::RoadEdge),
            Some(Paint::Kerb) => Some(MapLineKind::Other),
            _ if self.in_junction => None,
            _ if is_edge => Some(MapLineKind::RoadEdge),
            Some(Paint::Nothing) => None,
            None => (exists(inner) || exists(outer)).then_some(MapLineKind::Other),
        }
    }
}
