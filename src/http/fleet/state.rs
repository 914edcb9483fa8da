//! What every handler sees.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

use super::overview::Overview;
use crate::fleet::access::Access;
use crate::fleet::orchestrator::Orchestrator;

/// Shared by all handlers; cheap to clone.
#[derive(Clone)]
pub struct FleetState {
    /// The fleet.
    pub orchestrator: Orchestrator,
    /// Who may ask.
    pub access: Arc<Access>,
    /// Limits of this edge.
    pub options: Arc<FleetHttpOptions>,
    /// Asks instances for pictures.
    pub instances: reqwest::Client,
    /// What pages are shown of everything, made once for all of them.
    pub(super) overview: Arc<Overview>,
    /// Places for open watches.
    pub(super) watcher_places: Arc<Semaphore>,
    /// Places for open pictures.
    pub(super) picture_places: Arc<Semaphore>,
}

impl FleetState {
    /// A state with these limits.
    #[must_use]
    pub fn new(orchestrator: Orchestrator, access: Arc<Access>, options: FleetHttpOptions) -> Self {
        let places = |most: usize| Arc::new(Semaphore::new(most.min(Semaphore::MAX_PERMITS)));
        let instances = reqwest::Client::builder()
            .connect_timeout(options.instance_timeout)
            .no_proxy()
            .build()
            .unwrap_or_default();
        Self {
            orchestrator,
            access,
            instances,
            overview: Arc::default(),
            watcher_places: places(options.max_watchers),
            picture_places: places(options.max_pictures),
            options: Arc::new(options),
        }
    }
}

/// Limits of the fleet's HTTP edge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FleetHttpOptions {
    /// Longest request body, in bytes; above it 413.
    pub max_body_bytes: usize,
    /// A body must be complete this long after its first header; later is 408.
    pub body_timeout: Duration,
    /// Connections open at once, websockets not counted; the next waits.
    pub max_connections: usize,
    /// A request's headers must be complete this long after the connection is open or idle.
    pub headers_timeout: Duration,
    /// Open watches of session logs and of the whole fleet; one more is answered 503.
    pub max_watchers: usize,
    /// Pictures passed on at once; one more is answered 503.
    pub max_pictures: usize,
    /// How long an instance may take to accept a connection or to send one picture.
    pub instance_timeout: Duration,
}

impl Default for FleetHttpOptions {
    fn default() -> Self {
        Self {
            max_body_bytes: 1 << 20,
            body_timeout: Duration::from_secs(30),
            max_connections: 1024,
            headers_timeout: Duration::from_secs(10),
            max_watchers: 20_000,
            max_pictures: 256,
            instance_timeout: Duration::from_secs(5),
        }
    }
}
