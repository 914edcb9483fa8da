//! The trainer: PPO on small dense nets over N simulators, with what people showed mixed in.
//!
//! [`start`] puts a [`Plan`] on a thread of its own; [`attend`] does so at an orchestrator's orders. No machine-learning
//! library: nets of some thousand parameters are quicker without one, and what is here is checked against finite differences.

mod adam;
pub mod attend;
#[cfg(test)]
mod attend_tests;
mod checkpoint;
mod demonstrations;
mod environments;
mod error;
mod hyper;
mod loss;
mod matrix;
mod meet;
mod network;
mod plan;
mod player;
mod policy;
mod random;
mod report;
mod rollout;
mod run;
mod scale;
#[cfg(test)]
mod tests;
mod thread;

pub use checkpoint::{Checkpoint, Counters, Written, local_path};
pub use error::TrainerError;
pub use hyper::Hyper;
pub use plan::{Plan, resume};
pub use thread::{News, Run, start};
