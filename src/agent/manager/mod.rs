//! The agent: what a request is carried out by, whichever edge it came through.
//!
//! Every operation belongs to the actor of its instance. A caller that goes away changes nothing.

mod begin;
mod change;
mod look;
mod ruin;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;

use super::common::Common;
use super::driver::Driver;
use super::error::AgentError;
use super::image::Images;
use super::restart::Patience;
use super::settings::AgentSettings;
use super::store::Crash;

pub use super::console::{Attached, Output, Reader};
pub use super::sampler::{GpuFigures, Stats};

/// For operations to come to an end when the agent does.
const LAST_OPERATIONS: Duration = Duration::from_secs(5);

/// What an agent is started with.
#[derive(Clone)]
pub struct AgentOptions {
    /// Its settings.
    pub settings: AgentSettings,
    /// Its data folder; made when it is not there.
    pub data: PathBuf,
    /// What runs instances. Of several for a kind the first that works here is taken.
    pub drivers: Vec<Arc<dyn Driver>>,
    /// Where instances get their parts from.
    pub images: Arc<dyn Images>,
    /// How patient it is.
    pub patience: Patience,
    /// Called with the name of every step of the journal, so that a test can crash there.
    pub crash: Option<Crash>,
}

impl AgentOptions {
    /// With the usual patience.
    #[must_use]
    pub fn new(
        settings: AgentSettings,
        data: PathBuf,
        drivers: Vec<Arc<dyn Driver>>,
        images: Arc<dyn Images>,
    ) -> Self {
        Self { settings, data, drivers, images, patience: Patience::default(), crash: None }
    }
}

impl std::fmt::Debug for AgentOptions {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("AgentOptions").field("data", &self.data).finish_non_exhaustive()
    }
}

/// See the module. Clones are the same agent; it ends with [`Agent::shutdown`] or the last of them. Instances go on.
#[derive(Debug, Clone)]
pub struct Agent {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    common: Arc<Common>,
    tasks: std::sync::Mutex<JoinSet<()>>,
}

impl Inner {
    /// Runs something until it is done or the agent has ended.
    fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        let mut tasks = self.tasks.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        while tasks.try_join_next().is_some() {}
        tasks.spawn(work);
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.common.ending.send_replace(true);
        let tasks = self.tasks.get_mut().unwrap_or_else(std::sync::PoisonError::into_inner);
        tasks.detach_all();
    }
}

impl Agent {
    /// Takes no more orders, lets those that are carried out come to their end or into the journal, and leaves. Instances
    /// go on.
    pub async fn shutdown(&self) {
        self.inner.common.ending.send_replace(true);
        let mut tasks = {
            let mut tasks = self.inner.tasks.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            std::mem::take(&mut *tasks)
        };
        let all = async { while tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(LAST_OPERATIONS, all).await.is_err() {
            tracing::warn!("operations are cut off: the next life of the agent finishes them");
            tasks.shutdown().await;
        }
        let drivers = self.inner.common.drivers.iter().map(|candidate| candidate.driver.clone());
        let drivers: Vec<_> = drivers.collect();
        let close = move || drivers.iter().for_each(|driver| driver.close());
        drop(tokio::task::spawn_blocking(close).await);
    }

    fn alive(&self) -> Result<(), AgentError> {
        if *self.inner.common.ending.borrow() {
            return Err(AgentError::Unavailable("the agent ends".to_owned()));
        }
        Ok(())
    }
}
