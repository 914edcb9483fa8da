//! The one task that drives a session. It does one thing at a time: brings members up, answers wishes, waits.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};
use tracing::{debug, warn};

use super::house::House;
use super::live::Live;
use super::look::Look;
use super::orders::QUICK;
use super::wish::Wish;
use crate::fleet::clock::now_ms;
use crate::fleet::error::FleetError;
use crate::fleet::ledger::{Command, Outcome};
use crate::fleet::link::Ask;
use crate::fleet::request::SceneChange;
use crate::fleet::rows::{Phase, ended};
use crate::proto::neuro::ext;

/// Most changes of one scene: they are replayed on a simulator that joins.
const MOST_CHANGES: usize = 10_000;
/// Between two looks at something that cannot be done yet.
const RETRY: Duration = Duration::from_secs(1);

/// What comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// Look again: something changed under way.
    Again,
    /// Wait for a wish or a notice, at most so long.
    Wait(Option<Duration>),
    /// It has ended.
    End,
}

/// Drives one session.
#[derive(Debug)]
pub struct Driver {
    pub(super) house: Arc<House>,
    pub(super) live: Arc<Live>,
    wishes: mpsc::Receiver<Wish>,
    /// Members that could not be brought up since the session last stood.
    pub(super) failures: u32,
    /// Since when members are missing.
    pub(super) short_since: Option<Instant>,
}

impl Driver {
    /// One that has not looked yet.
    #[must_use]
    pub fn new(house: Arc<House>, live: Arc<Live>, wishes: mpsc::Receiver<Wish>) -> Self {
        Self { house, live, wishes, failures: 0, short_since: None }
    }

    /// Until the session has ended.
    pub async fn run(mut self) {
        loop {
            let next = self.raise().await.unwrap_or_else(|error| {
                debug!(session = %self.live.id, %error, "looking again");
                Next::Wait(Some(RETRY))
            });
            let limit = match next {
                Next::End => break,
                Next::Again => {
                    // A fence that was overtaken reads as stale until the books say the same.
                    sleep(Duration::from_millis(20)).await;
                    continue;
                }
                Next::Wait(limit) => limit,
            };
            tokio::select! {
                Some(wish) = self.wishes.recv() => self.grant(wish).await,
                () = self.live.poke.notified() => {}
                () = sleep(limit.unwrap_or(Duration::MAX)), if limit.is_some() => {}
            }
        }
        self.keep();
    }

    /// The session now.
    pub(super) fn look(&self) -> Result<Option<Look>, FleetError> {
        self.house.books.read(|tables| Look::of(tables, &self.live.id, now_ms()))
    }

    /// The session, with its scene loaded.
    pub(super) fn look_settled(&self) -> Result<Look, FleetError> {
        let look = self.look()?.ok_or_else(|| FleetError::not_found("session", &self.live.id))?;
        if look.settled() {
            return Ok(look);
        }
        let (id, phase) = (&look.row.id, look.row.phase.as_str_name());
        let why = if look.row.reason.is_empty() { String::new() } else { format!(": {}", look.row.reason) };
        Err(FleetError::Precondition(format!(
            "session {id} is {phase}{why}; it must be READY, RUNNING or PAUSED"
        )))
    }

    /// Saves the memo; a disk that refuses costs a second loading after a restart, no more.
    pub(super) fn keep(&self) {
        if let Err(error) = self.house.memos.keep(&self.live) {
            warn!(session = %self.live.id, %error, "its memo was not written");
        }
    }

    /// From the phase that was seen to another; refused when the books moved on meanwhile.
    pub(super) async fn advance(&self, from: Phase, to: Phase, reason: &str) -> Result<(), FleetError> {
        let session = self.live.id.clone();
        self.house
            .books
            .apply(Command::Advance { session, from: vec![from], to, reason: reason.to_owned() })
            .await
            .map(|_| ())
    }

    /// The session ends.
    pub(super) async fn close(&self, to: Phase, reason: String) -> Result<Outcome, FleetError> {
        let session = self.live.id.clone();
        self.house.books.apply(Command::Close { session, to, reason, requeue_from: None }).await
    }

    async fn grant(&self, wish: Wish) {
        match wish {
            Wish::Start { real_time, time_scale, reply } => {
                drop(reply.send(self.start(real_time, time_scale).await));
            }
            Wish::Pause(reply) => drop(reply.send(self.pause().await)),
            Wish::Update(change, reply) => drop(reply.send(self.update(change).await)),
            Wish::Save(save, reply) => drop(reply.send(self.save(save).await)),
            Wish::Restore(restore, reply) => drop(reply.send(self.restore(restore).await)),
            Wish::StopTraining { save, reply } => drop(reply.send(self.stop_training(save).await)),
            Wish::TrainingEnd(from, end) => {
                if let Err(error) = self.training_ended(from, end).await {
                    warn!(session = %self.live.id, %error, "the end of training was not written");
                }
            }
            Wish::LearnFrom(uri) => self.learn_from(uri).await,
        }
    }

    async fn start(&self, real_time: bool, time_scale: f64) -> Result<(), FleetError> {
        let look = self.look()?.ok_or_else(|| FleetError::not_found("session", &self.live.id))?;
        if !look.settled() && look.row.phase != Phase::Recovering {
            self.look_settled()?;
        }
        self.live.edit(|memo| {
            (memo.real_time, memo.time_scale) = (real_time, time_scale);
            memo.settled = Phase::Running.into();
        });
        self.keep();
        if look.row.phase == Phase::Recovering {
            return Ok(());
        }
        let order = self.start_order();
        self.order_all(&look.simulators, QUICK, |_| order.clone()).await?;
        // Also where the session was not paused as a whole: a trainer that runs takes it for nothing new.
        if let Some(trainer) = &look.trainer {
            self.order(trainer, order, QUICK).await?;
        }
        if look.row.phase != Phase::Running {
            self.advance(look.row.phase, Phase::Running, "started").await?;
        }
        Ok(())
    }

    async fn pause(&self) -> Result<(), FleetError> {
        let look = self.look_settled()?;
        if look.row.phase == Phase::Paused {
            return Ok(());
        }
        // The trainer first: simulators that stand still answer no steps.
        if let Some(trainer) = &look.trainer {
            self.order(trainer, Ask::Pause(ext::Pause {}), QUICK).await?;
        }
        if let Err(error) = self.order_all(&look.simulators, QUICK, |_| Ask::Pause(ext::Pause {})).await {
            // Not half: what stands already goes on.
            let order = self.start_order();
            if let Some(trainer) = &look.trainer {
                drop(self.order(trainer, order.clone(), QUICK).await);
            }
            drop(self.order_all(&look.simulators, QUICK, |_| order.clone()).await);
            return Err(error);
        }
        self.live.edit(|memo| memo.settled = Phase::Paused.into());
        self.keep();
        self.advance(look.row.phase, Phase::Paused, "paused").await
    }

    /// Environment 0 is asked first: what it refuses, nobody gets.
    async fn update(&self, change: SceneChange) -> Result<Vec<String>, FleetError> {
        let look = self.look_settled()?;
        if self.live.memo(|memo| memo.changes.len()) >= MOST_CHANGES {
            let message = format!("the scene of session {} was changed {MOST_CHANGES} times", self.live.id);
            return Err(FleetError::Precondition(format!(
                "{message}; no more are remembered: save and restore it"
            )));
        }
        let update = ext::UpdateScene {
            add: change.add.iter().map(prost::Message::encode_to_vec).collect(),
            remove: change.remove,
            robot_position: change
                .robot_position
                .map(|at| prost::Message::encode_to_vec(&at))
                .unwrap_or_default(),
        };
        let (first, others) = look
            .simulators
            .split_first()
            .ok_or_else(|| FleetError::Precondition("no simulator".to_owned()))?;
        let answer = self.order(first, Ask::Update(update.clone()), QUICK).await?;
        let paths = prim_paths(answer.get("prim_paths"));
        let answers = futures_util::future::join_all(
            others.iter().map(|seat| self.order(seat, Ask::Update(update.clone()), QUICK)),
        )
        .await;
        let behind: Vec<_> = others.iter().zip(answers).filter(|(_, answer)| answer.is_err()).collect();
        self.live.edit(|memo| {
            memo.changes.push(update);
            // Loaded anew, with this change.
            behind.iter().for_each(|(seat, _)| memo.set_down(seat.instance));
        });
        self.keep();
        Ok(paths)
    }

    /// A session that has ended needs nothing more of anybody.
    pub(super) fn is_over(look: Option<&Look>) -> bool {
        look.is_none_or(|look| ended(look.row.phase))
    }
}

/// Instances answer with a JSON list, or with one path a line.
fn prim_paths(text: Option<&String>) -> Vec<String> {
    let Some(text) = text.filter(|text| !text.is_empty()) else { return Vec::new() };
    serde_json::from_str(text)
        .unwrap_or_else(|_| text.split(['\n', ',']).map(|path| path.trim().to_owned()).collect())
}
