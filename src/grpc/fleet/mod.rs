//! The orchestrator over gRPC: seven services that are views of the same sessions. This folder reads messages, asks the
//! one face of the fleet, and writes answers; what is refused is a status that says what was wrong.
//!
//! Every call passes the [`front`] first. gRPC-Web is translated before that, for pages on this machine. Pings are not
//! counted: clients send them whenever they like.

mod call;
mod common;
mod front;
mod instances;
mod older;
mod orchestrator;
mod pools;
mod request;
mod resource;
mod robot;
mod server;
mod sessions;
mod show;
mod simulator;
mod snapshots;
mod status;
mod training;

use tokio::sync::watch;

use crate::fleet::orchestrator::Orchestrator;

pub use server::{FleetOptions, serve_fleet};

pub use super::Tls;

/// The services. Cheap to clone.
#[derive(Debug, Clone)]
struct Edge {
    orchestrator: Orchestrator,
    stopping: watch::Receiver<bool>,
}
