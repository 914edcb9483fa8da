//! The node agent over gRPC: one service in two profiles, over the same agent. This folder reads messages, asks the agent
//! and writes answers; what is refused is a status that says what was wrong.
//!
//! Two messages differ between the profiles, so each has a server of its own on an address of its own; everything else is
//! written once.

mod access;
mod calls;
mod console;
mod front;
#[cfg(test)]
mod golden_tests;
mod server;
#[cfg(test)]
mod server_tests;
mod show;
mod status;

use tokio::sync::watch;

use crate::agent::Agent;

pub use access::Keys;
pub use console::{Dialogue, Heard, Said};
pub use server::{AgentGrpcOptions, MAX_REQUEST_BYTES, Profile, serve_agent};

/// The service in the agent's own profile. Cheap to clone.
#[derive(Debug, Clone)]
struct Edge {
    agent: Agent,
    stopping: watch::Receiver<bool>,
}

/// The service as the Go server speaks to it.
#[derive(Debug, Clone)]
struct Upstream(Edge);
