//! The beginning of an agent's life: everything of an earlier one is found again before it answers.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream;
use tokio::sync::{Semaphore, oneshot, watch};
use tokio::task::JoinSet;
use tracing::{info, warn};

use super::{Agent, AgentOptions, Inner};
use crate::agent::actor::{Actor, Begin};
use crate::agent::audit::Audit;
use crate::agent::capacity::Amount;
use crate::agent::cdi;
use crate::agent::common::{Candidate, Common, guarded};
use crate::agent::driver::{Driver, Orphan};
use crate::agent::error::AgentError;
use crate::agent::id::InstanceId;
use crate::agent::node::House;
use crate::agent::registry::Registry;
use crate::agent::restart::Patience;
use crate::agent::store::{Found, Store};

/// How often what is asked for all the time is measured.
const MEASURE: Duration = Duration::from_secs(1);
/// Measurements at once.
const MEASURED_AT_ONCE: usize = 8;
/// Name of the file that says that the node drains.
pub(super) const DRAINING: &str = "draining";

impl Agent {
    /// Starts an agent: finds every run again, reports what ended meanwhile, removes what belongs to nobody, and goes on with
    /// what was half done.
    ///
    /// # Errors
    /// The data folder cannot be had. What is wrong with a single instance is said in its record.
    pub async fn open(options: AgentOptions) -> Result<Self, AgentError> {
        let begun = std::time::Instant::now();
        let AgentOptions { settings, data, drivers, images, patience, crash } = options;
        let documents = settings.cdi.folders.clone();
        let opened = tokio::task::spawn_blocking(move || {
            let house = House::open(&data)?;
            let store = Store::new(house.data.clone(), crash);
            let found = store.load()?;
            let audit = Audit::open(house.data.join("audit.jsonl"))?;
            let machine = Amount::of_machine(&house.data);
            let draining = house.data.join(DRAINING).exists();
            let devices = cdi::Registry::read(&documents).inventory();
            Ok::<_, AgentError>((house, store, found, audit, machine, draining, devices))
        });
        let opened = opened.await.map_err(|error| AgentError::internal("data folder", error))?;
        let (house, store, found, audit, machine, draining, inventory) = opened?;
        let Found { records, damaged } = found;
        for (id, reason) in &damaged {
            warn!(%id, reason, "its record cannot be read: only a deletion by force touches it");
        }
        let common = Arc::new(Common {
            house,
            patience,
            store,
            audit,
            images,
            drivers: drivers.into_iter().map(Candidate::new).collect(),
            registry: Registry::new(machine, damaged, inventory),
            operations: Semaphore::new(settings.limits.operations.max(1) as usize),
            endings: Semaphore::new(settings.limits.operations.max(1) as usize),
            draining: AtomicBool::new(draining),
            ending: watch::Sender::new(false),
            settings,
        });
        let agent = Self { inner: Arc::new(Inner { common: common.clone(), tasks: JoinSet::new().into() }) };
        let count = records.len();
        let mut seen = Vec::with_capacity(count);
        let mut actors = Vec::with_capacity(count);
        for record in records {
            let (entry, inbox) = common.registry.restore(record, &common.settings, &common.store);
            let (looked, seen_it) = oneshot::channel();
            seen.push(seen_it);
            actors.push((Actor::new(common.clone(), entry.face, inbox), looked));
        }
        // Only now: all of them are known, so that none is swept.
        for (actor, looked) in actors {
            agent.inner.spawn(actor.run(Begin::Recover(looked)));
        }
        let sweep = sweep(common.clone());
        let (swept, done) = oneshot::channel();
        agent.inner.spawn(async move {
            sweep.await;
            swept.send(()).ok();
        });
        for looked in seen {
            looked.await.ok();
        }
        if tokio::time::timeout(common.patience.sweep, done).await.is_err() {
            warn!("what belongs to nobody is still being removed");
        }
        for place in 0..common.drivers.len() {
            agent.inner.spawn(probe(common.clone(), place));
        }
        agent.inner.spawn(measure(common.clone()));
        info!(instances = count, took_ms = begun.elapsed().as_millis() as u64, "instances found again");
        Ok(agent)
    }
}

async fn probe(common: Arc<Common>, place: usize) {
    let Some(candidate) = common.drivers.get(place) else { return };
    tokio::select! {
        ability = candidate.ability(&common.patience) => {
            let (driver, usable) = (candidate.driver.name(), ability.usable);
            info!(driver, usable, detail = ability.detail, "probed");
        }
        () = common.ended() => {}
    }
}

async fn sweep(common: Arc<Common>) {
    let sweeps = common.drivers.iter().map(|candidate| sweep_one(&common, &*candidate.driver));
    tokio::select! {
        _ = futures_util::future::join_all(sweeps) => {}
        () = common.ended() => {}
    }
}

async fn orphans(driver: &dyn Driver, known: &BTreeSet<InstanceId>, patience: Patience) -> Vec<Orphan> {
    guarded("orphans", patience.recover, driver.orphans(known)).await.unwrap_or_else(|error| {
        warn!(driver = driver.name(), %error, "cannot look for what belongs to nobody");
        Vec::new()
    })
}

/// The agent may answer meanwhile: what belongs to an instance that is new since is left alone, also when it was found
/// before.
async fn sweep_one(common: &Common, driver: &dyn Driver) {
    let patience = common.patience;
    let mut known = common.registry.known();
    let found = orphans(driver, &known, patience).await;
    let mut still = found.clone();
    for orphan in found {
        let now = common.registry.known();
        if now != known {
            still = orphans(driver, &now, patience).await;
            known = now;
        }
        let (what, name) = (orphan.what, &orphan.name);
        if !still.contains(&orphan) {
            info!(driver = driver.name(), what, name, "belongs to somebody by now: left alone");
            continue;
        }
        match guarded("sweep", patience.destroy, driver.sweep(&orphan)).await {
            Ok(()) => info!(driver = driver.name(), what, name, "belonged to nobody: removed"),
            Err(error) => warn!(driver = driver.name(), what, name, %error, "belongs to nobody: not removed"),
        }
    }
}

/// Keeps the figures young of those that are asked for.
async fn measure(common: Arc<Common>) {
    let mut tick = tokio::time::interval(MEASURE);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = tick.tick() => {}
            () = common.ended() => return,
        }
        let wanted = common.registry.all().into_iter().filter(|entry| entry.face.samples.wanted());
        let patience = common.patience.usage;
        stream::iter(wanted)
            .for_each_concurrent(MEASURED_AT_ONCE, |entry| async move {
                if let Some(run) = entry.face.running() {
                    super::look::measure(&entry.face, &run, patience).await.ok();
                }
            })
            .await;
    }
}
