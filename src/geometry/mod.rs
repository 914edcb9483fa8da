//! Rigid transforms and how they are interpolated: f64, no input or output.
//!
//! A pose is named `target_from_source`: `world_from_rig` maps a point in rig coordinates to world coordinates.
//! World: local, metres, z up. Rig: x forward, y left, z up, origin on the ground below the rear axle. Sensor: x right,
//! y down, z forward.

mod pose;
#[cfg(test)]
mod pose_tests;
pub mod rotation;

pub use pose::{Pose, PoseError};
