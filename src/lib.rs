//! neuro: the brain, the eyes and the world of a simulated robot.

pub mod config;
pub mod policy;
pub mod telemetry;
