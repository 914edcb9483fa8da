//! neuro: the brain, the eyes and the world of a simulated robot.

pub mod cli;
pub mod config;
pub mod http;
pub mod policy;
pub mod telemetry;
