//! The edge in this process, for what needs settings or moments that the binary does not offer.

use std::path::Path;
use std::sync::Arc;

use neuro::config::HostPort;
use neuro::http::listener::{ListenOptions, serve};
use neuro::http::{AppState, HttpOptions, router};
use neuro::playback::{Eyes, EyesOptions, RendererKind, World, WorldOptions};
use neuro::policy::model::LoadOptions;
use neuro::policy::service::{PolicyService, ServiceOptions};
use neuro::scene::LoadLimits;
use neuro::scene::shelf::Shelf;
use tokio::net::TcpListener;

use crate::golden::root;

/// A world without scenarios.
fn world() -> Arc<World> {
    let nurec = HostPort { host: "localhost".to_owned(), port: 1 };
    let eyes = Eyes::open(EyesOptions { kind: RendererKind::External, nurec, cache_bytes: 0 }).unwrap();
    let shelf = Shelf::default();
    World::start(WorldOptions { shelf, limits: LoadLimits::default(), eyes, max_sessions: 1 }).unwrap()
}

/// An edge on a free loopback port, ended when it goes out of scope.
pub struct Edge {
    /// `http://127.0.0.1:PORT`.
    pub url: String,
    /// The service behind it.
    pub service: PolicyService,
    task: tokio::task::JoinHandle<()>,
}

impl Edge {
    /// Listens, without a model.
    pub async fn empty(options: HttpOptions) -> Self {
        let service = PolicyService::start(ServiceOptions::default());
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let limits = ListenOptions { max_connections: 256, headers_timeout: options.headers_timeout };
        let router = router(AppState::new(service.clone(), world(), options));
        let task = tokio::spawn(serve(listener, router, limits, std::future::pending()));
        Self { url, service, task }
    }

    /// Listens, with a model of this repository.
    pub async fn with_model(options: HttpOptions, model: &str) -> Self {
        let edge = Self::empty(options).await;
        edge.load(model).await;
        edge
    }

    /// Loads a model of this repository.
    pub async fn load(&self, model: &str) {
        self.service.load(LoadOptions::new(model_dir(model))).await.unwrap();
    }

    /// `http://127.0.0.1:PORT/path`.
    pub fn at(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }

    /// `ws://127.0.0.1:PORT/path`.
    pub fn ws(&self, path: &str) -> String {
        format!("{}{path}", self.url.replacen("http", "ws", 1))
    }
}

impl Drop for Edge {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// `models/NAME` of this repository.
pub fn model_dir(name: &str) -> std::path::PathBuf {
    Path::new(&root()).join("models").join(name)
}
