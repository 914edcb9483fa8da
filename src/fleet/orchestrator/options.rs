//! What an orchestrator is started with.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::fleet::control::PolicyDriver;
use crate::fleet::settings::FleetSettings;

/// What an orchestrator is started with.
#[derive(Debug, Clone, Default)]
pub struct OrchestratorOptions {
    /// The settings.
    pub settings: FleetSettings,
    /// Where everything is kept: `fleet.db`, snapshots, checkpoints, demonstrations, logs of instances.
    pub data: PathBuf,
    /// `http://host:port` of the gRPC listener, as instances on this machine reach it.
    pub grpc_url: String,
    /// `http://host:port` of the HTTP listener, as clients reach it; `settings.public.url` wins over it.
    pub http_url: String,
    /// The file with the key that instances of the pools show; `None` when everybody may attach.
    pub key_file: Option<PathBuf>,
    /// The program that pools start as simulators and trainers; `None` for this one.
    pub binary: Option<PathBuf>,
    /// The policy of sessions that ask for `local`.
    pub policy: Option<Arc<dyn PolicyDriver>>,
}

impl OrchestratorOptions {
    /// `http://host:port`, without a slash at its end.
    pub(super) fn public_url(&self) -> &str {
        let public = &self.settings.public.url;
        let url = if public.is_empty() { &self.http_url } else { public };
        url.trim_end_matches('/')
    }

    /// A configured folder, or the one of this name in the data folder; absolute, so that others find it too.
    pub(super) fn folder(&self, configured: &Path, name: &str) -> PathBuf {
        let folder =
            if configured.as_os_str().is_empty() { self.data.join(name) } else { configured.to_owned() };
        std::path::absolute(&folder).unwrap_or(folder)
    }
}
