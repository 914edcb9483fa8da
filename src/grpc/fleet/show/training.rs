//! A training run as both generations of the wire show it.

use super::session::{instance_ids, trainer_id};
use crate::fleet::rows::Phase;
use crate::fleet::view::SessionView;
use crate::grpc::fleet::show::narrow;
use crate::proto::neuro::orchestrator::{GrpcTrainingModeStatus, GrpcTrainingStatus, GrpcZmqChannelInfo};

/// The pattern of the reset/step socket.
const ZMQ_PROTOCOL: &str = "REQ-REP";

/// How far training is. One that was stopped before its end counts as failed, unless it had been successful.
pub(in crate::grpc::fleet) fn status(view: &SessionView) -> GrpcTrainingStatus {
    match view.row.phase {
        Phase::Running => GrpcTrainingStatus::Running,
        Phase::Paused => GrpcTrainingStatus::Paused,
        Phase::Completed => GrpcTrainingStatus::Completed,
        Phase::Stopping | Phase::Stopped if view.training_end.as_ref().is_some_and(|end| end.success) => {
            GrpcTrainingStatus::Completed
        }
        Phase::Failed | Phase::Stopped | Phase::Stopping | Phase::Preempted => GrpcTrainingStatus::Failed,
        Phase::Unspecified
        | Phase::Queued
        | Phase::Allocating
        | Phase::Starting
        | Phase::Ready
        | Phase::Recovering => GrpcTrainingStatus::Initializing,
    }
}

pub(in crate::grpc::fleet) fn training_mode_status(view: &SessionView) -> GrpcTrainingModeStatus {
    let progress = view.progress.as_ref();
    let asked = view.spec.training.as_ref().map_or(0, |training| training.total_episodes);
    let last_reward = view.training_end.as_ref().map_or(0.0, |end| end.final_reward);
    GrpcTrainingModeStatus {
        training_instance_id: trainer_id(view),
        isaac_instance_ids: instance_ids(view),
        current_episode: progress.map_or(0, |progress| progress.episode),
        total_episodes: progress
            .map(|progress| progress.total_episodes)
            .filter(|all| *all > 0)
            .unwrap_or(asked),
        average_reward: progress.map_or(last_reward, |progress| progress.average_reward),
        status: status(view).into(),
    }
}

/// The reset/step sockets, by environment.
pub(in crate::grpc::fleet) fn zmq_channels(view: &SessionView) -> Vec<GrpcZmqChannelInfo> {
    let with_socket = view.simulators.iter().filter(|one| !one.row.endpoints.zmq_endpoint.is_empty());
    let channel = |one: &crate::fleet::view::InstanceView| GrpcZmqChannelInfo {
        isaac_instance_id: one.row.id.to_string(),
        zmq_endpoint: one.row.endpoints.zmq_endpoint.clone(),
        protocol: ZMQ_PROTOCOL.to_owned(),
    };
    with_socket.map(channel).collect()
}

/// Indices of the trainer's GPUs on its node.
pub(in crate::grpc::fleet) fn allocated_gpus(view: &SessionView) -> Vec<i32> {
    let gpus = view.trainer.iter().flat_map(|trainer| &trainer.row.gpus);
    gpus.map(|gpu| narrow(gpu.index)).collect()
}
