//! What is left of an instance that nobody keeps: its record cannot be read, or its keeper broke. It is taken apart by the
//! agent's mark and its id, whoever made it.

use std::sync::Arc;
use std::time::Instant;

use futures_util::FutureExt;
use tokio::sync::oneshot;
use tracing::{info, warn};

use super::Agent;
use crate::agent::audit::Entry as AuditEntry;
use crate::agent::common::{Candidate, Common};
use crate::agent::driver::{Ground, Observed};
use crate::agent::error::AgentError;
use crate::agent::id::InstanceId;
use crate::agent::record::Record;

/// What is answered to everything but its deletion by force.
pub(super) fn unkept(record: &Record) -> AgentError {
    let Record { id, reason, .. } = record;
    AgentError::Precondition(format!(
        "instance {id}: {reason}; a deletion with force takes apart by its id what is left of it"
    ))
}

impl Agent {
    /// Takes it apart in a task of its own: a caller that goes away changes nothing.
    pub(super) async fn clear(&self, id: &InstanceId, caller: &str) -> Result<Record, AgentError> {
        let asked = Instant::now();
        let common = self.inner.common.clone();
        let record = match common.registry.claim(id) {
            Ok(record) => record,
            Err(error) => return self.refused("delete", id.as_str(), caller, error).await,
        };
        let (done, outcome) = oneshot::channel();
        let caller = caller.to_owned();
        self.inner.spawn(async move {
            let cleared = clear(&common, &record).await;
            common.registry.unclaim(&record.id, cleared.is_ok());
            let mut entry = AuditEntry::new(&caller, "delete", record.id.as_str(), &cleared);
            entry.detail = "force, without a record".to_owned();
            entry.took_ms = u64::try_from(asked.elapsed().as_millis()).unwrap_or(u64::MAX);
            common.audit.write(&entry).await;
            done.send(cleared.map(|()| record)).ok();
        });
        outcome.await.unwrap_or_else(|_| Err(AgentError::Unavailable("the agent ends".to_owned())))
    }
}

async fn clear(common: &Common, record: &Record) -> Result<(), AgentError> {
    let ground = Ground {
        id: record.id.clone(),
        spec: Arc::new(record.spec.clone()),
        folder: common.store.folder(&record.id),
        sockets: common.store.sockets(&record.id),
        devices: record.devices.clone(),
    };
    let mut faults = Vec::new();
    for candidate in &common.drivers {
        let driver = candidate.driver.name();
        match clear_one(common, candidate, &ground).await {
            Ok(()) => {}
            // It can have made nothing here that it could take away.
            Err(error) if candidate.known().is_some_and(|ability| !ability.usable) => {
                info!(id = %ground.id, driver, %error, "does not work here and was asked in vain");
            }
            Err(error) => faults.push(format!("{driver}: {error}")),
        }
    }
    if !faults.is_empty() {
        let faults = faults.join("; ");
        warn!(id = %ground.id, faults, "what is left of it is not taken apart");
        return Err(AgentError::Internal(format!("instance {} is not taken apart: {faults}", ground.id)));
    }
    common.store.remove(&ground.id).await
}

async fn clear_one(common: &Common, candidate: &Candidate, ground: &Ground) -> Result<(), AgentError> {
    let (driver, patience) = (&candidate.driver, &common.patience);
    let looked = driver.recover(ground, None).boxed();
    if let Some((handle, observed)) = common.end("recover", patience.recover, looked).await? {
        if observed == Observed::Running {
            common.end("kill", patience.kill, driver.kill(ground, &handle)).await?;
        }
        common.end("settle", patience.settle, driver.settle(ground, &handle)).await?;
    }
    common.call("destroy", patience.destroy, driver.destroy(ground)).await
}
