//! The one face of the fleet: every edge (gRPC, REST, websockets, command line) calls these.

mod control;
mod create;
mod drain;
mod keeper;
mod life;
mod options;
mod route;
mod sessions;
mod snapshots;
mod start;
pub mod tail;
mod views;
mod watch;

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::task::JoinHandle;

use super::books::Books;
use super::control::Controls;
use super::error::FleetError;
use super::link::Links;
use super::pool::Pools;
use super::rows::EventRow;
use super::session::house::House;
use super::settings::FleetSettings;
use super::signalling::Signalling;
use super::sink::redis::RedisSink;

pub use options::OrchestratorOptions;

/// Cheap to clone.
#[derive(Debug, Clone)]
pub struct Orchestrator {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    options: OrchestratorOptions,
    house: Arc<House>,
    controls: Controls,
    signalling: Signalling,
    pools: Pools,
    redis: Option<RedisSink>,
    tasks: Mutex<Vec<JoinHandle<()>>>,
}

/// What the background tasks hold, so that they end with the last handle.
#[derive(Debug, Clone)]
struct WeakOrchestrator(Weak<Inner>);

impl WeakOrchestrator {
    fn upgrade(&self) -> Option<Orchestrator> {
        self.0.upgrade().map(|inner| Orchestrator { inner })
    }
}

/// A session's log from some point on: what is kept, then what comes. A reader that falls behind what is kept sees a
/// `LogGap`.
pub type EventStream = futures_util::stream::BoxStream<'static, Result<EventRow, FleetError>>;

/// How the whole fleet is.
#[derive(Debug, Clone, PartialEq)]
pub struct FleetHealth {
    /// Whether sessions can be made: the store works and the fleet does not drain.
    pub healthy: bool,
    /// Why not.
    pub reason: String,
    /// Sessions that have not ended.
    pub active_sessions: u32,
}

impl Orchestrator {
    /// What it was started with.
    #[must_use]
    pub fn fleet_settings(&self) -> &FleetSettings {
        &self.inner.options.settings
    }

    /// Where everything is kept.
    #[must_use]
    pub fn data(&self) -> &Path {
        &self.inner.options.data
    }

    /// `http://host:port` of the HTTP listener, as clients reach it.
    #[must_use]
    pub fn public_url(&self) -> &str {
        self.inner.options.public_url()
    }

    /// The ways to instances: `InstanceService.Attach` is one call of `attach`.
    #[must_use]
    pub fn links(&self) -> &Links {
        &self.inner.house.links
    }

    /// Driving: tokens, control websockets, control streams.
    #[must_use]
    pub fn controls(&self) -> &Controls {
        &self.inner.controls
    }

    /// The meeting place of browsers and simulators that agree on pictures by WebRTC.
    #[must_use]
    pub fn signalling(&self) -> &Signalling {
        &self.inner.signalling
    }

    /// Events for others, if a Redis is configured.
    #[must_use]
    pub fn redis(&self) -> Option<&RedisSink> {
        self.inner.redis.as_ref()
    }

    /// Who has what.
    #[must_use]
    pub fn books(&self) -> &Books {
        &self.inner.house.books
    }

    fn house(&self) -> &Arc<House> {
        &self.inner.house
    }

    fn downgrade(&self) -> WeakOrchestrator {
        WeakOrchestrator(Arc::downgrade(&self.inner))
    }

    fn keep_task(&self, task: JoinHandle<()>) {
        self.inner.tasks.lock().unwrap_or_else(PoisonError::into_inner).push(task);
    }
}

#[cfg(test)]
mod tests;
