//! What every part of driving shares.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::policy::{PolicyDriver, RemotePolicy};
use super::token::TokenKey;
use crate::fleet::books::Books;
use crate::fleet::error::FleetError;
use crate::fleet::link::Links;
use crate::fleet::settings;

pub(super) struct House {
    pub books: Books,
    pub links: Links,
    pub settings: settings::Control,
    pub key: TokenKey,
    pub demonstrations: PathBuf,
    /// `ws://host:port`.
    pub ws_url: String,
    pub policy: Option<Arc<dyn PolicyDriver>>,
    pub http: reqwest::Client,
    pub remote: std::sync::Mutex<BTreeMap<String, Arc<RemotePolicy>>>,
}

impl std::fmt::Debug for House {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("House").field("ws_url", &self.ws_url).finish_non_exhaustive()
    }
}

impl House {
    /// A lease that was asked for, within what is allowed; zero is the default.
    pub fn ttl(&self, asked: Duration) -> Duration {
        let ms = |ms: u32| Duration::from_millis(u64::from(ms.max(1000)));
        let asked = if asked.is_zero() { ms(self.settings.ttl_ms) } else { asked };
        asked.clamp(Duration::from_secs(1), ms(self.settings.max_ttl_ms))
    }

    /// The driver that a session names.
    ///
    /// # Errors
    /// `Precondition` for `local` where there is none; `Invalid` for what is no URL.
    pub fn driver(&self, policy: &str) -> Result<Arc<dyn PolicyDriver>, FleetError> {
        if policy == "local" {
            let message = "this orchestrator has no policy of its own: start it with a model";
            return self.policy.clone().ok_or_else(|| FleetError::Precondition(message.to_owned()));
        }
        let mut remote = super::wheel::locked(&self.remote);
        if let Some(driver) = remote.get(policy) {
            return Ok(Arc::clone(driver) as Arc<dyn PolicyDriver>);
        }
        let driver = Arc::new(RemotePolicy::new(policy, self.http.clone())?);
        remote.insert(policy.to_owned(), Arc::clone(&driver));
        Ok(driver)
    }
}
