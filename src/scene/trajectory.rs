//! Poses over time. A time between two poses is answered by interpolation, a time outside by nothing: the recording says
//! where a thing was, not where it may have gone.

use glam::DMat4;
use thiserror::Error;

use crate::geometry::{Pose, PoseError};

/// Poses over time.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Trajectory {
    /// Strictly increasing, in microseconds.
    pub timestamps_us: Vec<i64>,
    /// As many as timestamps.
    pub poses: Vec<Pose>,
    /// The last pose as its file has it, before it became a rotation, where it came from a matrix: what the original
    /// viewer answered at that instant.
    pub last_matrix: Option<DMat4>,
}

/// Why timestamps and poses are no trajectory.
#[derive(Debug, Clone, Copy, PartialEq, Error)]
pub enum TrajectoryError {
    /// Nothing in it.
    #[error("holds no poses")]
    Empty,
    /// Not one pose a timestamp.
    #[error("has {timestamps} timestamps but {poses} poses")]
    Lengths {
        /// Number of timestamps.
        timestamps: usize,
        /// Number of poses.
        poses: usize,
    },
    /// Not a pose.
    #[error("pose {index} {reason}")]
    Pose {
        /// Of the first bad one.
        index: usize,
        /// What is wrong with it.
        reason: PoseError,
    },
    /// Time stands still or runs back.
    #[error("timestamp {index} is {timestamp_us}, which must be greater than {previous_us} before it")]
    NotIncreasing {
        /// Of the later one.
        index: usize,
        /// The later one.
        timestamp_us: i64,
        /// The one before.
        previous_us: i64,
    },
}

impl Trajectory {
    /// Checks and keeps.
    ///
    /// # Errors
    /// On no poses, another number of poses than of timestamps, and timestamps that do not increase.
    pub fn new(timestamps_us: Vec<i64>, poses: Vec<Pose>) -> Result<Self, TrajectoryError> {
        if timestamps_us.len() != poses.len() {
            return Err(TrajectoryError::Lengths { timestamps: timestamps_us.len(), poses: poses.len() });
        }
        if timestamps_us.is_empty() {
            return Err(TrajectoryError::Empty);
        }
        for (before, pair) in timestamps_us.windows(2).enumerate() {
            if let [previous_us, timestamp_us] = *pair
                && timestamp_us <= previous_us
            {
                return Err(TrajectoryError::NotIncreasing { index: before + 1, timestamp_us, previous_us });
            }
        }
        Ok(Self { timestamps_us, poses, last_matrix: None })
    }

    /// From 4x4 matrices.
    ///
    /// # Errors
    /// As [`Trajectory::new`], and on a matrix that is no pose.
    pub fn from_matrices(timestamps_us: Vec<i64>, matrices: &[DMat4]) -> Result<Self, TrajectoryError> {
        let pose = |(index, matrix)| {
            Pose::from_matrix(matrix).map_err(|reason| TrajectoryError::Pose { index, reason })
        };
        let poses = matrices.iter().enumerate().map(pose).collect::<Result<_, _>>()?;
        Ok(Self { last_matrix: matrices.last().copied(), ..Self::new(timestamps_us, poses)? })
    }

    /// As [`Trajectory::pose_at`], as a matrix: the last one exactly as its file has it, orthogonal or not.
    #[must_use]
    pub fn matrix_at(&self, timestamp_us: i64) -> Option<DMat4> {
        let pose = self.pose_at(timestamp_us)?;
        let last = self.last_matrix.filter(|_| timestamp_us == self.range()[1]);
        Some(last.unwrap_or_else(|| pose.matrix()))
    }

    /// First and last timestamp, both inclusive. Without poses, a range that holds no time.
    #[must_use]
    pub fn range(&self) -> [i64; 2] {
        let (first, last) = (self.timestamps_us.first(), self.timestamps_us.last());
        [first.copied().unwrap_or(i64::MAX), last.copied().unwrap_or(i64::MIN)]
    }

    /// The pose at a time in microseconds; none before the first and after the last. The last is not
    /// interpolated.
    #[must_use]
    pub fn pose_at(&self, timestamp_us: i64) -> Option<Pose> {
        let [first, last] = self.range();
        if timestamp_us < first || timestamp_us > last {
            return None;
        }
        let after = self.timestamps_us.partition_point(|stamp| *stamp <= timestamp_us);
        let before = after.checked_sub(1)?;
        let pose = self.poses.get(before)?;
        let Some((next, next_us)) = self.poses.get(after).zip(self.timestamps_us.get(after)) else {
            return Some(*pose);
        };
        let before_us = *self.timestamps_us.get(before)?;
        let fraction = timestamp_us.abs_diff(before_us) as f64 / next_us.abs_diff(before_us) as f64;
        Some(pose.interpolate(next, fraction))
    }

    /// The poses at `start_us`, `start_us + step_us`, ... up to and including `end_us`, as far as the trajectory reaches.
    /// The work is that of the poses answered, however much wider the range is than the trajectory. A step below 1 is 1.
    pub fn sample(&self, start_us: i64, end_us: i64, step_us: i64) -> impl Iterator<Item = (i64, Pose)> {
        let [first, last] = self.range().map(i128::from);
        let (start, step) = (i128::from(start_us), i128::from(step_us.max(1)));
        let skipped = if first > start { (first - start + step - 1) / step } else { 0 };
        let stop = last.min(i128::from(end_us));
        let mut next = start + skipped * step;
        std::iter::from_fn(move || {
            let timestamp_us = i64::try_from(next).ok().filter(|_| next <= stop)?;
            next += step;
            Some((timestamp_us, self.pose_at(timestamp_us)?))
        })
    }
}
