//! A street through an intersection into a curve, once: the map text, the traffic and everything beside the road are made
//! from this layout, so they coincide. Coordinates are the map's: metres east and north of the middle of the intersection.

use std::f64::consts::{FRAC_PI_2, PI};

use glam::{DMat4, DVec2, DVec3};

use crate::scene::map::cubic::{Cubic, value};
use crate::scene::map::plan::{Geometry, Shape};

/// Width of a driving lane, of a parking lane, of a sidewalk, in metres.
pub(super) const LANE_M: f64 = 3.4;
pub(super) const PARKING_M: f64 = 2.2;
pub(super) const SIDEWALK_M: f64 = 3.0;
/// From the middle of the intersection to where its arms begin, in metres.
pub(super) const BOX_M: f64 = 15.0;

pub(super) const WEST: usize = 0;
pub(super) const EAST: usize = 1;
pub(super) const SOUTH: usize = 2;
pub(super) const NORTH: usize = 3;
pub(super) const ACROSS_EAST: usize = 4;
pub(super) const ACROSS_NORTH: usize = 5;
/// The four right turns, by the arm they come from.
pub(super) const TURNS: [(usize, usize, usize); 4] =
    [(6, WEST, SOUTH), (7, SOUTH, EAST), (8, EAST, NORTH), (9, NORTH, WEST)];

/// What lies beside a reference line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Profile {
    /// A lane, parked cars and a sidewalk on either side.
    Street,
    /// Two lanes across the intersection.
    Across,
    /// One lane to the right, kerb and sidewalk beside it.
    Turn,
}

/// A road: reference line and heights.
#[derive(Debug, Clone)]
pub(super) struct Street {
    pub(super) id: usize,
    pub(super) profile: Profile,
    pub(super) plan: Vec<Geometry>,
    pub(super) elevation: Vec<Cubic>,
    pub(super) length_m: f64,
}

/// The layout.
#[derive(Debug, Clone)]
pub(super) struct Town {
    pub(super) streets: Vec<Street>,
}

impl Town {
    pub(super) fn new() -> Self {
        let straight = |id, profile, x, y, heading, length_m| {
            Street::new(id, profile, DVec2::new(x, y), heading, &[(length_m, Shape::Line)])
        };
        let arc = |curvature| Shape::Arc { curvature };
        let bend = 1.0 / 45.0;
        let mut east = Street::new(
            EAST,
            Profile::Street,
            DVec2::new(BOX_M, 0.0),
            0.0,
            &[
                (28.0, Shape::Line),
                (20.0, Shape::Spiral { start: 0.0, end: bend }),
                (40.0, arc(bend)),
                (20.0, Shape::Spiral { start: bend, end: 0.0 }),
                (142.0, Shape::Line),
            ],
        );
        // Up by 2.4 m over 100 m, level at both ends.
        let (rise_m, over_m) = (2.4, 100.0_f64);
        let slope = [0.0, 0.0, 3.0 * rise_m / over_m.powi(2), -2.0 * rise_m / over_m.powi(3)];
        east.elevation = vec![
            Cubic { start_m: 0.0, abcd: [0.0; 4] },
            Cubic { start_m: 10.0, abcd: slope },
            Cubic { start_m: 10.0 + over_m, abcd: [rise_m, 0.0, 0.0, 0.0] },
        ];
        let mut streets = vec![
            straight(WEST, Profile::Street, -160.0, 0.0, 0.0, 160.0 - BOX_M),
            east,
            straight(SOUTH, Profile::Street, 0.0, -110.0, FRAC_PI_2, 110.0 - BOX_M),
            straight(NORTH, Profile::Street, 0.0, BOX_M, FRAC_PI_2, 95.0),
            straight(ACROSS_EAST, Profile::Across, -BOX_M, 0.0, 0.0, 2.0 * BOX_M),
            straight(ACROSS_NORTH, Profile::Across, 0.0, -BOX_M, FRAC_PI_2, 2.0 * BOX_M),
        ];
        for (quarter, (id, ..)) in TURNS.into_iter().enumerate() {
            let heading = quarter as f64 * FRAC_PI_2;
            let from = DVec2::from_angle(heading) * -BOX_M;
            streets.push(Street::new(
                id,
                Profile::Turn,
                from,
                heading,
                &[(BOX_M * PI / 2.0, arc(-1.0 / BOX_M))],
            ));
        }
        Self { streets }
    }

    /// `map_from_object` at s along a road and t to its left; `backwards` faces against it.
    pub(super) fn pose(&self, street: usize, s_m: f64, t_m: f64, backwards: bool) -> DMat4 {
        self.streets.get(street).map_or(DMat4::IDENTITY, |street| street.pose(s_m, t_m, backwards))
    }

    pub(super) fn length_m(&self, street: usize) -> f64 {
        self.streets.get(street).map_or(0.0, |street| street.length_m)
    }
}

impl Street {
    fn new(id: usize, profile: Profile, origin_m: DVec2, heading_rad: f64, forms: &[(f64, Shape)]) -> Self {
        let (mut start_m, mut origin_m, mut heading_rad) = (0.0, origin_m, heading_rad);
        let mut plan = Vec::new();
        for (length_m, shape) in forms {
            let piece =
                Geometry { start_m, length_m: *length_m, origin_m, heading_rad, shape: shape.clone() };
            let end = piece.at(*length_m);
            (start_m, origin_m, heading_rad) = (start_m + length_m, end.position_m, end.heading_rad);
            plan.push(piece);
        }
        Self { id, profile, plan, elevation: Vec::new(), length_m: start_m }
    }

    fn pose(&self, s_m: f64, t_m: f64, backwards: bool) -> DMat4 {
        let index = self.plan.partition_point(|piece| piece.start_m <= s_m).max(1) - 1;
        let Some(station) = self.plan.get(index).map(|piece| piece.at(s_m - piece.start_m)) else {
            return DMat4::IDENTITY;
        };
        let height = |s_m: f64| value(&self.elevation, s_m.clamp(0.0, self.length_m));
        let place = station.position_m + DVec2::from_angle(station.heading_rad).perp() * t_m;
        let grade = height(s_m + 0.5) - height(s_m - 0.5);
        let (heading, climb) =
            if backwards { (station.heading_rad + PI, -grade) } else { (station.heading_rad, grade) };
        DMat4::from_translation(DVec3::new(place.x, place.y, height(s_m)))
            * DMat4::from_rotation_z(heading)
            * DMat4::from_rotation_y(-climb.atan())
    }
}
