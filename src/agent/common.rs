//! What the actors of all instances share.

use std::panic::AssertUnwindSafe;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::{Semaphore, watch};

use super::audit::Audit;
use super::driver::{Ability, Driver};
use super::error::AgentError;
use super::image::Images;
use super::node::House;
use super::registry::Registry;
use super::restart::Patience;
use super::settings::AgentSettings;
use super::spec::Kind;
use super::store::Store;

/// A driver, and whether it works here.
#[derive(Debug)]
pub(super) struct Candidate {
    pub driver: Arc<dyn Driver>,
    /// The last answer, and when it came.
    answer: Mutex<Option<(Ability, Instant)>>,
    /// One probe at a time.
    turn: Semaphore,
}

impl Candidate {
    pub(super) fn new(driver: Arc<dyn Driver>) -> Self {
        Self { driver, answer: Mutex::new(None), turn: Semaphore::new(1) }
    }

    /// What is known by now.
    pub(super) fn known(&self) -> Option<Ability> {
        self.answer().as_ref().map(|(ability, _)| ability.clone())
    }

    fn answer(&self) -> MutexGuard<'_, Option<(Ability, Instant)>> {
        self.answer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What holds: that it works, for ever; that it does not, for a while.
    fn holds(&self, patience: &Patience) -> Option<Ability> {
        let answer = self.answer();
        let (ability, at) = answer.as_ref()?;
        (ability.usable || at.elapsed() < patience.probe_again).then(|| ability.clone())
    }

    /// Waits for a probe, which is done once when it finds that the driver works, and again when it did not.
    pub(super) async fn ability(&self, patience: &Patience) -> Ability {
        if let Some(ability) = self.holds(patience) {
            return ability;
        }
        let _turn = self.turn.acquire().await;
        if let Some(ability) = self.holds(patience) {
            return ability;
        }
        let probed = async { Ok(self.driver.probe().await) }.boxed();
        let ability = match guarded("probe", patience.probe, probed).await {
            Ok(ability) => ability,
            Err(error) => Ability { usable: false, detail: error.to_string(), labels: Vec::new() },
        };
        *self.answer() = Some((ability.clone(), Instant::now()));
        ability
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct Common {
    pub house: House,
    pub settings: AgentSettings,
    pub patience: Patience,
    pub store: Store,
    pub audit: Audit,
    pub images: Arc<dyn Images>,
    pub drivers: Vec<Candidate>,
    pub registry: Registry,
    /// Driver calls at once that make and start something, or take it apart.
    pub operations: Semaphore,
    /// Driver calls at once that end something: those do not wait for images that are copied.
    pub endings: Semaphore,
    pub draining: AtomicBool,
    /// True when the agent ends; instances go on.
    pub ending: watch::Sender<bool>,
}

impl Common {
    /// The first driver of a kind that works here.
    pub(super) async fn driver_for(&self, kind: Kind) -> Result<Arc<dyn Driver>, AgentError> {
        let mut why = Vec::new();
        for candidate in self.drivers.iter().filter(|candidate| candidate.driver.kind() == kind) {
            let ability = candidate.ability(&self.patience).await;
            if ability.usable {
                return Ok(candidate.driver.clone());
            }
            why.push(format!("{}: {}", candidate.driver.name(), ability.detail));
        }
        let why = if why.is_empty() { "no driver".to_owned() } else { why.join("; ") };
        Err(AgentError::Precondition(format!("type {} cannot run on this node: {why}", kind.name())))
    }

    /// The driver that made an instance.
    pub(super) fn driver_named(&self, kind: Kind, name: &str) -> Option<Arc<dyn Driver>> {
        let mut of_kind = self.drivers.iter().filter(|candidate| candidate.driver.kind() == kind);
        of_kind.find(|candidate| candidate.driver.name() == name).map(|found| found.driver.clone())
    }

    /// A call of a driver that takes the machine's time: so many at once, each for so long at most.
    pub(super) async fn call<T>(
        &self,
        what: &'static str,
        patience: Duration,
        work: BoxFuture<'_, Result<T, AgentError>>,
    ) -> Result<T, AgentError> {
        let _permit = self.operations.acquire().await;
        guarded(what, patience, work).await
    }

    /// As [`Common::call`], for what ends a run or looks after its end.
    pub(super) async fn end<T>(
        &self,
        what: &'static str,
        patience: Duration,
        work: BoxFuture<'_, Result<T, AgentError>>,
    ) -> Result<T, AgentError> {
        let _permit = self.endings.acquire().await;
        guarded(what, patience, work).await
    }

    /// Done when the agent ends.
    pub(super) async fn ended(&self) {
        let mut ending = self.ending.subscribe();
        drop(ending.wait_for(|ending| *ending).await);
    }
}

/// A call of a driver: neither its hanging nor its panic is ours.
pub(super) async fn guarded<T>(
    what: &'static str,
    patience: Duration,
    work: BoxFuture<'_, Result<T, AgentError>>,
) -> Result<T, AgentError> {
    match tokio::time::timeout(patience, AssertUnwindSafe(work).catch_unwind()).await {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(_)) => Err(AgentError::Internal(format!("{what}: the driver panicked"))),
        Err(_) => {
            let limit_s = patience.as_secs_f64();
            Err(AgentError::Internal(format!("{what}: the driver gave no answer in {limit_s} s")))
        }
    }
}
