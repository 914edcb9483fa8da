//! The hands on one node: containers, VMs and microVMs that are made, started, watched and taken apart on request, and that
//! go on when this program ends.

pub mod cdi;
pub mod cgroup;
pub mod driver;
pub mod error;
pub mod id;
pub mod image;
pub mod net;
pub mod options;
pub mod record;
pub mod settings;
pub mod spec;
pub mod volume;
