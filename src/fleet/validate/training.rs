//! What is trained, and over how much.

use super::{text, within};
use crate::fleet::error::FleetError;
use crate::fleet::settings::Sessions;
use crate::fleet::spec::Mode;
use crate::proto::neuro::orchestrator::grpc_training_config::Algorithm;
use crate::proto::neuro::orchestrator::{GrpcResourceRequirements, GrpcTrainingConfig};

/// Episodes of a run that does not say.
const DEFAULT_EPISODES: i32 = 1000;
/// Most episodes of a run.
const MOST_EPISODES: i32 = 100_000_000;

/// GPUs and GiB for the trainer.
///
/// # Errors
/// `Invalid`, with the field that is wrong.
pub fn resources(asked: &GrpcResourceRequirements) -> Result<(u32, u32), FleetError> {
    let gpus = within("resource_requirements.training_gpus", asked.training_gpus, 0, 64)?;
    let memory_gb = within("resource_requirements.training_memory_gb", asked.training_memory_gb, 0, 65_536)?;
    Ok((gpus, memory_gb))
}

/// Simulators of the gang: one for a person, and as many as there are parallel environments for a trainer.
///
/// # Errors
/// `Invalid` when a number is out of range, or when the two that say how many contradict each other.
pub fn simulators(
    mode: Mode,
    training: Option<&GrpcTrainingConfig>,
    asked: &GrpcResourceRequirements,
    settings: &Sessions,
) -> Result<u32, FleetError> {
    let most = i32::try_from(settings.max_simulators).unwrap_or(i32::MAX);
    let instances = asked.isaac_sim_instances;
    within("resource_requirements.isaac_sim_instances", instances, 0, most)?;
    let envs = training.map_or(0, |training| training.parallel_envs);
    within("training_config.parallel_envs", envs, 0, most)?;
    if mode == Mode::Manual {
        if instances > 1 {
            let problem = format!("is {instances} in a manual session, which has one simulator");
            return Err(FleetError::invalid("resource_requirements.isaac_sim_instances", problem));
        }
        return Ok(1);
    }
    if instances > 0 && envs > 0 && instances != envs {
        let problem = format!(
            "is {instances} while training_config.parallel_envs is {envs}; expected the same, or one of them 0"
        );
        return Err(FleetError::invalid("resource_requirements.isaac_sim_instances", problem));
    }
    let asked = u32::try_from(instances.max(envs)).unwrap_or(0);
    Ok(if asked == 0 { settings.parallel_envs.clamp(1, settings.max_simulators.max(1)) } else { asked })
}

/// PPO over as many environments as there are simulators, where nothing else is asked for.
///
/// # Errors
/// `Invalid`, with the field that is wrong.
pub fn with_defaults(
    mode: Mode,
    asked: Option<&GrpcTrainingConfig>,
    simulators: u32,
) -> Result<Option<GrpcTrainingConfig>, FleetError> {
    let mut training = asked.cloned().unwrap_or_default();
    if !mode.trains() {
        if training != GrpcTrainingConfig::default() {
            return Err(FleetError::invalid(
                "training_config",
                "is set in a manual session, which trains nothing",
            ));
        }
        return Ok(None);
    }
    if Algorithm::try_from(training.algorithm).is_err() {
        let problem = format!("is {}; expected 0 (PPO) to 4 (A3C)", training.algorithm);
        return Err(FleetError::invalid("training_config.algorithm", problem));
    }
    within("training_config.total_episodes", training.total_episodes, 0, MOST_EPISODES)?;
    if training.total_episodes == 0 {
        training.total_episodes = DEFAULT_EPISODES;
    }
    training.parallel_envs = i32::try_from(simulators).unwrap_or(i32::MAX);
    let parameters = &training.hyperparameters;
    if parameters.len() > 256 {
        let problem = format!("holds {}; expected at most 256", parameters.len());
        return Err(FleetError::invalid("training_config.hyperparameters", problem));
    }
    for (name, value) in parameters {
        if name.is_empty() {
            return Err(FleetError::invalid("training_config.hyperparameters", "holds one without a name"));
        }
        text("training_config.hyperparameters", name, 128)?;
        text(&format!("training_config.hyperparameters[{name}]"), value, 4096)?;
    }
    Ok(Some(training))
}
