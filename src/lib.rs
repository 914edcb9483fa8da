//! neuro: the brain, the eyes and the world of a simulated robot.

pub mod agent;
pub mod cli;
pub mod config;
pub mod export;
pub mod fleet;
pub mod geometry;
pub mod grpc;
pub mod http;
pub mod instance;
pub mod mapping;
pub mod playback;
pub mod policy;
pub mod proto;
pub mod render;
pub mod scene;
pub mod simulator;
pub mod telemetry;
pub mod trainer;
