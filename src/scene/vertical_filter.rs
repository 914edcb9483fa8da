//! Heights of tracks, smoothed or not. Recorded tracks wobble vertically; the original viewer smoothed them by the grade
//! of the road they drive. Pictures here are drawn from the raw recording; the original's filter is kept by name, for
//! comparison.

use std::str::FromStr;

use glam::DVec3;

use super::Trajectory;
use super::grade_filter;

/// How heights of tracks are smoothed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum VerticalFilter {
    /// Not at all.
    #[default]
    Raw,
    /// By grade, as the original viewer did.
    Original,
}

/// A filter by a name there is not.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no vertical filter \"{name}\": choose raw or original")]
pub struct UnknownFilter {
    name: String,
}

impl VerticalFilter {
    /// `raw` or `original`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Original => "original",
        }
    }

    /// The same trajectory with smoothed heights; nothing else changes. Heights too large to smooth stay as they are.
    #[must_use]
    pub fn apply(self, trajectory: &Trajectory) -> Trajectory {
        let mut filtered = trajectory.clone();
        if self == Self::Original {
            let positions: Vec<DVec3> = trajectory.poses.iter().map(|pose| pose.translation_m).collect();
            let heights_m = grade_filter::heights(&positions);
            if heights_m.iter().all(|height_m| height_m.is_finite()) {
                for (pose, height_m) in filtered.poses.iter_mut().zip(heights_m) {
                    pose.translation_m.z = height_m;
                }
            }
        }
        filtered
    }
}

impl FromStr for VerticalFilter {
    type Err = UnknownFilter;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        [Self::Raw, Self::Original]
            .into_iter()
            .find(|filter| filter.name() == name)
            .ok_or_else(|| UnknownFilter { name: name.to_owned() })
    }
}
