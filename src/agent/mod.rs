//! The hands on one node: containers, VMs and microVMs that are made, started, watched and taken apart on request, and that
//! go on when this program ends.

pub mod driver;
pub mod error;
pub mod id;
pub mod image;
pub mod options;
pub mod record;
pub mod settings;
pub mod spec;
