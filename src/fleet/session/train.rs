//! What a session asks of its trainer.

use std::path::Path;

use tracing::{debug, info};

use super::checkpoint;
use super::driver::Driver;
use super::look::{Look, Seat};
use super::orders::{QUICK, SAVING};
use crate::fleet::error::FleetError;
use crate::fleet::event::EventKind;
use crate::fleet::ids::InstanceId;
use crate::fleet::ledger::Command;
use crate::fleet::link::Ask;
use crate::fleet::rows::{DemonstrationRow, Phase, ended};
use crate::fleet::snapshot::manifest::Manifest;
use crate::proto::neuro::ext;

impl Driver {
    /// Gives a trainer its work: from the beginning, from a snapshot, or from where the last one left its checkpoints.
    /// In a session that is `paused` it waits with it.
    pub(super) async fn train(
        &self,
        look: &Look,
        trainer: &Seat,
        snapshot: Option<(&Manifest, &Path)>,
        paused: bool,
    ) -> Result<(), FleetError> {
        let session = self.house.checkpoints.join(look.row.id.as_str());
        let (without, trained, run) =
            self.live.memo(|memo| (memo.without_checkpoint, memo.trained, memo.run));
        let saved =
            snapshot.filter(|_| !without).and_then(|(saved, folder)| checkpoint::of_snapshot(saved, folder));
        let goes_on = trained && snapshot.is_none();
        let run = if goes_on { run } else { checkpoint::next_run(&session) };
        let folder = checkpoint::run_folder(&session, run);
        std::fs::create_dir_all(&folder)
            .map_err(|error| FleetError::Internal(format!("{}: {error}", folder.display())))?;
        let restore_from = match saved {
            Some(uri) => uri,
            None if goes_on => checkpoint::newest(&folder),
            None => String::new(),
        };
        let demonstrations = if look.spec.human_demo { self.demonstrations() } else { Vec::new() };
        let work = ext::Train {
            training_config: look
                .spec
                .training
                .as_ref()
                .map(prost::Message::encode_to_vec)
                .unwrap_or_default(),
            zmq_endpoints: look.simulators.iter().map(|seat| seat.zmq_endpoint.clone()).collect(),
            restore_from,
            session_id: look.row.id.to_string(),
            checkpoint_uri: checkpoint::uri(&folder),
            demonstrations,
        };
        info!(session = %look.row.id, trainer = %trainer.name, restore_from = %work.restore_from, "training");
        self.order(trainer, Ask::Train(work), self.house.load_limit()).await?;
        if paused {
            self.order(trainer, Ask::Pause(ext::Pause {}), QUICK).await?;
        }
        self.live.edit(|memo| {
            memo.set_up(trainer.instance, trainer.fence);
            (memo.trained, memo.run) = (true, run);
            // It was about the first run: later snapshots are later work.
            memo.without_checkpoint = false;
            memo.training_end = None;
        });
        self.keep();
        Ok(())
    }

    /// What the trainer has kept so far.
    fn kept(&self, look: &Look) -> String {
        let session = self.house.checkpoints.join(look.row.id.as_str());
        checkpoint::newest(&checkpoint::run_folder(&session, self.live.memo(|memo| memo.run)))
    }

    fn demonstrations(&self) -> Vec<String> {
        let own = self.house.books.read(|tables| tables.demonstrations_of(&self.live.id));
        own.into_iter().filter(DemonstrationRow::is_kept).map(|row| row.demonstration.uri).collect()
    }

    /// The trainer is done. A hybrid session that a person drives stays until the person lets go.
    pub(super) async fn training_ended(
        &self,
        from: InstanceId,
        end: ext::TrainingEnd,
    ) -> Result<(), FleetError> {
        let Some(look) = self.look()? else { return Ok(()) };
        let ours = look.trainer.as_ref().is_some_and(|trainer| {
            trainer.instance == from && self.live.memo(|memo| memo.is_up(from, trainer.fence))
        });
        if !ours || self.live.memo(|memo| memo.training_end.is_some()) {
            debug!(session = %look.row.id, instance = %from, "the end of another training");
            return Ok(());
        }
        let session = look.row.id.clone();
        let events = vec![EventKind::TrainingEnd(end.clone())];
        self.house.books.apply(Command::Record { session, events }).await?;
        self.live.edit(|memo| memo.training_end = Some(end.clone()));
        self.keep();
        if look.human {
            return Ok(());
        }
        self.finish(&end).await
    }

    /// Training is over: the session ends, and what it held is free. Its result stays.
    pub(super) async fn finish(&self, end: &ext::TrainingEnd) -> Result<(), FleetError> {
        let (phase, reason) = if end.success {
            (
                Phase::Completed,
                format!("training completed with an average reward of {:.1}", end.final_reward),
            )
        } else if end.error.is_empty() {
            (Phase::Failed, "training failed; the trainer did not say why".to_owned())
        } else {
            (Phase::Failed, format!("training failed: {}", end.error))
        };
        self.close(phase, reason).await.map(|_| ())
    }

    /// Asks the trainer to stop and to keep what it has; then the session ends. What was learned can be asked for. A
    /// training that waits, starts or recovers has what its last trainer kept.
    pub(super) async fn stop_training(&self, save: bool) -> Result<String, FleetError> {
        let look = self.look()?.ok_or_else(|| FleetError::not_found("session", &self.live.id))?;
        if !look.row.mode.trains() || ended(look.row.phase) {
            return Err(FleetError::Precondition(format!("session {} trains nothing", look.row.id)));
        }
        let mut kept = self.kept(&look);
        if let Some(trainer) = look.trainer.as_ref().filter(|_| look.settled()) {
            let stop = Ask::Stop(ext::Stop { cleanup: !save, grace_ms: 2000 });
            let answer = self.order(trainer, stop, SAVING).await?;
            kept = answer.get("checkpoint_uri").cloned().unwrap_or_else(|| self.kept(&look));
        }
        let end = ext::TrainingEnd {
            error: "stopped on request".to_owned(),
            checkpoint_uri: kept.clone(),
            final_reward: self
                .live
                .memo(|memo| memo.progress.as_ref().map_or(0.0, |last| last.average_reward)),
            ..ext::TrainingEnd::default()
        };
        let (session, events) = (look.row.id.clone(), vec![EventKind::TrainingEnd(end.clone())]);
        self.house.books.apply(Command::Record { session, events }).await?;
        self.live.edit(|memo| memo.training_end = Some(end));
        self.keep();
        self.close(Phase::Stopped, "its training was stopped".to_owned()).await?;
        Ok(kept)
    }

    /// A demonstration was recorded while it trains.
    pub(super) async fn learn_from(&self, uri: String) {
        let Ok(Some(look)) = self.look() else { return };
        let Some(trainer) = look.trainer.as_ref().filter(|_| look.spec.human_demo) else { return };
        if let Err(error) = self.order(trainer, Ask::LearnFrom(ext::LearnFrom { uri }), QUICK).await {
            debug!(session = %look.row.id, %error, "the trainer did not take a demonstration");
        }
    }
}
