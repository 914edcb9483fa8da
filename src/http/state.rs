//! What every handler sees: the policy behind the wires, and the edge's own settings.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

use super::openpi::OpenpiOptions;
use crate::playback::World;
use crate::policy::model::LoadOptions;
use crate::policy::service::PolicyService;

/// Shared by all handlers; cheap to clone.
#[derive(Clone)]
pub struct AppState {
    /// The model and its queue.
    pub service: PolicyService,
    /// Scenarios being played.
    pub world: Arc<World>,
    /// The edge's settings.
    pub options: Arc<HttpOptions>,
    /// Places for openpi connections.
    pub openpi_places: Arc<Semaphore>,
    /// Places for live viewers.
    pub live_places: Arc<Semaphore>,
    /// Places for exports.
    pub export_places: Arc<Semaphore>,
}

impl AppState {
    /// A state with these settings.
    #[must_use]
    pub fn new(service: PolicyService, world: Arc<World>, options: HttpOptions) -> Self {
        let places = |most: usize| Arc::new(Semaphore::new(most.min(Semaphore::MAX_PERMITS)));
        let openpi_places = places(options.openpi.max_connections);
        let live_places = places(options.max_viewers);
        let export_places = places(options.max_exports);
        Self { service, world, options: Arc::new(options), openpi_places, live_places, export_places }
    }
}

/// Settings of the HTTP edge. Plain data: the command line and the config file fill it in.
#[derive(Debug, Clone)]
pub struct HttpOptions {
    /// Longest request body, in bytes; above it 413.
    pub max_body_bytes: usize,
    /// A body must be complete this long after its first header; later is 408.
    pub body_timeout: Duration,
    /// Connections open at once, openpi ones not counted; the next waits.
    pub max_connections: usize,
    /// A request's headers must be complete this long after the connection is open or idle.
    pub headers_timeout: Duration,
    /// Most parts in a multipart form.
    pub max_form_parts: usize,
    /// Longest deadline a client may ask for; longer ones are cut to it.
    pub max_deadline: Duration,
    /// Origins allowed to call from a browser; empty: CORS is off; `*`: any.
    pub cors_origins: Vec<String>,
    /// When set, every request but the ones in `open_paths` needs `Authorization: Bearer TOKEN`.
    pub bearer_token: Option<String>,
    /// When set, admin routes need this token; when not, they answer 404.
    pub admin_token: Option<String>,
    /// Paths that need no token.
    pub open_paths: Vec<String>,
    /// Folders under which models may be swapped in by the admin route.
    pub model_roots: Vec<PathBuf>,
    /// How swapped models are loaded, but for their folder.
    pub swap: LoadOptions,
    /// Limits of openpi connections.
    pub openpi: OpenpiOptions,
    /// Live viewers connected at once; one more is answered 503.
    pub max_viewers: usize,
    /// Exports under way at once; one more is answered 429.
    pub max_exports: usize,
}

impl Default for HttpOptions {
    fn default() -> Self {
        Self {
            max_body_bytes: 32 << 20,
            body_timeout: Duration::from_secs(30),
            max_connections: 512,
            headers_timeout: Duration::from_secs(10),
            max_form_parts: 1000,
            max_deadline: Duration::from_secs(600),
            cors_origins: Vec::new(),
            bearer_token: None,
            admin_token: None,
            open_paths: vec!["/health".to_owned(), "/healthz".to_owned()],
            model_roots: vec![PathBuf::from("models")],
            swap: LoadOptions::default(),
            openpi: OpenpiOptions::default(),
            max_viewers: 64,
            max_exports: 2,
        }
    }
}
