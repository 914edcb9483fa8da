//! What every handler can reach.

use std::sync::Arc;

use crate::policy::service::PolicyService;

/// How the edge behaves. Plain data.
#[derive(Debug, Clone, Default)]
pub struct HttpOptions {}

/// Shared by all handlers; cheap to clone.
#[derive(Debug, Clone)]
pub struct AppState {
    /// The policy.
    pub service: PolicyService,
    /// How the edge behaves.
    pub options: Arc<HttpOptions>,
}
