//! The hands on one node: containers, VMs and microVMs that are made, started, watched and taken apart on request, and that
//! go on when this program ends.

mod actor;
pub mod audit;
pub mod capacity;
pub mod cdi;
pub mod cgroup;
pub mod cluster;
mod common;
pub mod console;
pub mod driver;
pub mod error;
mod face;
pub mod gpu;
pub mod id;
pub mod image;
pub mod manager;
pub mod net;
pub mod node;
pub mod options;
pub mod process;
pub mod record;
mod registry;
pub mod restart;
mod ring;
mod sampler;
pub mod settings;
pub mod shim;
pub mod spec;
pub mod store;
pub mod volume;

pub use manager::{Agent, AgentOptions, Attached, GpuFigures, Output, Reader, Stats};

#[cfg(test)]
mod proof;
