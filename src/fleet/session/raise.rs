//! Brings a session to where the books want it: every member of its gang up, then its phase. The first grant, an upgrade,
//! a repair and a restart all come through here; what is up already under its present grant is not touched.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::Instant;
use tracing::{info, warn};

use super::driver::{Driver, Next};
use super::house::seconds;
use super::look::{Look, Seat};
use super::memo::Memo;
use super::orders::QUICK;
use crate::fleet::error::FleetError;
use crate::fleet::ledger::Command;
use crate::fleet::link::Ask;
use crate::fleet::rows::Phase;
use crate::proto::neuro::ext;

/// Instances that may fail to load a session's scene before the session fails.
const MOST_FAILURES: u32 = 3;
/// While something is missing or a person drives on after training.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

impl Driver {
    /// One step towards it.
    pub(super) async fn raise(&mut self) -> Result<Next, FleetError> {
        let look = self.look()?;
        if Self::is_over(look.as_ref()) {
            return Ok(Next::End);
        }
        let Some(look) = look else { return Ok(Next::End) };
        match look.row.phase {
            Phase::Queued => {
                self.begin_anew();
                Ok(Next::Wait(None))
            }
            Phase::Stopping => {
                self.close(Phase::Stopped, "stopped".to_owned()).await?;
                Ok(Next::Again)
            }
            Phase::Allocating => {
                self.begin_anew();
                self.advance(Phase::Allocating, Phase::Starting, "loading the scene").await?;
                Ok(Next::Again)
            }
            Phase::Ready | Phase::Running | Phase::Paused if self.stands(&look) => self.rest(&look).await,
            _ => self.bring_up(&look).await,
        }
    }

    /// What was reached before does not count for a new grant of the whole gang.
    fn begin_anew(&self) {
        let before = self.live.edit(|memo| std::mem::replace(&mut memo.settled, Phase::Unspecified.into()));
        if before != i32::from(Phase::Unspecified) {
            self.keep();
        }
    }

    fn is_up(&self, seat: &Seat) -> bool {
        self.live.memo(|memo| memo.is_up(seat.instance, seat.fence))
    }

    fn stands(&self, look: &Look) -> bool {
        look.complete() && look.simulators.iter().chain(&look.trainer).all(|seat| self.is_up(seat))
    }

    /// Nothing to do, unless training is over and the person has let go.
    async fn rest(&mut self, look: &Look) -> Result<Next, FleetError> {
        (self.failures, self.short_since) = (0, None);
        let Some(end) = self.live.memo(|memo| memo.training_end.clone()).filter(|_| look.trains()) else {
            return Ok(Next::Wait(None));
        };
        if look.human {
            return Ok(Next::Wait(Some(LOOK_AGAIN)));
        }
        self.finish(&end).await?;
        Ok(Next::Again)
    }

    async fn bring_up(&mut self, look: &Look) -> Result<Next, FleetError> {
        let settled = self.live.memo(Memo::settled);
        let target = match settled {
            Phase::Unspecified if look.trains() => Phase::Running,
            Phase::Unspecified => Phase::Ready,
            other => other,
        };
        let fresh: Vec<Seat> = look.simulators.iter().filter(|seat| !self.is_up(seat)).cloned().collect();
        let restored = self.snapshot_to_restore(look).await;
        let (snapshot, folder) = match restored {
            Ok(found) => found.unzip(),
            Err(error) => {
                self.close(Phase::Failed, format!("it cannot go on from its snapshot: {error}")).await?;
                return Ok(Next::Again);
            }
        };
        if let Some(manifest) = &snapshot {
            let changes = manifest.changes()?;
            self.live.edit(|memo| memo.changes = changes);
        }
        let changes = self.live.memo(|memo| memo.changes.clone());
        let loaded = join_all(fresh.iter().map(|seat| async {
            self.load(look, seat, &changes).await?;
            if let (Some(manifest), Some(folder)) = (&snapshot, &folder) {
                self.restore_scene(seat, manifest, folder).await?;
            }
            if target == Phase::Running {
                self.order(seat, self.start_order(), QUICK).await?;
            }
            Ok::<(), FleetError>(())
        }))
        .await;
        let mut failed = Vec::new();
        for (seat, outcome) in fresh.iter().zip(loaded) {
            match outcome {
                Ok(()) => self.live.edit(|memo| memo.set_up(seat.instance, seat.fence)),
                Err(error) => failed.push((seat, error)),
            }
        }
        if failed.len() < fresh.len() {
            self.keep();
        }
        if let Some((seat, error)) = failed.into_iter().next() {
            return self.give_up(seat, error).await;
        }
        if let Some(trainer) = look.trainer.as_ref().filter(|_| look.trains()) {
            if self.is_up(trainer) {
                for seat in &fresh {
                    let index = i32::try_from(seat.env_index).unwrap_or(i32::MAX);
                    let ask = ext::ReplaceEnv { index, zmq_endpoint: seat.zmq_endpoint.clone() };
                    self.order(trainer, Ask::ReplaceEnv(ask), QUICK).await?;
                }
            } else if look.complete() {
                let from = snapshot.as_ref().zip(folder.as_deref());
                let trained = self.train(look, trainer, from, target == Phase::Paused).await;
                if let Err(error) = trained {
                    return self.give_up(trainer, error).await;
                }
            }
        }
        if !look.complete() {
            return self.wait_for_members(look).await;
        }
        self.live.edit(|memo| {
            memo.settled = target.into();
            memo.restored.clone_from(&look.row.restore_from);
        });
        self.keep();
        let reason = if settled == Phase::Unspecified { "every member is up" } else { "recovered" };
        self.advance(look.row.phase, target, reason).await?;
        info!(session = %self.live.id, phase = target.as_str_name(), "{reason}");
        Ok(Next::Again)
    }

    /// A member that could not be brought up goes back, and another one is tried: a few times.
    async fn give_up(&mut self, seat: &Seat, error: FleetError) -> Result<Next, FleetError> {
        // Lost or taken away meanwhile: the books know more than this driver did.
        let still = self.look()?.is_some_and(|now| {
            now.simulators
                .iter()
                .chain(&now.trainer)
                .any(|member| member.instance == seat.instance && member.fence == seat.fence)
        });
        if !still {
            return Ok(Next::Again);
        }
        self.failures += 1;
        warn!(session = %self.live.id, instance = %seat.name, %error, failures = self.failures, "not brought up");
        let hopeless = matches!(error, FleetError::Invalid { .. });
        if hopeless || self.failures >= MOST_FAILURES {
            self.close(Phase::Failed, error.to_string()).await?;
            return Ok(Next::Again);
        }
        let reason = format!("{} could not be brought up: {error}", seat.name);
        self.house.books.apply(Command::Evict { instance: seat.instance, reason }).await?;
        Ok(Next::Again)
    }

    /// Nothing free: the books give what comes free to this session first, up to `recovery_s`.
    async fn wait_for_members(&mut self, look: &Look) -> Result<Next, FleetError> {
        let since = *self.short_since.get_or_insert_with(Instant::now);
        self.house.books.apply(Command::Repair(self.live.id.clone())).await?;
        let limit = seconds(self.house.settings.sessions.recovery_s);
        if let Some(limit) = limit.filter(|limit| since.elapsed() >= *limit) {
            let reason =
                format!("it lost {} and nothing came free within {} s", look.missing(), limit.as_secs());
            self.close(Phase::Failed, reason).await?;
            return Ok(Next::Again);
        }
        let now = self.look()?;
        Ok(if now.is_some_and(|now| now.complete()) { Next::Again } else { Next::Wait(Some(LOOK_AGAIN)) })
    }
}
