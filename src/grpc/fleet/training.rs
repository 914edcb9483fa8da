//! `training.TrainingService`: the training run of a session, as the first document has it. Works on every session that
//! trains, whichever service made it.

use std::collections::HashMap;
use std::time::Duration;

use futures_util::stream::{BoxStream, StreamExt};
use tonic::{Request, Response, Status};

use super::call::{Call, invalid, session_id};
use super::{Edge, status};
use crate::fleet::FleetError;
use crate::fleet::request::CreateSession;
use crate::fleet::rows::{EventRow, ended};
use crate::fleet::spec::Mode;
use crate::fleet::view::SessionView;
use crate::proto::neuro::ext::{Progress, session_event::Kind};
use crate::proto::neuro::orchestrator::GrpcTrainingConfig;
use crate::proto::neuro::training::training_service_server::TrainingService;
use crate::proto::neuro::training::{
    GetTrainingProgressRequest, GetTrainingResultRequest, StartTrainingRequest, StartTrainingResponse,
    StopTrainingRequest, StopTrainingResponse, TrainingProgress, TrainingResult, start_training_request,
};

/// How long a trainer may take to stop and to write its checkpoint.
const STOP_LIMIT: Duration = Duration::from_secs(120);

/// What goes back, in the order it was reported.
type ProgressStream = BoxStream<'static, Result<TrainingProgress, Status>>;

/// The run as the newer wire has it. Numbers that are 0 were not set.
fn config(asked: &StartTrainingRequest) -> Result<GrpcTrainingConfig, Status> {
    if start_training_request::Algorithm::try_from(asked.algorithm).is_err() {
        let problem = format!("is {}; expected 0 (PPO) to 3 (DQN)", asked.algorithm);
        return Err(invalid("algorithm", problem));
    }
    if asked.batch_size < 0 {
        return Err(invalid("batch_size", format!("is {}; expected 0 or more", asked.batch_size)));
    }
    if asked.epochs < 0 {
        return Err(invalid("epochs", format!("is {}; expected 0 or more", asked.epochs)));
    }
    let rate = asked.learning_rate;
    if !rate.is_finite() || !(0.0..=1.0).contains(&rate) {
        return Err(invalid("learning_rate", format!("is {rate}; expected 0 to 1, where 0 is the default")));
    }
    let mut hyperparameters = asked.hyperparameters.clone();
    let mut also = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            hyperparameters.entry(name.to_owned()).or_insert(value);
        }
    };
    also("batch_size", (asked.batch_size > 0).then(|| asked.batch_size.to_string()));
    also("learning_rate", (rate > 0.0).then(|| rate.to_string()));
    also("reward_function", (!asked.reward_function.is_empty()).then(|| asked.reward_function.clone()));
    Ok(GrpcTrainingConfig {
        algorithm: asked.algorithm,
        total_episodes: asked.epochs,
        parallel_envs: 0,
        hyperparameters,
    })
}

fn progress(progress: &Progress, at_ms: i64) -> TrainingProgress {
    let known = |name: &str| progress.metrics.get(name).copied();
    let share = f64::from(progress.episode) / f64::from(progress.total_episodes.max(1));
    let mut metrics = progress.metrics.clone();
    for (name, value) in [
        ("policy_loss", progress.policy_loss),
        ("value_loss", progress.value_loss),
        ("entropy", progress.entropy),
        ("steps", progress.steps as f64),
        ("steps_per_second", progress.steps_per_second),
    ] {
        metrics.entry(name.to_owned()).or_insert(value);
    }
    TrainingProgress {
        current_epoch: progress.episode,
        total_epochs: progress.total_episodes,
        progress: if progress.total_episodes > 0 { share.clamp(0.0, 1.0) } else { 0.0 },
        current_reward: known("reward").unwrap_or(progress.average_reward),
        average_reward: progress.average_reward,
        loss: progress.policy_loss + progress.value_loss,
        episode_length: known("episode_length").map_or(0, |length| length.round() as i32),
        metrics,
        timestamp: at_ms,
    }
}

fn result(view: &SessionView) -> Result<TrainingResult, FleetError> {
    let row = &view.row;
    let Some(end) = &view.training_end else {
        let message = if ended(row.phase) {
            format!(
                "training {} ended without a result: session {} is {}: {}",
                row.training_id,
                row.id,
                row.phase.as_str_name(),
                row.reason
            )
        } else {
            format!(
                "training {} has not ended: session {} is {}",
                row.training_id,
                row.id,
                row.phase.as_str_name()
            )
        };
        return Err(FleetError::Precondition(message));
    };
    Ok(TrainingResult {
        success: end.success,
        model_path: end.model_uri.clone(),
        checkpoint_path: end.checkpoint_uri.clone(),
        final_reward: end.final_reward,
        success_rate: end.success_rate,
        training_time_seconds: end.seconds.round() as i64,
        final_metrics: end.metrics.clone().into_iter().collect::<HashMap<_, _>>(),
    })
}

impl Edge {
    fn trained(&self, call: &Call, training_id: &str) -> Result<SessionView, Status> {
        if training_id.is_empty() {
            return Err(invalid("training_id", "is empty; expected what StartTraining answered"));
        }
        let found = self.orchestrator.session_of_training(&call.identity, training_id);
        found.map_err(|error| status::of(&error))
    }
}

#[tonic::async_trait]
impl TrainingService for Edge {
    async fn start_training(
        &self,
        request: Request<StartTrainingRequest>,
    ) -> Result<Response<StartTrainingResponse>, Status> {
        let call = Call::of_client(&request)?;
        let asked = request.into_inner();
        let request = CreateSession {
            training: Some(config(&asked)?),
            ..super::request::of(session_id(&asked.session_id)?, Mode::Training)
        };
        let view = Box::pin(self.create(&call, request)).await?;
        Ok(Response::new(StartTrainingResponse {
            success: true,
            message: format!("session {} is {}", view.row.id, view.row.phase.as_str_name()),
            training_id: view.row.training_id,
        }))
    }

    async fn stop_training(
        &self,
        request: Request<StopTrainingRequest>,
    ) -> Result<Response<StopTrainingResponse>, Status> {
        let call = Call::of_client(&request)?;
        let asked = request.into_inner();
        let view = self.trained(&call, &asked.training_id)?;
        if ended(view.row.phase) {
            let checkpoint_path = view.training_end.map(|end| end.checkpoint_uri).unwrap_or_default();
            return Ok(Response::new(StopTrainingResponse { success: true, checkpoint_path }));
        }
        let work = self.orchestrator.stop_training(&view.row.id, asked.save_checkpoint);
        let doing = format!("stopping training {}", asked.training_id);
        let checkpoint_path = call.within(STOP_LIMIT, &doing, work).await?;
        Ok(Response::new(StopTrainingResponse { success: true, checkpoint_path }))
    }

    type GetTrainingProgressStream = ProgressStream;

    /// What was reported so far, then what comes, until training ends.
    async fn get_training_progress(
        &self,
        request: Request<GetTrainingProgressRequest>,
    ) -> Result<Response<ProgressStream>, Status> {
        let call = Call::of_client(&request)?;
        let session = self.trained(&call, &request.get_ref().training_id)?.row.id;
        let events = self.orchestrator.watch(&session, 0).map_err(|error| status::of(&error))?;
        let shown = |event: Result<EventRow, FleetError>| {
            let shown = match event {
                Ok(EventRow { kind: Kind::Progress(made), at_ms, .. }) => Some(Ok(progress(&made, at_ms))),
                Ok(_) => None,
                Err(error) => Some(Err(status::of(&error))),
            };
            std::future::ready(shown)
        };
        Ok(Response::new(self.until_stop(events.filter_map(shown))))
    }

    async fn get_training_result(
        &self,
        request: Request<GetTrainingResultRequest>,
    ) -> Result<Response<TrainingResult>, Status> {
        let call = Call::of_client(&request)?;
        let view = self.trained(&call, &request.get_ref().training_id)?;
        result(&view).map(Response::new).map_err(|error| status::of(&error))
    }
}
