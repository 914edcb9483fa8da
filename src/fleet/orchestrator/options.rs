//! What an orchestrator is started with.

use std::path::PathBuf;

use crate::fleet::settings::FleetSettings;

/// What an orchestrator is started with.
#[derive(Debug, Clone)]
pub struct OrchestratorOptions {
    /// The settings.
    pub settings: FleetSettings,
    /// Where everything is kept: `fleet.db`, snapshots, checkpoints, demonstrations, logs of instances.
    pub data: PathBuf,
    /// `http://host:port` of the gRPC listener, as instances on this machine reach it.
    pub grpc_url: String,
    /// `http://host:port` of the HTTP listener, as clients reach it; `settings.public.url` wins over it.
    pub http_url: String,
}

impl OrchestratorOptions {
    /// `http://host:port`, without a slash at its end.
    pub(super) fn public_url(&self) -> &str {
        let public = &self.settings.public.url;
        let url = if public.is_empty() { &self.http_url } else { public };
        url.trim_end_matches('/')
    }

    /// A configured folder, or the one of this name in the data folder.
    pub(super) fn folder(&self, configured: &std::path::Path, name: &str) -> PathBuf {
        if configured.as_os_str().is_empty() { self.data.join(name) } else { configured.to_owned() }
    }
}
