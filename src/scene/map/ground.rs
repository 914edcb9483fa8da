//! Laying a map on the ground the ego drove on. Altitudes in released maps are those of an ellipsoid, a geoid or nothing
//! at all, so they may be hundreds of metres off; lanes are drawn on the ground, and the ego's wheels say where it is.

use glam::DVec3;

use super::{MapLine, REACH_M};

/// Places of the ego that are looked at.
const MAX_PLACES: usize = 256;
/// A map point this close, in metres, is under the ego.
const UNDER_M: f64 = 12.0;
/// Heights this far from the ego's are left alone, in metres.
const FITS_M: f64 = 0.3;
/// After a shift, heights this far from the ego's anywhere are replaced by the ego's, in metres.
const ABSURD_M: f64 = 1.0;

/// The ego's path, thinned.
pub(super) struct Near {
    places_m: Vec<DVec3>,
}

impl Near {
    pub(super) fn new(ego_path_m: &[DVec3]) -> Self {
        let every = ego_path_m.len().div_ceil(MAX_PLACES).max(1);
        Self { places_m: ego_path_m.iter().step_by(every).copied().collect() }
    }

    /// Whether a point is close enough to matter; everything is where there is no path.
    pub(super) fn reaches(&self, point_m: DVec3) -> bool {
        self.nearest(point_m).is_none_or(|(_, distance_m)| distance_m <= REACH_M)
    }

    /// Shifts lines to the ego's height, or lays them flat on it where a shift is not enough. Says what it did.
    pub(super) fn settle(&self, lines: &mut [MapLine]) -> Option<String> {
        let mut closest = vec![(UNDER_M, 0.0); self.places_m.len()];
        for point in lines.iter().flat_map(|line| &line.points_m) {
            if let Some((place, distance_m)) = self.nearest(*point)
                && let (Some(best), Some(ego)) = (closest.get_mut(place), self.places_m.get(place))
                && distance_m < best.0
            {
                *best = (distance_m, ego.z - point.z);
            }
        }
        let mut gaps_m: Vec<f64> =
            closest.into_iter().filter(|(distance_m, _)| *distance_m < UNDER_M).map(|(_, gap)| gap).collect();
        gaps_m.sort_by(f64::total_cmp);
        let Some(shift_m) = gaps_m.get(gaps_m.len() / 2).copied() else {
            return (!lines.is_empty() && !self.places_m.is_empty()).then(|| {
                "no lane of the map is where the ego drove: its heights are as in the file".to_owned()
            });
        };
        let fits = |gap: &f64, within: f64| gap.abs() <= within;
        if gaps_m.iter().all(|gap| fits(gap, FITS_M)) {
            return None;
        }
        let points = lines.iter_mut().flat_map(|line| &mut line.points_m);
        if gaps_m.iter().all(|gap| fits(&(gap - shift_m), ABSURD_M)) {
            points.for_each(|point| point.z += shift_m);
            return Some(format!("the map was moved by {shift_m:.1} m in height, to where the ego drove"));
        }
        for point in points {
            if let Some(ego) = self.nearest(*point).and_then(|(place, _)| self.places_m.get(place)) {
                point.z = ego.z;
            }
        }
        Some(format!(
            "the map's heights do not follow the ego's (off by {shift_m:.1} m): lanes are laid on its path"
        ))
    }

    /// The nearest place in plan view and how far away it is, in metres.
    fn nearest(&self, point_m: DVec3) -> Option<(usize, f64)> {
        let distances = self.places_m.iter().map(|place| (*place - point_m).truncate().length_squared());
        let (place, squared) = distances.enumerate().min_by(|a, b| a.1.total_cmp(&b.1))?;
        Some((place, squared.sqrt()))
    }
}
