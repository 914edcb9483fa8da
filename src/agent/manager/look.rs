//! What looks and changes nothing.

use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::ruin::unkept;
use super::{Agent, Attached, Stats};
use crate::agent::audit::Audit;
use crate::agent::common::guarded;
use crate::agent::console::{Source, not_running};
use crate::agent::driver::Ability;
use crate::agent::error::AgentError;
use crate::agent::face::Face;
use crate::agent::gpu;
use crate::agent::id::InstanceId;
use crate::agent::node::Node;
use crate::agent::record::Record;
use crate::agent::registry::Entry;
use crate::agent::spec::Kind;
use crate::proto::hypervisor::v1::Resources;

impl Agent {
    /// How an instance stands.
    ///
    /// # Errors
    /// `NotFound`; `Invalid` for what is no id.
    pub fn get(&self, id: &str) -> Result<Record, AgentError> {
        let id: InstanceId = id.parse()?;
        let registry = &self.inner.common.registry;
        let kept = registry.get(&id).map(|entry| Record::clone(&entry.face.record()));
        kept.or_else(|| registry.unkept(&id)).ok_or_else(|| AgentError::not_found("instance", &id))
    }

    /// All instances, in the order of their ids.
    #[must_use]
    pub fn list(&self) -> Vec<Record> {
        self.inner.common.registry.records()
    }

    /// What an instance uses, measured now.
    ///
    /// # Errors
    /// `NotFound`; `Precondition` when it does not run; what the driver says.
    pub async fn stats(&self, id: &str) -> Result<Stats, AgentError> {
        let face = self.entry(id)?.face;
        let Some(run) = face.running() else {
            return Err(AgentError::Precondition(format!("instance {id} does not run: it uses nothing")));
        };
        face.samples.ask();
        measure(&face, &run, self.inner.common.patience.usage).await
    }

    /// The console of an instance, with what it said before. Ends with the run.
    ///
    /// # Errors
    /// `NotFound`; `Precondition` when it does not run.
    pub fn console(&self, id: &str) -> Result<Attached, AgentError> {
        self.entry(id)?.face.hub.attach().ok_or_else(|| not_running(id))
    }

    /// The node takes no new instances.
    #[must_use]
    pub fn draining(&self) -> bool {
        self.inner.common.draining.load(Ordering::Relaxed)
    }

    /// What the machine has.
    #[must_use]
    pub fn capacity(&self) -> Resources {
        let common = &self.inner.common;
        let (cards, _) = common.registry.cards(&common.settings.cdi.gpu_kind);
        common.registry.machine().on_wire(cards)
    }

    /// What instances were given of it.
    #[must_use]
    pub fn allocated(&self) -> Resources {
        let common = &self.inner.common;
        let (_, held) = common.registry.cards(&common.settings.cdi.gpu_kind);
        common.registry.given().on_wire(held)
    }

    /// Every driver, and what its probe found; `None` while that goes on.
    #[must_use]
    pub fn abilities(&self) -> Vec<(Kind, &'static str, Option<Ability>)> {
        let drivers = self.inner.common.drivers.iter();
        drivers.map(|found| (found.driver.kind(), found.driver.name(), found.known())).collect()
    }

    /// Waits until every driver has been probed, and says what was found.
    pub async fn probed(&self) -> Vec<(Kind, &'static str, Ability)> {
        let common = &self.inner.common;
        let probes = common.drivers.iter().map(|candidate| async {
            let ability = candidate.ability(&common.patience).await;
            (candidate.driver.kind(), candidate.driver.name(), ability)
        });
        futures_util::future::join_all(probes).await
    }

    /// Who this node is.
    #[must_use]
    pub fn node(&self) -> &Node {
        &self.inner.common.house.node
    }

    /// The data folder, absolute.
    #[must_use]
    pub fn data(&self) -> &Path {
        &self.inner.common.house.data
    }

    /// The audit log, for what an edge refuses before it comes here.
    #[must_use]
    pub fn audit_log(&self) -> &Audit {
        &self.inner.common.audit
    }

    pub(super) fn entry(&self, id: &str) -> Result<Entry, AgentError> {
        let id: InstanceId = id.parse()?;
        self.inner.common.registry.get(&id).ok_or_else(|| self.nobody(&id))
    }

    /// Why nobody answers for an id.
    pub(super) fn nobody(&self, id: &InstanceId) -> AgentError {
        let left = self.inner.common.registry.unkept(id);
        left.map_or_else(|| AgentError::not_found("instance", id), |record| unkept(&record))
    }
}

/// Asks the driver of a run.
pub(super) async fn measure(face: &Face, run: &Source, patience: Duration) -> Result<Stats, AgentError> {
    let used = guarded("usage", patience, run.driver.usage(&run.ground, &run.handle));
    let (usage, gpus) = tokio::join!(used, gpu::figures(&run.ground.devices, patience));
    Ok(face.samples.add(run.run, usage?, gpus, face.spec.cpu_cores))
}
